"""Tests for meshd.codec.mongo.shapes."""

from __future__ import annotations

import random
from typing import Any

import bson
from hypothesis import given
from hypothesis import strategies as st

from meshd.codec import bson as ours
from meshd.codec.mongo import message, shapes
from tests.codec.mongo.messages import msg
from tests.codec.test_bson import DOCUMENTS

FIND = {"find": "users", "filter": {"_id": 1, "n": "abc"}, "limit": 1, "x": {"y": [1]}, "b": True, "$db": "d"}


def changed(wire: bytes, gaps: list[shapes.Gap], seed: int) -> bytes:
    """Fill the gaps with something else."""
    dice, made = random.Random(seed), bytearray(wire)
    for begin, end in gaps:
        made[begin:end] = dice.randbytes(end - begin)
    return bytes(made)


class TestShapes:
    """Messages that are alike."""

    @given(DOCUMENTS, st.integers())
    def test_same_places(self, document: dict[str, Any], seed: int) -> None:
        """Whatever is in the gaps, the pattern matches, and every element is where it was."""
        wire = bson.encode(document)
        gaps = shapes.gaps(wire, 0, ())
        other = changed(wire, gaps, seed)
        assert shapes.pattern(wire, gaps)(other)
        assert ours.fields(other) == ours.fields(wire)

    @given(st.data())
    def test_others(self, data: st.DataObject) -> None:
        """A message that differs outside of the gaps, or is longer or shorter, does not match."""
        wire = msg(FIND)
        gaps = shapes.gaps(wire, 21, (b"find",), (b"filter",))
        match = shapes.pattern(wire, gaps)
        inside = {place for begin, end in gaps for place in range(begin, end)}
        place = data.draw(st.sampled_from([each for each in range(len(wire)) if each not in inside]))
        other = bytearray(wire)
        other[place] ^= data.draw(st.integers(1, 255))
        assert not match(bytes(other))
        assert not match(wire + b"\0")
        assert not match(wire[:-1])

    def test_kept(self) -> None:
        """Values that matter are no gaps; of documents that matter the names are none."""
        wire = msg(FIND)
        match = shapes.pattern(wire, shapes.gaps(wire, 21, (b"find",), (b"filter",)))
        assert match(msg({**FIND, "filter": {"_id": 7, "n": "xyz"}, "limit": 9}))
        assert match(msg({**FIND, "x": {"z": [8]}}))
        assert not match(msg({**FIND, "find": "other"}))
        assert not match(msg({**FIND, "filter": {"id_": 7, "n": "xyz"}}))
        assert not match(msg({**FIND, "filter": {"_id": 7.0, "n": "xyz"}}))
        assert not match(msg({**FIND, "b": False}))

    def test_find(self) -> None:
        """What was learned is found by shape."""
        known: shapes.Shapes[str] = shapes.Shapes()
        wire = msg(FIND)
        assert known.find(wire) is None
        assert known.learn(wire, [(4, 8), *shapes.gaps(wire, 21, ())], "it")
        assert known.find(msg({**FIND, "limit": 77}, 999)) == "it"
        assert known.find(msg({"find": "users"})) is None

    def test_bounded(self) -> None:
        """It remembers so many and no more, and nothing of large messages."""
        known: shapes.Shapes[int] = shapes.Shapes()
        assert not known.learn(msg({"a": "x" * shapes.LONGEST}), [], 0)
        for number in range(3 * shapes.KEYS):
            known.learn(msg({f"command{number}": 1}), [], number)
            assert len(known.by_key) <= shapes.KEYS
        alike = [msg({"aggregate_something_long": "c" * 30, f"z{number:03}": 1}) for number in range(20)]
        assert [known.learn(each, [], 0) for each in alike].count(True) == shapes.SHAPES
        assert message.decode(alike[0]).name == "aggregate_something_long"

    def test_wants(self) -> None:
        """It wants what is seen often, has room, and is not large."""
        known: shapes.Shapes[str] = shapes.Shapes()
        wire = msg(FIND)
        assert [known.wants(wire) for _ in range(4)] == [False, False, True, True]
        for _ in range(shapes.SHAPES):
            known.learn(wire, [], "it")
        assert not known.wants(wire)
        assert not any(known.wants(msg({"a": "x" * shapes.LONGEST})) for _ in range(9))


class TestSightings:
    """How often things were seen."""

    def test_doubt(self) -> None:
        """Where very many different things come, more sightings are needed, up to a bound."""
        seen = shapes.Sightings()
        for number in range(20 * shapes.COUNTED):
            seen.often(number)
        assert [seen.often("it") for _ in range(shapes.MOST_SIGHTINGS)] == [False] * (
            shapes.MOST_SIGHTINGS - 1
        ) + [True]
