"""
meshd's own log: what goes wrong, and what an operator wants to know.

All of meshd logs through twisted.logger.  A Log is the observer that writes it, in
the pattern of ``--log-format`` (Envoy's, see log_format.py) to stderr or a file;
Levels says what is worth writing, by namespace, and can be changed while meshd
runs.  What other packages log through the standard library comes in by a Bridge.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping

from twisted.logger import ILogObserver, LogEvent, LogLevel
from zope.interface import implementer

from meshd.observe.log_format import DEFAULT, compile_format

#: Envoy's names of levels, with what twisted.logger's are worth on the same scale; trace is below debug.
LEVELS: Mapping[str, int] = {
    "trace": 0,
    "debug": 1,
    "info": 2,
    "warning": 3,
    "error": 4,
    "critical": 5,
    "off": 6,
}
_WORTH = {
    LogLevel.debug: 1,
    LogLevel.info: 2,
    LogLevel.warn: 3,
    LogLevel.error: 4,
    LogLevel.critical: 5,
}

#: What can be named on the command line and the admin page, from the start.
COMPONENTS = (
    *("admin", "config", "filters", "http", "main", "net", "observe", "policy", "process", "tls", "upstream"),
    *("xds", "twisted"),
)


def component_of(namespace: str) -> str:
    """Return the component of a namespace: net of meshd.net.listener, twisted of twisted.internet."""
    parts = namespace.split(".")
    if parts[0] == "meshd":
        return parts[1] if len(parts) > 1 and parts[1] in COMPONENTS else "main"
    if parts[0] == "log_legacy":
        return "twisted"  # What is logged through twisted.python.log.
    return parts[0] or "main"


def level_number(level: str) -> int:
    """Return the number of a level of Envoy's; warn is warning.  Raise ValueError if there is none such."""
    number = LEVELS.get("warning" if level == "warn" else level)
    if number is None:
        raise ValueError(f"no level {level!r}: it is one of {', '.join(LEVELS)}")
    return number


class Levels:
    """
    From which level on things are logged, by component.

    A component is a package of meshd (``net``) or another top-level package
    (``twisted``); a longer namespace (``meshd.net.listener``) can have a level of its own.
    """

    def __init__(self, level: str = "info") -> None:
        self._names = list(LEVELS)
        self._default = level_number(level)
        self._levels = dict.fromkeys(COMPONENTS, self._default)
        self._known: dict[str, int] = {}

    def get_all(self) -> dict[str, str]:
        """Return the level of each component, and of each namespace that has its own, sorted by name."""
        return {name: self._names[self._levels[name]] for name in sorted(self._levels)}

    def get(self, name: str) -> str:
        """Return the level of a component or namespace."""
        return self._names[self._number(name)]

    def set(self, name: str, level: str) -> None:
        """
        Put one component or namespace to level.

        Raise KeyError for a component that is not known (a namespace has a
        dot), ValueError for a level that is none.
        """
        number = level_number(level)
        if name not in self._levels and "." not in name:
            raise KeyError(name)
        self._levels[name] = number
        self._known.clear()

    def set_all(self, level: str) -> None:
        """Put everything to level, namespaces too; raise ValueError for a level that is none."""
        self._default = level_number(level)
        self._levels = {name: self._default for name in self._levels if "." not in name}
        self._known.clear()

    def wants(self, event: LogEvent) -> bool:
        """
        Return whether an event of twisted.logger is to be written; one with trace=True is below debug.

        What comes by twisted.python.log and is no error is debug: four lines for each name looked
        up tell that a port was opened and closed.
        """
        namespace = event.get("log_namespace") or ""
        worth = 0 if event.get("trace") else _WORTH.get(event.get("log_level"), 2)
        if namespace == "log_legacy" and worth == 2:
            worth = 1
        return worth >= self._number(namespace)

    def _number(self, namespace: str) -> int:
        number = self._known.get(namespace)
        if number is None:
            number = self._known[namespace] = self._find(namespace)
        return number

    def _find(self, namespace: str) -> int:
        component = component_of(namespace)
        if component not in self._levels:
            # Another package: now that it was heard of, it can be named.
            self._levels[component] = self._default
        name = namespace
        while "." in name:
            if name in self._levels:
                return self._levels[name]
            name = name.rpartition(".")[0]
        return self._levels[component]


@implementer(ILogObserver)
class Log:
    """
    Writes events as lines: to path, or to stderr if there is none.

    Raise OSError if path cannot be opened, ValueError for a bad pattern.
    """

    def __init__(self, levels: Levels, pattern: str = DEFAULT, path: str | None = None) -> None:
        self.levels = levels
        self._format = compile_format(pattern, component_of)
        self._path = path
        # Not sys.stderr: twistd may have made that one of our sources.
        self._fd = 2 if path is None else self._open(path)

    @staticmethod
    def _open(path: str) -> int:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def __call__(self, event: LogEvent) -> None:
        if not self.levels.wants(event):
            return
        data = (self._format(event) + "\n").encode("utf-8", "backslashreplace")
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:
            pass  # There is nowhere to tell it.

    def reopen(self) -> None:
        """Open the file anew, once it was moved away; the old one is kept if that fails."""
        if self._path is None:
            return
        try:
            fd = self._open(self._path)
        except OSError:
            return
        os.close(self._fd)
        self._fd = fd

    def close(self) -> None:
        """Write no more."""
        if self._path is not None and self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Bridge(logging.Handler):
    """Brings what is logged through the standard library, warnings included, to twisted.logger."""

    _LEVELS = (
        (logging.CRITICAL, LogLevel.critical),
        (logging.ERROR, LogLevel.error),
        (logging.WARNING, LogLevel.warn),
        (logging.INFO, LogLevel.info),
        (0, LogLevel.debug),
    )

    def __init__(self, publisher: Callable[[LogEvent], None]) -> None:
        super().__init__()
        self._publisher = publisher

    def start(self) -> None:
        """Begin: it is Levels that decides what is written, so all is let through."""
        root = logging.getLogger()
        self._level_before = root.level
        root.addHandler(self)
        root.setLevel(logging.DEBUG)
        logging.captureWarnings(True)

    def stop(self) -> None:
        """End."""
        root = logging.getLogger()
        root.removeHandler(self)
        root.setLevel(self._level_before)
        logging.captureWarnings(False)

    def emit(self, record: logging.LogRecord) -> None:
        level = next(level for number, level in self._LEVELS if record.levelno >= number)
        text = record.getMessage()
        if record.exc_info and record.exc_info[0] is not None:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        self._publisher(
            {
                "log_format": "{text}",
                "text": text,
                "log_level": level,
                # Warnings come from the logger py.warnings.
                "log_namespace": "main" if record.name == "py.warnings" else record.name,
                "log_time": record.created,
                "source_path": record.pathname,
                "source_line": record.lineno,
                "source_function": record.funcName,
            }
        )
