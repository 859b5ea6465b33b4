"""Where the log goes: a file, stderr, syslog."""

from __future__ import annotations

import os
import syslog
from typing import Any, Protocol

from meshd.stunnel.values import FACILITIES

FACILITY = {name: getattr(syslog, f"LOG_{name.upper()}", syslog.LOG_DAEMON) for name in FACILITIES}


class Sink(Protocol):
    """Takes lines."""

    def write(self, entry: Any, text: str) -> None:
        """Write a line: the Entry, and how it looks."""

    def reopen(self) -> None:
        """Open what it writes to anew."""

    def close(self) -> None:
        """Write no more."""


class Descriptor:
    """An open file, such as stderr."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write(self, entry: Any, text: str) -> None:
        """Write a line at once."""
        data = (text + "\n").encode("utf-8", "surrogateescape")
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:
            pass  # There is nowhere to tell it.

    def reopen(self) -> None:
        """There is nothing to open."""

    def close(self) -> None:
        """It is somebody else's."""


class File(Descriptor):
    """A log file; raises OSError if it cannot be opened."""

    def __init__(self, path: str, overwrite: bool = False, owner: tuple[int, int] = (-1, -1)) -> None:
        self._path = path
        self._overwrite = overwrite
        super().__init__(self._open())
        if owner != (-1, -1):
            os.fchown(self._fd, *owner)

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        flags |= os.O_TRUNC if self._overwrite else os.O_APPEND
        return os.open(self._path, flags, 0o640)

    def reopen(self) -> None:
        """Open the file anew; the old one is kept if that fails."""
        try:
            fd = self._open()
        except OSError:
            return
        self.close()
        self._fd = fd

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


class Syslog:
    """The system's log; the line has no time, which syslog adds."""

    def __init__(self, name: str, facility: str) -> None:
        syslog.openlog(name, syslog.LOG_CONS | syslog.LOG_NDELAY, FACILITY[facility])

    def write(self, entry: Any, text: str) -> None:
        """Write a line."""
        if text.startswith("{"):
            syslog.syslog(entry.level, text)
        else:
            syslog.syslog(entry.level, f"LOG{entry.level}[{entry.identifier}]: {entry.text}")

    def reopen(self) -> None:
        """There is nothing to open."""

    def close(self) -> None:
        """Close the connection to the system's log."""
        syslog.closelog()
