"""Tests for meshd.codec.mongo.framing."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshd.codec.mongo.framing import HEADER, LONGEST, Framer, ProtocolError
from meshd.testing import check_chunks, check_rubbish, split_anywhere
from tests.codec.mongo.messages import WIRES


class TestFramer:
    """A stream of messages."""

    def test_whole(self) -> None:
        """A chunk that is a message is that message, and not a copy."""
        assert Framer().receive(WIRES[0])[0] is WIRES[0]

    @given(st.data())
    def test_chunks(self, data: st.DataObject) -> None:
        """Any cutting gives the same messages."""
        chunks = data.draw(split_anywhere(b"".join(WIRES)))
        check_chunks(Framer, chunks, ProtocolError)
        framer = Framer()
        assert [each for chunk in chunks for each in framer.receive(chunk)] == WIRES
        assert not framer.inside

    @given(st.data(), st.integers(16, 100))
    def test_kept(self, data: st.DataObject, keep: int) -> None:
        """No more is kept of a message than it says, however it comes, and the next one is found."""
        framer = Framer(keep)
        chunks = data.draw(split_anywhere(b"".join(WIRES)))
        found = [each for chunk in chunks for each in framer.receive(chunk)]
        assert found == [wire[:keep] for wire in WIRES]

    def test_large_keeps_little(self) -> None:
        """Of 40 MB, a byte more than the header is kept."""
        framer = Framer(17)
        framer.receive(struct.pack("<iiii", 40_000_000, 1, 0, 2013))
        for _ in range(39):
            assert framer.receive(bytes(1_000_000)) == []
            assert sum(map(len, framer._parts)) <= 17
        assert len(framer.receive(bytes(1_000_000 - HEADER))[0]) == 17

    def test_inside(self) -> None:
        """It is known whether a message has begun."""
        framer = Framer()
        assert not framer.inside
        framer.receive(WIRES[0][:3])
        assert framer.inside
        framer.receive(WIRES[0][3:])
        assert not framer.inside

    @pytest.mark.parametrize("size", [0, 15, -1, LONGEST + 1])
    def test_lost(self, size: int) -> None:
        """A length that no message can have is an error, at once."""
        for cut in (1, 2, 4):
            framer = Framer()
            wire = struct.pack("<i", size)
            framer.receive(wire[: cut - 1])
            with pytest.raises(ProtocolError):
                framer.receive(wire[cut - 1 :])

    @given(st.binary(max_size=100))
    def test_rubbish(self, data: bytes) -> None:
        """Rubbish raises, or is messages."""
        check_rubbish(Framer().receive, data, ProtocolError)
