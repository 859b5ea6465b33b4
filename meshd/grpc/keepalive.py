"""Pings, by which a connection finds out that its host is not there any more."""

from __future__ import annotations

from collections.abc import Callable
from random import random

from meshd.interfaces import ITimer, ITimers
from meshd.upstream.http2_options import Pings


class Keepalive:
    """
    Calls ping every so often, and lost if there is no answer in time.

    answered() is to be called with each answer, stop() in the end.
    """

    def __init__(
        self, pings: Pings, timers: ITimers, ping: Callable[[], object], lost: Callable[[], object]
    ) -> None:
        self._pings = pings
        self._timers = timers
        self._ping = ping
        self._lost = lost
        self._timer: ITimer | None = None
        self._wait()

    def _wait(self) -> None:
        pings = self._pings
        interval = pings.interval * (1 + pings.jitter * random())
        self._timer = self._timers.call_later(interval, self._due)

    def _due(self) -> None:
        self._timer = self._timers.call_later(self._pings.timeout, self._late)
        self._ping()

    def _late(self) -> None:
        self._timer = None
        self._lost()

    def answered(self) -> None:
        """The host is there: wait for the next turn."""
        self.stop()
        self._wait()

    def stop(self) -> None:
        """Ping no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
