"""
Spreads the handshakes over the reactor's turns.

A step of a handshake signs or verifies: it takes a hundred times as long as
relaying a message.  When many clients come at once, those that are connected
get their turn between a few steps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

#: Steps in one turn of the reactor: some 4 to 8 ms.
STEPS = 6


class Handshakes:
    """The steps that wait, of all connections of a worker."""

    def __init__(self, reactor: Any, steps: int = STEPS) -> None:
        self._reactor = reactor
        self._steps = steps
        self._left = steps
        self._queue: deque[Callable[[], object]] = deque()
        self._scheduled = False

    def take(self, step: Callable[[], object]) -> None:
        """Do a step: at once if this turn has room for it, else in one that follows."""
        if not self._scheduled:
            self._scheduled = True
            self._reactor.callLater(0, self._turn)
        if self._left > 0 and not self._queue:
            self._left -= 1
            step()
        else:
            self._queue.append(step)

    def _turn(self) -> None:
        self._left = self._steps
        try:
            while self._queue and self._left > 0:
                self._left -= 1
                self._queue.popleft()()
        finally:  # a step that raises is its own connection's trouble
            if self._queue or self._left < self._steps:
                self._reactor.callLater(0, self._turn)
            else:
                self._scheduled = False

    @property
    def waiting(self) -> int:
        """How many steps wait."""
        return len(self._queue)
