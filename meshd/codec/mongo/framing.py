"""
Cuts a stream of the MongoDB wire protocol into its messages.

Each message begins with its length in bytes, itself included.  Of a large one
only the beginning is kept, the rest is stepped over.  A length that no message
can have says that the stream is not what it is taken for, or that its framing
is lost: there is no way to find the next message then.
"""

from __future__ import annotations

from collections.abc import Sequence

#: Bytes of the header of each message: length, request id, response to, opcode.
HEADER = 16
#: Bytes: the servers' maxMessageSizeBytes.
LONGEST = 48_000_000
#: Bytes kept of a message, unless said otherwise.
KEPT = 1 << 20


class ProtocolError(Exception):
    """These bytes are no MongoDB wire protocol."""


class Framer:
    """
    The messages of one direction.

    A message is the bytes that were kept of it: shorter than it says that it is,
    if it was longer than keep bytes.
    """

    def __init__(self, keep: int = KEPT, longest: int = LONGEST) -> None:
        self._keep = max(keep, HEADER)
        self._longest = longest
        self._parts: list[bytes] = []
        self._kept = 0
        self._size = 0  # of the message that has begun; 0 while its length is not all there
        #: Bytes of the message that has begun.
        self.seen = 0

    @property
    def inside(self) -> bool:
        """Whether the last byte received was not the last one of a message."""
        return self.seen != 0

    def receive(self, data: bytes) -> Sequence[bytes]:
        """Return the messages that end within data; raise ProtocolError if the framing is lost."""
        if not self.seen:
            size = len(data)
            if HEADER <= size <= self._keep and int.from_bytes(data[:4], "little") == size:
                return (data,)
        done: list[bytes] = []
        at, end = 0, len(data)
        while at < end:
            if not self._size:
                at += self._begin(data, at)
                if not self._size:
                    break
            take = min(self._size - self.seen, end - at)
            self._add(data, at, take)
            at += take
            if self.seen == self._size:
                done.append(self._parts[0] if len(self._parts) == 1 else b"".join(self._parts))
                self._parts = []
                self._kept = self._size = self.seen = 0
        return done

    def _begin(self, data: bytes, at: int) -> int:
        """Take bytes of the length; return how many."""
        if not self.seen and len(data) - at >= 4:
            taken = 0
            length = data[at : at + 4]
        else:
            part = data[at : at + 4 - self.seen]
            taken = len(part)
            self._add(data, at, taken)
            if self.seen < 4:
                return taken
            length = b"".join(self._parts)
        size = int.from_bytes(length, "little")
        if not HEADER <= size <= self._longest:
            raise ProtocolError(f"a message of {size} bytes")
        self._size = size
        return taken

    def _add(self, data: bytes, at: int, size: int) -> None:
        keep = min(size, self._keep - self._kept)
        if keep > 0:
            self._parts.append(data[at : at + keep])
            self._kept += keep
        self.seen += size
