"""
One gRPC call: what was sent, what came, and how it ended.

A call waits for a connection, is a stream of one, and is over: its receiver is told
of that once.  A call that the server cannot have seen (REFUSED_STREAM, or above the last
stream of a GOAWAY) is made once more by itself, as gRPC has it (A6, transparent
retries).
"""

from __future__ import annotations

import re
from typing import Any, Protocol

from twisted.logger import Logger
from zope.interface import implementer

from meshd.codec.grpc import (
    FAULTS,
    Deframer,
    ProtocolError,
    Status,
    TooLong,
    decode_message,
    decode_status,
    encode_timeout,
    frame,
    status_of_http,
    status_of_reset,
)
from meshd.codec.http2 import REFUSED_STREAM
from meshd.grpc.service import Service
from meshd.interfaces import IGrpcCall, IGrpcReceiver, ITimer, Result

log = Logger(namespace="meshd.grpc")

#: Bytes that are kept for a second attempt.
_KEPT = 256 << 10


class Carrier(Protocol):
    """The connection that carries a call, as the call sees it."""

    def push(self, call: Call, data: bytes, ended: bool) -> None:
        """Send data on the call's stream."""

    def drop(self, call: Call, result: Result | None) -> None:
        """Forget a call that is over, and give its stream up if that is not."""


class Starter(Protocol):
    """What finds a connection for a call."""

    def place(self, call: Call) -> None:
        """Give the call to a connection, or let it fail later."""

    def count(self, status: int) -> None:
        """Count an answer of that HTTP status, be it the server's or ours."""


@implementer(IGrpcCall)
class Call:
    """A call of a method."""

    carrier: Carrier | None = None
    #: The number of its stream; 0 while it waits.
    stream = 0
    over = False
    _timer: ITimer | None = None
    _retried = False
    #: Whether we have sent our last message, and the server all of its answer.
    ended = complete = False
    #: Whether the server gave its stream up.
    aborted = False
    #: The HTTP status; 0 before the answer begins.
    _http = 0

    def __init__(self, service: Service, method: str, receiver: IGrpcReceiver, starter: Starter) -> None:
        self.service = service
        self.method = method.encode()
        self._receiver: IGrpcReceiver | None = receiver
        self._starter = starter
        self._deframer = Deframer(service.max_message)
        #: What was sent, for as long as it may have to be sent again; None once it may not.
        self._kept: list[bytes] | None = []
        self._size = 0

    def begin(self, timers: Any) -> None:
        """Find a connection; from now on time counts."""
        if self.service.timeout:
            self._timer = timers.call_later(self.service.timeout, self._expired)
        self._starter.place(self)

    def headers(self, scheme: bytes) -> list[tuple[bytes, bytes]]:
        """Return the headers of the request."""
        service = self.service
        pairs = [
            (b":method", b"POST"),
            (b":scheme", scheme),
            (b":path", b"/" + self.method),
            (b":authority", service.authority),
            (b"te", b"trailers"),
        ]
        if service.timeout:
            pairs.append((b"grpc-timeout", encode_timeout(service.timeout)))
        pairs.append((b"content-type", b"application/grpc"))
        pairs += service.metadata
        return pairs

    # IGrpcCall.

    def send(self, message: bytes | None, last: bool = False) -> None:
        if self.over or self.ended:
            return
        data = b"" if message is None else frame(message)
        self.ended = last
        self._size += len(data)
        if self._kept is not None:
            self._kept.append(data)
        if self.stream and self.carrier is not None:
            if self._size > _KEPT:
                self._kept = None
            self.carrier.push(self, data, last)

    def cancel(self) -> None:
        if not self.over:
            self._end(None)

    # What the connection tells.

    def opened(self, carrier: Carrier, stream: int) -> None:
        """Its stream is open: send what has come to wait."""
        self.carrier, self.stream = carrier, stream
        data = b"".join(self._kept or ())
        if self._size > _KEPT:
            self._kept = None
        if data or self.ended:
            carrier.push(self, data, self.ended)

    def answered(self, pairs: tuple[tuple[bytes, bytes], ...], ended: bool) -> None:
        """Take the headers of the answer, or its trailers."""
        self._kept = None
        self.complete = ended
        headers = dict(pairs)
        if not self._http:
            status = headers.get(b":status", b"")
            # What is no status counts as one that nobody knows.
            self._http = int(status) if re.fullmatch(rb"[1-5][0-9][0-9]", status) else 599
            if not ended:
                self._check(headers)
                return
        found = headers.get(b"grpc-status")
        if found is None:
            self.close(status_of_http(self._http), f"HTTP status {self._http} without grpc-status")
        elif decode_status(found) is Status.OK and self._deframer.buffered:
            self.close(Status.INTERNAL, "the answer ends within a message")
        else:
            self.close(decode_status(found), decode_message(headers.get(b"grpc-message", b"")))

    def _check(self, headers: dict[bytes, bytes]) -> None:
        """Close if what comes is not gRPC."""
        if self._http != 200:
            self.close(status_of_http(self._http), f"HTTP status {self._http}")
        elif not headers.get(b"content-type", b"").startswith(b"application/grpc"):
            self.close(Status.UNKNOWN, "the answer is not of the type application/grpc")

    def received(self, data: bytes, ended: bool) -> None:
        """Take a part of the answer."""
        self.complete = ended
        try:
            messages = self._deframer.receive(data)
        except TooLong as error:
            self.close(Status.RESOURCE_EXHAUSTED, str(error))
            return
        except ProtocolError as error:
            self.close(Status.INTERNAL, str(error))
            return
        for message in messages:
            if self._receiver is not None:
                self._receiver.message(message)
        if ended and not self.over:
            self.close(Status.UNKNOWN, "the answer ends without grpc-status")

    def reset(self, code: int) -> None:
        """The server gave its stream up."""
        self.aborted = True
        if code == REFUSED_STREAM and self.again():
            return
        self.fail(status_of_reset(code), f"the server reset the stream with error {code}", "reset")

    def again(self) -> bool:
        """Make a call that the server has not seen once more; return whether it is allowed."""
        if self._kept is None or self._retried or self.over:
            return False
        self._retried = True
        self._let_go(None)
        self.aborted = False
        self._starter.place(self)
        return True

    def elsewhere(self) -> None:
        """Its connection has gone before it could open a stream: find another."""
        self.carrier = None
        if not self.again():
            self.fail(Status.UNAVAILABLE, "the connection was lost", "reset")

    def fail(self, status: Status, text: str, result: Result | None, http: int = 503) -> None:
        """There will be no answer, or no rest of it."""
        if not self.over:
            self._tell(status, text, result, 0 if self._http else http)

    def close(self, status: Status, text: str) -> None:
        """The server has answered, well or not."""
        if not self.over:
            self._tell(status, text, "success", self._http)

    def _expired(self) -> None:
        self._timer = None
        self.fail(Status.DEADLINE_EXCEEDED, "the service did not answer in time", "timeout", 504)

    # The end.

    def _tell(self, status: Status, text: str, result: Result | None, http: int) -> None:
        from_server = result == "success"
        receiver = self._end("error" if from_server and status in FAULTS else result, http)
        if receiver is None:
            return
        try:
            receiver.closed(status, text)
        except Exception:  # others may have to be told of the same
            log.failure("at the end of a call of {method}", method=self.method.decode())

    def _end(self, result: Result | None, http: int = 0) -> IGrpcReceiver | None:
        self.over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._kept = None
        self._let_go(result)
        if http:
            self._starter.count(http)
        receiver, self._receiver = self._receiver, None
        return receiver

    def _let_go(self, result: Result | None) -> None:
        carrier, self.carrier = self.carrier, None
        if carrier is not None:
            carrier.drop(self, result)
        self.stream = 0
