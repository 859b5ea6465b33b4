"""Tests for meshd.upstream.dialogue."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from meshd.config.records import read_record
from meshd.discover import find_plugins
from meshd.filter import NetworkFilter
from meshd.observe.info import ConnectionInfo
from meshd.plugin import ConfigError
from meshd.testing import CLIENT, FakeClient, FakeContext
from meshd.upstream.dialogue import Dialogue, dialogue
from tests.upstream.dialling import DiallingCase, Handshake

INSIDE = {"name": "envoy.transport_sockets.raw_buffer"}


class Tls(NetworkFilter):
    """Stands for TLS: it begins with a word, and is done when it is answered."""

    def connectionMade(self) -> None:
        self.transport.write(b"<hello>")

    def dataReceived(self, data: bytes) -> None:
        if data.endswith(b">"):
            self.leave()
            self.inner.connectionMade()


class Host(FakeClient):
    """A host that the proxy has connected to."""

    greeting = b""
    failure_reason = ""
    reset_client: bool | None = None


def links(**config: Any) -> list[Any]:
    """Return the links of a config, with TLS inside."""
    context = FakeContext()
    context.transport_links = [Tls]
    record = read_record(Dialogue, {"transport_socket": INSIDE, **config})
    return [build() for build in dialogue.configure(record, context)]


def connected(local: Any = ("192.0.2.9", 4711), **config: Any) -> Host:
    """Return a host that a connection with the config was made to, for a client that came to local."""
    return Host(*links(**config), info=ConnectionInfo(CLIENT, local))


class DialogueTests(SynchronousTestCase):
    """Speaking with a host."""

    def test_tls(self) -> None:
        """TLS begins after the dialogue, and those inside hear of the connection after it."""
        host = connected(protocol="smtp")
        host.send(b"220 mx\r\n250 mx\r\n220 go\r\n")
        self.assertEqual(host.received, b"EHLO localhost\r\nSTARTTLS\r\n<hello>")
        self.assertEqual(host.greeting, b"220 mx\r\n")
        self.assertFalse(host.upstream.connected)
        host.dataReceived(b"<hello>")
        self.assertTrue(host.upstream.connected)
        self.assertIs(host.inner, host.upstream)

    def test_in_one_piece(self) -> None:
        """What comes with the last word is TLS already."""
        host = connected(protocol="pgsql")
        host.dataReceived(b"S<hello>")
        self.assertTrue(host.upstream.connected)

    def test_protocols(self) -> None:
        """Each protocol begins with its own first word; where the host is to begin, with none."""
        first = {
            "smtp": b"",
            "pop3": b"",
            "imap": b"",
            "nntp": b"",
            "ldap": b"\x30\x1d",
            "pgsql": b"\0\0",
            "cifs": b"\x81\0",
        }
        for protocol, word in first.items():
            self.assertEqual(connected(protocol=protocol).received[:2], word, protocol)

    def test_refused(self) -> None:
        """A host that does no TLS is reset, the client to be, too; the reason is kept."""
        host = connected(protocol="smtp")
        host.send(b"220 mx\r\n502 no\r\n")
        self.assertTrue(host.was_reset)
        self.assertTrue(host.reset_client)
        self.assertIn("EHLO", host.failure_reason)
        self.assertEqual(host.greeting, b"220 mx\r\n")
        host.close()
        self.assertIsNone(host.upstream.lost)

    def test_no_reset(self) -> None:
        """The config may ask for no resets."""
        host = connected(protocol="pgsql", reset=False)
        host.send(b"N")
        self.assertTrue(host.dropped)
        self.assertFalse(host.was_reset or host.reset_client)

    def test_refused_orderly(self) -> None:
        """Where the client is told why, it can read so."""
        host = connected(protocol="imap")
        host.send(b"* OK\r\nstunnel NO\r\n")
        self.assertFalse(host.was_reset)
        self.assertIs(host.reset_client, False)
        self.assertTrue(host.greeting.endswith(b"* BYE stunnel: Server does not support TLS\r\n"))

    def test_ended(self) -> None:
        """A host that goes away in the middle fails the dialogue."""
        host = connected(protocol="smtp")
        host.half_close()
        self.assertEqual(host.failure_reason, "the server closed the connection unexpectedly")

    def test_endless_greeting(self) -> None:
        """A greeting is kept for the client only up to a limit."""
        host = connected(protocol="smtp")
        for _ in range(2):
            host.dataReceived(b"220-" + b"x" * 40_000 + b"\r\n")
        self.assertEqual(host.failure_reason, "the greeting of the server is too long")
        self.assertTrue(host.was_reset)

    def test_connect(self) -> None:
        """A proxy is asked for a target, with what the config says."""
        host = connected(
            protocol="connect",
            host="here.example:443",
            username="me",
            password="x",
            headers=["X-A: b"],
        )
        self.assertEqual(
            host.received,
            b"CONNECT here.example:443 HTTP/1.1\r\nHost: here.example:443\r\n"
            b"Proxy-Authorization: basic bWU6eA==\r\nX-A: b\r\n\r\n",
        )
        host.send(b"HTTP/1.1 200 OK\r\n\r\n")
        self.assertTrue(host.received.endswith(b"<hello>"))

    def test_ntlm(self) -> None:
        """A proxy may want NTLM."""
        host = connected(
            protocol="connect", host="here.example:443", username="me", password="x", authentication="ntlm"
        )
        self.assertIn(b"Proxy-Authorization: NTLM ", host.received)


class InsideTests(SynchronousTestCase):
    """What is spoken inside of TLS."""

    def test_login(self) -> None:
        """After TLS stands the client is logged in; only then those inside hear of the connection."""
        host = connected(protocol="smtp", username="user", password="pass", host="my.name")
        host.send(b"220 mx\r\n250 mx\r\n220 go\r\n")
        host.dataReceived(b"<hello>")
        self.assertTrue(host.received.endswith(b"<hello>HELO my.name\r\n"))
        host.send(b"250 mx\r\n")
        self.assertTrue(host.received.endswith(b"AUTH PLAIN AHVzZXIAcGFzcw==\r\n"))
        self.assertFalse(host.upstream.connected)
        host.dataReceived(b"235 ok\r\nmore")
        self.assertTrue(host.upstream.connected)
        self.assertEqual(host.upstream.received, b"more")

    def test_socks(self) -> None:
        """SOCKS begins inside of TLS."""
        host = connected(protocol="socks", host="here.example:443")
        self.assertEqual(host.received, b"<hello>")
        host.dataReceived(b"<hello>")
        self.assertEqual(host.received, b"<hello>\5\1\0")
        host.send(b"\5\0")
        self.assertTrue(host.received.endswith(b"\5\1\0\3\x0chere.example\x01\xbb"))
        host.send(b"\5\0\0\1" + bytes(6))
        self.assertTrue(host.upstream.connected)

    def test_socks_where_the_client_wanted(self) -> None:
        """Without a target in the config it is where the client had connected to."""
        host = connected(protocol="socks")
        host.dataReceived(b"<hello>")
        host.send(b"\5\0")
        self.assertTrue(host.received.endswith(b"\5\1\0\1\xc0\0\x02\x09\x12\x67"))

    def test_socks_unix(self) -> None:
        """A client that came to a unix socket wanted to go nowhere."""
        host = connected(protocol="socks", local="/run/front")
        host.dataReceived(b"<hello>")
        self.assertIn("no IP address", host.failure_reason)


class ConfigTests(SynchronousTestCase):
    """What the config may say."""

    def refused(self, **config: Any) -> tuple[Any, ...]:
        """Return the path of the error that a config has."""
        with self.assertRaises(ConfigError) as caught:
            links(**config)
        error: Any = caught.exception
        return tuple(error.path)

    def test_meaningless(self) -> None:
        """What means nothing to the protocol is not ignored, but an error."""
        self.assertEqual(self.refused(protocol="pop3", host="x"), ("host",))
        self.assertEqual(self.refused(protocol="imap", username="x"), ("username",))
        self.assertEqual(self.refused(protocol="smtp", domain="x"), ("domain",))
        self.assertEqual(self.refused(protocol="smtp", headers=["a: b"]), ("headers",))

    def test_wrong(self) -> None:
        """Hosts without ports, methods that are none, and lines in lines are errors."""
        self.assertEqual(self.refused(protocol="connect"), ("host",))
        self.assertEqual(self.refused(protocol="connect", host="x:99999"), ("host",))
        self.assertEqual(self.refused(protocol="socks", host="x"), ("host",))
        self.assertEqual(self.refused(protocol="smtp", authentication="ntlm"), ("authentication",))
        self.assertEqual(self.refused(protocol="connect", host="x:1", headers=["a: b\r\nc"]), ("headers", 0))
        self.assertEqual(self.refused(protocol="smtp", host="x\r\nRSET"), ("host",))
        self.assertEqual(self.refused(protocol="proxy"), ("protocol",))

    def test_discovered(self) -> None:
        """It is found by its name, for clusters."""
        self.assertIs(find_plugins().transport_socket["meshd.transport_sockets.dialogue"], dialogue)

    def test_bad_inside(self) -> None:
        """An error of the transport socket inside has its path."""

        class Context(FakeContext):
            def transport_socket(self, config: Any) -> Any:
                raise ConfigError("no", "name")

        record = read_record(Dialogue, {"protocol": "smtp", "transport_socket": INSIDE})
        with self.assertRaises(ConfigError) as caught:
            dialogue.configure(record, Context())
        self.assertEqual(caught.exception.path, ("transport_socket", "name"))


class ConnectionTests(DiallingCase):
    """A real connection over loopback."""

    def links(self, protocol: str) -> list[Any]:
        """Return what makes the links, with a handshake inside."""
        context = FakeContext()
        context.transport_links = [Handshake]
        return list(
            dialogue.configure(
                read_record(Dialogue, {"protocol": protocol, "transport_socket": INSIDE}), context
            )
        )

    def test_greeting(self) -> None:
        """The caller gets the greeting once the connection stands, before all else."""
        self.connect(self.cluster(links=self.links("smtp")))
        host = self.keep(self.listening.accept()[0])
        host.sendall(b"220 mx\r\n250 mx\r\n220 go\r\n")
        sent = b"EHLO localhost\r\nSTARTTLS\r\nhello?"
        received = b""
        while len(received) < len(sent):
            self.loop.turn()
            host.setblocking(False)
            try:
                received += host.recv(100)
            except BlockingIOError:
                pass
        self.assertEqual(received, sent)
        self.assertEqual(self.caller.events, [])
        host.sendall(b"hello")
        self.until("made")
        self.assertEqual(self.caller.data, b"220 mx\r\n")
        host.sendall(b"more")
        self.loop.until(lambda: len(self.caller.data) > 8)
        self.assertEqual(self.caller.data, b"220 mx\r\nmore")
        self.caller.transport.loseConnection()
        self.until("made", "lost")

    def test_failure(self) -> None:
        """The greeting goes with the failure, and that the client is to be reset."""
        self.connect(self.cluster(links=self.links("smtp")))
        host = self.keep(self.listening.accept()[0])
        host.sendall(b"220 mx\r\n502 no\r\n")
        self.until("failed")
        error = self.caller.error
        assert error is not None
        self.assertEqual((error.greeting, error.reset), (b"220 mx\r\n", True))
        self.assertIn("EHLO", str(error))
