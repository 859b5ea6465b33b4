"""
Any message of the MongoDB wire protocol, and a decoder of one direction of it.

A message that is damaged, of an unknown opcode, or compressed by something that
is not here becomes a Skipped: the next one is read all the same.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from meshd.codec.mongo import compressed, legacy, message
from meshd.codec.mongo.framing import HEADER, KEPT, LONGEST, Framer, ProtocolError

__all__ = ["Decoder", "Message", "ProtocolError", "Skipped", "read"]

#: What a compressed message may become, in times of its size, and bytes that it may become in any case.
GROWTH, GROWTH_FREE = 64, 1 << 16

_header = struct.Struct("<iiii").unpack_from

Why = Literal["opcode", "damaged", "compressor", "large"]


@dataclass(slots=True)
class Skipped:
    """A message that cannot be told of, and why."""

    id: int
    response_to: int
    opcode: int
    why: Why
    detail: str
    size: int


Message = message.Msg | legacy.Legacy | Skipped


def read(data: bytes, keep: int = KEPT) -> Message:
    """
    Return what a message is, of which at least the header is there.

    keep is how many bytes a compressed one may become.
    """
    size, request, to, opcode = _header(data)
    try:
        if opcode == message.OP_MSG:
            return message.decode(data)
        if size > len(data):
            return Skipped(request, to, opcode, "large", f"{size} bytes", size)
        if opcode in legacy.READERS:
            return legacy.decode(data, opcode, request, to)
        if opcode == compressed.OP_COMPRESSED:
            return read(compressed.expand(data, min(keep, GROWTH * size + GROWTH_FREE)), keep)
    except compressed.TooLarge as error:
        return Skipped(request, to, opcode, "large", str(error), size)
    except message.Damaged as error:
        return Skipped(request, to, opcode, "damaged", str(error), size)
    except compressed.NotInstalled as error:
        return Skipped(request, to, opcode, "compressor", str(error), size)
    return Skipped(request, to, opcode, "opcode", str(opcode), size)


class Decoder:
    """
    The messages of one direction of a connection.

    receive() raises ProtocolError when the framing is lost, and must not be
    called again then.
    """

    def __init__(self, keep: int = KEPT, longest: int = LONGEST) -> None:
        self._keep = keep
        self._framer = Framer(keep, longest)

    def receive(self, data: bytes) -> Sequence[Message]:
        """Return the messages that end within data."""
        return [read(each, self._keep) for each in self._framer.receive(data)]


def header(data: bytes) -> tuple[int, int, int, int]:
    """Return size, request id, response to and opcode of a message of which the header is there."""
    if len(data) < HEADER:
        raise ProtocolError("no header")
    return _header(data)
