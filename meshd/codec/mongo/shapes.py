"""
Messages that are alike but for values that nobody asks for: known again without being read.

A program sends the same few commands with other values each time.  Once one
was read, a pattern of its bytes tells another of its shape: types, names and
lengths are as they were, so everything lies at the same places, and whatever was
found out about the first one holds for all.  The bytes of the values that do not
matter are the pattern's gaps.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from typing import Generic, TypeVar

from meshd.codec import bson

T = TypeVar("T")

#: A place in a message whose bytes do not matter: its begin and its end.
Gap = tuple[int, int]
Match = Callable[..., object]

#: By these bytes of a message shapes are looked for: opcode, flags, and the beginning of what follows, up to
#: where a value may begin, which is the 39th byte in an OP_QUERY of the collection "a.b".
KEY = slice(12, 36)
#: Keys, and shapes of one key, that are remembered.
KEYS, SHAPES = 512, 16
#: Bytes of the longest message that is worth a pattern.
LONGEST = 1024
#: Times that something has to be seen before it is worth one, as making it costs as much as reading some
#: dozens of messages: at first, and at most, if so many different ones come that they are forgotten again.
SIGHTINGS, MOST_SIGHTINGS = 3, 96
#: Different ones whose sightings are counted.
COUNTED = 8192


def gaps(data: bytes, at: int, keep: Collection[bytes], deeper: Collection[bytes] = ()) -> list[Gap]:
    """
    Return the places of a document's values, except for those of the names in keep.

    Of the documents named in deeper the elements' values are gaps, of others all
    that they hold.  Truth values stay, as there are only two.  Raise BsonError.
    """
    found: list[Gap] = []
    for name, kind, begin, end in bson.walk(data, at):
        if name in keep or kind in (bson.BOOL, bson.REGEX, bson.CODE_WITH_SCOPE, bson.DB_POINTER):
            continue
        if kind == bson.DOCUMENT and name in deeper:
            found += gaps(data, begin, keep, ())
        elif kind in bson.SIZES:
            found.append((begin, end))
        else:
            found.append((begin + (5 if kind == bson.BINARY else 4), end))
    return [(begin, end) for begin, end in found if end > begin]


def pattern(data: bytes, without: Iterable[Gap]) -> Match:
    """Return what tells, of bytes and a position, whether all from there is like data but for the gaps."""
    parts, at = [], 0
    for begin, end in sorted(without):
        parts.append(re.escape(data[at:begin]) + b".{%d}" % (end - begin))
        at = end
    return re.compile(b"".join([*parts, re.escape(data[at:]), rb"\Z"]), re.DOTALL).match


class Sightings:
    """How often things were seen, to tell what comes again and again from what comes once."""

    def __init__(self) -> None:
        self._times: dict[object, int] = {}
        self._needed = SIGHTINGS

    def often(self, thing: object) -> bool:
        """Count a sighting; return whether that was the one that is needed."""
        times = self._times[thing] = self._times.get(thing, 0) + 1
        if len(self._times) > COUNTED:
            self._times.clear()
            self.doubt()
        return times >= self._needed

    def doubt(self) -> None:
        """Need more sightings from now on."""
        self._needed = min(2 * self._needed, MOST_SIGHTINGS)


class Shapes(Generic[T]):
    """
    What is known of messages, by their shapes; by_key is for those in a hurry.

    When there are too many, all are forgotten, and learned again, with more reserve.
    """

    def __init__(self) -> None:
        self.by_key: dict[bytes, list[tuple[Match, T]]] = {}
        self._sightings = Sightings()

    def wants(self, data: bytes) -> bool:
        """Whether a message is worth learning: one like it was seen before, and there is room."""
        key = data[KEY]
        if len(data) > LONGEST or len(self.by_key.get(key, ())) >= SHAPES:
            return False
        return self._sightings.often((key, len(data)))

    def find(self, data: bytes) -> T | None:
        """Return what is known of a message of this shape, None if there was none."""
        for match, value in self.by_key.get(data[KEY], ()):
            if match(data):
                return value
        return None

    def learn(self, data: bytes, without: Iterable[Gap], value: T) -> bool:
        """Remember what is known of messages like data; return whether there was room."""
        if len(data) > LONGEST:
            return False
        if len(self.by_key) >= KEYS:
            self.by_key.clear()
            self._sightings.doubt()
        shapes = self.by_key.setdefault(data[KEY], [])
        if len(shapes) >= SHAPES:
            return False
        shapes.append((pattern(data, without), value))
        return True
