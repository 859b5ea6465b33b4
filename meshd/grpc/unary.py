"""The receiver of a call with one message each way."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import DecodeError
from twisted.internet.defer import Deferred
from zope.interface import implementer

from meshd.codec.grpc import Status
from meshd.interfaces import CallError, IGrpcCall, IGrpcReceiver


@implementer(IGrpcReceiver)
class Unary:
    """Fires deferred with the one message that comes, of the class response, or with CallError."""

    call: IGrpcCall

    def __init__(self, response: Any) -> None:
        self._response = response
        self._messages: list[bytes] = []
        self.deferred: Deferred[Any] = Deferred(lambda _: self.call.cancel())

    def message(self, data: bytes) -> None:
        self._messages.append(data)
        if len(self._messages) > 1:
            self.call.cancel()
            self._fail(Status.INTERNAL, "more than one message came")

    def closed(self, code: int, text: str) -> None:
        if code != Status.OK:
            self._fail(code, text)
        elif not self._messages:
            self._fail(Status.INTERNAL, "no message came")
        else:
            try:
                answer = self._response.FromString(self._messages[0])
            except DecodeError as error:
                self._fail(Status.INTERNAL, f"the message cannot be read: {error}")
            else:
                self.deferred.callback(answer)

    def _fail(self, code: int, text: str) -> None:
        self.deferred.errback(CallError(code, text))
