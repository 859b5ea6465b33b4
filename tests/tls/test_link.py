"""Tests for meshd.tls.link."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from meshd.filter import NetworkFilter
from meshd.tls.link import TLSLink
from tests.tls.pair import TLS_1_2, TLS_1_3, Head, Pair, World, info_of, parameters

BAD_RECORD = b"\x17\x03\x03\x00\x20" + b"?" * 32


class LinkCase(SynchronousTestCase):
    """A server and a client of TLS, and the wire between them."""

    version = TLS_1_3

    def setUp(self) -> None:
        self.world = World()
        self.terms = self.world.server(parameters=self.parameters())
        self.client_terms = self.world.client(parameters=self.parameters())

    def parameters(self, **settings: Any) -> Any:
        """Return parameters with this class's version."""
        return parameters(min_version=self.version, max_version=self.version, **settings)

    def connect(self, pump: bool = True) -> Pair:
        """Return a connection."""
        return self.world.connect(self.terms, self.client_terms, pump)


class HandshakeTests(LinkCase):
    """Until there is plaintext."""

    def test_made_after_the_handshake(self) -> None:
        """Those inside are told of a connection when the handshake is done, not before."""
        pair = self.connect(False)
        self.assertFalse(pair.server.upstream.connected)
        self.world.clock.advance(0)
        self.assertFalse(pair.client.upstream.connected)
        pair.pump()
        self.assertTrue(pair.server.upstream.connected)
        self.assertTrue(pair.client.upstream.connected)
        self.assertEqual(info_of(pair.server).tls.server_name, "")

    def test_first_data(self) -> None:
        """What comes in one piece with the end of the handshake goes inward after connectionMade."""
        pair = self.connect(False)
        told: list[str] = []

        class First(NetworkFilter):
            def connectionMade(self) -> None:
                told.append("made")
                self.inner.connectionMade()
                self.write(b"hello")

            def dataReceived(self, data: bytes) -> None:
                told.append(data.decode())

            def readConnectionLost(self) -> None:
                told.append("end")

        pair.server = Head(TLSLink(self.terms), First())
        pair.client = Head(TLSLink(self.client_terms), First())
        pair = Pair(self.world.clock, pair.server, pair.client)
        for _ in range(4):
            self.world.clock.advance(0)
            pair.carry(pair.client)
            self.world.clock.advance(0)
            pair.carry(pair.server)
        pair.pump()
        self.assertEqual(told, ["made", "made", "hello", "hello"])

    def test_end_of_data_with_the_handshake(self) -> None:
        """A client whose close_notify and FIN come with the end of its handshake is heard to the end."""
        pair = self.connect(False)

        def say_all() -> None:
            pair.client.say(b"all")
            pair.client.upstream.transport.loseConnection()

        pair.client.upstream.connectionMade = say_all
        pair.pump()
        self.assertTrue(pair.server.upstream.connected)
        self.assertEqual(pair.server.plaintext, b"all")
        self.assertTrue(pair.server.upstream.half_closed)

    def test_waiting_turn(self) -> None:
        """A handshake that waits for its turn goes on with all that came, though the FIN came too."""
        for _ in range(20):
            self.world.handshakes.take(lambda: None)
        pair = self.connect(False)
        self.world.clock.advance(0)
        hello = pair.client.wire.written
        for byte in hello:
            for _ in range(20):
                self.world.handshakes.take(lambda: None)
            pair.server.dataReceived(bytes([byte]))
        self.assertEqual(pair.server.wire.written, b"")
        pair.server.readConnectionLost()
        self.assertFalse(pair.server.dropped)
        self.world.clock.advance(0)
        self.assertGreater(len(pair.server.wire.written), 500)
        self.assertTrue(pair.server.dropped)
        self.assertEqual(info_of(pair.server).tls_error.reason, "unexpected eof while reading")

    def test_lost_while_waiting(self) -> None:
        """A step of a connection that is gone does nothing."""
        for _ in range(20):
            self.world.handshakes.take(lambda: None)
        pair = self.connect(False)
        pair.client.reset()
        pair.server.reset()
        pair.pump()
        self.assertEqual((pair.client.wire.written, pair.server.wire.written), (b"", b""))

    def test_not_told_of_the_end(self) -> None:
        """Who was not told of a connection is not told of its end."""
        pair = self.connect(False)
        pair.server.reset()
        self.assertIsNone(pair.server.upstream.lost)

    def test_clear_text(self) -> None:
        """Clear text ends the connection, and the info says why."""
        server = Head(TLSLink(self.terms))
        server.dataReceived(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        self.assertTrue(server.dropped)
        self.assertFalse(server.was_reset)
        self.assertFalse(server.upstream.connected)
        info = info_of(server)
        self.assertEqual(info.tls_error.operation, "SSL_accept")
        self.assertIn("HTTP_REQUEST", info.transport_failure_reason)
        self.assertEqual(self.world.server_scope["ssl.connection_error"], 1)
        server.dataReceived(b"more")
        self.assertEqual(self.world.server_scope["ssl.connection_error"], 1)

    def test_nothing_but_a_fin(self) -> None:
        """A client that connects and goes is no error of TLS, but is closed."""
        server = Head(TLSLink(self.terms))
        server.readConnectionLost()
        self.assertTrue(server.dropped)
        self.assertEqual(self.world.server_scope["ssl.connection_error"], 0)
        self.assertEqual(info_of(server).tls_error.reason, "unexpected eof while reading")

    def test_cut_short(self) -> None:
        """A FIN in the middle of a handshake ends it on either side."""
        pair = self.connect(False)
        self.world.clock.advance(0)
        pair.carry(pair.client, most=100)
        pair.server.readConnectionLost()
        self.assertTrue(pair.server.dropped)
        pair.client.readConnectionLost()
        self.assertTrue(pair.client.dropped)
        self.assertEqual(pair.client.tls_error.operation, "SSL_connect")
        self.assertIn("UNEXPECTED_EOF_WHILE_READING", pair.client.failure_reason)

    def test_alert_of_the_peer(self) -> None:
        """Who is sent an alert says which."""
        pair = self.connect(False)
        self.world.clock.advance(0)
        pair.client.dataReceived(b"\x15\x03\x03\x00\x02\x02\x28")
        self.assertIn("ALERT_HANDSHAKE_FAILURE", pair.client.failure_reason)
        self.assertEqual(self.world.client_scope["ssl.connection_error"], 1)
        self.assertTrue(pair.client.dropped)

    def test_time_out(self) -> None:
        """A handshake that dawdles is cut off when its time is over, however many bytes come."""
        pair = self.connect(False)
        self.world.clock.advance(0)
        hello = pair.client.wire.written
        for byte in hello[:14]:
            self.world.clock.advance(1)
            pair.server.dataReceived(bytes([byte]))
        self.assertFalse(pair.server.dropped)
        self.world.clock.advance(1)
        self.assertTrue(pair.server.dropped)
        self.assertEqual(pair.server.owner.handshake_timeouts.value, 1)
        info = info_of(pair.server)
        self.assertEqual(info.termination_details, "transport socket timeout was reached")
        self.assertEqual(info.local_close_reason, "transport_socket_timeout")
        pair.server.dataReceived(hello[15:])
        self.world.clock.advance(0)
        self.assertEqual(pair.server.wire.written, b"")

    def test_time_out_resets(self) -> None:
        """With the option reset a handshake that is too slow ends with a RST."""
        terms = self.world.server(parameters=parameters({"reset": True}))
        pair = self.world.connect(terms, self.world.client(), pump=False)
        self.world.clock.advance(15)
        self.assertTrue(pair.server.was_reset)

    def test_no_time_out_afterwards(self) -> None:
        """A connection whose handshake is done may be idle, and leaves no timer behind when it ends."""
        pair = self.connect()
        self.world.clock.advance(1000)
        self.assertFalse(pair.server.dropped)
        self.connect(False).server.reset()
        self.world.clock.advance(0)
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_for_ever(self) -> None:
        """With a time-out of 0 there is none."""
        server = Head(TLSLink(self.world.server(timeout=0)))
        self.world.clock.advance(10000)
        self.assertFalse(server.dropped)

    def test_not_ready(self) -> None:
        """Without a certificate a connection is closed at its first bytes, and counted."""
        self.terms.withdraw()
        self.client_terms.withdraw()
        pair = self.connect(False)
        pair.server.dataReceived(b"x")
        self.world.clock.advance(0)
        self.assertTrue(pair.server.dropped and pair.client.dropped)
        reason = "TLS_error:Secret_is_not_supplied_by_SDS"
        self.assertEqual(info_of(pair.server).transport_failure_reason, reason)
        self.assertEqual(pair.client.failure_reason, reason)
        name = "{}_ssl_socket_factory.{}_context_secrets_not_ready"
        self.assertEqual(self.world.server_scope[name.format("server", "downstream")], 1)
        self.assertEqual(self.world.client_scope[name.format("client", "upstream")], 1)

    def test_inside_raises(self) -> None:
        """A filter that raises when it is told of the connection ends this connection, with a RST."""
        pair = self.connect(False)
        pair.server.upstream.connectionMade = lambda: 1 // 0
        pair.pump()
        self.assertTrue(pair.server.was_reset)
        self.assertEqual([each.type for each in pair.server.failures], [ZeroDivisionError])

    def test_failure_is_told_once(self) -> None:
        """After a failure nothing that comes is looked at, and nothing is written."""
        pair = self.connect()
        pair.server.dataReceived(BAD_RECORD)
        self.assertTrue(pair.server.dropped)
        written = pair.server.wire.written
        pair.server.say(b"too late")
        pair.server.dataReceived(BAD_RECORD)
        pair.server.readConnectionLost()
        pair.server.upstream.transport.loseWriteConnection()
        pair.server.upstream.transport.loseConnection()
        self.assertEqual(pair.server.wire.written, written)
        self.assertEqual(self.world.server_scope["ssl.connection_error"], 1)


class HandshakeOf12Tests(HandshakeTests):
    """The same with TLS 1.2."""

    version = TLS_1_2
