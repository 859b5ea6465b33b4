"""
The patterns of meshd's own log: those of Envoy's --log-format (spdlog's), and JSON.

``%Y-%m-%d %T.%e`` and the other parts of a time are local time.  A width may stand
behind the percent sign: ``%-8l`` fills up at the right, ``%8l`` at the left, ``%=8l``
at both sides; with ``!`` behind it, longer values are cut.  In a pattern that begins
with a brace ``%v`` is escaped as JSON wants it; the pattern ``json`` is a JSON object
of all that is known, a line each.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from twisted.logger import LogEvent, LogLevel, eventAsText

#: What lines look like unless told otherwise; Envoy's.
DEFAULT = "[%Y-%m-%d %T.%e][%t][%l][%n] [%g:%#] %v"

_FLAG = re.compile(r"%([-=]?)(\d*)(!?)(.)", re.DOTALL)
# Files that only pass on what others log.
_LOGGING = re.compile(
    r"[/\\](?:twisted[/\\]logger[/\\]|twisted[/\\]python[/\\]log\.py|logging[/\\]|meshd[/\\]observe[/\\])"
)

_Writer = Callable[["_Line"], str]


class _Line:
    """One event, with what several flags ask for."""

    def __init__(self, event: LogEvent) -> None:
        self.event = event
        self.time = float(event.get("log_time") or time.time())
        self.local = time.localtime(self.time)
        self._source: tuple[str, int, str] | None = None

    @property
    def level(self) -> str:
        """The level, in Envoy's words."""
        if self.event.get("trace"):
            return "trace"
        level = self.event.get("log_level")
        return "warning" if level is LogLevel.warn else str(getattr(level, "name", "info"))

    @property
    def message(self) -> str:
        """The text, with a traceback if there is one."""
        return eventAsText(self.event, includeTimestamp=False, includeSystem=False).rstrip("\n")

    @property
    def source(self) -> tuple[str, int, str]:
        """File, line and function that logged it."""
        if self._source is None:
            event = self.event
            if "source_path" in event:
                self._source = (event["source_path"], event["source_line"], event["source_function"])
            else:
                self._source = _caller()
        return self._source

    def fraction(self, digits: int) -> str:
        """Return the second's fraction."""
        nanos = round(self.time * 1e6) % 1_000_000 * 1000
        return f"{nanos:09}"[:digits]


def _caller() -> tuple[str, int, str]:
    frame: Any = sys._getframe(1)
    while frame is not None and _LOGGING.search(frame.f_code.co_filename):
        frame = frame.f_back
    if frame is None:
        return "?", 0, "?"
    return frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name


def _short(path: str) -> str:
    """Return the path of a module as from its package's directory: meshd/net/listener.py."""
    known = [directory for directory in sys.path if directory and path.startswith(directory + os.sep)]
    return path[len(max(known, key=len)) + 1 :] if known else path


def _strftime(directive: str) -> _Writer:
    return lambda line: time.strftime(directive, line.local)


def _offset(line: _Line) -> str:
    offset = time.strftime("%z", line.local)
    return f"{offset[:3]}:{offset[3:]}"


def _flags(component_of: Callable[[str], str]) -> dict[str, _Writer]:
    flags: dict[str, _Writer] = {letter: _strftime(f"%{letter}") for letter in "aAbBYmdHIMSpRT"}
    flags |= {
        "C": _strftime("%y"),
        "c": _strftime("%a %b %d %H:%M:%S %Y"),
        "D": _strftime("%m/%d/%y"),
        "x": _strftime("%m/%d/%y"),
        "r": _strftime("%I:%M:%S %p"),
        "X": _strftime("%H:%M:%S"),
        "z": _offset,
        "e": lambda line: line.fraction(3),
        "f": lambda line: line.fraction(6),
        "F": lambda line: line.fraction(9),
        "E": lambda line: str(int(line.time)),
        "v": lambda line: line.message,
        "_": lambda line: line.message.replace("\n", "\\n"),
        "j": lambda line: json.dumps(line.message, ensure_ascii=False)[1:-1],
        "t": lambda line: str(threading.get_native_id()),
        "P": lambda line: str(os.getpid()),
        "n": lambda line: component_of(line.event.get("log_namespace") or ""),
        "l": lambda line: line.level,
        "L": lambda line: line.level[0].upper(),
        "@": lambda line: f"{_short(line.source[0])}:{line.source[1]}",
        "s": lambda line: os.path.basename(line.source[0]),
        "g": lambda line: _short(line.source[0]),
        "#": lambda line: str(line.source[1]),
        "!": lambda line: line.source[2],
        "%": lambda line: "%",
    }
    return flags


def compile_format(pattern: str, component_of: Callable[[str], str]) -> Callable[[LogEvent], str]:
    """
    Return what writes events in pattern, without a newline at the end.

    component_of gives a logger's name (%n) of its namespace.  Raise ValueError
    for a flag that there is none of.
    """
    if pattern == "json":
        return lambda event: _json(event, component_of)
    flags = _flags(component_of)
    if pattern.startswith("{"):
        flags["v"] = flags["j"]
    pieces: list[_Writer] = []
    template = ""
    at = 0
    for match in _FLAG.finditer(pattern):
        side, width, short, flag = match.groups()
        if flag not in flags:
            raise ValueError(f"no flag %{flag} in the log format {pattern!r}")
        template += pattern[at : match.start()].replace("%", "%%") + "%s"
        pieces.append(_padded(flags[flag], side, int(width), bool(short)) if width else flags[flag])
        at = match.end()
    if "%" in pattern[at:]:
        raise ValueError(f"the log format {pattern!r} ends with a percent sign")
    template += pattern[at:]
    return lambda event: _write(template, pieces, _Line(event))


def _write(template: str, pieces: list[_Writer], line: _Line) -> str:
    return template % tuple([piece(line) for piece in pieces])


def _padded(write: _Writer, side: str, width: int, short: bool) -> _Writer:
    pad = {"": str.rjust, "-": str.ljust, "=": str.center}[side]

    def padded(line: _Line) -> str:
        text = pad(write(line), width)
        return text[:width] if short else text

    return padded


def _json(event: LogEvent, component_of: Callable[[str], str]) -> str:
    line = _Line(event)
    path, number, _ = line.source
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(line.time))
    fields: dict[str, Any] = {
        "time": f"{moment}.{line.fraction(3)}Z",
        "level": line.level,
        "logger": component_of(event.get("log_namespace") or ""),
        "namespace": event.get("log_namespace") or "",
        "source": f"{_short(path)}:{number}",
        "message": line.message,
    }
    for key, value in event.items():
        if not key.startswith(("log_", "source_")) and key not in ("trace", "text", *fields):
            fields[key] = value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
    return json.dumps(fields, ensure_ascii=False)
