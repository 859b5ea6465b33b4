"""Tests for meshd.observe.files."""

import os
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from meshd.net.timers import Timers
from meshd.observe.files import LogFiles
from meshd.observe.stats import Store
from meshd.plugin import ConfigError


class Setup:
    """Files below a directory, and a clock."""

    def __init__(self, directory: Path, interval_ms: int = 1000, min_flush: int = 100) -> None:
        self.clock = Clock()
        self.stats = Store()
        self.files = LogFiles(self.stats, Timers(self.clock), interval_ms, min_flush)
        self.path = directory / "log"

    def number(self, name: str) -> int:
        """Return a statistic."""
        known = {stat.name: stat for stat in self.stats}
        value = getattr(known[f"filesystem.{name}"], "value")  # noqa: B009
        assert isinstance(value, int)
        return value


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    """Return files with an interval of a second and a limit of 100 characters."""
    return Setup(tmp_path)


class TestWriting:
    """Lines that are written."""

    def test_timed(self, setup: Setup) -> None:
        """Lines are gathered, and written when it is time."""
        file = setup.files.open(str(setup.path))
        file.write("a\n")
        file.write("é\n")
        assert setup.path.read_text() == ""
        assert setup.number("write_total_buffered") == 4
        setup.clock.advance(1.02)
        assert setup.path.read_text() == "a\né\n"
        numbers = ("write_buffered", "write_completed", "flushed_by_timer", "write_total_buffered")
        assert [setup.number(name) for name in numbers] == [2, 1, 1, 0]

    def test_size(self, setup: Setup) -> None:
        """Lines are written when there are many."""
        file = setup.files.open(str(setup.path))
        file.write("x" * 99)
        assert setup.path.read_text() == ""
        file.write("y")
        assert setup.path.read_text() == "x" * 99 + "y"
        assert setup.number("flushed_by_timer") == 0

    def test_quiet(self, setup: Setup) -> None:
        """A file that nothing is written to does nothing."""
        setup.files.open(str(setup.path)).write("a")
        setup.clock.advance(1.02)
        assert setup.clock.getDelayedCalls() == []

    def test_shared(self, setup: Setup) -> None:
        """A path is one file."""
        assert setup.files.open(str(setup.path)) is setup.files.open(str(setup.path))

    def test_appended(self, setup: Setup) -> None:
        """What is in a file stays there."""
        setup.path.write_text("old\n")
        setup.files.open(str(setup.path)).write("new\n")
        setup.files.flush()
        assert setup.path.read_text() == "old\nnew\n"

    def test_close(self, setup: Setup) -> None:
        """At the end all is written."""
        file = setup.files.open(str(setup.path))
        file.write("a\n")
        setup.files.close()
        assert setup.path.read_text() == "a\n"
        file.write("late\n")
        setup.clock.advance(2)
        assert setup.path.read_text() == "a\n"

    def test_stdout(self, setup: Setup, capfd: pytest.CaptureFixture[str]) -> None:
        """/dev/stdout is the standard output."""
        setup.files.open("/dev/stdout").write("a\n")
        setup.files.close()
        assert capfd.readouterr().out == "a\n"


class TestFailing:
    """Files that fail."""

    def test_open(self, setup: Setup) -> None:
        """A file that cannot be opened is told."""
        with pytest.raises(ConfigError, match="unable to open file '/nonexistent/x': No such file"):
            setup.files.open("/nonexistent/x")

    def test_write(self, setup: Setup) -> None:
        """A write that fails is counted, and the next one is tried."""
        file = setup.files.open("/dev/full")
        for _ in range(2):
            file.write("a")
            file.flush()
        assert setup.number("write_failed") == 2
        assert setup.number("write_completed") == 0
        assert setup.number("write_total_buffered") == 0

    def test_partly(self, setup: Setup) -> None:
        """What a pipe takes in part is written until it is done."""
        reading, writing = os.pipe()
        file = setup.files.open(f"/dev/fd/{writing}")
        file.write("x" * 50_000)
        file.flush()
        assert len(os.read(reading, 100_000)) == 50_000
        os.close(reading)
        os.close(writing)
        setup.files.close()


class TestReopening:
    """Files that are moved away."""

    def test_moved(self, setup: Setup) -> None:
        """What was gathered goes to the old file, what comes to the new one."""
        file = setup.files.open(str(setup.path))
        file.write("before\n")
        moved = setup.path.rename(setup.path.with_suffix(".1"))
        setup.files.reopen()
        file.write("after\n")
        setup.files.flush()
        assert (moved.read_text(), setup.path.read_text()) == ("before\n", "after\n")

    def test_failed(self, setup: Setup, tmp_path: Path) -> None:
        """If there can be no new file the old one is kept."""
        directory = tmp_path / "d"
        directory.mkdir()
        file = setup.files.open(str(directory / "log"))
        moved = directory.rename(tmp_path / "e")
        setup.files.reopen()
        file.write("a")
        setup.files.flush()
        assert (moved / "log").read_text() == "a"
        assert setup.number("reopen_failed") == 1
