"""Tests for meshd.observe.log."""

import logging
import warnings
from pathlib import Path

import pytest
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, LogPublisher
from zope.interface.verify import verifyObject

from meshd.observe.log import Bridge, Levels, Log, component_of, level_number


def event(namespace: str, level: object = LogLevel.info, **fields: object) -> LogEvent:
    return {"log_namespace": namespace, "log_level": level, "log_format": "text", "log_time": 0.0, **fields}


class TestLevels:
    """Levels of components."""

    @pytest.mark.parametrize(
        ("namespace", "component"),
        [
            *(
                ("meshd.net.listener", "net"),
                ("meshd.main", "main"),
                ("meshd", "main"),
                ("meshd.odd", "main"),
            ),
            *(("twisted.internet.tcp", "twisted"), ("log_legacy", "twisted"), ("mine", "mine"), ("", "main")),
        ],
    )
    def test_component(self, namespace: str, component: str) -> None:
        """The component of a namespace is a part of meshd, or a package."""
        assert component_of(namespace) == component

    def test_default(self) -> None:
        """All components are there from the start, at one level."""
        levels = Levels("error")
        assert set(levels.get_all().values()) == {"error"}
        assert {"net", "upstream", "twisted"} <= set(levels.get_all())

    def test_component_level(self) -> None:
        """A component is put to a level, and takes what is below it along."""
        levels = Levels()
        assert not levels.wants(event("meshd.net.listener", LogLevel.debug))
        levels.set("net", "debug")
        assert levels.wants(event("meshd.net.listener", LogLevel.debug))
        assert not levels.wants(event("meshd.upstream.dns", LogLevel.debug))

    def test_legacy(self) -> None:
        """What Twisted says by its old log of ports opened and closed is debug; its errors are not."""
        levels = Levels()
        assert not levels.wants(event("log_legacy"))
        assert levels.wants(event("log_legacy", LogLevel.critical))
        levels.set("twisted", "debug")
        assert levels.wants(event("log_legacy"))

    def test_namespace_level(self) -> None:
        """A namespace can have a level of its own."""
        levels = Levels()
        levels.set("meshd.net.listener", "off")
        assert not levels.wants(event("meshd.net.listener", LogLevel.critical))
        assert not levels.wants(event("meshd.net.listener.inner", LogLevel.critical))
        assert levels.wants(event("meshd.net.stream"))
        assert levels.get_all()["meshd.net.listener"] == "off"

    def test_all(self) -> None:
        """All are put to a level, those with one of their own too."""
        levels = Levels()
        levels.set("meshd.net.listener", "off")
        levels.set_all("warn")
        assert set(levels.get_all().values()) == {"warning"}
        assert levels.get("meshd.net.listener") == "warning"

    def test_heard_of(self) -> None:
        """A package can be named once it has logged something."""
        levels = Levels()
        with pytest.raises(KeyError):
            levels.set("mine", "debug")
        levels.wants(event("mine.filters"))
        levels.set("mine", "debug")
        assert levels.wants(event("mine.filters", LogLevel.debug))

    def test_trace(self) -> None:
        """What is marked as a trace is below debug."""
        levels = Levels("debug")
        assert not levels.wants(event("meshd.net", LogLevel.debug, trace=True))
        levels.set_all("trace")
        assert levels.wants(event("meshd.net", LogLevel.debug, trace=True))

    def test_no_level(self) -> None:
        """An event without a level is information."""
        assert Levels("info").wants(event("x", None))
        assert not Levels("warning").wants(event("x", None))

    def test_unknown_level(self) -> None:
        """A level that is none is told, and nothing is changed."""
        levels = Levels()
        for change in (
            lambda: levels.set("net", "loud"),
            lambda: levels.set_all("loud"),
            lambda: Levels("loud"),
        ):
            with pytest.raises(ValueError, match="no level 'loud'"):
                change()
        assert set(levels.get_all().values()) == {"info"}
        assert level_number("warn") == level_number("warning")


class TestLog:
    """The observer."""

    def test_interface(self) -> None:
        """It is an observer of twisted.logger."""
        verifyObject(ILogObserver, Log(Levels()))

    def test_file(self, tmp_path: Path) -> None:
        """What is wanted is written to the file."""
        log = Log(Levels(), "%l %n: %v", str(tmp_path / "log"))
        logger = Logger("meshd.net.x", observer=log)
        logger.info("é {n}", n=1)
        logger.debug("not this")
        logger.warn("two")
        log.close()
        assert (tmp_path / "log").read_text() == "info net: é 1\nwarning net: two\n"

    def test_stderr(self, capfd: pytest.CaptureFixture[str]) -> None:
        """Without a file it is stderr."""
        Log(Levels(), "%v")(event("x"))
        assert capfd.readouterr().err == "text\n"

    def test_reopen(self, tmp_path: Path) -> None:
        """A file that was moved away is opened anew; if that fails the old one is kept."""
        path = tmp_path / "d" / "log"
        path.parent.mkdir()
        log = Log(Levels(), "%v", str(path))
        moved = path.rename(tmp_path / "moved")
        log.reopen()
        log(event("x"))
        assert (moved.read_text(), path.read_text()) == ("", "text\n")
        gone = path.parent.rename(tmp_path / "e")
        log.reopen()
        log(event("x"))
        log.close()
        assert (gone / "log").read_text() == "text\ntext\n"

    def test_errors(self) -> None:
        """A path or a pattern that does not do is told; a full disk is not."""
        with pytest.raises(OSError, match="nonexistent"):
            Log(Levels(), "%v", "/nonexistent/log")
        with pytest.raises(ValueError, match="no flag %Q"):
            Log(Levels(), "%Q")
        Log(Levels(), "%v", "/dev/full")(event("x"))


class TestBridge:
    """What is logged through the standard library."""

    def bridged(self, tmp_path: Path) -> tuple[Bridge, Path]:
        path = tmp_path / "log"
        publisher = LogPublisher(Log(Levels("debug"), "%l %n %s: %v", str(path)))
        return Bridge(publisher), path

    def test_logging(self, tmp_path: Path) -> None:
        """It is written with its level, its logger and where it was said."""
        bridge, path = self.bridged(tmp_path)
        bridge.start()
        try:
            logging.getLogger("other.part").warning("odd: %s {x}", 7)
            try:
                raise ValueError("bad")
            except ValueError:
                logging.getLogger("other").exception("failed")
        finally:
            bridge.stop()
        logging.getLogger("other").warning("after")
        lines = path.read_text().splitlines()
        assert lines[:2] == ["warning other test_log.py: odd: 7 {x}", "error other test_log.py: failed"]
        assert lines[-1] == "ValueError: bad"

    def test_warnings(self, tmp_path: Path) -> None:
        """Warnings are written, too."""
        bridge, path = self.bridged(tmp_path)
        bridge.start()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("always")
                logging.captureWarnings(True)
                warnings.warn("old", DeprecationWarning, stacklevel=1)
        finally:
            bridge.stop()
        assert "DeprecationWarning: old" in path.read_text()
        assert path.read_text().startswith("warning main ")
