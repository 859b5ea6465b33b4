"""
The keys that are used most, in bounded memory.

The algorithm is Space-Saving (Metwally, Agrawal, El Abbadi 2005): a key that
is not among those counted takes the place of the least counted, and its count;
so a count may be too high by what it took over, which is told too.
"""

from __future__ import annotations

#: So many keys are counted for each that is told of.
_SPARE = 10


class HotKeys:
    """Counts keys; count is a dictionary's work for a key that is known."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self._room = wanted * _SPARE
        self._counts: dict[bytes, int] = {}
        self._errors: dict[bytes, int] = {}
        self._floor = 0
        self._least: list[bytes] = []

    def count(self, key: bytes) -> None:
        """Count one use of key."""
        counts = self._counts
        if key in counts:
            counts[key] += 1
        elif len(counts) < self._room:
            counts[key] = 1
        else:
            self._replace(key)

    def _replace(self, key: bytes) -> None:
        counts = self._counts
        while True:
            if not self._least:
                self._floor = min(counts.values())
                self._least = [each for each, count in counts.items() if count == self._floor]
            old = self._least.pop()
            if counts.get(old) == self._floor:
                break
        del counts[old]
        self._errors.pop(old, None)
        counts[key] = self._floor + 1
        self._errors[key] = self._floor

    def top(self) -> list[tuple[bytes, int, int]]:
        """Return the most used keys: key, count, and by how much that may be too high."""
        most = sorted(self._counts.items(), key=lambda item: -item[1])[: self.wanted]
        return [(key, count, self._errors.get(key, 0)) for key, count in most]

    def page(self) -> str:
        """Return a line for each key, for the admin page."""
        lines = [
            f"{count} {f'(-{error}) ' if error else ''}{key.decode('utf-8', 'backslashreplace')!r}\n"
            for key, count, error in self.top()
        ]
        return "".join(lines) or "no key was used yet\n"
