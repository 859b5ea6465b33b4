"""
Envoy's earliest-deadline-first scheduler: weighted round robin.

Each entry has a deadline one over its weight after its last turn; whose
deadline is the earliest has the next turn.  The arithmetic is that of Envoy's
edf_scheduler.h, so that the order of turns is Envoy's too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heapify, heapreplace
from typing import Generic, TypeVar

Entry = TypeVar("Entry")

#: Added to the weights when the first turns are skipped, against rounding: Envoy's number.
EPSILON = 1e-13

#: Envoy skips no more turns than this.
MAX_SKIPPED = 429496729


class Scheduler(Generic[Entry]):
    """
    Gives entries their turns by weight.

    weight is asked again after each turn, and must be above 0.  skipped says
    how many turns are over already: proxies that start at the same time should
    not all begin with the same host.
    """

    __slots__ = ("_now", "_order", "_queue", "_weight")

    def __init__(self, entries: Sequence[Entry], weight: Callable[[Entry], float], skipped: int = 0) -> None:
        self._weight = weight
        self._now = 0.0
        self._order = len(entries)
        self._queue: list[tuple[float, int, Entry]] = []
        skipped %= MAX_SKIPPED
        for _ in range(skipped - self._skip(entries, skipped)):
            self.pick()

    def pick(self) -> Entry:
        """Return whose turn it is; IndexError if there is no entry."""
        now, _, entry = self._queue[0]
        self._now = now
        heapreplace(self._queue, (now + 1.0 / self._weight(entry), self._order, entry))
        self._order += 1
        return entry

    def _skip(self, entries: Sequence[Entry], turns: int) -> int:
        """Fill the queue as it is after at most that many turns; return after how many."""
        weights = [self._weight(entry) + EPSILON for entry in entries]
        total = sum(weights)
        done = 0
        for order, (entry, weight) in enumerate(zip(entries, weights, strict=True)):
            own = int(weight * turns / total)
            if own > 0 and own / weight >= turns / total:
                own -= 1
            self._now = max(self._now, own / weight)
            self._queue.append(((own + 1) / weight, order, entry))
            done += own
        heapify(self._queue)
        return done
