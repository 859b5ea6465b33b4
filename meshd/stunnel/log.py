"""
stunnel's log: what its lines look like, and what becomes of them before there is a log.

Until a configuration is accepted, lines are kept.  If it is, they go where it
says; if it is not, they are printed to stderr, each with a mark of how bad it is.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any, TextIO

import attrs
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from zope.interface import implementer

from meshd.stunnel.model import DEBUG, ERR, NOTICE, WARNING
from meshd.stunnel.sinks import Sink

#: What stands before a line, by its level, when there is no log yet.
_MARKS = "***!:.  "
#: Who says what is not of a connection.
UI = "ui"

_LEVELS = {
    LogLevel.debug: DEBUG,
    LogLevel.info: DEBUG,
    LogLevel.warn: WARNING,
    LogLevel.error: ERR,
    LogLevel.critical: ERR,
}


@attrs.frozen
class Entry:
    """One line; time is in seconds since the epoch."""

    level: int
    identifier: str
    text: str
    time: float

    def stamped(self) -> str:
        """Return it as it stands in a log file."""
        stamp = time.strftime("%Y.%m.%d %H:%M:%S", time.localtime(self.time))
        return f"{stamp} LOG{self.level}[{self.identifier}]: {self.text}"

    def marked(self) -> str:
        """Return it as it is printed before there is a log."""
        return f"[{_MARKS[self.level]}] {self.text}"

    def as_json(self) -> str:
        """Return it as a line of JSON."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(self.time))
        fields = {
            "time": f"{stamp}.{int(self.time * 1000) % 1000:03d}Z",
            "level": self.level,
            "id": self.identifier,
            "message": self.text,
        }
        return json.dumps(fields, ensure_ascii=False)


@implementer(ILogObserver)
class StunnelLog:
    """The log of the process, also for what meshd itself says."""

    def __init__(self, stderr: TextIO | None = None) -> None:
        self._stderr = stderr
        self._kept: list[Entry] | None = []
        self._sinks: list[Sink] = []
        self.level = NOTICE
        self.json = False

    # Who writes.

    def say(self, level: int, text: str, identifier: str = UI) -> None:
        """Log a line that is of no connection."""
        self.write(Entry(level, identifier, text, time.time()), wanted=level <= self.level)

    def __call__(self, event: LogEvent) -> None:
        """Take an event of twisted.logger; one with stunnel=(level, identifier) is a line of a connection."""
        ours = event.get("stunnel")
        if ours is not None:
            level, identifier = ours
            self.write(Entry(level, identifier, event["text"], event["log_time"]), wanted=True)
            return
        level = _level_of(event)
        if level <= self.level or self._kept is not None:
            text = formatEvent(event)
            failure = event.get("log_failure")
            if failure is not None:
                text = f"{text}: {failure.getTraceback()}"
            for line in text.splitlines():
                self.write(Entry(level, "meshd", line, event["log_time"]), wanted=level <= self.level)

    def write(self, entry: Entry, wanted: bool) -> None:
        """Write a line, or keep it while it is not known where to; only those that are wanted are written."""
        if self._kept is not None:
            self._kept.append(entry)
        elif wanted:
            self._write(entry)

    def _write(self, entry: Entry) -> None:
        text = entry.as_json() if self.json else entry.stamped()
        for sink in self._sinks:
            sink.write(entry, text)

    # Where to.

    def accept(self, sinks: list[Sink], level: int, as_json: bool = False) -> None:
        """Write to the sinks from now on, what was kept first."""
        for sink in self._sinks:
            if sink not in sinks:
                sink.close()
        self._sinks, self.level, self.json = sinks, level, as_json
        kept, self._kept = self._kept or [], None
        for entry in kept:
            if entry.level <= level:
                self._write(entry)

    def refuse(self) -> None:
        """Print to stderr what was kept, all of it: there will be no log."""
        kept, self._kept = self._kept or [], []
        for entry in kept:
            self.print(entry.marked())

    def keep(self) -> None:
        """Keep what is written from now on, until accept() or give_back()."""
        self._kept = []

    def give_back(self) -> None:
        """Write what was kept to where lines went before."""
        kept, self._kept = self._kept or [], None
        for entry in kept:
            if entry.level <= self.level:
                self._write(entry)

    def print(self, text: str) -> None:
        """Print a line to stderr."""
        stream = self._stderr or sys.__stderr__
        if stream is not None:
            stream.write(text + "\n")
            stream.flush()

    def reopen(self) -> None:
        """Open the log file anew."""
        for sink in self._sinks:
            sink.reopen()

    # What the admin page and --log-level know of.

    def get_all(self) -> dict[str, str]:
        """Return the level of each component by its name."""
        return {"stunnel": str(self.level)}

    def all(self) -> dict[str, str]:
        """Return the level of each component by its name."""
        return self.get_all()

    def set_all(self, level: str) -> None:
        """Put the log to a level: stunnel's number, or Envoy's name of one; raise ValueError."""
        names = {"trace": 7, "debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2, "off": 0}
        self.level = names[level] if level in names else int(level)

    def set(self, name: str, level: str) -> None:
        """Put a component to a level; raise KeyError, ValueError."""
        if name != "stunnel":
            raise KeyError(name)
        self.set_all(level)


def _level_of(event: LogEvent) -> int:
    if event.get("log_namespace") == "log_legacy" and not event.get("isError"):
        return DEBUG + 1  # ports opened and closed, for each name that is looked up
    level: Any = event.get("log_level")
    return _LEVELS.get(level, DEBUG)
