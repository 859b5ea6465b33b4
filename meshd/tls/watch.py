"""
Watches files for changes: by looking twice a second, which works on every file system.

A file has changed if it is another one (renamed over, or reached by way of a
link that leads elsewhere now, as Kubernetes exchanges secrets), or was written
to.  One that is gone has not changed until it is there again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

#: Seconds between two looks.
STEP = 0.5

#: Device, inode, time of the last change in ns, size in bytes.
State = tuple[int, int, int, int]
#: The states of files and directories by path; None of one that is not there.
States = Mapping[str, State | None]


def state_of(path: str) -> State | None:
    """Return what tells whether a file or directory has changed, None if it is not there."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def states_of(paths: Iterable[str]) -> dict[str, State | None]:
    """Return the states of files and directories."""
    return {path: state_of(path) for path in paths}


class Watch:
    """Some files and directories, as they were, and what is called when any of them has changed."""

    def __init__(self, states: States, changed: Callable[[], object]) -> None:
        self._changed = changed
        self._states = dict(states)

    def watch(self, states: States) -> None:
        """Watch these from now on, and no others."""
        self._states = dict(states)

    def look(self) -> None:
        """Call if anything has changed."""
        states = {path: state_of(path) or before for path, before in self._states.items()}
        if states != self._states:
            self._states = states
            self._changed()


class Watcher:
    """Looks at all watches, once it is started."""

    def __init__(self) -> None:
        self._watches: list[Watch] = []
        self._timers: Any = None
        self._timer: Any = None

    def add(self, states: States, changed: Callable[[], object]) -> Watch:
        """Return a watch of these files and directories, which were so when they were read."""
        watch = Watch(states, changed)
        self._watches.append(watch)
        self._begin()
        return watch

    def start(self, timers: Any) -> None:
        """Look twice a second from now on; timers is an ITimers."""
        self._timers = timers
        self._begin()

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
        self._timers = self._timer = None

    def _begin(self) -> None:
        if self._timers is not None and self._timer is None and self._watches:
            self._timer = self._timers.call_later(STEP, self._look)

    def _look(self) -> None:
        self._timer = None
        try:
            for watch in tuple(self._watches):
                watch.look()
        finally:
            self._begin()
