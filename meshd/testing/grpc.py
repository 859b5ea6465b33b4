"""A gRPC channel for tests: each call waits for the test, which is the server."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from meshd.interfaces import CallError, IGrpcCall, IGrpcChannel, IGrpcReceiver


@implementer(IGrpcCall)
class FakeCall:
    """
    A call: request is the message of a unary one, sent has what others sent.

    The test answers a unary call with answer() or fail(), and others with message() and close().
    """

    def __init__(self, method: str, request: Any = None, receiver: IGrpcReceiver | None = None) -> None:
        self.method = method
        self.request = request
        self.receiver = receiver
        self.sent: list[bytes] = []
        self.ended = self.cancelled = False
        self.deferred: Deferred[Any] = Deferred(lambda _: self.cancel())

    def send(self, message: bytes | None, last: bool = False) -> None:
        if message is not None:
            self.sent.append(message)
        self.ended = last

    def cancel(self) -> None:
        self.cancelled = True

    def answer(self, response: Any) -> None:
        """Let a unary call succeed."""
        self.deferred.callback(response)

    def fail(self, code: int, text: str = "") -> None:
        """Let a unary call fail."""
        self.deferred.errback(CallError(code, text))

    def message(self, data: bytes) -> None:
        """Send a message to the receiver."""
        assert self.receiver is not None
        self.receiver.message(data)

    def close(self, code: int = 0, text: str = "") -> None:
        """Tell the receiver that the call is over."""
        assert self.receiver is not None
        self.receiver.closed(code, text)


@implementer(IGrpcChannel)
class FakeGrpcChannel:
    """Keeps the calls that were made, in calls; config and timeout (s) are what it was asked for with."""

    def __init__(self, config: Any = None, timeout: float = 0.0) -> None:
        self.config = config
        self.timeout = timeout
        self.calls: list[FakeCall] = []

    def start(self, method: str, receiver: IGrpcReceiver) -> FakeCall:
        call = FakeCall(method, receiver=receiver)
        self.calls.append(call)
        return call

    def unary(self, method: str, request: Any, response: Any) -> Deferred[Any]:
        call = FakeCall(method, request)
        self.calls.append(call)
        return call.deferred
