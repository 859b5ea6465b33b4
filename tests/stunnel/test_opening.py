"""Tests for meshd.stunnel.opening."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshd.stunnel.opening import open_log
from meshd.stunnel.sinks import Descriptor, File, Syslog
from meshd.stunnel.syntax import Failure
from tests.stunnel.reading import SERVICE, read


class TestOpening:
    """Where the log goes."""

    def kinds(self, text: str, inetd: bool = False) -> list[type]:
        """Return the types of the sinks."""
        sinks, _, _ = open_log(read(text + SERVICE)[0], inetd)
        return [type(each) for each in sinks]

    def test_places(self, tmp_path: Path) -> None:
        """Syslog unless it is off, a file if one is named, stderr in the foreground but not from inetd."""
        assert self.kinds("") == [Syslog]
        text = f"syslog = no\noutput = {tmp_path}/log\nforeground = yes\n"
        assert self.kinds(text) == [File, Descriptor]
        assert self.kinds(text, inetd=True) == [File]
        assert self.kinds("syslog = no\nforeground = quiet\n") == []

    def test_level(self) -> None:
        """Level and form are those of the process."""
        found = read("syslog = no\ndebug = 6\n; meshd: log = json\n" + SERVICE)[0]
        assert open_log(found, False) == ([], 6, True)

    def test_failure(self) -> None:
        """A file that cannot be opened is told."""
        with pytest.raises(Failure, match="Cannot open log file: /nonexistent/x"):
            self.kinds("syslog = no\noutput = /nonexistent/x\n")
