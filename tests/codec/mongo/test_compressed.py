"""Tests for meshd.codec.mongo.compressed."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshd.codec.mongo import compressed
from meshd.codec.mongo.compressed import NOOP, SNAPPY, ZLIB, ZSTD, NotInstalled, TooLarge
from meshd.codec.mongo.message import Damaged
from meshd.testing import check_round_trip
from tests.codec.mongo.messages import WIRES, msg

ALL = (NOOP, SNAPPY, ZLIB, ZSTD)
BIG = msg({"insert": "c", "pad": "x" * 5_000_000})


def forged(inside: bytes, size: int, kind: int, opcode: int = 2013) -> bytes:
    """An OP_COMPRESSED that says what it likes."""
    return struct.pack("<iiiiiiB", 25 + len(inside), 1, 0, 2012, opcode, size, kind) + inside


class TestCompressed:
    """Messages in messages."""

    @pytest.mark.parametrize("kind", ALL)
    @pytest.mark.parametrize("wire", WIRES)
    def test_round_trip(self, wire: bytes, kind: int) -> None:
        """What is compressed expands to the same, by every compressor."""
        check_round_trip(
            lambda each: compressed.expand(each, 1 << 20), lambda each: compressed.compress(each, kind), wire
        )
        assert compressed.compressor_of(compressed.compress(wire, kind)) == kind

    @pytest.mark.parametrize("kind", (NOOP, ZLIB, ZSTD))
    def test_part(self, kind: int) -> None:
        """Of a large one so much is made as was asked for, its size is told."""
        found = compressed.expand(compressed.compress(BIG, kind), 1000)
        assert found == BIG[:1000]

    def test_snappy_is_not_made_in_part(self) -> None:
        """What snappy cannot make in part is not made at all."""
        with pytest.raises(TooLarge):
            compressed.expand(compressed.compress(BIG, SNAPPY), 1000)

    def test_twice(self) -> None:
        """A compressed message in a compressed one is damage."""
        wire = compressed.compress(compressed.compress(WIRES[0], ZLIB), ZLIB)
        with pytest.raises(Damaged):
            compressed.expand(wire, 1 << 20)

    def test_lies(self) -> None:
        """One that holds less than it says, or not what it says, is damage."""
        with pytest.raises(Damaged):
            compressed.expand(forged(zlib.compress(b"abc"), 400, ZLIB), 1 << 20)
        for kind in (SNAPPY, ZLIB, ZSTD):
            with pytest.raises(Damaged):
                compressed.expand(forged(b"rubbish!", 400, kind), 1 << 20)

    def test_unknown(self) -> None:
        """A compressor that nobody knows is not installed."""
        with pytest.raises(NotInstalled):
            compressed.expand(forged(b"", 0, 9), 1 << 20)
        with pytest.raises(NotInstalled):
            compressed.compress(WIRES[0], 9)

    @pytest.mark.parametrize("kind", ALL)
    @given(data=st.binary(max_size=100), size=st.integers(-5, 1 << 31 - 1))
    def test_rubbish(self, kind: int, data: bytes, size: int) -> None:
        """Rubbish is damage, and never becomes more than was asked for."""
        try:
            assert len(compressed.expand(forged(data, size, kind), 1000)) <= 1000
        except Damaged:
            pass
