"""
OP_COMPRESSED: another message, by zlib, snappy or zstd.

Specification: source/compression/OP_COMPRESSED.md of MongoDB's specifications.
zlib is Python's own; snappy (python-snappy) and zstd (Python's own from 3.14 on,
else backports.zstd) are used if they are there.  Of what a message becomes, no more is made than was asked
for, so that a small message cannot become a large one.
"""

from __future__ import annotations

import importlib
import struct
import zlib
from collections.abc import Callable
from typing import Any

from meshd.codec.mongo.framing import HEADER
from meshd.codec.mongo.message import Damaged

OP_COMPRESSED = 2012

NOOP, SNAPPY, ZLIB, ZSTD = 0, 1, 2, 3
NAMES = {NOOP: "noop", SNAPPY: "snappy", ZLIB: "zlib", ZSTD: "zstd"}

_layout = struct.Struct("<iiiiiiB")


class TooLarge(Damaged):
    """What the message becomes is more than is looked at, and cannot be made in part."""


class NotInstalled(Exception):
    """What the message was compressed by is unknown here."""


def _module(name: str) -> Any:
    """Import an optional module; return None if it is not there."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


_snappy = _module("snappy")
_zstd = _module("compression.zstd") or _module("backports.zstd")


def _inflate(data: bytes, most: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, most)
    except zlib.error as error:
        raise Damaged(f"zlib: {error}") from None


def _unsnap(data: bytes, most: int) -> bytes:
    if _snappy is None:
        raise NotInstalled("snappy")
    size = shift = 0
    for byte in data[:5]:
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    if size > most:
        raise TooLarge(f"snappy: {size} bytes")
    try:
        return bytes(_snappy.uncompress(data))
    except Exception as error:  # whatever the library's version raises
        raise Damaged(f"snappy: {error}") from None


def _unzstd(data: bytes, most: int) -> bytes:
    if _zstd is None:
        raise NotInstalled("zstd")
    try:
        return bytes(_zstd.ZstdDecompressor().decompress(data, most))
    except _zstd.ZstdError as error:
        raise Damaged(f"zstd: {error}") from None


_EXPAND: dict[int, Callable[[bytes, int], bytes]] = {
    NOOP: lambda data, most: data[:most],
    SNAPPY: _unsnap,
    ZLIB: _inflate,
    ZSTD: _unzstd,
}


def compressor_of(data: bytes) -> int:
    """Return the number of what an OP_COMPRESSED was compressed by; raise Damaged if it has none."""
    if len(data) < _layout.size:
        raise Damaged("the message is too short")
    return data[_layout.size - 1]


def expand(data: bytes, most: int) -> bytes:
    """
    Return the message in a whole OP_COMPRESSED, header included; at most most bytes of it.

    Raise Damaged, or NotInstalled for a compressor that is not here.
    """
    kind = compressor_of(data)
    _, request, to, _, opcode, size, _ = _layout.unpack_from(data)
    if size < 0 or opcode == OP_COMPRESSED:
        raise Damaged("a message compressed twice")
    expander = _EXPAND.get(kind)
    if expander is None:
        raise NotInstalled(f"compressor {kind}")
    inside = expander(data[_layout.size :], max(0, min(most - HEADER, size)))
    if len(inside) < min(size, most - HEADER):
        raise Damaged("less was compressed than it says")
    return struct.pack("<iiii", HEADER + size, request, to, opcode) + inside


def compress(data: bytes, kind: int) -> bytes:
    """Return a message as an OP_COMPRESSED; raise NotInstalled."""
    size, request, to, opcode = struct.unpack_from("<iiii", data)
    inside = data[HEADER:]
    if kind == ZLIB:
        inside = zlib.compress(inside)
    elif kind == SNAPPY and _snappy is not None:
        inside = bytes(_snappy.compress(inside))
    elif kind == ZSTD and _zstd is not None:
        inside = _zstd.compress(inside)
    elif kind != NOOP:
        raise NotInstalled(NAMES.get(kind, str(kind)))
    total = _layout.size + len(inside)
    return _layout.pack(total, request, to, OP_COMPRESSED, opcode, size - HEADER, kind) + inside
