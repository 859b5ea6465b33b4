"""Tests for meshd.stunnel.sinks."""

from __future__ import annotations

import os
import syslog
from pathlib import Path

import pytest

from meshd.stunnel.log import Entry
from meshd.stunnel.sinks import FACILITY, Descriptor, File, Syslog

ENTRY = Entry(5, "ui", "text", 0.0)


class TestSinks:
    """Where lines go."""

    def test_append(self, tmp_path: Path) -> None:
        """A file is gone on with, or begun anew if that is wanted."""
        path = tmp_path / "log"
        path.write_text("old\n")
        File(str(path)).write(ENTRY, "new")
        assert path.read_text() == "old\nnew\n"
        File(str(path), overwrite=True).write(ENTRY, "newest")
        assert path.read_text() == "newest\n"

    def test_reopen(self, tmp_path: Path) -> None:
        """A file that was moved away is made anew; if it cannot be, the old one is kept."""
        path = tmp_path / "dir" / "log"
        path.parent.mkdir()
        file = File(str(path))
        path.rename(tmp_path / "moved")
        file.reopen()
        file.write(ENTRY, "a")
        assert path.read_text() == "a\n"
        path.rename(tmp_path / "moved")
        path.parent.rmdir()
        file.reopen()
        file.write(ENTRY, "b")
        assert (tmp_path / "moved").read_text() == "a\nb\n"

    def test_missing(self) -> None:
        """A file that cannot be opened is an error."""
        with pytest.raises(OSError):
            File("/nonexistent/log")

    def test_descriptor(self) -> None:
        """An open file gets whole lines; a broken one is no error."""
        read, write = os.pipe()
        Descriptor(write).write(ENTRY, "a line")
        assert os.read(read, 100) == b"a line\n"
        os.close(read)
        Descriptor(write).write(ENTRY, "nobody reads it")
        os.close(write)

    def test_syslog(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """syslog gets level and line, without a time."""
        said: list[tuple[object, ...]] = []
        monkeypatch.setattr(syslog, "openlog", lambda *args: said.append(args))
        monkeypatch.setattr(syslog, "syslog", lambda *args: said.append(args))
        Syslog("me", "local3").write(ENTRY, ENTRY.stamped())
        assert said[0][0] == "me" and said[0][2] == FACILITY["local3"] == syslog.LOG_LOCAL3
        assert said[1] == (5, "LOG5[ui]: text")
