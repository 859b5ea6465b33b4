"""Tests for meshd.tls.starttls."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from meshd.tls.starttls import StartTLSLink
from tests.tls.pair import Head, Pair, World, info_of


class StartTlsTests(SynchronousTestCase):
    """A connection that begins in clear text."""

    def setUp(self) -> None:
        self.world = World()
        self.terms = self.world.server()
        self.client_terms = self.world.client()

    def connect(self, pump: bool = True) -> Pair:
        pair = self.world.connect_clear(self.terms, self.client_terms)
        return pair.pump() if pump else pair

    def test_clear_text(self) -> None:
        """Until somebody asks for TLS everything passes as it is, from the start."""
        pair = self.connect()
        self.assertTrue(pair.server.upstream.connected and pair.client.upstream.connected)
        pair.server.say(b"220 ready\r\n")
        pair.client.say(b"EHLO\r\n")
        pair.pump()
        self.assertEqual(pair.client.plaintext, b"220 ready\r\n")
        self.assertEqual(pair.server.plaintext, b"EHLO\r\n")
        pair.client.upstream.transport.loseWriteConnection()
        pair.pump()
        self.assertTrue(pair.server.upstream.half_closed)
        self.assertFalse(pair.server.dropped)

    def test_secured(self) -> None:
        """From then on it is TLS; what was written meanwhile comes first, and who asked is told."""
        pair = self.connect()
        told: list[str] = []
        self.assertTrue(pair.server.start_secure_transport())
        pair.server.on_secured(lambda: told.append("server"))
        self.assertTrue(pair.client.start_secure_transport())

        def go_on() -> None:
            told.append("client")
            pair.client.say(b" and two")

        pair.client.on_secured(go_on)
        pair.client.say(b"one")
        pair.pump(7)
        self.assertEqual(sorted(told), ["client", "server"])
        self.assertEqual(pair.server.plaintext, b"one and two")
        self.assertNotIn(b"one", pair.client.wire.written)
        self.assertEqual(info_of(pair.server).tls.version, "TLSv1.3")
        pair.server.say(b"answer")
        pair.server.upstream.transport.loseWriteConnection()
        pair.pump()
        self.assertEqual(pair.client.plaintext, b"answer")
        self.assertTrue(pair.client.upstream.half_closed)
        self.assertFalse(pair.client.dropped)

    def test_once(self) -> None:
        """TLS is begun once, and not on a connection that is over."""
        pair = self.connect()
        self.assertTrue(pair.server.start_secure_transport())
        self.assertFalse(pair.server.start_secure_transport())
        pair.client.reset()
        self.assertFalse(Head(StartTLSLink(self.terms)).link._dead)
        self.assertFalse(pair.client.link.start())

    def test_early(self) -> None:
        """Bytes of the handshake that came with the last clear text are not lost."""
        pair = self.connect()
        pair.client.start_secure_transport()
        self.world.clock.advance(0)
        hello = pair.client.wire.written
        pair._sent[id(pair.client)] = len(hello)
        self.assertTrue(pair.server.start_secure_transport(hello))
        pair.pump()
        pair.client.say(b"secret")
        pair.pump()
        self.assertEqual(pair.server.plaintext, b"secret")

    def test_written_before_the_session(self) -> None:
        """What a server writes before the ClientHello has come waits, and stays secret."""
        pair = self.connect()
        pair.server.start_secure_transport()
        pair.server.say(b"waits")
        self.assertEqual(pair.server.wire.written, b"")
        pair.client.start_secure_transport()
        pair.pump()
        self.assertEqual(pair.client.plaintext, b"waits")

    def test_closed_before_the_session(self) -> None:
        """A half-close before the handshake comes after it."""
        pair = self.connect()
        pair.server.start_secure_transport()
        pair.server.say(b"waits")
        pair.server.upstream.transport.loseWriteConnection()
        pair.client.start_secure_transport()
        pair.pump()
        self.assertEqual(pair.client.plaintext, b"waits")
        self.assertTrue(pair.client.upstream.half_closed)

    def test_failure(self) -> None:
        """A handshake that fails ends the connection, and those inside are told of that."""
        pair = self.connect()
        pair.server.start_secure_transport()
        pair.client.say(b"still clear text\r\n")
        pair.pump()
        self.assertTrue(pair.server.dropped)
        self.assertEqual(pair.server.plaintext, b"")
        self.assertIsNotNone(info_of(pair.server).tls_error)
        pair.server.close()
        self.assertIsNotNone(pair.server.upstream.lost)

    def test_time_out(self) -> None:
        """The time for the handshake runs from when TLS was asked for."""
        pair = self.connect()
        self.world.clock.advance(100)
        self.assertFalse(pair.server.dropped)
        pair.server.start_secure_transport()
        self.world.clock.advance(15)
        self.assertTrue(pair.server.dropped)

    def test_cut_short(self) -> None:
        """A FIN where the handshake was due ends the connection."""
        pair = self.connect()
        pair.server.start_secure_transport()
        pair.server.readConnectionLost()
        self.assertTrue(pair.server.dropped)

    def test_under_review(self) -> None:
        """What is written waits until the peer's certificate has been asked about, and stays in order."""
        asking: Deferred[str] = Deferred()
        self.terms.review = lambda link, ssl: asking  # type: ignore[method-assign]
        pair = self.connect()
        pair.server.start_secure_transport()
        pair.server.say(b"one ")
        pair.client.start_secure_transport()
        pair.pump()
        pair.server.say(b"two")
        pair.server.upstream.transport.loseWriteConnection()
        pair.pump()
        self.assertEqual(pair.client.plaintext, b"")
        asking.callback("")
        pair.pump()
        self.assertEqual(pair.client.plaintext, b"one two")
        self.assertTrue(pair.client.upstream.half_closed)
