"""Tests for meshd.filters.network.stunnel.ident."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError, TCPTimedOutError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.protocol import connectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from meshd.filters.network.stunnel.ident import Identification, Unknown, user_of

CLIENT, LOCAL = ("192.0.2.1", 4000), ("192.0.2.2", 443)


@pytest.mark.parametrize(
    ("line", "user"),
    [
        ("4000 , 443 : USERID : UNIX : bob", "bob"),
        ("4000,443:USERID:UNIX:bob", "bob"),
        ("4000 , 443 : USERID : OTHER , UTF-8 :  a:b c", "a:b c"),
    ],
)
def test_user(line: str, user: str) -> None:
    """The user is what stands behind the third colon, blanks allowed around the rest."""
    assert user_of(line) == user


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("", "Malformed IDENT response"),
        ("4000 , 443 : ERROR", "Malformed IDENT response"),
        ("4000 , 443 : USERID : UNIX", "Malformed IDENT response"),
        ("4000 , 443 : ERROR : NO-USER", "Incorrect IDENT response type"),
        ("4000 , 443 : userid : UNIX : bob", "Incorrect IDENT response type"),
    ],
)
def test_no_user(line: str, text: str) -> None:
    """Other answers name nobody, and it is said why not."""
    with pytest.raises(Unknown) as unknown:
        user_of(line)
    assert (unknown.value.level, unknown.value.text) == (3, text)


class TestIdentification:
    """Asking."""

    def setup_method(self) -> None:
        """Ask."""
        self.reactor = MemoryReactorClock()
        self.said: list[tuple[int, str]] = []
        self.result: list[Any] = []
        self.asking = self.ask()

    def ask(self, remote: Any = CLIENT, answer_time: float = 5) -> Deferred[Any]:
        """Ask about a connection."""
        identification = Identification(self.reactor, 10, answer_time)
        asking: Deferred[Any] = identification.user(remote, LOCAL, lambda *line: self.said.append(line))
        asking.addBoth(self.result.append)
        return asking

    def connect(self) -> Any:
        """Let it connect; return its protocol."""
        factory = self.reactor.tcpClients[-1][2]
        protocol: Any = factory.buildProtocol(None)
        self.transport = StringTransport()
        protocol.makeConnection(self.transport)
        return protocol

    def unknown(self) -> tuple[int, str]:
        """Return why nobody is named."""
        (failure,) = self.result
        assert failure.check(Unknown)
        return failure.value.level, failure.value.text

    def test_answer(self) -> None:
        """Port 113 of the client's machine is asked, from the address that the client knows."""
        first: Any = self.reactor.tcpClients[0]
        host, port, _, timeout, source = first
        assert (host, port, timeout, source) == ("192.0.2.1", 113, 10, ("192.0.2.2", 0))
        protocol = self.connect()
        assert self.transport.value() == b"4000 , 443\r\n"
        for part in (b"4000 , 443 : USERID", b" : UNIX : bob\r", b"\n"):
            assert self.result == []
            protocol.dataReceived(part)
        assert self.result == ["bob"] and self.transport.disconnected
        protocol.dataReceived(b"more\r\n")
        protocol.connectionLost(connectionDone)
        assert [text for _, text in self.said] == [
            "s_connect: connecting 192.0.2.1:113",
            "s_connect: connected 192.0.2.1:113",
            "IDENT server connected",
            " -> 4000 , 443",
            " <- 4000 , 443 : USERID : UNIX : bob",
        ]
        assert not self.reactor.getDelayedCalls()

    def test_too_long(self) -> None:
        """A line without end is not kept for ever."""
        self.connect().dataReceived(b"x" * 5000)
        assert self.unknown() == (3, "Malformed IDENT response")

    def test_closed(self) -> None:
        """A server that closes without an answer names nobody."""
        self.connect().connectionLost(connectionDone)
        assert self.unknown() == (3, "s_read: Unexpected socket close")

    def test_silent(self) -> None:
        """One that does not answer in time names nobody."""
        self.connect()
        self.reactor.advance(5)
        assert self.unknown() == (6, "s_read_eof: s_poll_wait: TIMEOUTbusy exceeded: sending reset")
        assert self.transport.disconnected

    def test_patient(self) -> None:
        """A negative time is for ever."""
        self.result.clear()
        self.ask(answer_time=-1)
        protocol = self.connect()
        self.reactor.advance(1000000)
        protocol.dataReceived(b"1,2:USERID:x:me\n")
        assert self.result == ["me"]

    @pytest.mark.parametrize(
        ("error", "text"),
        [
            (
                ConnectionRefusedError(osError=111),
                "s_connect: connect 192.0.2.1:113: Connection refused (111)",
            ),
            (ConnectTimeout(), "s_connect: s_poll_wait 192.0.2.1:113: TIMEOUTconnect exceeded"),
            (TCPTimedOutError(osError=110), "s_connect: connect 192.0.2.1:113: Connection timed out (110)"),
        ],
    )
    def test_no_server(self, error: Exception, text: str) -> None:
        """Where there is no server nobody is named."""
        factory = self.reactor.tcpClients[0][2]
        connector: Any = None
        factory.clientConnectionFailed(connector, Failure(error))
        assert self.unknown() == (3, text)

    def test_unix(self) -> None:
        """A unix socket's client has no machine to ask."""
        self.ask("/run/x")
        assert self.unknown() == (3, "IDENT not supported on Unix sockets")

    def test_gone(self) -> None:
        """Nobody is asked any more once that is not wanted."""
        self.connect()
        self.asking.cancel()
        assert self.transport.disconnected and not self.reactor.getDelayedCalls()
