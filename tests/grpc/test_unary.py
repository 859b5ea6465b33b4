"""Tests for meshd.grpc.unary."""

from google.protobuf.wrappers_pb2 import StringValue
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from meshd.codec.grpc import Status
from meshd.grpc.unary import Unary
from meshd.interfaces import CallError, IGrpcReceiver
from meshd.testing import FakeCall


class UnaryTests(SynchronousTestCase):
    """A call that is to have one message for an answer."""

    def setUp(self) -> None:
        self.unary = Unary(StringValue)
        self.unary.call = self.call = FakeCall("m")
        verifyObject(IGrpcReceiver, self.unary)

    def failed(self) -> Status:
        """Return the status with which it failed."""
        return Status(self.failureResultOf(self.unary.deferred, CallError).value.code)

    def test_answer(self) -> None:
        """The message is the answer, once the call is over."""
        self.unary.message(StringValue(value="x").SerializeToString())
        self.assertNoResult(self.unary.deferred)
        self.unary.closed(Status.OK, "")
        self.assertEqual(self.successResultOf(self.unary.deferred), StringValue(value="x"))

    def test_status(self) -> None:
        """A status that is not OK is the failure, message or not."""
        self.unary.message(b"")
        self.unary.closed(Status.NOT_FOUND, "no such thing")
        error = self.failureResultOf(self.unary.deferred, CallError).value
        self.assertEqual(
            (error.code, error.text, str(error)),
            (5, "no such thing", "gRPC status 5: no such thing"),
        )

    def test_none(self) -> None:
        """OK without a message is INTERNAL."""
        self.unary.closed(Status.OK, "")
        self.assertEqual(self.failed(), Status.INTERNAL)

    def test_two(self) -> None:
        """A second message is INTERNAL, and the call is given up."""
        self.unary.message(b"")
        self.unary.message(b"")
        self.assertEqual(self.failed(), Status.INTERNAL)
        self.assertTrue(self.call.cancelled)

    def test_unreadable(self) -> None:
        """So is a message that cannot be read."""
        self.unary.message(b"\xff\xff")
        self.unary.closed(Status.OK, "")
        self.assertEqual(self.failed(), Status.INTERNAL)

    def test_cancel(self) -> None:
        """To cancel the answer is to give the call up."""
        self.unary.deferred.addErrback(lambda failure: None)
        self.unary.deferred.cancel()
        self.assertTrue(self.call.cancelled)
