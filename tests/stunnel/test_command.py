"""Tests for meshd.stunnel.command: the process, from its start to its end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meshd.stunnel import command
from meshd.stunnel.log import StunnelLog
from tests.interop.oracle import die_with_parent
from tests.interop.peers import Backend, Client, wait_until
from tests.ports import free_port

PROGRAM = str(Path(sys.executable).with_name("meshd-stunnel"))


class TestArguments:
    """What is read of the command line."""

    @pytest.mark.parametrize("argument", ["-help", "-version", "-sockets", "-options", "-VERSION"])
    def test_informs(self, argument: str, capsys: pytest.CaptureFixture[str]) -> None:
        """What is asked for goes to stderr, and the status is 0."""
        assert command.main([argument]) == 0
        captured = capsys.readouterr()
        assert captured.out == "" and captured.err.startswith("stunnel 5.")

    @pytest.mark.parametrize("arguments", [["/nonexistent"], ["-fd"], ["-fd", "x"], ["-fd", "999"]])
    def test_refused(self, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        """Wrong arguments are told, and the status is 1."""
        said: list[str] = []
        monkeypatch.setattr(StunnelLog, "print", lambda log, text: said.append(text))
        assert command.main(arguments) == 1
        assert any(line.startswith("[!]") for line in said)


class Running:
    """A process, from a text as its configuration."""

    def __init__(self, directory: Path, text: str, start: Callable[[str], dict[str, Any]]) -> None:
        self.path = directory / "x.conf"
        self.path.write_text(text)
        self.log = directory / "out"
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                stdout=out, stderr=subprocess.STDOUT, preexec_fn=die_with_parent, **start(str(self.path))
            )

    def stop(self) -> int:
        """End it, if it has not ended."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(10)


def is_there(pid: int) -> bool:
    """Whether there is a process of that number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class TestProcess:
    """Real processes."""

    def setup_method(self) -> None:
        """Have ports, and something to connect to."""
        self.port = free_port()
        self.backend = Backend()
        self.text = (
            f"syslog = no\ndebug = 6\n[s]\nclient = yes\naccept = 127.0.0.1:{self.port}\n"
            f"connect = 127.0.0.1:{self.backend.port}\n"
        )

    def teardown_method(self) -> None:
        """Close what is open."""
        self.backend.close()

    def test_daemon(self, tmp_path: Path) -> None:
        """It goes to the background, writes its pid, logs to a file that can be moved, and ends clean."""
        log, pid_file = tmp_path / "log", tmp_path / "pid"
        text = f"output = {log}\npid = {pid_file}\n" + self.text
        running = Running(tmp_path, text, lambda path: {"args": [PROGRAM, path]})
        assert running.process.wait(15) == 0
        wait_until(lambda: log.exists() and "Accepting new connections" in log.read_text(), "the start")
        pid = int(pid_file.read_text())
        try:
            assert is_there(pid)
            Client(("127.0.0.1", self.port)).close()
            log.rename(tmp_path / "old")
            os.kill(pid, signal.SIGUSR1)
            wait_until(lambda: log.exists() and "Log file reopened" in log.read_text(), "the new log")
        finally:
            os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not is_there(pid), "the end")
        assert not pid_file.exists()
        assert "LOG5[ui]: Terminated" in log.read_text()
        assert running.log.read_text() == ""

    def test_descriptor(self, tmp_path: Path) -> None:
        """The configuration may come on a descriptor; extra options are on the command line."""
        admin = free_port()

        def start(path: str) -> dict[str, Any]:
            return {"args": [PROGRAM, f"--admin={admin}", "-fd", "0"], "stdin": Path(path).open("rb")}

        running = Running(tmp_path, "foreground = yes\n" + self.text, start)
        try:
            wait_until(lambda: "Accepting new connections" in running.log.read_text(), "the start")
            assert "Reading configuration from descriptor 0" in running.log.read_text()
            with socket.create_connection(("127.0.0.1", admin), 5) as page:
                page.sendall(b"GET /ready HTTP/1.0\r\n\r\n")
                assert b"LIVE" in page.makefile("rb").read()
        finally:
            assert running.stop() == 0

    def test_socket_activation(self, tmp_path: Path) -> None:
        """systemd may have opened the socket."""
        sock = socket.create_server(("127.0.0.1", 0))
        os.set_inheritable(sock.fileno(), True)
        script = f"exec 3<&{sock.fileno()}; LISTEN_PID=$$ LISTEN_FDS=1 exec {PROGRAM} $0"

        def start(path: str) -> dict[str, Any]:
            return {"args": ["bash", "-c", script, path], "pass_fds": [sock.fileno()]}

        running = Running(tmp_path, "foreground = yes\n" + self.text, start)
        try:
            wait_until(lambda: "Accepting new connections" in running.log.read_text(), "the start")
            said = running.log.read_text()
            assert "Systemd socket activation: 1 descriptors received" in said
            assert f"bound to 127.0.0.1:{sock.getsockname()[1]}" in said
            client = Client(sock.getsockname())
            wait_until(lambda: "accepted connection" in running.log.read_text(), "the client")
            client.close()
        finally:
            sock.close()
            assert running.stop() == 0

    def test_occupied(self, tmp_path: Path) -> None:
        """An address that somebody else has ends the start with status 1."""
        other = socket.create_server(("127.0.0.1", self.port))
        running = Running(tmp_path, "foreground = yes\n" + self.text, lambda path: {"args": [PROGRAM, path]})
        assert running.process.wait(15) == 1
        other.close()
        said = running.log.read_text()
        assert f"[.] Binding service [s] to 127.0.0.1:{self.port}: Address already in use (98)\n" in said
        assert "[!] Binding service [s] failed\n" in said

    def test_twistd(self, tmp_path: Path) -> None:
        """twistd runs the same file."""
        twistd = str(Path(sys.executable).with_name("twistd"))

        def start(path: str) -> dict[str, Any]:
            return {"args": [twistd, "-n", "--pidfile=", "meshd", f"--stunnel={path}"], "cwd": tmp_path}

        running = Running(tmp_path, self.text, start)
        try:
            wait_until(lambda: "Accepting new connections" in running.log.read_text(), "the start")
        finally:
            assert running.stop() == 0
        assert "LOG5[ui]: Terminated" in running.log.read_text()

    def test_twistd_refuses(self, tmp_path: Path) -> None:
        """twistd tells what is wrong with it, and ends with status 1."""
        twistd = str(Path(sys.executable).with_name("twistd"))

        def start(path: str) -> dict[str, Any]:
            return {"args": [twistd, "-n", "--pidfile=", "meshd", f"--stunnel={path}"], "cwd": tmp_path}

        running = Running(tmp_path, self.text + "foo = bar\n", start)
        assert running.process.wait(15) == 1
        assert "[!] Configuration failed" in running.log.read_text()
