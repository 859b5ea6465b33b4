"""Tests for meshd.codec.mongo.wire, and the fuzzing of the whole codec."""

from __future__ import annotations

import random
import struct

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshd.codec.mongo import compressed, legacy, message, wire
from meshd.codec.mongo.wire import Decoder, ProtocolError, Skipped, read
from meshd.testing import check_chunks, check_rubbish, split_anywhere
from tests.codec.mongo.messages import MESSAGES, WIRES, msg

#: Mutated messages in each example of the fuzz test: with the 5,000 of the deep profile, a million.
MUTATIONS = 200
CORPUS = [*WIRES, *(compressed.compress(each, kind) for each in WIRES[:4] for kind in (1, 2, 3))]


def mutate(dice: random.Random, data: bytes) -> bytes:
    """Change a message here and there, its length mostly kept right, so that what is within is reached."""
    made = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        place = dice.randrange(16, len(made))
        way = dice.randrange(5)
        if way == 0:
            made[place] = dice.randrange(256)
        elif way == 1:
            made[place : place + 4] = struct.pack(
                "<i", dice.choice((-1, 0, 4, 5, 1 << 30, dice.randrange(300)))
            )
        elif way == 2:
            del made[place : place + dice.randint(1, 9)]
        elif way == 3:
            made[place:place] = dice.randbytes(dice.randint(1, 9))
        else:
            made[12:16] = struct.pack("<i", dice.choice((*legacy.READERS, 2012, 2013, 99)))
        if len(made) <= 17:
            made += bytes(8)
    if dice.random() < 0.95:
        made[:4] = struct.pack("<i", len(made))
    return bytes(made)


class TestDecoder:
    """One direction of a connection."""

    @given(st.data())
    def test_chunks(self, data: st.DataObject) -> None:
        """Any cutting gives the same messages."""
        check_chunks(Decoder, data.draw(split_anywhere(b"".join(CORPUS))), ProtocolError)

    def test_goes_on(self) -> None:
        """An unknown opcode, and a damaged document, are stepped over."""
        unknown = struct.pack("<iiii", 20, 5, 0, 4711) + b"abcd"
        damaged = bytearray(MESSAGES[0])
        damaged[25] = 0x7E
        found = Decoder().receive(unknown + bytes(damaged) + MESSAGES[0])
        assert [each.why for each in found if isinstance(each, Skipped)] == ["opcode", "damaged"]
        assert isinstance(found[2], message.Msg)

    @pytest.mark.parametrize("kind", (1, 2, 3))
    def test_compressed(self, kind: int) -> None:
        """A compressed message is what is in it."""
        found = read(compressed.compress(MESSAGES[0], kind))
        assert isinstance(found, message.Msg)
        assert found.name == "find"

    def test_not_installed(self) -> None:
        """One that cannot be expanded is skipped, and says why."""
        forged = bytearray(compressed.compress(MESSAGES[0], 2))
        forged[24] = 77
        found = read(bytes(forged))
        assert isinstance(found, Skipped)
        assert found.why == "compressor"

    def test_bomb(self) -> None:
        """A small message that would become 40 MB becomes a bounded part of that."""
        bomb = compressed.compress(msg({"insert": "c", "pad": "x" * 40_000_000}), compressed.ZLIB)
        found = read(bomb)
        assert isinstance(found, message.Msg)
        assert (found.name, len(found.data) <= 1 << 20) == ("insert", True)
        small = compressed.compress(msg({"insert": "c", "pad": "x" * 900_000}), compressed.ZLIB)
        found = read(small)
        assert isinstance(found, message.Msg)
        assert len(found.data) <= wire.GROWTH * len(small) + wire.GROWTH_FREE
        unmade = read(compressed.compress(msg({"insert": "c", "pad": "x" * 9_000_000}), compressed.SNAPPY))
        assert isinstance(unmade, Skipped)
        assert unmade.why == "large"

    def test_large_legacy(self) -> None:
        """A legacy message of which only the beginning was kept is skipped."""
        found = Decoder(keep=40).receive(
            legacy.encode(legacy.Insert(1, 0, 0, "a.b", [bson.encode({"a": "x" * 99})]))
        )
        assert isinstance(found[0], Skipped)
        assert found[0].why == "large"

    def test_header(self) -> None:
        """The header alone."""
        assert wire.header(MESSAGES[0])[1:] == (1, 0, 2013)
        with pytest.raises(ProtocolError):
            wire.header(b"abc")

    @given(st.binary(max_size=300))
    def test_rubbish(self, data: bytes) -> None:
        """Rubbish raises, or gives messages."""
        check_rubbish(Decoder().receive, data, ProtocolError)

    @given(st.integers(0, 1 << 62))
    def test_mutated(self, seed: int) -> None:
        """Messages changed here and there raise, or give messages; and what is made of them is bounded."""
        dice = random.Random(seed)
        for _ in range(MUTATIONS):
            data = mutate(dice, dice.choice(CORPUS))
            check_rubbish(Decoder(keep=dice.choice((16, 40, 1 << 20))).receive, data, ProtocolError)
