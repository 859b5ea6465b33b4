"""Tests of links of TLS whose handshake is done: plaintext, and the ends of both directions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import crypto
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from tests.tls.pair import LEAF, TLS_1_2, TLS_1_3, World, info_of, parameters
from tests.tls.test_link import BAD_RECORD, LinkCase


class DataTests(LinkCase):
    """Plaintext, and the ends of both directions."""

    def test_both_ways(self) -> None:
        """What one writes the other receives; nothing of it is on the wire."""
        pair = self.connect()
        pair.client.say(b"question" * 10)
        pair.server.say(b"answer" * 10)
        pair.pump(1)
        self.assertEqual(pair.server.plaintext, b"question" * 10)
        self.assertEqual(pair.client.plaintext, b"answer" * 10)
        self.assertNotIn(b"question", pair.client.wire.written)

    def test_sequence(self) -> None:
        """So is a sequence, and nothing at all makes no record."""
        pair = self.connect()
        pair.client.upstream.transport.writeSequence([b"a", b"b"])
        pair.pump()
        self.assertEqual(pair.server.plaintext, b"ab")
        before = len(pair.client.wire.written)
        pair.client.say(b"")
        self.assertEqual(len(pair.client.wire.written), before)

    def test_written_before(self) -> None:
        """What is written before there is a session is not sent in clear text."""
        pair = self.connect(False)
        pair.client.say(b"secret")
        pair.pump()
        self.assertNotIn(b"secret", pair.client.wire.written)

    def test_one_write_for_answers(self) -> None:
        """Answers to what one read brought are sent in one piece."""
        pair = self.connect()
        writes: list[bytes] = []

        def answer(data: bytes) -> None:
            for _ in range(3):
                pair.server.say(b"part")

        pair.server.upstream.dataReceived = answer
        pair.server.wire.write = writes.append
        pair.client.say(b"?")
        pair.carry(pair.client)
        self.assertEqual(len(writes), 1)

    def test_close_notify(self) -> None:
        """A close_notify ends the peer's direction, and only that."""
        pair = self.connect()
        pair.client.say(b"last words")
        pair.client.upstream.transport.loseWriteConnection()
        self.assertFalse(pair.client.finished)  # the socket goes on, for the other direction
        pair.pump()
        self.assertEqual(pair.server.plaintext, b"last words")
        self.assertTrue(pair.server.upstream.half_closed)
        pair.server.say(b"answer")
        pair.pump()
        self.assertEqual(pair.client.plaintext, b"answer")
        self.assertFalse(pair.client.dropped or pair.server.dropped)
        pair.server.upstream.transport.loseWriteConnection()
        pair.pump()
        self.assertTrue(pair.client.upstream.half_closed)
        self.assertTrue(pair.client.dropped and pair.server.dropped)

    def test_close(self) -> None:
        """A close says so by close_notify, then FIN."""
        pair = self.connect()
        pair.client.say(b"bye")
        pair.client.upstream.transport.loseConnection()
        self.assertTrue(pair.client.dropped)
        pair.pump()
        self.assertEqual(pair.server.plaintext, b"bye")
        self.assertTrue(pair.server.upstream.half_closed)
        self.assertIsNone(info_of(pair.server).tls_error)

    def test_abort(self) -> None:
        """An abort is a RST, without close_notify."""
        pair = self.connect()
        before = pair.client.wire.written
        pair.client.upstream.transport.abortConnection()
        self.assertTrue(pair.client.was_reset)
        self.assertEqual(pair.client.wire.written, before)

    def test_written_after_the_end(self) -> None:
        """Nothing is written after our close_notify."""
        pair = self.connect()
        pair.client.upstream.transport.loseWriteConnection()
        before = pair.client.wire.written
        pair.client.say(b"more")
        pair.client.upstream.transport.loseWriteConnection()
        self.assertEqual(pair.client.wire.written, before)

    def test_fin_without_close_notify(self) -> None:
        """A FIN without close_notify ends the direction as well; what is written still goes out."""
        pair = self.connect()
        pair.client.say(b"half")
        pair.carry(pair.client)
        pair.server.readConnectionLost()
        self.assertTrue(pair.server.upstream.half_closed)
        pair.server.say(b"answer")
        pair.server.upstream.transport.loseConnection()
        pair.pump()
        self.assertEqual(pair.client.plaintext, b"answer")
        self.assertTrue(pair.server.dropped)

    def test_fin_after_close_notify(self) -> None:
        """The end is told once."""
        pair = self.connect()
        ends: list[None] = []
        pair.server.upstream.readConnectionLost = lambda: ends.append(None)
        pair.client.upstream.transport.loseConnection()
        pair.pump()
        pair.server.readConnectionLost()
        self.assertEqual(len(ends), 1)

    def test_fin_after_both_ends(self) -> None:
        """With both directions over, a FIN closes the socket."""
        pair = self.connect()
        pair.server.upstream.transport.loseWriteConnection()
        pair.client.readConnectionLost()
        pair.client.upstream.transport.loseWriteConnection()
        self.assertTrue(pair.client.dropped)
        pair.server.readConnectionLost()
        self.assertTrue(pair.server.dropped)

    def test_half_closed_in_the_middle(self) -> None:
        """A close_notify in the middle of the other's download leaves the download whole."""
        pair = self.connect()
        data = bytes(range(256)) * 4000
        pair.server.say(data[:500_000])
        pair.client.upstream.transport.loseWriteConnection()
        pair.pump(1000)
        pair.server.say(data[500_000:])
        pair.server.upstream.transport.loseConnection()
        pair.pump(1000)
        self.assertEqual(pair.client.plaintext, data)

    def test_close_from_inside_a_read(self) -> None:
        """Who answers and closes while it is being told of data has its answer sent, then the end."""
        pair = self.connect()

        def answer(data: bytes) -> None:
            pair.server.say(b"no")
            pair.server.upstream.transport.loseConnection()

        pair.server.upstream.dataReceived = answer
        pair.client.say(b"?")
        pair.pump()
        self.assertEqual(pair.client.plaintext, b"no")
        self.assertTrue(pair.client.upstream.half_closed)
        self.assertTrue(pair.server.dropped)

    def test_half_close_from_inside_a_read(self) -> None:
        """So has who half-closes."""
        pair = self.connect()

        def answer(data: bytes) -> None:
            pair.server.say(b"no more")
            pair.server.upstream.transport.loseWriteConnection()

        pair.server.upstream.dataReceived = answer
        pair.client.say(b"?")
        pair.pump()
        self.assertEqual(pair.client.plaintext, b"no more")
        self.assertTrue(pair.client.upstream.half_closed)
        self.assertFalse(pair.server.dropped)

    def test_inside_raises_on_data(self) -> None:
        """A filter that raises on data raises to the connection, which sees to it."""
        pair = self.connect()
        pair.server.upstream.dataReceived = lambda data: 1 // 0
        pair.client.say(b"?")
        with self.assertRaises(ZeroDivisionError):
            pair.carry(pair.client)

    def test_bad_record(self) -> None:
        """A bad record ends the connection with an alert that the peer understands."""
        pair = self.connect()
        pair.server.dataReceived(BAD_RECORD)
        self.assertTrue(pair.server.dropped)
        self.assertEqual(info_of(pair.server).tls_error.operation, "SSL_read")
        self.assertIn("BAD_RECORD_MAC", info_of(pair.server).transport_failure_reason.upper())
        pair.pump()
        self.assertIn("ALERT_BAD_RECORD_MAC", pair.client.failure_reason)

    def test_plaintext_before_a_bad_record(self) -> None:
        """Plaintext that came in one piece with a bad record goes inward, and then it is over."""
        pair = self.connect()
        pair.client.say(b"good")
        pair.client.wire.write(BAD_RECORD)
        pair.pump()
        self.assertEqual(pair.server.plaintext, b"good")
        pair.server.dataReceived(b"")
        self.assertTrue(pair.server.dropped)
        self.assertIsNotNone(info_of(pair.server).tls_error)

    def test_lost(self) -> None:
        """Those inside are told of the end of the connection, with its reason."""
        pair = self.connect()
        reason = Failure(ConnectionDone())
        pair.server.connectionLost(reason)
        self.assertIs(pair.server.upstream.lost, reason)
        pair.server.say(b"too late")
        pair.server.link.loseWriteConnection()

    def test_back_pressure(self) -> None:
        """Who produces is told when the wire takes no more, and may pause the wire's reading."""
        pair = self.connect()

        class Producer:
            paused = False

            def pauseProducing(self) -> None:
                self.paused = True

            def resumeProducing(self) -> None:
                self.paused = False

        producer = Producer()
        transport = pair.server.upstream.transport
        transport.registerProducer(producer, True)
        pair.server.wire.full()
        self.assertTrue(producer.paused)
        pair.server.wire.drained()
        self.assertFalse(producer.paused)
        transport.unregisterProducer()
        self.assertIsNone(pair.server.wire.producer)
        transport.pauseProducing()
        self.assertEqual(pair.server.paused_by, {"upstream"})
        transport.resumeProducing()
        self.assertEqual(pair.server.paused_by, set())

    def test_what_twisted_protocols_ask(self) -> None:
        """The peer's certificate, and the protocol of ALPN."""
        self.terms = self.world.server(parameters=self.parameters(alpn=(b"h2",)))
        self.client_terms = self.world.client(parameters=self.parameters(alpn=(b"h2",)))
        pair = self.connect()
        certificate = pair.client.link.getPeerCertificate()
        self.assertEqual(crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate), LEAF.der)
        self.assertIsNone(pair.server.link.getPeerCertificate())
        self.assertEqual(pair.server.link.negotiatedProtocol, b"h2")
        self.assertEqual(pair.client.link.negotiatedProtocol, b"h2")

    def test_what_they_ask_too_early(self) -> None:
        """Before there is a session there is neither."""
        pair = self.connect(False)
        self.assertIsNone(pair.server.link.getPeerCertificate())
        self.assertIsNone(pair.server.link.negotiatedProtocol)

    def test_no_protocol(self) -> None:
        """Without ALPN there is no protocol."""
        self.assertIsNone(self.connect().server.link.negotiatedProtocol)


class DataOf12Tests(DataTests):
    """The same with TLS 1.2."""

    version = TLS_1_2

    def test_renegotiation_refused(self) -> None:
        """A client that wants to renegotiate is refused, without a handshake's cost."""
        self.client_terms = self.world.client(parameters=self.parameters(options={"renegotiation": True}))
        pair = self.connect()
        connection = pair.client.link.session.ssl.connection
        self.assertTrue(connection.renegotiate())
        pair.client.say(b"after")
        pair.pump()
        self.assertEqual(self.world.server_scope["ssl.handshake"], 1)
        self.assertEqual(pair.server.plaintext, b"")
        self.assertTrue(pair.client.dropped)
        self.assertIn("no renegotiation", str(pair.client.tls_error.reason))


@given(
    st.integers(1, 3000),
    st.lists(st.tuples(st.booleans(), st.binary(max_size=20000)), max_size=6),
    st.sampled_from([TLS_1_2, TLS_1_3]),
)
def test_any_chunks(chunk: int, messages: list[tuple[bool, bytes]], version: int) -> None:
    """However the wire cuts both directions, both ends receive what the other wrote, and the end."""
    world = World()
    settings = parameters(min_version=version, max_version=version)
    pair = world.connect(world.server(parameters=settings), world.client(parameters=settings), False)
    pair.pump(chunk)
    for of_client, message in messages:
        (pair.client if of_client else pair.server).say(message)
        pair.carry(pair.client, chunk, 5000)
    pair.client.upstream.transport.loseWriteConnection()
    pair.server.upstream.transport.loseWriteConnection()
    pair.pump(chunk)
    assert pair.server.plaintext == b"".join(message for of_client, message in messages if of_client)
    assert pair.client.plaintext == b"".join(message for of_client, message in messages if not of_client)
    assert pair.server.upstream.half_closed and pair.client.upstream.half_closed
    assert pair.server.dropped and pair.client.dropped


@given(st.data(), st.booleans())
def test_changed_wire(data: st.DataObject, of_client: bool) -> None:
    """With bytes changed anywhere a connection ends cleanly or stands still; no exception, no wrong data."""
    world = World()
    pair = world.connect(world.server(), world.client(), False)
    victim = pair.server if of_client else pair.client
    source = pair.other(victim)
    source.upstream.connectionMade = lambda: source.say(b"x" * 100)
    place, byte = data.draw(st.integers(0, 2000)), data.draw(st.integers(0, 255))
    seen = 0
    deliver = victim.dataReceived

    def changed(piece: bytes) -> None:
        nonlocal seen
        if seen <= place < seen + len(piece):
            piece = piece[: place - seen] + bytes([byte]) + piece[place - seen + 1 :]
        seen += len(piece)
        deliver(piece)

    victim.dataReceived = changed  # type: ignore[assignment,method-assign]
    pair.pump(data.draw(st.integers(1, 3000)))
    assert (b"x" * 100).startswith(victim.plaintext)
    for end in (pair.server, pair.client):
        assert not end.failures
        if end.dropped and not end.upstream.connected:
            assert end.failure_reason or end.info.transport_failure_reason
