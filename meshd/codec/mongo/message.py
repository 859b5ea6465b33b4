"""
OP_MSG: a command, or its reply, as one document and sequences of documents beside it.

Specification: source/message/OP_MSG.md of MongoDB's specifications.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from meshd.codec import bson
from meshd.codec.mongo.framing import HEADER
from meshd.codec.proxy_protocol import crc32c

OP_MSG = 2013

CHECKSUM_PRESENT = 1
MORE_TO_COME = 2
EXHAUST_ALLOWED = 1 << 16
#: Bits of which a receiver must know all that are set.
_REQUIRED = 0xFFFF
_KNOWN = CHECKSUM_PRESENT | MORE_TO_COME

_head = struct.Struct("<iiiiIBi").unpack_from
_int32 = struct.Struct("<i").unpack_from


class Damaged(Exception):
    """A message whose length is right, and nothing else."""


@dataclass(slots=True)
class Sequence:
    """A section of kind 1: an identifier, and documents in place of that field of the body."""

    name: str
    #: The documents, one after the other.
    documents: bytes


@dataclass(slots=True)
class Msg:
    """
    An OP_MSG.

    data has the body at the position body; fields are the places of its
    elements.  size is the message's in bytes, of which data may have the
    beginning only.
    """

    id: int
    response_to: int
    flags: int
    data: bytes = field(repr=False)
    body: int
    fields: dict[bytes, bson.Place] = field(compare=False, repr=False)
    sequences: list[Sequence]
    size: int

    @property
    def name(self) -> str:
        """The command's name: that of the first element, or nothing."""
        for name in self.fields:
            return name.decode("utf-8", "replace")
        return ""


def decode(data: bytes) -> Msg:
    """Read an OP_MSG; raise Damaged.  A checksum is stepped over, not verified: see verify()."""
    try:
        size, request, to, _, flags, kind, length = _head(data)
    except struct.error:
        raise Damaged("no section") from None
    if flags & _REQUIRED & ~_KNOWN:
        raise Damaged(f"unknown flags: {flags:#x}")
    end = size - 4 if flags & CHECKSUM_PRESENT else size
    body = 21
    sequences: list[Sequence] = []
    if kind or body + length != end:
        body = _sections(data, end, sequences)
    elif length < 5:
        raise Damaged("an empty body")
    try:
        return Msg(request, to, flags, data, body, bson.fields(data, body), sequences, size)
    except bson.BsonError as error:
        raise Damaged(str(error)) from None


def _sections(data: bytes, end: int, sequences: list[Sequence]) -> int:
    """Read the sections up to end; return where the body is."""
    at, body = HEADER + 4, 0
    there = min(end, len(data))
    while at < there:
        kind = data[at]
        if at + 5 > there:
            break
        (size,) = _int32(data, at + 1)
        after = at + 1 + size
        if size < 5 or after > end:
            raise Damaged("a section is longer than the message")
        if kind == 0:
            if body:
                raise Damaged("two bodies")
            body = at + 1
        elif kind == 1:
            zero = data.find(0, at + 5, min(after, there))
            if zero < 0:
                if after > there:
                    break
                raise Damaged("a sequence has no name")
            name = data[at + 5 : zero].decode("utf-8", "surrogateescape")
            sequences.append(Sequence(name, data[zero + 1 : after]))
        else:
            raise Damaged(f"a section of kind {kind}")
        at = after
    if not body or (end <= len(data) and at != end):
        raise Damaged("no body")
    return body


def count_documents(documents: bytes, limit: int = bson.ELEMENTS) -> int:
    """Return how many documents follow each other; after limit the rest is reckoned alike.  Raise Damaged."""
    at = found = 0
    while at + 4 <= len(documents) and found < limit:
        (size,) = _int32(documents, at)
        if size < 5:
            raise Damaged("a document of a sequence is damaged")
        at += size
        found += 1
    return found * len(documents) // at if 0 < at < len(documents) else found


def encode(
    request: int,
    response_to: int,
    body: bytes,
    sequences: tuple[tuple[str, bytes], ...] = (),
    flags: int = 0,
) -> bytes:
    """Return an OP_MSG of a body and sequences; with the flag CHECKSUM_PRESENT it has its checksum."""
    wire = struct.pack("<I", flags) + b"\0" + body
    for name, documents in sequences:
        inside = name.encode("utf-8", "surrogateescape") + b"\0" + documents
        wire += b"\1" + struct.pack("<i", len(inside) + 4) + inside
    extra = 4 if flags & CHECKSUM_PRESENT else 0
    wire = struct.pack("<iiii", HEADER + len(wire) + extra, request, response_to, OP_MSG) + wire
    return wire + struct.pack("<I", crc32c(wire)) if extra else wire


def verify(data: bytes) -> bool:
    """Whether the checksum at the end of a whole OP_MSG is right; one without has none that is wrong."""
    if len(data) < HEADER + 8 or not data[HEADER] & CHECKSUM_PRESENT:
        return True
    return bool(struct.unpack_from("<I", data, len(data) - 4)[0] == crc32c(data[:-4]))


def with_body(message: Msg, body: bytes) -> bytes:
    """Return a whole message's bytes with another body in its place, and its checksum made anew."""
    sequences = tuple((each.name, each.documents) for each in message.sequences)
    return encode(message.id, message.response_to, body, sequences, message.flags)
