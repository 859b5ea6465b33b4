"""Patterns of keys, as KEYS and SCAN have them (stringmatchlen in Redis's util.c)."""

from __future__ import annotations

from collections.abc import Callable

#: What a pattern is made of: the bytes that may stand at a place, or None for any number of any bytes.
Parts = list[frozenset[int] | None]

_ANY = frozenset(range(256))


def literal_start(pattern: bytes) -> bytes:
    """Return what a pattern begins with, up to the first character that means something else."""
    ends = [found for each in b"*?[\\" if (found := pattern.find(each)) >= 0]
    return pattern[: min(ends)] if ends else pattern


def matcher(pattern: bytes) -> Callable[[bytes], bool]:
    """Return what tells whether pattern matches a key; it takes time as the product of their sizes."""
    parts = _read(pattern)
    return lambda key: _matches(parts, key)


def _read(pattern: bytes) -> Parts:
    parts: Parts = []
    place, size = 0, len(pattern)
    while place < size:
        char = pattern[place : place + 1]
        if char == b"*":
            if not parts or parts[-1] is not None:
                parts.append(None)
        elif char == b"?":
            parts.append(_ANY)
        elif char == b"[":
            chars, place = _read_class(pattern, place + 1)
            parts.append(chars)
        else:
            if char == b"\\" and place + 1 < size:
                place += 1
            parts.append(frozenset(pattern[place : place + 1]))
        place += 1
    return parts


def _read_class(pattern: bytes, place: int) -> tuple[frozenset[int], int]:
    """Return the bytes of the class whose first character is at place, and where it ends."""
    negated = pattern[place : place + 1] == b"^"
    place += negated
    chars: set[int] = set()
    size = len(pattern)
    while place < size and pattern[place : place + 1] != b"]":
        if pattern[place : place + 1] == b"\\" and place + 1 < size:
            place += 1
            chars.add(pattern[place])
        elif pattern[place + 1 : place + 2] == b"-" and place + 2 < size:
            low, high = sorted((pattern[place], pattern[place + 2]))
            chars.update(range(low, high + 1))
            place += 2
        else:
            chars.add(pattern[place])
        place += 1
    return (_ANY - chars if negated else frozenset(chars)), place


def _matches(parts: Parts, key: bytes) -> bool:
    """Go back to the last * only: an earlier one need not take more."""
    part = place = 0
    star = resume = -1
    while place < len(key):
        wanted = parts[part] if part < len(parts) else frozenset()
        if wanted is None:
            star, resume = part, place
            part += 1
        elif key[place] in wanted:
            part += 1
            place += 1
        elif star >= 0:
            resume += 1
            part, place = star + 1, resume
        else:
            return False
    return all(each is None for each in parts[part:])
