"""
Processes that are pinned to a core and are gone when the measurement ends.

Each runs in a session of its own, so that a proxy's workers go with it.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

#: Descriptors that 10,000 relayed connections need: two each in the proxy, and some.
WANTED_FILES = 65536


class Failed(Exception):
    """A program is missing, did not start, or did not do what was asked of it."""


def raise_file_limit() -> int:
    """Raise the limit on descriptors as far as allowed, at most to WANTED_FILES; return what it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in ((WANTED_FILES, max(hard, WANTED_FILES)), (min(hard, WANTED_FILES), hard)):
        if soft >= WANTED_FILES:
            break
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)
        except (ValueError, OSError):
            continue
        break
    return file_limit()


def file_limit() -> int:
    """Return how many descriptors this process, and each that it starts, may have."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class Program:
    """
    A child process, pinned to a core; a context manager that ends it.

    Its output goes to the file NAME.log in its directory.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        core: int,
        directory: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name = name
        self.log = directory / f"{name}.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                ["taskset", "-c", str(core), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=cwd,
                env={**os.environ, **(env or {})},
            )
        self.pid = self._process.pid

    def __enter__(self) -> Program:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def said(self) -> str:
        """Return the last lines that it wrote."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return " | ".join(lines[-3:]) or "it wrote nothing"

    def wait_for_port(self, port: int, seconds: float = 20.0) -> None:
        """Return once the port accepts connections. Raises Failed if it ends or takes longer."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise Failed(f"{self.name} ended with {self._process.returncode}: {self.said()}")
            try:
                socket.create_connection(("127.0.0.1", port), 1.0).close()
                return
            except OSError:
                time.sleep(0.02)
        raise Failed(f"{self.name} does not accept on port {port}: {self.said()}")

    def stop(self, seconds: float = 3.0) -> None:
        """Ask it to end, and after this time kill it and all that it started."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                pass
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()
