"""
Long answers, made a few milliseconds at a time.

The admin page shares its process with the traffic: the statistics of a thousand
clusters are twenty megabytes, and would stop every connection for a second.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from twisted.internet.defer import Deferred

#: Seconds at a time.
SLICE = 0.002


class _Making:
    """A text that is being made."""

    def __init__(self, parts: Iterator[str], reactor: Any) -> None:
        self._parts = parts
        self._reactor = reactor
        self._made: list[bytes] = []
        self.cancelled = False

    def some(self) -> bytes | None:
        """Make some more; return the whole when that was the last."""
        end = time.perf_counter() + SLICE
        for part in self._parts:
            if part:
                self._made.append(part.encode())
            if time.perf_counter() >= end and self._reactor is not None:
                return None
        return b"".join(self._made)

    def go_on(self, done: Deferred[bytes]) -> None:
        """Make the rest, a slice in each turn of the reactor."""
        if self.cancelled:
            return
        try:
            whole = self.some()
        except Exception:
            done.errback()
            return
        if whole is None:
            self._reactor.callLater(0, self.go_on, done)
        else:
            done.callback(whole)

    def cancel(self, done: object) -> None:
        """Make no more."""
        self.cancelled = True


def make(parts: Iterator[str], reactor: Any) -> bytes | Deferred[bytes]:
    """
    Return all parts together: at once if they take no longer than a slice, or there is no reactor.

    Whoever does not want them any more cancels the Deferred.
    """
    making = _Making(parts, reactor)
    whole = making.some()
    if whole is not None:
        return whole
    done: Deferred[bytes] = Deferred(making.cancel)
    reactor.callLater(0, making.go_on, done)
    return done
