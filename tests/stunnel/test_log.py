"""Tests for meshd.stunnel.log."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from meshd.stunnel.log import StunnelLog


class Kept:
    """A sink that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.reopened = self.closed = 0

    def write(self, entry: Any, text: str) -> None:
        """Keep a line."""
        self.lines.append(text)

    def reopen(self) -> None:
        """Count it."""
        self.reopened += 1

    def close(self) -> None:
        """Count it."""
        self.closed += 1


class TestStunnelLog:
    """The log before and after a configuration is accepted."""

    def setup_method(self) -> None:
        """Make a log."""
        self.stderr = io.StringIO()
        self.log = StunnelLog(self.stderr)
        self.sink = Kept()

    def test_accepted(self) -> None:
        """What was said before goes to the log, as far as its level allows."""
        self.log.say(5, "five")
        self.log.say(6, "six")
        self.log.accept([self.sink], 5)
        self.log.say(4, "four")
        self.log.say(7, "seven")
        assert [line[20:] for line in self.sink.lines] == ["LOG5[ui]: five", "LOG4[ui]: four"]
        assert re.fullmatch(r"\d{4}\.\d\d\.\d\d \d\d:\d\d:\d\d LOG5\[ui\]: five", self.sink.lines[0])
        assert self.stderr.getvalue() == ""

    def test_refused(self) -> None:
        """What was said is printed with marks, all of it."""
        for level in (3, 4, 5, 6, 7):
            self.log.say(level, f"{level}")
        self.log.refuse()
        assert self.stderr.getvalue() == "[!] 3\n[:] 4\n[.] 5\n[ ] 6\n[ ] 7\n"

    def test_reload(self) -> None:
        """Lines of a reload that fails go to the old log."""
        self.log.accept([self.sink], 5)
        self.log.keep()
        self.log.say(3, "bad")
        assert self.sink.lines == []
        self.log.give_back()
        assert self.sink.lines[0].endswith("bad")

    def test_new_sinks(self) -> None:
        """Sinks that are used no more are closed."""
        self.log.accept([self.sink], 5)
        self.log.accept([Kept()], 5)
        assert self.sink.closed == 1

    def test_connections(self) -> None:
        """A connection's lines were asked about by whoever logs them, and have its number."""
        self.log.accept([self.sink], 3)
        Logger(observer=self.log).info("{text}", text="closed", stunnel=(5, "12"))
        assert self.sink.lines[0].endswith("LOG5[12]: closed")

    def test_own(self) -> None:
        """What meshd itself says is for whoever wants everything, but for what is wrong."""
        self.log.accept([self.sink], 5)
        logger = Logger(namespace="meshd.x", observer=self.log)
        logger.info("listening")
        logger.warn("beware")
        try:
            raise ValueError("oops")
        except ValueError:
            logger.failure("broken", Failure())
        assert self.sink.lines[0].endswith("LOG4[meshd]: beware")
        assert all("LOG3[meshd]" in line for line in self.sink.lines[1:])

    def test_legacy(self) -> None:
        """Ports that are opened for each name that is looked up are not told at all."""
        self.log.accept([self.sink], 7)
        Logger(namespace="log_legacy", observer=self.log).emit(LogLevel.info, "opened")
        assert self.sink.lines == []

    def test_json(self) -> None:
        """Lines may be JSON."""
        self.log.accept([self.sink], 5, as_json=True)
        self.log.say(5, "it")
        fields = json.loads(self.sink.lines[0])
        assert (fields["level"], fields["id"], fields["message"]) == (5, "ui", "it")

    def test_levels(self) -> None:
        """The admin page changes the level by Envoy's names or stunnel's numbers."""
        self.log.set_all("debug")
        assert self.log.get_all() == {"stunnel": "7"}
        self.log.set("stunnel", "3")
        assert self.log.all() == {"stunnel": "3"}
        with pytest.raises(KeyError):
            self.log.set("x", "3")

    def test_reopen(self) -> None:
        """All sinks are told."""
        self.log.accept([self.sink], 5)
        self.log.reopen()
        assert self.sink.reopened == 1
