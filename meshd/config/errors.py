"""What is wrong with a config: where, and in words that a user can act on."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Place(NamedTuple):
    """Where something stands in a file: line and column count from 1, 0 if unknown."""

    file: str
    line: int
    column: int
    #: Whether it is the place of a key; a mapping begins where its first key does.
    of_key: bool = False


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, or is to be warned of; str() is FILE:LINE:COLUMN: path: message."""

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{where}: {self.path}: {self.message}" if self.path else f"{where}: {self.message}"


class BadConfig(Exception):
    """A config that cannot be used; problems has all that is wrong with it, in the file's order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(set(problems), key=lambda each: (each.file, each.line, each.column, each.path))
        super().__init__("\n".join(map(str, self.problems)))


def dotted(path: Iterable[str | int]) -> str:
    """Write a path as Envoy does: static_resources.listeners[0].name."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif not _PLAIN.match(part):
            text += f'["{part}"]'
        else:
            text += f".{part}" if text else part
    return text


#: The keys that need no quotes in a path.
_PLAIN = re.compile(r"[\w@<>-]+\Z")


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the choice nearest to name, nothing if none is near."""
    by_lower = {each.lower(): each for each in choices}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return f"; did you mean {by_lower[near[0]]!r}?" if near else ""


class Spot:
    """
    Where one field, or one item of a list, of the message that was read comes from.

    The spots of a config are a tree as the message is; a field that was not
    given has none.
    """

    __slots__ = ("bad", "children", "damaged", "key", "key_place", "parent", "place", "whole")

    def __init__(
        self, place: Place, key: str | int = "", parent: Spot | None = None, key_place: Place | None = None
    ) -> None:
        self.place = place
        self.key = key
        self.parent = parent
        self.key_place = key_place or place
        self.children: dict[str | int, Spot] = {}
        #: It could not be read, so that its value in the message says nothing.
        self.bad = False
        #: A field of it could not be read, so that another may seem to be missing.
        self.damaged = False
        #: A value that overrides another one replaces it, and is not merged with it.
        self.whole = False

    def child(self, key: str | int, place: Place, key_place: Place | None = None) -> Spot:
        """Make the spot of a field, or of the item of that number."""
        spot = self.children[key] = Spot(place, key, self, key_place)
        return spot

    def spoil(self) -> None:
        """Note that this could not be read."""
        self.bad = True
        if self.parent is not None:
            self.parent.damaged = True

    def path(self) -> tuple[str | int, ...]:
        """Return the way from the root to here."""
        parts: list[str | int] = []
        spot = self
        while spot.parent is not None:
            parts.append(spot.key)
            spot = spot.parent
        return tuple(reversed(parts))

    def merge(self, other: Spot) -> None:
        """Lay other over this, as protobuf's MergeFrom lays the messages."""
        shift = len(self.children) if any(isinstance(key, int) for key in other.children) else 0
        self.damaged = self.damaged or other.damaged
        for key, spot in other.children.items():
            to = key + shift if isinstance(key, int) else key
            mine = self.children.get(to)
            if mine is not None and mine.children and spot.children and not spot.whole:
                mine.merge(spot)
                continue
            spot.key, spot.parent = to, self
            self.children[to] = spot


class Report:
    """Gathers the problems and warnings of one load."""

    def __init__(self, labels: Mapping[Place, str] | None = None) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        #: What a place is called in a file of the short form, whose paths are not the message's.
        self.labels: dict[Place, str] = dict(labels or {})

    def problem(self, place: Place, path: str, message: str) -> Problem:
        """Make a problem, without noting it."""
        return Problem(place.file, place.line, place.column, path, message)

    def error(self, spot: Spot, message: str, *rest: str | int, at_key: bool = False) -> None:
        """Note that spot, or what would lie at rest below it, is wrong."""
        self.problems.append(self.at(spot, message, *rest, at_key=at_key))

    def warn(self, spot: Spot, message: str, *rest: str | int, at_key: bool = False) -> None:
        """Note that spot is to be warned of."""
        self.warnings.append(self.at(spot, message, *rest, at_key=at_key))

    def at(self, spot: Spot, message: str, *rest: str | int, at_key: bool = False) -> Problem:
        """Make a problem of spot, or of what would lie at rest below it."""
        place = spot.key_place if at_key else spot.place
        label = self.labels.get(spot.place)
        if label is None:
            return self.problem(place, dotted((*spot.path(), *rest)), message)
        more = dotted(rest)
        path = label + ("." if label and more and more[0] != "[" else "") + more
        return self.problem(place, path, message)


def locate(root: Spot, path: Iterable[str | int]) -> tuple[Spot, tuple[str | int, ...]]:
    """Follow path as far as the file goes; return the last spot, and the rest of the path."""
    spot = root
    parts = list(path)
    while parts and parts[0] in spot.children:
        spot = spot.children[parts.pop(0)]
    return spot, tuple(parts)
