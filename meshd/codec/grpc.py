"""
gRPC over HTTP/2: how messages are framed, and what the headers beside them say.

Follows PROTOCOL-HTTP2.md and http-grpc-status-mapping.md of the gRPC project.
A Deframer takes the bytes of one direction of a call; frame() makes them.
"""

from __future__ import annotations

import re
from enum import IntEnum
from urllib.parse import unquote_to_bytes

#: A frame begins with a byte of flags and the length of its message.
_HEAD = 5
_MAX_TIMEOUT = 99_999_999
#: What a message has at most, in bytes: the length has 32 bits.
LONGEST = 0xFFFFFFFF


class Status(IntEnum):
    """How a call ended: the values of grpc-status."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


#: Those that are the server's own fault, as the HTTP statuses that they stand for say (5xx).
FAULTS = frozenset(
    {Status.UNKNOWN, Status.DEADLINE_EXCEEDED, Status.UNIMPLEMENTED, Status.INTERNAL, Status.UNAVAILABLE,
     Status.DATA_LOSS}
)  # fmt: skip

_OF_HTTP = {
    400: Status.INTERNAL,
    401: Status.UNAUTHENTICATED,
    403: Status.PERMISSION_DENIED,
    404: Status.UNIMPLEMENTED,
    429: Status.UNAVAILABLE,
    502: Status.UNAVAILABLE,
    503: Status.UNAVAILABLE,
    504: Status.UNAVAILABLE,
}

#: The error codes of RST_STREAM that are not INTERNAL.
_OF_RESET = {
    7: Status.UNAVAILABLE,  # REFUSED_STREAM
    8: Status.CANCELLED,  # CANCEL
    11: Status.RESOURCE_EXHAUSTED,  # ENHANCE_YOUR_CALM
    12: Status.PERMISSION_DENIED,  # INADEQUATE_SECURITY
}


class ProtocolError(Exception):
    """These bytes are no messages."""


class TooLong(ProtocolError):
    """A message is longer than was allowed."""


class Deframer:
    """Takes the bytes of one direction of a call, gives the messages in them."""

    def __init__(self, limit: int = LONGEST) -> None:
        """Take messages of up to limit bytes."""
        self._limit = limit
        self._buffer = bytearray()

    @property
    def buffered(self) -> int:
        """How many bytes of a message, with its head, have come that is not all there."""
        return len(self._buffer)

    def receive(self, data: bytes) -> list[bytes]:
        """Return the messages that data completes.  Raise ProtocolError, or TooLong as soon as it shows."""
        buffer = self._buffer
        buffer += data
        messages = []
        start = 0
        while len(buffer) - start >= _HEAD:
            flags = buffer[start]
            size = int.from_bytes(buffer[start + 1 : start + _HEAD], "big")
            if flags:
                # 1 says compressed, which nobody may send who was not told grpc-accept-encoding.
                raise ProtocolError(f"a message has the flags {flags:#04x}")
            if size > self._limit:
                raise TooLong(f"a message of {size} bytes is longer than {self._limit}")
            end = start + _HEAD + size
            if len(buffer) < end:
                break
            messages.append(bytes(buffer[start + _HEAD : end]))
            start = end
        del buffer[:start]
        return messages


def frame(message: bytes) -> bytes:
    """Return a message as it is sent, uncompressed.  Raise ValueError if it is longer than 32 bits say."""
    if len(message) > LONGEST:
        raise ValueError("a message is longer than 4 GiB")
    return b"\0" + len(message).to_bytes(4, "big") + message


def encode_timeout(seconds: float) -> bytes:
    """
    Return a positive time as grpc-timeout: up to eight digits and a unit.

    It is rounded to milliseconds, or where that are too many digits down to
    larger units, as in Envoy; never to nothing.
    """
    value = max(1, round(seconds * 1000))
    for unit, factor in ((b"m", 1000), (b"S", 60), (b"M", 60)):
        if value <= _MAX_TIMEOUT:
            return b"%d%b" % (value, unit)
        value //= factor
    return b"%dH" % min(value, _MAX_TIMEOUT)


def decode_timeout(value: bytes) -> float:
    """Return a grpc-timeout in seconds.  Raise ProtocolError."""
    found = re.fullmatch(rb"([0-9]{1,8})([HMSmun])", value)
    if found is None:
        raise ProtocolError(f"{value!r} is no grpc-timeout")
    unit = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}[found[2]]
    return int(found[1]) * unit


def decode_status(value: bytes) -> Status:
    """Return the status that a grpc-status says: UNKNOWN for what is none."""
    if re.fullmatch(rb"[0-9]{1,2}", value) and int(value) <= max(Status):
        return Status(int(value))
    return Status.UNKNOWN


def decode_message(value: bytes) -> str:
    """Return the text of a grpc-message, which is percent-encoded UTF-8; what is neither is kept."""
    return unquote_to_bytes(value).decode("utf-8", "replace")


def status_of_http(status: int) -> Status:
    """Return what an answer means that has no grpc-status, by its HTTP status."""
    return _OF_HTTP.get(status, Status.UNKNOWN)


def status_of_reset(code: int) -> Status:
    """Return what the RST_STREAM of a server means, by its error code."""
    return _OF_RESET.get(code, Status.INTERNAL)
