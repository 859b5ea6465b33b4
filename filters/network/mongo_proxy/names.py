"""
Names that peers choose, such as those of collections, in statistics' names: a bounded number of them.
"""

from __future__ import annotations

#: The part of the name of all that have none of their own.
OTHER = "other"
#: How often a name must be seen to get the second half of the places.
OFTEN = 16


class BoundedNames:
    """
    Decides which names count for themselves.

    The first half of the places goes to those who come first, the other half to
    names that are seen often, so that a flood of names that each come once
    cannot take all.  Of how often a name was seen, twice as many as there are
    places are remembered; when there are more, all are counted down (Misra and
    Gries), which leaves the frequent ones.  A name keeps its place: counters
    only grow.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._own: dict[str, str] = {}
        self._seen: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._own)

    def get(self, name: str) -> str:
        """Return what the name counts as: a part of a statistic's name, itself or OTHER."""
        own = self._own.get(name)
        if own is not None:
            return own
        places = self._limit - len(self._own)
        if places <= 0 or (places <= self._limit // 2 and not self._often(name)):
            return OTHER
        self._seen.pop(name, None)
        own = self._own[name] = part(name)
        return own

    def _often(self, name: str) -> bool:
        seen = self._seen
        times = seen[name] = seen.get(name, 0) + 1
        if len(seen) > 2 * self._limit:
            self._seen = {each: times - 1 for each, times in seen.items() if times > 1}
        return times >= OFTEN


def part(name: str) -> str:
    """Return a name as it may stand in a statistic's, whoever reads that: printable, and not endless."""
    text = "".join(each if each.isprintable() and not each.isspace() else "_" for each in name[:128])
    return text.encode("utf-8", "replace").decode() or "_"
