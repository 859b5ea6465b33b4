"""Tests for meshd.grpc.channel."""

from google.protobuf.wrappers_pb2 import StringValue
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from meshd.codec.grpc import Status, frame
from meshd.interfaces import CallError, IGrpcCall, IGrpcChannel
from tests.grpc.server import Scene

METHOD = "p.S/M"


class ChannelTests(SynchronousTestCase):
    """A channel to one host."""

    def setUp(self) -> None:
        self.scene = Scene(timeout="1s", initial_metadata=[{"key": "x-a", "value": "b"}])

    def ask(self, value: str = "question") -> Deferred[StringValue]:
        """Make a unary call."""
        answer = self.scene.channel.unary(METHOD, StringValue(value=value), StringValue)
        self.scene.settle()
        return answer

    def test_provides(self) -> None:
        """It is what the interface says, and so are its calls."""
        verifyObject(IGrpcChannel, self.scene.channel)
        call, _ = self.scene.start()
        verifyObject(IGrpcCall, call)

    def test_unary(self) -> None:
        """A message goes there, and another comes back."""
        answer = self.ask()
        peer = self.scene.accept()
        self.assertEqual(
            peer.requests[1],
            {
                ":method": "POST",
                ":scheme": "http",
                ":path": "/p.S/M",
                ":authority": "c",
                "te": "trailers",
                "grpc-timeout": "1000m",
                "content-type": "application/grpc",
                "x-a": "b",
            },
        )
        self.assertEqual(peer.bodies[1], frame(StringValue(value="question").SerializeToString()))
        self.assertEqual(peer.ended, [1])
        peer.answer(1, StringValue(value="answer").SerializeToString())
        self.assertEqual(self.successResultOf(answer), StringValue(value="answer"))

    def test_secure(self) -> None:
        """Over TLS the scheme is https."""
        self.ask()
        self.scene.cluster.connects[0].tls = object()  # type: ignore[attr-defined]
        self.assertEqual(self.scene.accept().requests[1][":scheme"], "https")

    def test_failure(self) -> None:
        """A status is a CallError."""
        answer = self.ask()
        self.scene.accept().answer(1, status=7, text="not you%21")
        error = self.failureResultOf(answer, CallError).value
        self.assertEqual((error.code, error.text), (Status.PERMISSION_DENIED, "not you!"))

    def test_cancel(self) -> None:
        """An answer that is not wanted any more is reset at the server."""
        answer = self.ask()
        answer.addErrback(lambda failure: None)
        peer = self.scene.accept()
        answer.cancel()
        self.scene.settle()
        self.assertEqual(peer.hear().resets, {1: 8})

    def test_shared(self) -> None:
        """Channels to one cluster share a connection; each has its own metadata."""
        other = self.scene.make()
        self.ask()
        peer = self.scene.accept()
        other.unary(METHOD, StringValue(), StringValue)
        self.scene.settle()
        peer.hear()
        self.assertEqual(len(self.scene.cluster.connects), 1)
        self.assertEqual(["x-a" in peer.requests[stream] for stream in (1, 3)], [True, False])

    def test_leave(self) -> None:
        """When the config was replaced, connections close once they have nothing to do."""
        answer = self.ask()
        peer = self.scene.accept()
        self.scene.pools.leave()
        self.assertFalse(peer.connecting.wire.closed)
        peer.answer(1, b"")
        self.successResultOf(answer)
        self.assertTrue(peer.connecting.wire.closed)
        again = self.ask()
        other = self.scene.accept()
        other.answer(1, b"")
        self.successResultOf(again)
        self.assertTrue(other.connecting.wire.closed)
