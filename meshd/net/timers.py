"""
The many short time-outs of connections, on one timer of the reactor.

A callLater each would be a heap operation for every event.  Here, timers that
end within the same step share a bucket: starting and cancelling one is a set
operation.  A step is 10 ms, or 1 % of a longer delay: an idle time-out of an
hour does not need a bucket for each 10 ms of it.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from twisted.logger import Logger
from zope.interface import implementer

from meshd.interfaces import ITimer, ITimers

#: Seconds.
STEP = 0.01
log = Logger(namespace="meshd.timers")


def _nothing() -> None:
    pass


@implementer(ITimer)
class Timer:
    """One callback that will come, unless it is cancelled."""

    __slots__ = ("_bucket", "_callback")

    def __init__(self, bucket: set[Timer], callback: Callable[[], object]) -> None:
        self._bucket = bucket
        self._callback = callback

    def cancel(self) -> None:
        """Let it not happen; nothing if it has happened, or was cancelled."""
        self._bucket.discard(self)
        self._callback = _nothing  # who is called back mostly keeps the timer: no cycle is left

    def fire(self) -> None:
        """Call back; an error is logged, and stops no other timer."""
        callback, self._callback = self._callback, _nothing
        try:
            callback()
        except Exception:
            log.failure("in a timer")


@implementer(ITimers)
class Timers:
    """The wheel: buckets by the step at whose end they are due."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._seconds = clock.seconds
        self._coarse: dict[float, int] = {}
        self._buckets: dict[int, set[Timer]] = {}
        self._due: list[int] = []
        self._call: Any = None
        self._next = 0

    def call_later(self, delay: float, callback: Callable[[], object]) -> Timer:
        """Call back once, delay seconds from now or up to 10 ms (or 1 %) later."""
        step = int((self._seconds() + delay) / STEP) + 1
        if delay > 2:
            step += -step % (self._coarse.get(delay) or self._coarseness(delay))
        bucket = self._buckets.get(step)
        if bucket is None:
            bucket = self._buckets[step] = set()
            heappush(self._due, step)
            if self._call is None or step < self._next:
                self._schedule(step)
        timer = Timer(bucket, callback)
        bucket.add(timer)
        return timer

    def _coarseness(self, delay: float) -> int:
        """Return the largest power of two of steps that is not above 1 % of the delay."""
        coarse = 1 << (int(delay) // 2).bit_length() - 1
        if len(self._coarse) < 1000:  # most delays are of the config, and few
            self._coarse[delay] = coarse
        return coarse

    def stop(self) -> None:
        """Forget all timers."""
        self._buckets.clear()
        self._due.clear()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _schedule(self, step: int) -> None:
        if self._call is not None:
            self._call.cancel()
        self._next = step
        self._call = self._clock.callLater(max(0.0, step * STEP - self._clock.seconds()), self._fire)

    def _fire(self) -> None:
        self._call = None
        # Half a step of grace, for clocks that wake a hair early.
        now = int(self._clock.seconds() / STEP + 0.5)
        while self._due and self._due[0] <= now:
            bucket = self._buckets.pop(heappop(self._due))
            while bucket:
                bucket.pop().fire()
        if self._due:
            # Empty buckets are not worth waking up for.
            while self._due and not self._buckets[self._due[0]]:
                del self._buckets[heappop(self._due)]
        if self._due and self._call is None:
            self._schedule(self._due[0])
