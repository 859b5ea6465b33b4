"""Tests for meshd.codec.mongo.legacy."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshd.codec.mongo import legacy
from meshd.codec.mongo.message import Damaged
from meshd.testing import check_rubbish
from tests.codec.mongo.messages import LEGACY, RAW


def decode(wire: bytes) -> legacy.Legacy:
    """Read a message by its own header."""
    _, request, to, opcode = struct.unpack_from("<iiii", wire)
    return legacy.decode(wire, opcode, request, to)


class TestLegacy:
    """The opcodes before OP_MSG."""

    @pytest.mark.parametrize("message", LEGACY)
    def test_round_trip(self, message: legacy.Legacy) -> None:
        """What is encoded decodes to the same."""
        wire = legacy.encode(message)
        found = decode(wire)
        assert found.size == len(wire)
        found.size = 0
        assert found == message

    @given(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), st.integers(0, 1 << 31)
    )
    def test_names(self, name: str, flags: int) -> None:
        """Any name, and any flags."""
        found = decode(legacy.encode(legacy.Insert(1, 0, flags, name, [RAW])))
        assert isinstance(found, legacy.Insert)
        assert (found.collection, found.flags) == (name, flags)

    @pytest.mark.parametrize("message", LEGACY)
    @given(data=st.data())
    def test_cut(self, message: legacy.Legacy, data: st.DataObject) -> None:
        """A message that ends too early is damaged, or less than it was; nothing else is raised."""
        wire = legacy.encode(message)
        check_rubbish(decode, wire[: data.draw(st.integers(16, len(wire)))], Damaged)

    def test_missing(self) -> None:
        """Fewer documents than a reply says, or cursors than there is room for, are damage."""
        with pytest.raises(Damaged):
            decode(legacy.encode(legacy.Reply(1, 1, 0, 0, 0, 3, [RAW])))
        wire = legacy.encode(legacy.KillCursors(1, 0, [1]))
        with pytest.raises(Damaged):
            decode(wire[:20] + b"\xff\xff\xff\x7f" + wire[24:])

    @pytest.mark.parametrize("opcode", legacy.READERS)
    @given(data=st.binary(max_size=80))
    def test_rubbish(self, opcode: int, data: bytes) -> None:
        """Rubbish is damage."""
        check_rubbish(lambda each: legacy.decode(each, opcode, 1, 0), bytes(16) + data, Damaged)
