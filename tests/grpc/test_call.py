"""Tests for meshd.grpc.call: how a call ends, whatever the server does."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from meshd.codec.grpc import Status, frame
from tests.grpc.server import HEADERS, Peer, Receiver, Scene


class CallCase(SynchronousTestCase):
    """A call whose stream is open."""

    def setUp(self) -> None:
        self.scene = Scene(timeout="1s", envoy_grpc={"max_receive_message_length": 100})
        self.call, self.receiver = self.scene.start()
        self.peer = self.scene.accept()

    def over(self, status: Status) -> None:
        """Check that the call is over, and its receiver was told of it once."""
        self.assertEqual([Status(code) for code, _ in self.receiver.ends], [status])
        self.assertEqual(self.scene.cluster.stats.upstream_rq_active.value, 0)
        self.assertEqual(self.scene.hosts[0].rq_active, 0)
        self.assertEqual(self.scene.cluster.limits.requests.count, 0)
        self.scene.settle(2)
        self.call.cancel()
        self.assertEqual(len(self.receiver.ends), 1)

    def hear(self) -> Peer:
        """Let the server hear what has been sent."""
        self.scene.settle()
        return self.peer.hear()


class AnswerTests(CallCase):
    """What the server answers."""

    def test_ok(self) -> None:
        """Messages are told as they come, then the end; the host has done well."""
        self.peer.head(1)
        self.peer.data(1, frame(b"one") + frame(b"two")[:3])
        self.assertEqual(self.receiver.messages, [b"one"])
        self.peer.data(1, frame(b"two")[3:])
        self.peer.trailers(1)
        self.assertEqual(self.receiver.messages, [b"one", b"two"])
        self.over(Status.OK)
        self.assertEqual(self.scene.hosts[0].results, ["success"])
        self.assertEqual(self.hear().resets, {})
        for name in ("upstream_rq_200", "upstream_rq_2xx", "upstream_rq_completed"):
            self.assertEqual((self.scene.stat(name), self.scene.stat(f"internal.{name}")), (1, 1))

    def test_headers_only(self) -> None:
        """An answer may be of headers only."""
        self.peer.head(1, *HEADERS, ("grpc-status", "5"), ("grpc-message", "a%20b"), ended=True)
        self.assertEqual(self.receiver.ends, [(Status.NOT_FOUND, "a b")])
        self.over(Status.NOT_FOUND)
        self.assertEqual(self.scene.hosts[0].results, ["success"])

    def test_fault(self) -> None:
        """A status that is the server's own fault is told of its host."""
        self.peer.answer(1, status=13)
        self.over(Status.INTERNAL)
        self.assertEqual(self.scene.hosts[0].results, ["error"])

    def test_http_status(self) -> None:
        """An answer that is not 200 counts by its HTTP status, and is given up."""
        self.peer.head(1, (":status", "503"), ("content-type", "text/html"))
        self.over(Status.UNAVAILABLE)
        self.assertEqual(self.hear().resets, {1: 8})
        self.assertEqual(self.scene.stat("upstream_rq_503"), 1)

    def test_both(self) -> None:
        """Where there is both, grpc-status counts."""
        self.peer.head(1, (":status", "401"), ("grpc-status", "8"), ended=True)
        self.over(Status.RESOURCE_EXHAUSTED)

    def test_http_only(self) -> None:
        """Where there is no grpc-status, the HTTP status does."""
        self.peer.head(1, (":status", "404"), ended=True)
        self.over(Status.UNIMPLEMENTED)

    def test_no_status(self) -> None:
        """An answer without either is UNKNOWN; what is no status at all too."""
        self.peer.head(1)
        self.peer.data(1, frame(b"x"), ended=True)
        self.over(Status.UNKNOWN)

    def test_odd_status(self) -> None:
        """A :status that is no number is UNKNOWN."""
        self.peer.head(1, (":status", "2x0"))
        self.over(Status.UNKNOWN)

    def test_no_status_in_trailers(self) -> None:
        """So are trailers without it."""
        self.peer.head(1)
        self.peer.head(1, ("x", "y"), ended=True)
        self.over(Status.UNKNOWN)

    def test_other_type(self) -> None:
        """What is not gRPC is UNKNOWN, and given up."""
        self.peer.head(1, (":status", "200"), ("content-type", "text/html"))
        self.over(Status.UNKNOWN)
        self.assertEqual(self.hear().resets, {1: 8})

    def test_too_long(self) -> None:
        """A message that is too long is RESOURCE_EXHAUSTED before it is there."""
        self.peer.head(1)
        self.peer.data(1, b"\0\0\0\0\x65")
        self.over(Status.RESOURCE_EXHAUSTED)
        self.assertEqual(self.hear().resets, {1: 8})

    def test_compressed(self) -> None:
        """A message that is compressed is INTERNAL."""
        self.peer.head(1)
        self.peer.data(1, b"\1\0\0\0\0")
        self.over(Status.INTERNAL)

    def test_cut_off(self) -> None:
        """An answer that is OK, but ends within a message, is INTERNAL."""
        self.peer.head(1)
        self.peer.data(1, b"\0\0")
        self.peer.trailers(1)
        self.over(Status.INTERNAL)

    def test_reset(self) -> None:
        """A stream that the server gives up counts by the error code."""
        self.peer.reset(1, 11)
        self.over(Status.RESOURCE_EXHAUSTED)
        self.assertEqual(self.scene.stat("upstream_rq_rx_reset"), 1)
        self.assertEqual(self.scene.hosts[0].results, ["reset"])

    def test_early(self) -> None:
        """A server may answer before it has all: our side of the stream is given up then."""
        self.call.cancel()
        self.receiver = Receiver()
        self.call = self.scene.channel.start("p.S/M", self.receiver)
        self.call.send(b"one")
        self.hear()
        self.peer.answer(3)
        self.over(Status.OK)
        self.call.send(b"two")
        self.assertEqual(self.hear().resets, {1: 8, 3: 8})


class SendTests(CallCase):
    """What we send."""

    def test_stream(self) -> None:
        """Messages go one by one, and the end by itself."""
        call, _ = self.scene.start(request=None)
        self.assertEqual(self.hear().bodies[3], b"")
        call.send(b"one")
        self.assertEqual(self.hear().bodies[3], frame(b"one"))
        call.send(b"two")
        call.send(None, last=True)
        self.assertEqual(self.hear().bodies[3], frame(b"one") + frame(b"two"))
        self.assertIn(3, self.peer.ended)
        call.send(b"three")
        self.assertEqual(self.hear().bodies[3], frame(b"one") + frame(b"two"))

    def test_before_it_stands(self) -> None:
        """What is sent before there is a connection goes once there is one."""
        scene = Scene()
        call, _ = scene.start(request=None)
        call.send(b"one")
        call.send(b"two", last=True)
        peer = scene.accept()
        self.assertEqual((peer.bodies[1], peer.ended), (frame(b"one") + frame(b"two"), [1]))
        self.assertNotIn("grpc-timeout", peer.requests[1])

    def test_only_the_end(self) -> None:
        """A call may have no message at all."""
        scene = Scene()
        call, _ = scene.start(request=None)
        call.send(None, last=True)
        peer = scene.accept()
        self.assertEqual((peer.bodies[1], peer.ended), (b"", [1]))


class DeadlineTests(CallCase):
    """A call that takes too long."""

    def test_expired(self) -> None:
        """It is over after its time, reset, counted, and told of the host."""
        self.scene.settle(0.9)
        self.assertEqual(self.receiver.ends, [])
        self.scene.settle(0.2)
        self.over(Status.DEADLINE_EXCEEDED)
        self.assertEqual(self.hear().resets, {1: 8})
        self.assertEqual(self.scene.stat("upstream_rq_timeout"), 1)
        self.assertEqual(self.scene.stat("upstream_rq_504"), 1)
        self.assertEqual(self.scene.hosts[0].results, ["timeout"])

    def test_while_it_waits(self) -> None:
        """It may be over before there is a connection, which is kept for others."""
        scene = Scene(timeout="1s")
        _, receiver = scene.start()
        scene.settle(1.1)
        self.assertEqual(receiver.code, Status.DEADLINE_EXCEEDED)
        self.assertEqual(scene.accept().requests, {})

    def test_cancelled(self) -> None:
        """Of a call that is given up its receiver hears nothing more."""
        self.call.cancel()
        self.scene.settle(2)
        self.peer.head(1)
        self.assertEqual((self.receiver.ends, self.receiver.messages), ([], []))
        self.assertEqual(self.scene.hosts[0].results, [])
        self.assertEqual(self.scene.stat("upstream_rq_tx_reset"), 1)


class RetryTests(CallCase):
    """Calls that the server has not seen are made once more."""

    def test_refused(self) -> None:
        """A stream that is refused is opened again, with all that was sent."""
        self.peer.reset(1, 7)
        self.assertEqual(self.receiver.ends, [])
        self.assertEqual(self.hear().bodies[3], frame(b"request"))
        self.peer.answer(3, b"answer")
        self.assertEqual(self.receiver.messages, [b"answer"])
        self.over(Status.OK)

    def test_once(self) -> None:
        """It is so once; then the call is UNAVAILABLE."""
        self.peer.reset(1, 7)
        self.hear().reset(3, 7)
        self.over(Status.UNAVAILABLE)

    def test_answered(self) -> None:
        """A call whose answer has begun is not made again."""
        self.peer.head(1)
        self.peer.reset(1, 7)
        self.over(Status.UNAVAILABLE)

    def test_too_much(self) -> None:
        """Nor is one that has sent more than is kept."""
        _, receiver = self.scene.start(request=b"x" * 300_000)
        self.hear().reset(3, 7)
        self.assertEqual(receiver.code, Status.UNAVAILABLE)

    def test_deadline(self) -> None:
        """The time goes on meanwhile."""
        self.scene.settle(0.6)
        self.peer.reset(1, 7)
        self.scene.settle(0.6)
        self.over(Status.DEADLINE_EXCEEDED)
