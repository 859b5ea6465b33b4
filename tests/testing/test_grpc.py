"""Tests for meshd.testing.grpc."""

from typing import Any

from envoy.config.core.v3.grpc_service_pb2 import GrpcService
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from meshd.interfaces import CallError, IGrpcCall, IGrpcChannel, IGrpcReceiver
from meshd.testing import FakeCall, FakeContext


@implementer(IGrpcReceiver)
class Receiver:
    """Keeps what comes."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def message(self, data: bytes) -> None:
        self.heard.append(data)

    def closed(self, code: int, text: str) -> None:
        self.heard.append((code, text))


class GrpcTests(SynchronousTestCase):
    """A channel whose server is the test."""

    def setUp(self) -> None:
        self.context = FakeContext()
        self.service = GrpcService()
        self.channel = self.context.grpc_channel(self.service, 0.5)

    def test_provides(self) -> None:
        """It is a channel, and its calls are calls."""
        verifyObject(IGrpcChannel, self.channel)
        verifyObject(IGrpcCall, FakeCall("m"))
        self.assertEqual(self.context.grpc_channels, [self.channel])
        self.assertEqual((self.channel.config, self.channel.timeout), (self.service, 0.5))

    def test_unary(self) -> None:
        """A unary call is answered, or fails, or is given up."""
        answers = [self.channel.unary("m", request, str) for request in ("a", "b", "c")]
        one, two, three = self.channel.calls
        self.assertEqual([call.request for call in self.channel.calls], ["a", "b", "c"])
        one.answer("x")
        self.assertEqual(self.successResultOf(answers[0]), "x")
        two.fail(7, "no")
        self.assertEqual(self.failureResultOf(answers[1], CallError).value.code, 7)
        answers[2].addErrback(lambda failure: None)
        answers[2].cancel()
        self.assertTrue(three.cancelled)

    def test_stream(self) -> None:
        """Other calls keep what was sent, and tell their receiver what the test says."""
        receiver = Receiver()
        call = self.channel.start("m", receiver)
        call.send(b"a")
        call.send(None, last=True)
        self.assertEqual((call.sent, call.ended), ([b"a"], True))
        call.message(b"b")
        call.close(5, "no")
        self.assertEqual(receiver.heard, [b"b", (5, "no")])
