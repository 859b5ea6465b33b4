"""Tests for meshd.filters.network.stunnel.relay."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from twisted.logger import globalLogPublisher

from meshd.filters.network.stunnel import stunnel_relay
from meshd.filters.network.stunnel.relay import CLUSTER_KEY, FIRST_KEY, TARGET_KEY, Relay
from meshd.filters.network.stunnel.tunnel import Tunnel
from meshd.observe.info import ConnectionInfo
from meshd.testing import FakeClient, FakeContext
from meshd.testing.client import SERVER, FakeWire
from tests.filters.network.stunnel.heard import Heard
from tests.filters.network.stunnel.test_tunnel import connecting


def facts(**known: Any) -> Any:
    """Return what came of a handshake."""
    plain = {"resumed": False, "psk_identity": "", "version": "TLSv1.2", "cipher": "x", "verify_error": ""}
    return SimpleNamespace(**{**plain, "session_id": "", "peer": None, "verified": False, **known})


@contextmanager
def patched(owner: type[Any], **attributes: Any) -> Iterator[None]:
    """Have class attributes be something else for a while."""
    before = {name: getattr(owner, name) for name in attributes}
    for name, value in attributes.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)


class Upstream:
    """What a tunnel knows of the connection to where it goes."""

    last_active = 0.0
    tls_error: Any = None
    aborted = closed = False

    def abort(self) -> None:
        """Take note."""
        self.aborted = True

    def close_now(self) -> None:
        """Take note."""
        self.closed = True


class TestRelay:
    """The link inside TLS."""

    def setup_method(self) -> None:
        """Listen."""
        self.heard = Heard()
        globalLogPublisher.addObserver(self.heard)
        self.context = FakeContext()

    def teardown_method(self) -> None:
        """Listen no more."""
        globalLogPublisher.removeObserver(self.heard)

    def client(self, tls: Any = None, **config: Any) -> FakeClient:
        """Return a client behind the link."""
        info = ConnectionInfo(("192.0.2.1", 4000), ("192.0.2.2", 443))
        info.tls = tls
        build = stunnel_relay.configure(Relay(**{"service": "s", "level": 7, **config}), self.context)
        client = FakeClient(build(), info=info)
        self.tunnel: Tunnel = client.info.witness
        self.tunnel.upstream = self.upstream = Upstream()
        self.tunnel.stands = True
        return client

    def test_bytes(self) -> None:
        """Bytes are passed on and counted, by the side that has TLS."""
        client = self.client()
        client.send(b"hello")
        client.upstream.transport.write(b"hi")
        assert (client.upstream.received, client.received) == (b"hello", b"hi")
        assert (self.tunnel.to_socket, self.tunnel.to_tls) == (5, 2)
        client = self.client(client=True)
        client.send(b"hello")
        client.upstream.transport.writeSequence([b"h", b"i"])
        assert (self.tunnel.to_socket, self.tunnel.to_tls) == (2, 5)

    def test_idle(self) -> None:
        """A connection on which nothing moves is reset on both sides."""
        client = self.client(timeout_idle=timedelta(seconds=5))
        self.context.clock.advance(4)
        client.last_active = 4.0
        self.context.clock.advance(4)
        assert not client.dropped
        self.context.clock.advance(1.1)
        assert client.was_reset and self.upstream.aborted
        assert (6, "transfer: s_poll_wait: TIMEOUTidle exceeded: sending reset") in self.heard.lines

    def test_idle_without_reset(self) -> None:
        """With reset = no it is closed."""
        client = self.client(timeout_idle=timedelta(seconds=5), reset=False)
        self.context.clock.advance(6)
        assert client.dropped and not client.was_reset and self.upstream.closed

    def test_close_timeout(self) -> None:
        """After one side has ended the other has a time to follow."""
        client = self.client(timeout_close=timedelta(seconds=5))
        client.half_close()
        assert client.upstream.half_closed
        self.context.clock.advance(6)
        assert client.dropped and not client.was_reset and self.upstream.closed
        assert (3, "transfer: s_poll_wait: TIMEOUTclose exceeded: closing") in self.heard.lines
        client.info.detected_close_type = "RemoteReset"  # the peer was gone by then: that is no error
        self.tunnel.over(client.info)
        assert not any("reset by peer" in text for _, text in self.heard.lines)

    def test_ends(self) -> None:
        """Each end of a direction is told once; the side says how."""
        client = self.client()
        client.half_close()
        client.upstream.transport.loseWriteConnection()
        texts = [line for _, line in self.heard.lines]
        assert "TLS closed (SSL_read)" in texts and "Read socket closed (readsocket)" in texts
        assert client.wire.finished

    def test_upstream_error(self) -> None:
        """A TLS error of the server's side resets the client."""
        client = self.client(client=True)
        self.upstream.tls_error = SimpleNamespace(
            operation="SSL_read", code=5, reason="bad record mac", detail=""
        )
        client.upstream.transport.loseConnection()
        assert client.was_reset
        assert (3, "SSL_read: error:00000005:SSL routines::bad record mac") in self.heard.lines

    def test_destination(self) -> None:
        """It goes to where the client wanted to go, if that is known; else nowhere."""
        client = self.client(original_destination=True)
        assert client.info.filter_state[TARGET_KEY] == client.info.local == SERVER
        with patched(FakeWire, original=OSError(92, "x")):
            client = self.client(original_destination=True)
        assert TARGET_KEY not in client.info.filter_state
        assert (3, "getsockopt SO_ORIGINAL_DST: Protocol not available (92)") in self.heard.lines
        client.upstream.transport.loseConnection()
        assert client.was_reset

    def test_persistence(self) -> None:
        """A client that resumes a session of the server's cache goes where it went."""
        relays = stunnel_relay.configure(Relay(service="s", level=7, persistence=True), self.context)
        host = connecting(host=SimpleNamespace(address=("192.0.2.9", 80)))

        def come(session: str, resumed: bool) -> Any:
            info = ConnectionInfo(("192.0.2.1", 4000), ("192.0.2.2", 443))
            info.tls = facts(session_id=session, resumed=resumed)
            client = FakeClient(relays(), info=info)
            client.info.witness.connected(host)
            return info.filter_state.get(FIRST_KEY)

        assert come("a", False) is None
        assert (6, "persistence: 192.0.2.9:80 cached") in self.heard.lines
        assert come("a", True) == ("192.0.2.9", 80)
        assert (6, "persistence: 192.0.2.9:80 reused") in self.heard.lines
        self.heard.lines.clear()
        assert come("b", True) is None and come("b", True) is None and come("", False) is None
        said = [line for line in self.heard.lines if "persistence" in line[1]]
        assert said == [(5, "persistence: No cached address found")] * 2

    def test_nowhere(self) -> None:
        """Where nobody could be connected to the client is reset."""
        client = self.client()
        self.tunnel.stands = False
        client.upstream.transport.loseConnection()
        assert client.was_reset
        assert (3, "No more addresses to connect") in self.heard.lines

    def test_good_end(self) -> None:
        """A connection that was good is closed."""
        client = self.client()
        client.upstream.transport.loseConnection()
        assert client.dropped and not client.was_reset

    def test_broken_tls(self) -> None:
        """TLS that breaks on the client's side resets the other."""
        client = self.client()
        client.info.tls_error = object()
        client.close()
        assert self.upstream.aborted

    def test_redirect(self) -> None:
        """A client without a good certificate goes elsewhere."""
        facts = {
            "resumed": False,
            "psk_identity": "",
            "version": "TLSv1.3",
            "cipher": "x",
            "verify_error": "",
        }
        client = self.client(SimpleNamespace(peer=None, verified=False, **facts), redirect="other")
        assert client.info.filter_state[CLUSTER_KEY] == "other"
        assert (5, "Redirecting connection") in self.heard.lines
        peer = SimpleNamespace(subject="CN=a")
        client = self.client(SimpleNamespace(peer=peer, verified=True, **facts), redirect="other")
        assert CLUSTER_KEY not in client.info.filter_state

    def test_sni(self) -> None:
        """A client that was sent here by its server name is from now on of this service."""
        info = ConnectionInfo(("192.0.2.1", 4000), ("192.0.2.2", 443))
        info.server_name = "a.b"
        info.witness = tunnel = Tunnel("first", False, 7, "sequential")
        build = stunnel_relay.configure(Relay(service="s", level=7, pattern="*.b"), self.context)
        FakeClient(build(), info=info)
        assert (5, "SNI: switched to service [s]") in self.heard.lines
        assert tunnel.service == "s"

    def test_sni_unknown(self) -> None:
        """A name that no service has is told."""
        info = ConnectionInfo(("192.0.2.1", 4000), ("192.0.2.2", 443))
        info.server_name = "a.b"
        info.witness = Tunnel("s", False, 7, "sequential")
        FakeClient(stunnel_relay.configure(Relay(service="s", virtual=True), self.context)(), info=info)
        assert (3, "SNI: no pattern matched servername: a.b") in self.heard.lines
