"""Tests for meshd.grpc.connection."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from meshd.codec.grpc import Status, frame
from meshd.interfaces import IUpstream
from meshd.upstream.http2_options import Http2, Pings
from tests.grpc.server import Receiver, Scene


class ConnectingTests(SynchronousTestCase):
    """Before it stands."""

    def test_provides(self) -> None:
        """It is what clusters connect."""
        scene = Scene()
        scene.start()
        upstream = scene.cluster.connects[0].upstream
        verifyObject(IUpstream, upstream)
        self.assertEqual((upstream.pooled, upstream.busy, upstream.alpn), (True, False, (b"h2",)))

    def test_wait(self) -> None:
        """All calls wait for the one connection; those after the first are counted as pending."""
        scene = Scene()
        calls = [scene.start() for _ in range(3)]
        self.assertEqual(len(scene.cluster.connects), 1)
        self.assertEqual(scene.stat("upstream_rq_pending_active"), 2)
        peer = scene.accept()
        self.assertEqual(sorted(peer.requests), [1, 3, 5])
        self.assertEqual(scene.stat("upstream_rq_pending_active"), 0)
        self.assertEqual(scene.cluster.limits.pending.count, 0)
        self.assertTrue(scene.cluster.connects[0].upstream.busy)
        for call, _ in calls:
            call.cancel()
        self.assertFalse(scene.cluster.connects[0].upstream.busy)

    def test_refused(self) -> None:
        """If there is no connection, the calls are UNAVAILABLE; the next one tries again."""
        scene = Scene()
        receivers = [scene.start()[1] for _ in range(2)]
        scene.cluster.connects[0].refuse()
        self.assertEqual(
            [receiver.ends for receiver in receivers],
            [[(Status.UNAVAILABLE, "no connection: Connection refused")]] * 2,
        )
        self.assertEqual(scene.hosts[0].results, ["connect_failed"])
        self.assertEqual(scene.stat("upstream_rq_503"), 2)
        self.assertEqual(scene.cluster.limits.pending.count, 0)
        scene.start()
        self.assertEqual(len(scene.cluster.connects), 2)

    def test_timeout(self) -> None:
        """So it is of a connect that took too long."""
        scene = Scene()
        _, receiver = scene.start()
        scene.cluster.connects[0].refuse("", timeout=True)
        self.assertEqual(receiver.ends, [(Status.UNAVAILABLE, "no connection: connect timeout")])

    def test_bytes(self) -> None:
        """Bytes are counted, either way."""
        scene = Scene()
        scene.start()
        peer = scene.accept()
        self.assertEqual(scene.stat("upstream_cx_tx_bytes_total"), len(peer.connecting.received))
        before = scene.stat("upstream_cx_rx_bytes_total")
        peer.connecting.send(b"\0\0\0\4\0\0\0\0\0")
        self.assertEqual(scene.stat("upstream_cx_rx_bytes_total"), before + 9)

    def test_cancelled(self) -> None:
        """A call that does not want to wait any more is forgotten."""
        scene = Scene()
        first, second = scene.start()[0], scene.start()[0]
        first.cancel()
        second.cancel()
        self.assertEqual(scene.stat("upstream_rq_cancelled"), 2)
        self.assertEqual(scene.cluster.limits.pending.count, 0)
        self.assertEqual(scene.accept().requests, {})


class StandingCase(SynchronousTestCase):
    """A connection that stands, on which a call was answered."""

    settings: dict[str, int] = {}

    def setUp(self) -> None:
        self.scene = Scene()
        _, receiver = self.scene.start()
        self.peer = self.scene.accept(**self.settings)
        self.peer.answer(1, b"")
        self.assertEqual(receiver.code, Status.OK)
        self.wire = self.peer.connecting.wire

    def start(self) -> Receiver:
        """Begin another call, and let the server hear of it."""
        _, receiver = self.scene.start()
        self.peer.hear()
        return receiver


class LimitTests(StandingCase):
    """A server that allows two streams at a time."""

    settings = {"MAX_CONCURRENT_STREAMS": 2}

    def test_wait(self) -> None:
        """Further calls wait, in order, and have the place of the first one that ends."""
        receivers = [self.start() for _ in range(4)]
        self.assertEqual(sorted(self.peer.requests), [1, 3, 5])
        self.assertEqual(self.scene.stat("upstream_rq_pending_active"), 2)
        self.peer.answer(5)
        self.assertEqual(receivers[1].code, Status.OK)
        self.assertEqual(sorted(self.peer.hear().requests), [1, 3, 5, 7])
        self.peer.answer(7)
        self.assertEqual((receivers[2].code, receivers[3].code), (Status.OK, None))

    def test_cancelled(self) -> None:
        """A call that is given up makes room too."""
        call, _ = self.scene.start()
        self.start()
        self.start()
        call.cancel()
        self.scene.settle()
        self.assertEqual(sorted(self.peer.hear().requests), [1, 3, 5, 7])

    def test_too_many(self) -> None:
        """Of those that wait there may be as many as the circuit breaker says."""
        self.scene.cluster.limits.pending.limit = 1
        receivers = [self.start() for _ in range(4)]
        self.scene.settle()
        self.assertEqual([receiver.code for receiver in receivers], [None, None, None, Status.UNAVAILABLE])
        self.assertEqual(self.scene.stat("upstream_rq_pending_overflow"), 1)

    def test_lost(self) -> None:
        """If the connection is lost, those that wait go to another one."""
        receivers = [self.start() for _ in range(3)]
        self.peer.connecting.reset()
        self.assertEqual(
            [receiver.code for receiver in receivers], [Status.UNAVAILABLE, Status.UNAVAILABLE, None]
        )
        other = self.scene.accept()
        other.answer(1)
        self.assertEqual(receivers[2].code, Status.OK)


class LeavingTests(StandingCase):
    """A server that says GOAWAY."""

    def test_answered(self) -> None:
        """The calls that it has seen are answered; then the connection closes."""
        receiver = self.start()
        self.peer.leave(3)
        self.assertFalse(self.wire.closed)
        self.peer.answer(3)
        self.assertEqual(receiver.code, Status.OK)
        self.assertTrue(self.wire.closed)
        self.assertEqual(self.scene.stat("upstream_cx_close_notify"), 1)

    def test_not_seen(self) -> None:
        """Those that it has not are made again, over another connection."""
        first, second = self.start(), self.start()
        self.peer.leave(3, code=11)
        other = self.scene.accept()
        self.assertEqual(other.bodies, {1: frame(b"request")})
        other.answer(1)
        self.peer.answer(3)
        self.assertEqual((first.code, second.code), (Status.OK, Status.OK))

    def test_twice(self) -> None:
        """It may say first that it leaves, and later what it has not seen; that counts once."""
        receiver = self.start()
        self.peer.leave(2**31 - 1)
        self.peer.leave(1)
        self.assertTrue(self.wire.closed)
        self.scene.accept().answer(1)
        self.assertEqual(receiver.code, Status.OK)
        self.assertEqual(self.scene.stat("upstream_cx_close_notify"), 1)

    def test_idle(self) -> None:
        """A connection without calls closes at once; new calls get another one."""
        self.peer.leave(0)
        self.assertTrue(self.wire.closed)
        self.start()
        self.assertEqual(len(self.scene.cluster.connects), 2)

    def test_numbers(self) -> None:
        """When the numbers of streams are used up, another connection is made."""
        http2: Any = self.peer.connecting.upstream.http2
        http2._h2.highest_outbound_stream_id = 2**31 - 1
        receiver = self.start()
        self.assertTrue(self.wire.closed)
        self.scene.accept().answer(1)
        self.assertEqual(receiver.code, Status.OK)


class EndTests(StandingCase):
    """How it ends."""

    def ended(self, receiver: Receiver, text: str) -> None:
        """Check that a call ended with the connection."""
        self.assertEqual(receiver.ends, [(Status.UNAVAILABLE, text)])
        self.assertEqual(self.scene.hosts[0].results, ["success", "reset"])
        self.assertEqual(self.scene.hosts[0].rq_active, 0)
        self.start()
        self.assertEqual(len(self.scene.cluster.connects), 2)

    def test_lost(self) -> None:
        """With the connection its calls are lost."""
        receiver = self.start()
        self.peer.connecting.reset()
        self.ended(receiver, "the connection was lost")

    def test_fin(self) -> None:
        """So they are when the server has sent its last byte."""
        receiver = self.start()
        self.peer.connecting.half_close()
        self.assertTrue(self.wire.closed)
        self.ended(receiver, "the server ended the connection")

    def test_rubbish(self) -> None:
        """What is not HTTP/2 ends it, is counted, and the server is told."""
        receiver = self.start()
        self.peer.connecting.upstream.dataReceived(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.assertTrue(self.wire.closed)
        self.assertEqual(self.scene.stat("upstream_cx_protocol_error"), 1)
        self.assertTrue(self.peer.hear().left)
        self.ended(receiver, "a protocol error: a frame of 4740180 bytes is too long")

    def test_idle_timeout(self) -> None:
        """It is closed when nobody has used it for an hour."""
        self.scene.settle(3000)
        self.start()
        self.peer.answer(3)
        self.scene.settle(3000)
        self.assertFalse(self.wire.closed)
        self.scene.settle(601)
        self.assertTrue(self.wire.closed)
        self.assertEqual(self.scene.stat("upstream_cx_idle_timeout"), 1)

    def test_no_idle_timeout(self) -> None:
        """Or never, if the cluster says so."""
        self.scene.cluster.http2 = Http2(idle_timeout=0)
        self.start()
        self.peer.answer(3)
        self.scene.settle(10_000_000)
        self.assertFalse(self.wire.closed)

    def test_not_read(self) -> None:
        """A server that does not read is not read either, however many pings it sends."""
        connecting = self.peer.connecting
        self.wire.full()
        self.assertEqual(len(connecting.paused_by), 1)
        self.wire.drained()
        self.assertEqual(connecting.paused_by, set())
        self.peer.leave(1)
        self.assertIsNone(self.wire.producer)

    def test_pings(self) -> None:
        """If the cluster says so, a host is asked whether it is there; if it is silent its calls fail."""
        self.scene.cluster.http2 = Http2(pings=Pings(10.0, 2.0, 0.0))
        self.peer.leave(1)
        receiver = self.start()
        peer = self.scene.accept()
        for _ in range(3):
            self.scene.settle(11)
            peer.hear()
            self.assertEqual(receiver.ends, [])
        self.scene.settle(11)
        self.scene.settle(1.5)
        self.assertEqual(receiver.ends, [])
        self.scene.settle(1)
        self.assertEqual(receiver.ends, [(Status.UNAVAILABLE, "the server does not answer pings")])
        self.assertTrue(peer.connecting.wire.reset)
        self.assertEqual(self.scene.stat("http2.keepalive_timeout"), 1)
        self.assertEqual(self.scene.stat("upstream_rq_503"), 1)

    def test_late(self) -> None:
        """What comes for a call that is over is not told to anybody."""
        call, receiver = self.scene.start()
        self.peer.hear()
        self.peer.h2.send_headers(3, [(":status", "200")])
        call.cancel()
        self.peer.flush()
        self.assertEqual(receiver.ends, [])
        self.assertFalse(self.wire.closed)

    def test_receiver_raises(self) -> None:
        """A receiver that raises loses its own call only."""

        class Raising(Receiver):
            def message(self, data: bytes) -> None:
                raise ZeroDivisionError

        raising = Raising()
        self.scene.channel.start("p.S/M", raising).send(b"")
        other = self.start()
        self.peer.answer(3, b"x")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(raising.code, Status.INTERNAL)
        self.peer.answer(5)
        self.assertEqual(other.code, Status.OK)

    def test_end_raises(self) -> None:
        """So does one that raises when its call is over; the others are told."""

        class Raising(Receiver):
            def closed(self, code: int, text: str) -> None:
                raise ZeroDivisionError

        self.scene.channel.start("p.S/M", Raising())
        other = self.start()
        self.peer.connecting.reset()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(other.code, Status.UNAVAILABLE)

    def test_protocol_failed(self) -> None:
        """What raises otherwise is logged."""
        from twisted.python.failure import Failure

        self.peer.connecting.upstream.protocol_failed(Failure(ZeroDivisionError()))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
