"""Tests for meshd.codec.bson: what pymongo's bson encodes is the measure."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from typing import Any

import bson as real
import pytest
from bson.binary import Binary
from bson.code import Code
from bson.decimal128 import Decimal128
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.regex import Regex
from bson.timestamp import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from meshd.codec import bson
from meshd.testing import check_rubbish

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(max_size=20)
)
NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(NAMES, VALUES, max_size=6)

EVERY_TYPE: dict[str, Any] = {
    "double": 1.5,
    "string": "s",
    "document": {"a": 1},
    "array": [1, 2],
    "binary": Binary(b"abc", 4),
    "id": real.ObjectId(),
    "bool": True,
    "date": datetime(2020, 1, 1, tzinfo=UTC),
    "null": None,
    "regex": Regex("^a", "i"),
    "code": Code("f"),
    "scoped": Code("f", {"x": 1}),
    "int32": 5,
    "timestamp": Timestamp(1, 2),
    "int64": real.Int64(5),
    "decimal": Decimal128("1.5"),
    "min": MinKey(),
    "max": MaxKey(),
}


def chain(levels: int) -> bytes:
    """Documents within documents."""
    data = real.encode({})
    for _ in range(levels):
        data = bson.join([bson.Element(b"a", bson.DOCUMENT, data)])
    return data


class TestReading:
    """Documents that pymongo encodes."""

    def test_every_type(self) -> None:
        """Values of every type are stepped over."""
        wire = real.encode(EVERY_TYPE)
        assert [name.decode() for name in bson.fields(wire)] == list(EVERY_TYPE)
        assert bson.join(bson.split(wire)) == wire

    @given(DOCUMENTS)
    def test_fields(self, document: dict[str, Any]) -> None:
        """Names are found in order, and the scalars have their values."""
        wire = real.encode(document)
        found = bson.fields(b"xyz" + wire, 3)
        assert [name.decode() for name in found] == list(document)
        for name, value in document.items():
            place = found[name.encode()]
            if isinstance(value, str):
                assert bson.text(b"xyz" + wire, place) == value
            elif isinstance(value, bool | int | float):
                assert bson.number(b"xyz" + wire, place) == value

    @given(DOCUMENTS)
    def test_round_trip(self, document: dict[str, Any]) -> None:
        """What is encoded here, pymongo decodes to the same; taken apart and joined nothing changes."""
        wire = bson.encode(document)
        assert real.decode(wire) == document
        assert bson.join(bson.split(wire)) == wire

    @given(st.lists(st.dictionaries(NAMES, SCALARS, max_size=3), max_size=20))
    def test_count(self, documents: list[dict[str, Any]]) -> None:
        """The documents of an array are counted, with their bytes."""
        wire = real.encode({"a": documents})
        sizes = [len(real.encode(each)) for each in documents]
        assert bson.count(wire, bson.fields(wire)[b"a"][1]) == (len(sizes), sum(sizes))

    def test_count_is_bounded(self) -> None:
        """Of a long array the beginning is counted, and the rest reckoned alike."""
        wire = real.encode({"a": [{"x": 1}] * 5000})
        found = bson.count(wire, bson.fields(wire)[b"a"][1], 100)
        assert 4000 < found.documents < 6000

    def test_names_within(self) -> None:
        """Names at any depth are found, in arrays and scopes of code too."""
        wire = real.encode({"a": [{"$where": 1}], "b": {"c": {"$expr": 1}}, "s": Code("f", {"x": 1})})
        assert set(bson.names_within(wire)) == {b"a", b"0", b"$where", b"b", b"c", b"$expr", b"s", b"x"}

    def test_texts(self) -> None:
        """The strings of an array."""
        wire = real.encode({"hosts": ["a:1", 5, "b:2"]})
        assert bson.texts(wire, bson.fields(wire)[b"hosts"]) == ["a:1", "b:2"]
        assert bson.texts(wire, None) == []

    def test_other_types(self) -> None:
        """What is of another type than asked for is None."""
        wire = real.encode({"a": 1, "s": "x"})
        found = bson.fields(wire)
        assert bson.text(wire, found[b"a"]) is None
        assert bson.number(wire, found[b"s"]) is None
        assert bson.document(found[b"a"]) is None


class TestCut:
    """A document of which the beginning is there."""

    def test_fields(self) -> None:
        """Elements that are all there are found, and an array that has begun."""
        wire = real.encode({"a": 1, "b": "x" * 50, "c": [{"x": "y" * 30}] * 40, "d": 1})
        assert list(bson.fields(wire[:40])) == [b"a"]
        assert list(bson.fields(wire[:200])) == [b"a", b"b", b"c"]

    def test_count(self) -> None:
        """The documents of a cut array are reckoned from those that are there."""
        wire = real.encode({"c": [{"x": "y" * 30}] * 1000})
        found = bson.count(wire[:4000], bson.fields(wire[:4000])[b"c"][1])
        assert 900 < found.documents < 1100

    @given(DOCUMENTS, st.data())
    def test_anywhere(self, document: dict[str, Any], data: st.DataObject) -> None:
        """Wherever it is cut, there is no error but the codec's."""
        wire = real.encode(document)
        check_rubbish(bson.fields, wire[: data.draw(st.integers(0, len(wire)))], bson.BsonError)


class TestDamaged:
    """What is no BSON."""

    @pytest.mark.parametrize(
        "wire",
        [
            b"",
            b"\5\0\0",
            b"\4\0\0\0\0",
            b"\5\0\0\0\1",
            b"\x08\0\0\0\x7e\x61\0\0",
            struct.pack("<i", 7) + b"\x0aa\0",
            struct.pack("<i", 12) + b"\2a\0" + struct.pack("<i", 900) + b"\0",
            struct.pack("<i", 12) + b"\2a\0" + struct.pack("<i", -9) + b"\0",
            struct.pack("<i", 10) + b"\x0ba\0xx\0",
        ],
    )
    def test_errors(self, wire: bytes) -> None:
        """Each is an error, and no other than BsonError."""
        with pytest.raises(bson.BsonError):
            bson.fields(wire)
        with pytest.raises(bson.BsonError):
            bson.split(wire)

    def test_too_many(self) -> None:
        """A document of very many elements is not walked to its end."""
        with pytest.raises(bson.BsonError):
            bson.fields(real.encode({str(number): None for number in range(20)}), elements=10)
        with pytest.raises(bson.BsonError):
            list(bson.names_within(real.encode({"a": [1] * 20}), elements=10))

    def test_too_deep(self) -> None:
        """Documents within documents are followed so far and no further."""
        assert len(list(bson.names_within(chain(100)))) == 100
        with pytest.raises(bson.BsonError):
            list(bson.names_within(chain(bson.DEPTH + 1)))
        assert list(bson.fields(chain(3000))) == [b"a"]

    @given(st.binary(max_size=200))
    def test_rubbish(self, data: bytes) -> None:
        """Rubbish is an error, or gives elements."""
        check_rubbish(bson.fields, data, bson.BsonError)
        check_rubbish(bson.split, data, bson.BsonError)
        check_rubbish(lambda each: list(bson.names_within(each)), data, bson.BsonError)
        check_rubbish(lambda each: bson.count(each, 0), data, bson.BsonError)
