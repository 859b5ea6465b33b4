"""Tests for meshd.codec.mongo.message."""

from __future__ import annotations

import struct
from typing import Any

import bson as real
import pymongo.message
import pytest
from bson.codec_options import DEFAULT_CODEC_OPTIONS
from hypothesis import given
from hypothesis import strategies as st

from meshd.codec import bson
from meshd.codec.mongo import message
from tests.codec.mongo.messages import DOCUMENT, MESSAGES, RAW, msg
from tests.codec.test_bson import DOCUMENTS


class TestDecode:
    """Well-formed messages."""

    @given(
        st.integers(0, (1 << 31) - 1),
        DOCUMENTS,
        st.lists(
            st.tuples(st.sampled_from(["documents", "updates"]), st.lists(DOCUMENTS, max_size=3)), max_size=2
        ),
        st.sampled_from([0, 1, 2, 3, 1 << 16]),
    )
    def test_round_trip(self, request: int, body: dict[str, Any], parts: Any, flags: int) -> None:
        """What is encoded decodes to the same."""
        sequences = tuple((name, b"".join(map(real.encode, each))) for name, each in parts)
        found = message.decode(message.encode(request, 7, real.encode(body), sequences, flags))
        assert (found.id, found.response_to, found.flags) == (request, 7, flags)
        assert found.data[found.body :].startswith(real.encode(body))
        assert [(each.name, each.documents) for each in found.sequences] == list(sequences)

    def test_of_pymongo(self) -> None:
        """What pymongo writes is read, with sequences and without."""
        command = {"insert": "users", "$db": "db"}
        request, wire, _, _ = pymongo.message._op_msg(
            0, {**command, "documents": [DOCUMENT, DOCUMENT]}, "db", None, DEFAULT_CODEC_OPTIONS
        )
        found = message.decode(wire)
        assert (found.id, found.name, found.sequences[0].name) == (request, "insert", "documents")
        assert message.count_documents(found.sequences[0].documents) == 2

    def test_body_last(self) -> None:
        """The body may come after the sequences."""
        wire = msg({"insert": "c", "$db": "db"}, documents=[DOCUMENT])
        body, sequence = wire[20 : 21 + bson.length_at(wire, 21)], wire[21 + bson.length_at(wire, 21) :]
        found = message.decode(wire[:20] + sequence + body)
        assert (found.name, found.sequences[0].documents) == ("insert", RAW)

    def test_checksum(self) -> None:
        """The checksum is CRC-32C of all before it; a wrong one is seen by verify() only."""
        wire = MESSAGES[2]
        assert message.verify(wire)
        assert not message.verify(wire[:-1] + bytes([wire[-1] ^ 1]))
        assert message.verify(MESSAGES[0])
        assert message.decode(wire).name == "ping"

    def test_with_body(self) -> None:
        """Another body keeps the rest, and makes the checksum anew."""
        wire = msg({"ok": 1}, 5, 6, message.CHECKSUM_PRESENT, documents=[DOCUMENT])
        changed = message.with_body(message.decode(wire), real.encode({"ok": 0}))
        assert message.verify(changed)
        found = message.decode(changed)
        assert (found.id, found.response_to, found.sequences[0].documents) == (5, 6, RAW)
        assert bson.number(found.data, found.fields[b"ok"]) == 0

    def test_cut(self) -> None:
        """Of a message whose beginning is there the command is known, and the sequence reckoned."""
        wire = msg({"insert": "users", "$db": "db"}, documents=[DOCUMENT] * 50)
        found = message.decode(wire[:2000])
        assert (found.name, found.size) == ("insert", len(wire))
        assert message.decode(wire[:70]).name == "insert"


class TestDamaged:
    """Messages that are none."""

    @pytest.mark.parametrize(
        "wire",
        [
            struct.pack("<iiii", 16, 1, 0, 2013),
            struct.pack("<iiiiI", 20, 1, 0, 2013, 0),
            struct.pack("<iiiiIB", 26, 1, 0, 2013, 4, 0) + real.encode({}),
            struct.pack("<iiiiIB", 26, 1, 0, 2013, 0, 9) + real.encode({}),
            struct.pack("<iiiiIB", 30, 1, 0, 2013, 0, 0) + real.encode({}) + bytes(4),
            struct.pack("<iiiiIBi", 25, 1, 0, 2013, 0, 0, 4),
            struct.pack("<iiiiIB", 32, 1, 0, 2013, 0, 0) + real.encode({}) + b"\0" + real.encode({}),
            struct.pack("<iiiiIBi", 33, 1, 0, 2013, 0, 1, 900) + bytes(8),
            struct.pack("<iiiiIBi", 30, 1, 0, 2013, 0, 1, 9) + b"abcde",
        ],
    )
    def test_errors(self, wire: bytes) -> None:
        """Each raises Damaged."""
        with pytest.raises(message.Damaged):
            message.decode(wire)

    def test_sequence(self) -> None:
        """A sequence whose documents are none cannot be counted."""
        with pytest.raises(message.Damaged):
            message.count_documents(b"\1\0\0\0")

    def test_count_is_bounded(self) -> None:
        """Of many documents the beginning is counted, and the rest reckoned alike."""
        assert 900 < message.count_documents(RAW * 1000, 10) < 1100
