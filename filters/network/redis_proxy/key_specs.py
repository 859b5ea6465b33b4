"""
Where the keys of a command are, among its arguments.

A specification is a text of one or more parts.  A part says where to begin and
how far the keys go, as the key specifications of Redis do
(https://redis.io/docs/latest/develop/reference/key-specs/):

=================  ===============================================================
``1``              one key, the argument 1 (0 is the command's name)
``1..2``           the arguments 1 to 2
``1..-1``          from 1 to the last argument (-2: to the last but one)
``1..-1/3``        every third of those
``2#``             the argument 2 says how many keys follow it
``2#/2``           so many, each followed by a value
``2#?``            as many, or none if that is no number of keys
``@STREAMS:4..%2`` after the word STREAMS, which is sought from the argument 4 on:
                   the first half of what is left
``!``              before a part: not keys, but shard channels, hashed like keys
=================  ===============================================================

``sort``, ``georadius``, ``georadiusbymember`` and ``migrate`` stand for commands
whose keys no such part can find; those are sought as the server does it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

#: Returns the indexes of the keys; raises BadKeys.
Search = Callable[[Sequence[bytes]], list[int]]

_PART = re.compile(
    r"@(?P<word>\w+):(?P<start>\d+)\.\.%2"
    r"|(?P<index>\d+)(?:(?P<count>#\??)|\.\.(?P<last>-?\d+))?(?:/(?P<step>\d+))?"
)
_NUMBER = re.compile(rb"0|-?[1-9][0-9]{0,17}")


class BadKeys(Exception):
    """The arguments are not such that their keys can be told: the server would refuse them."""


def read_spec(text: str) -> tuple[Search, Search]:
    """Return what finds the keys, and what finds the shard channels, of a command; ValueError."""
    parts = text.split()
    channels = [part[1:] for part in parts if part.startswith("!")]
    keys = [part for part in parts if not part.startswith("!")]
    return _together(keys), _together(channels)


def only_key(text: str) -> int:
    """Return where the key is if there is exactly one, always in one place; else 0."""
    return int(text) if text.isdecimal() else 0


def _together(parts: Sequence[str]) -> Search:
    searches = [_OWN.get(part) or _read_part(part) for part in parts]
    if not searches:
        return _nothing
    if len(searches) == 1:
        return searches[0]

    def search(args: Sequence[bytes]) -> list[int]:
        return [index for each in searches for index in each(args)]

    return search


def _nothing(args: Sequence[bytes]) -> list[int]:
    return []


def _read_part(part: str) -> Search:
    match = _PART.fullmatch(part)
    if match is None:
        raise ValueError(f"{part!r} is no key specification")
    if match["word"]:
        return _halved(match["word"].encode(), int(match["start"]))
    step = int(match["step"] or 1)
    if match["count"]:
        search = _counted(int(match["index"]), step)
        return _perhaps(search) if match["count"] == "#?" else search
    begin = int(match["index"])
    return _ranged(begin, int(match["last"] or begin), step)


def _ranged(begin: int, last: int, step: int) -> Search:
    def search(args: Sequence[bytes]) -> list[int]:
        end = last + 1 if last >= 0 else len(args) + last + 1
        # A range to the end may have nothing in it: PFMERGE of the destination only.
        if end > len(args) or (end <= begin and not end == begin == len(args)):
            raise BadKeys("the keys are missing")
        return list(range(begin, end, step))

    return search


def _counted(index: int, step: int) -> Search:
    def search(args: Sequence[bytes]) -> list[int]:
        if index >= len(args) or not _NUMBER.fullmatch(args[index]):
            raise BadKeys("there is no number of keys")
        count = int(args[index])
        begin, end = index + 1, index + 1 + count * step
        if count < 1 or end > len(args):
            raise BadKeys("the number of keys is wrong")
        return list(range(begin, end, step))

    return search


def _perhaps(search: Search) -> Search:
    def search_or_none(args: Sequence[bytes]) -> list[int]:
        try:
            return search(args)
        except BadKeys:
            return []

    return search_or_none


def _halved(word: bytes, start: int) -> Search:
    def search(args: Sequence[bytes]) -> list[int]:
        for index in range(start, len(args)):
            if args[index].upper() == word:
                half = (len(args) - index - 1) // 2
                if not half:
                    break
                return list(range(index + 1, index + 1 + half))
        raise BadKeys(f"{word.decode()} and what follows it is missing")

    return search


# The searches that Redis has as code, in db.c: sortGetKeys, georadiusGetKeys, migrateGetKeys.


def _sort(args: Sequence[bytes]) -> list[int]:
    """Find the key, and that of the last STORE; patterns of BY and GET name keys that nobody can tell."""
    keys = [1]
    index = 2
    while index < len(args):
        word = args[index].upper()
        if word == b"STORE" and index + 1 < len(args):
            keys[1:] = [index + 1]
        index += 1 + _SORT_VALUES.get(word, 0)
    return keys


def sort_patterns(args: Sequence[bytes]) -> list[int]:
    """Return the indexes of the patterns in a SORT that name other keys: of BY with a *, and of GET but #."""
    found = []
    index = 2
    while index + 1 < len(args):
        word, value = args[index].upper(), args[index + 1]
        if (word == b"BY" and b"*" in value) or (word == b"GET" and value != b"#"):
            found.append(index + 1)
        index += 1 + _SORT_VALUES.get(word, 1 if word == b"STORE" else 0)
    return found


#: How many values follow each option of SORT, so that a value is not taken for an option.
_SORT_VALUES = {b"LIMIT": 2, b"GET": 1, b"BY": 1}


def _stored(start: int) -> Search:
    """Return what finds the key, and those after the last STORE and the last STOREDIST from start on."""

    def search(args: Sequence[bytes]) -> list[int]:
        found: dict[bytes, int] = {}
        index = start
        while index + 1 < len(args):
            word = args[index].upper()
            index += 1
            if word in _STORES:
                found[word] = index
                index += 1
        return [1, *(found[word] for word in _STORES if word in found)]

    return search


_STORES = (b"STORE", b"STOREDIST")


def _migrate(args: Sequence[bytes]) -> list[int]:
    """Find the one key, or, if that is empty, those after KEYS."""
    index = 6
    while index < len(args):
        word = args[index].upper()
        if word == b"KEYS":
            if index + 1 == len(args):
                break
            if args[3]:
                raise BadKeys("KEYS needs an empty key before it")
            return list(range(index + 1, len(args)))
        index += 1 + _MIGRATE_VALUES.get(word, 0)
    return [3]


_MIGRATE_VALUES = {b"AUTH": 1, b"AUTH2": 2}

_OWN: dict[str, Search] = {
    "sort": _sort,
    "georadius": _stored(6),
    "georadiusbymember": _stored(5),
    "migrate": _migrate,
}
