"""Tests for meshd.filters.network.stunnel.accept."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.testing import StringTransport
from twisted.logger import globalLogPublisher

from meshd.filters.network.stunnel import accept, stunnel_accept, wrappers
from meshd.filters.network.stunnel.accept import Accept
from meshd.interfaces import Refused
from meshd.observe.info import ConnectionInfo
from meshd.plugin import ConfigError
from meshd.testing import FakeContext
from tests.filters.network.stunnel.heard import Heard


class TestAccept:
    """The beginning of connections."""

    def setup_method(self) -> None:
        """Listen."""
        self.heard = Heard()
        globalLogPublisher.addObserver(self.heard)
        self.context = FakeContext()

    def teardown_method(self) -> None:
        """Listen no more."""
        globalLogPublisher.removeObserver(self.heard)

    def accept(self, remote: Any = ("192.0.2.1", 4000), **config: Any) -> ConnectionInfo:
        """Return the info of a connection that was accepted."""
        info = ConnectionInfo(remote, ("192.0.2.2", 443))
        inspector = stunnel_accept.configure(Accept(**{"service": "s", "level": 7, **config}), self.context)()
        assert inspector.inspect(b"", info) == 0
        return info

    def test_lines(self) -> None:
        """It is told who came, and counted until it is over."""
        info = self.accept()
        assert self.heard.lines == [
            (7, "Service [s] started"),
            (5, "Service [s] accepted connection from 192.0.2.1:4000"),
            (6, "Peer certificate not required"),
        ]
        assert self.context.stats["stunnel.s.connections"] == 1
        assert info.witness is not None
        info.witness.over(info)
        assert self.heard.lines[-1] == (7, "Service [s] finished (0 left)")
        assert self.context.stats["stunnel.s.connections"] == 0

    def test_unix(self) -> None:
        """A unix socket's client has no name."""
        self.accept("/run/x", client=True)
        assert self.heard.lines[-1] == (5, "Service [s] accepted connection from unnamed socket")

    def test_program(self) -> None:
        """The runs of a program have one number, and one below it."""
        config = Accept(service="s", program=True)
        inspector = stunnel_accept.configure(config, self.context)()
        ids = []
        for _ in range(2):
            info = ConnectionInfo("", "")
            inspector.inspect(b"", info)
            ids.append(info.witness.id)  # type: ignore[union-attr]
        first, second = (each.split("_") for each in ids)
        assert first[0] == second[0] and (first[1], second[1]) == ("0", "1")

    def test_quiet(self) -> None:
        """Nothing is said to whom it does not interest."""
        self.accept(level=4)
        assert self.heard.lines == []


class Rules:
    """In the place of TCP wrappers."""

    def __init__(self, permitted: bool) -> None:
        self.permitted = permitted

    def permits(self, daemon: str, remote: Any, local: Any) -> bool:
        """Answer the same to everybody."""
        return self.permitted


class Pool:
    """Runs what is for a thread at once."""

    def callInThreadWithCallback(self, result: Any, call: Any, *args: Any) -> None:
        """Run it."""
        result(True, call(*args))


class TestAdmission:
    """Clients that others are asked about."""

    def setup_method(self) -> None:
        """Listen; have threads that are none."""
        self.heard = Heard()
        globalLogPublisher.addObserver(self.heard)
        self.context = FakeContext()
        reactor: Any = self.context.reactor
        reactor.getThreadPool = Pool
        reactor.callFromThread = lambda call, *args: call(*args)

    def teardown_method(self) -> None:
        """Listen no more."""
        globalLogPublisher.removeObserver(self.heard)

    def admit(self, remote: Any = ("192.0.2.1", 4000), **config: Any) -> Any:
        """Return what is said about a connection, a Deferred."""
        self.info = ConnectionInfo(remote, ("192.0.2.2", 443))
        config = {"service": "s", "level": 7, **config}
        return stunnel_accept.configure(Accept(**config), self.context)().inspect(b"", self.info)

    @pytest.mark.parametrize("reset", [True, False])
    def test_wrappers(self, monkeypatch: pytest.MonkeyPatch, reset: bool) -> None:
        """TCP wrappers may be against a client."""
        monkeypatch.setattr(accept, "Wrappers", lambda: Rules(False))
        failure = self.errback(self.admit(libwrap=True, reset=reset))
        assert failure.check(Refused) and failure.value.reset is reset
        assert self.heard.lines == [
            (7, "Service [s] started"),
            (4, "Service [s] REFUSED by libwrap from 192.0.2.1:4000"),
        ]
        assert self.info.witness is not None
        self.info.witness.over(self.info)
        how = "reset" if reset else "closed"
        assert self.heard.lines[2][1] == f"Connection {how}: 0 byte(s) sent to TLS, 0 byte(s) sent to socket"

    def test_permitted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """If they are not it goes on; about a unix socket's client they are not asked."""
        monkeypatch.setattr(accept, "Wrappers", lambda: Rules(True))
        assert self.callback(self.admit(libwrap=True)) == 0
        assert [line for _, line in self.heard.lines][1:3] == [
            "Service [s] permitted by libwrap from 192.0.2.1:4000",
            "Service [s] accepted connection from 192.0.2.1:4000",
        ]
        monkeypatch.setattr(accept, "Wrappers", lambda: Rules(False))
        assert self.callback(self.admit("/run/x", libwrap=True)) == 0

    def test_no_library(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without the library the option is refused, by its name."""
        monkeypatch.setattr(wrappers, "LIBRARY", "libnosuch.so.0")
        with pytest.raises(ConfigError, match='"libwrap = yes" needs'):
            self.admit(libwrap=True)

    @pytest.mark.parametrize(("user", "text"), [("bob", "passed"), ("eve", 'REFUSED by IDENT (user "eve")')])
    def test_ident(self, user: str, text: str) -> None:
        """Only the user that is wanted may come."""
        answer = self.admit(ident="bob")
        protocol: Any = self.context.reactor.tcpClients[0][2].buildProtocol(None)
        protocol.makeConnection(StringTransport())
        protocol.dataReceived(f"1 , 2 : USERID : UNIX : {user}\r\n".encode())
        if user == "bob":
            assert self.callback(answer) == 0
        else:
            assert self.errback(answer).check(Refused)
        assert any(line.endswith(text) for _, line in self.heard.lines)

    def test_no_ident(self) -> None:
        """Who cannot be asked about may not come."""
        assert self.errback(self.admit("/run/x", ident="bob")).check(Refused)
        assert self.heard.lines[-1] == (3, "IDENT not supported on Unix sockets")

    def callback(self, answer: Any) -> Any:
        """Return what a Deferred has."""
        found: list[Any] = []
        answer.addCallback(found.append)
        return found[0]

    def errback(self, answer: Any) -> Any:
        """Return the Failure that a Deferred has."""
        found: list[Any] = []
        answer.addErrback(found.append)
        return found[0]
