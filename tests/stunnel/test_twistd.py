"""Tests for meshd.stunnel.twistd; test_command runs it in earnest."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshd.stunnel import twistd
from meshd.stunnel.log import StunnelLog
from meshd.stunnel.service import StunnelService
from tests.process.serving import Reactor
from tests.stunnel.reading import SERVICE


class TestTwistd:
    """A stunnel.conf under twistd."""

    def test_made(self, tmp_path: Path) -> None:
        """There is a service and a log; whether stderr is logged to is twistd's to say."""
        path = tmp_path / "x.conf"
        path.write_text("syslog = no\nforeground = yes\n" + SERVICE)
        service, log = twistd.make(str(path), Reactor(), False)
        assert isinstance(service, StunnelService) and isinstance(log, StunnelLog)
        assert service.found.globals.foreground == "no"
        service.server.poller._epoll.close()

    def test_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is wrong is told, and ends the process."""
        said: list[str] = []
        monkeypatch.setattr(StunnelLog, "print", lambda log, text: said.append(text))
        path = tmp_path / "x.conf"
        path.write_text("foo = bar\n")
        with pytest.raises(SystemExit):
            twistd.make(str(path), Reactor(), True)
        assert said[-1] == "[!] Configuration failed"
