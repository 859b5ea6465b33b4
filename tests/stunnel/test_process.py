"""Tests for meshd.stunnel.process; what needs root or another process is in test_command."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from meshd.stunnel.model import Globals
from meshd.stunnel.process import PidFile, change_root, drop_privileges, from_systemd, import_all
from meshd.stunnel.syntax import Failure


class TestPidFile:
    """The file with the number of the process."""

    def setup_method(self) -> None:
        """Keep what is said."""
        self.said: list[str] = []

    def say(self, level: int, text: str) -> None:
        """Keep a line."""
        self.said.append(text)

    def test_written(self, tmp_path: Path) -> None:
        """It is written in the place of an old one, and removed."""
        path = tmp_path / "pid"
        path.write_text("old")
        pid = PidFile(str(path), self.say)
        pid.write()
        assert path.read_text() == f"{os.getpid()}\n"
        pid.remove()
        assert not path.exists()
        assert self.said == [f"Created pid file {path}", f"Removed pid file {path}"]

    def test_none(self) -> None:
        """There may be none."""
        pid = PidFile("", self.say)
        pid.write()
        pid.remove()
        assert self.said == ["No pid file being created", "No pid file to remove"]

    def test_gone(self, tmp_path: Path) -> None:
        """One that somebody else has removed is told of."""
        pid = PidFile(str(tmp_path / "pid"), self.say)
        pid.write()
        (tmp_path / "pid").unlink()
        pid.remove()
        assert self.said[-1].endswith("No such file or directory (2)")

    def test_impossible(self) -> None:
        """One that cannot be written is an error."""
        with pytest.raises(Failure, match="Cannot create pid file"):
            PidFile("/nonexistent/pid", self.say).write()


class TestProcess:
    """User and root."""

    def test_nothing(self) -> None:
        """Without options nothing changes."""
        change_root(Globals(), lambda level, text: None)
        drop_privileges(Globals())
        assert os.getcwd()

    def test_no_root(self) -> None:
        """A root directory that is not there is an error."""
        with pytest.raises(Failure, match=r"chroot: .* \(\d+\)"):
            change_root(Globals(chroot="/nonexistent"), lambda level, text: None)

    def test_imports(self) -> None:
        """Whatever is imported late is there before the root changes."""
        import_all()
        assert {"meshd.tls.relay", "meshd.net.program", "encodings.idna"} <= set(sys.modules)


class TestSystemd:
    """Sockets that systemd has opened."""

    def test_not_ours(self) -> None:
        """Those of another process are not taken, and nobody sees the variables after us."""
        environ = {"LISTEN_PID": "1", "LISTEN_FDS": "2", "X": "y"}
        assert from_systemd(environ, 5, lambda level, text: None) == []
        assert environ == {"X": "y"}

    def test_ours(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Ours begin at descriptor 3."""
        sock = socket.socket()
        monkeypatch.setattr("meshd.stunnel.process.LISTEN_FDS_START", os.dup(sock.fileno()))
        said: list[str] = []
        (got,) = from_systemd(
            {"LISTEN_PID": "5", "LISTEN_FDS": "1"}, 5, lambda level, text: said.append(text)
        )
        assert not got.getblocking() and not got.get_inheritable()
        assert said == ["Systemd socket activation: 1 descriptors received"]
        got.close()
        sock.close()
