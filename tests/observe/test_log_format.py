"""Tests for meshd.observe.log_format."""

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import LogEvent, Logger, LogLevel
from twisted.python.failure import Failure

from meshd.observe.log import Levels, Log, component_of
from meshd.observe.log_format import DEFAULT, compile_format

AT = 1795415650.12816


def event(**fields: Any) -> LogEvent:
    return {
        "log_namespace": "meshd.net.listener",
        "log_level": LogLevel.warn,
        "log_format": "hello {who}",
        "who": "world",
        "log_time": AT,
        "source_path": "/x/y.py",
        "source_line": 12,
        "source_function": "f",
        **fields,
    }


def shown(pattern: str, **fields: Any) -> str:
    return compile_format(pattern, component_of)(event(**fields))


class TestFlags:
    """Patterns of Envoy's."""

    @pytest.mark.parametrize(
        ("pattern", "text"),
        [
            *(("%v", "hello world"), ("%l", "warning"), ("%L", "W"), ("%n", "net"), ("%%", "%"), ("", "")),
            *(("%e", "128"), ("%f", "128160"), ("%F", "128160000"), ("%E", "1795415650"), ("%t %P", None)),
            *(("%g:%#", "/x/y.py:12"), ("%@", "/x/y.py:12"), ("%s", "y.py"), ("%!", "f")),
            *(("%-8l|", "warning |"), ("%8l|", " warning|"), ("%=9l|", " warning |"), ("%3!l", "war")),
            ("[%Y-%m-%d %T.%e][%l] 100%% {x} %v", "[{date}][warning] 100% {x} hello world"),
            ("%C %D %x %H %I %M %S %p %R %X %r %c %a %A %b %B %d %m", None),
        ],
    )
    def test_flag(self, pattern: str, text: str | None) -> None:
        """Each flag has its value; times are local."""
        local = time.localtime(AT)
        if text is None:
            if pattern == "%t %P":
                text = f"{threading.get_native_id()} {os.getpid()}"
            else:
                text = time.strftime(
                    "%y %m/%d/%y %m/%d/%y %H %I %M %S %p %H:%M %H:%M:%S %I:%M:%S %p %a %b %d %H:%M:%S %Y "
                    "%a %A %b %B %d %m",
                    local,
                )
        assert shown(pattern) == text.replace("{date}", time.strftime("%Y-%m-%d %H:%M:%S.128", local))

    def test_offset(self) -> None:
        """The offset has a colon."""
        assert shown("%z")[3] == ":"

    @pytest.mark.parametrize(("level", "name"), [(LogLevel.debug, "debug"), (LogLevel.critical, "critical")])
    def test_levels(self, level: Any, name: str) -> None:
        """Levels have Envoy's names."""
        assert shown("%l", log_level=level) == name
        assert shown("%l", log_level=level, trace=True) == "trace"

    def test_lines(self) -> None:
        """A message of several lines can be put on one, or into JSON."""
        message = {"log_format": 'a\n"b"'}
        assert shown("%v", **message) == 'a\n"b"'
        assert shown("%_", **message) == 'a\\n"b"'
        assert shown("%j", **message) == 'a\\n\\"b\\"'
        assert shown('{"m":"%v"}', **message) == '{"m":"a\\n\\"b\\""}'

    def test_failure(self) -> None:
        """A failure has its traceback."""
        try:
            raise ValueError("bad")
        except ValueError:
            failure = Failure()
        text = shown("%v", log_failure=failure)
        assert text.startswith("hello world\nTraceback")
        assert text.endswith("ValueError: bad")

    def test_caller(self, tmp_path: Path) -> None:
        """Where something was logged is found without being told."""
        log = Log(Levels(), "%g:%!", str(tmp_path / "log"))
        Logger("x", observer=log).info("here")
        log.close()
        assert (tmp_path / "log").read_text() == "tests/observe/test_log_format.py:test_caller\n"

    def test_default(self) -> None:
        """The default is Envoy's."""
        line = shown(DEFAULT)
        assert line.endswith(f"][{threading.get_native_id()}][warning][net] [/x/y.py:12] hello world")

    @pytest.mark.parametrize("pattern", ["%Q", "%", "a%", "%8", "%-"])
    def test_wrong(self, pattern: str) -> None:
        """What is no flag is told."""
        with pytest.raises(ValueError, match="the log format"):
            compile_format(pattern, component_of)

    @given(st.text(alphabet="%lvnYe8-=! {\n", max_size=12))
    def test_any(self, pattern: str) -> None:
        """Any text is a pattern, or a ValueError."""
        try:
            write = compile_format(pattern, component_of)
        except ValueError:
            return
        write(event())


class TestJson:
    """Lines that are JSON."""

    def test_fields(self) -> None:
        """All that is known is in the object."""
        assert json.loads(shown("json", connection=7, peer=("::1", 80))) == {
            "time": "2026-11-23T06:34:10.128Z",
            "level": "warning",
            "logger": "net",
            "namespace": "meshd.net.listener",
            "source": "/x/y.py:12",
            "message": "hello world",
            "who": "world",
            "connection": 7,
            "peer": "('::1', 80)",
        }

    @given(st.text())
    def test_any(self, text: str) -> None:
        """Any message is one line of JSON."""
        line = shown("json", log_format="{who}", who=text)
        assert "\n" not in line
        assert json.loads(line)["who"] == text
