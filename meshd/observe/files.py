"""
The files of access logs: one per path, however many loggers write to it.

Lines are gathered, and written when there is enough of them, when it is time, and
at the end.  A file that cannot be written to costs its lines and is counted; the
connections that are logged notice nothing.
"""

from __future__ import annotations

import os

from zope.interface import implementer

from meshd.interfaces import ILogFile, IScope, ITimer, ITimers
from meshd.plugin import ConfigError

#: How many characters are gathered before they are written: Envoy's 64 KiB.
MIN_FLUSH = 64 * 1024

_STANDARD = {"/dev/stdout": 1, "/dev/stderr": 2}


@implementer(ILogFile)
class LogFile:
    """A file that lines are appended to."""

    def __init__(self, path: str, files: LogFiles) -> None:
        self.path = path
        self._files = files
        self._lines: list[str] = []
        self._size = 0
        self._timer: ITimer | None = None
        self._fd = self._open()

    def _open(self) -> int:
        standard = _STANDARD.get(self.path)
        if standard is not None:
            # A socket, as under systemd, cannot be opened by its name.
            return os.dup(standard)
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def write(self, line: str) -> None:
        """Append line, newline included, sooner or later."""
        files = self._files
        size = len(line)
        self._lines.append(line)
        self._size += size
        files.write_buffered.value += 1
        files.write_total_buffered.value += size
        if self._size >= files.min_flush:
            self.flush()
        elif self._timer is None:
            self._timer = files.timers.call_later(files.interval, self._timed)

    def _timed(self) -> None:
        self._timer = None
        self._files.flushed_by_timer.inc()
        self.flush()

    def flush(self) -> None:
        """Write what was gathered; never raises."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._lines:
            return
        data = memoryview("".join(self._lines).encode("utf-8", "replace"))
        self._files.write_total_buffered.value -= self._size
        self._lines.clear()
        self._size = 0
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:
            self._files.write_failed.inc()
        else:
            self._files.write_completed.inc()

    def reopen(self) -> None:
        """Write what was gathered, and open the path anew; the old file is kept if that fails."""
        self.flush()
        try:
            fd = self._open()
        except OSError:
            self._files.reopen_failed.inc()
            return
        os.close(self._fd)
        self._fd = fd

    def close(self) -> None:
        """Write what was gathered, and be done; lines that come later are lost."""
        self.flush()
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class LogFiles:
    """
    The files of all access logs.

    stats is the root scope, for filesystem.*; interval_ms is how long lines may
    be kept (--file-flush-interval-msec), min_flush how many characters of them
    (--file-flush-min-size-kb).
    """

    def __init__(
        self, stats: IScope, timers: ITimers, interval_ms: int = 10_000, min_flush: int = MIN_FLUSH
    ) -> None:
        scope = stats.scope("filesystem")
        self.write_buffered = scope.counter("write_buffered")
        self.write_completed = scope.counter("write_completed")
        self.write_failed = scope.counter("write_failed")
        self.flushed_by_timer = scope.counter("flushed_by_timer")
        self.reopen_failed = scope.counter("reopen_failed")
        self.write_total_buffered = scope.gauge("write_total_buffered")
        self.timers = timers
        self.interval = interval_ms / 1000
        self.min_flush = min_flush
        self._files: dict[str, LogFile] = {}

    def open(self, path: str) -> LogFile:
        """Return the file at path, opening it if nobody has; raise ConfigError if that cannot be."""
        file = self._files.get(path)
        if file is None:
            try:
                file = self._files[path] = LogFile(path, self)
            except OSError as error:
                raise ConfigError(f"unable to open file '{path}': {error.strerror}") from None
        return file

    def flush(self) -> None:
        """Write all that was gathered."""
        for file in self._files.values():
            file.flush()

    def reopen(self) -> None:
        """Open all files anew, once they were moved away."""
        for file in self._files.values():
            file.reopen()

    def close(self) -> None:
        """Write all that was gathered, and be done."""
        for file in self._files.values():
            file.close()
        self._files.clear()
