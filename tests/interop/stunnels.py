"""
The two stunnels under test: Debian's, the oracle, and meshd-stunnel from this checkout.

Stunnel starts either with one and the same stunnel.conf and answers for its log.
Nothing of it survives the test.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.interop.oracle import CHECKOUT, die_with_parent
from tests.interop.peers import wait_until

KINDS = ("stunnel4", "meshd")

#: Before the sections of most files here.
FOREGROUND = "foreground = yes\nsyslog = no\npid =\n"

_STAMP = re.compile(r"^\d{4}\.\d\d\.\d\d \d\d:\d\d:\d\d ")
#: What differs from run to run, or by the version of OpenSSL.
_RUNS = (
    (re.compile(r"\.\./[a-z0-9/_]+\.c:\d+: "), ""),
    (re.compile(r"(from \S*):\d+$"), r"\1:PORT"),
    (re.compile(r"FD=\d+"), "FD=N"),
    (re.compile(r"self[- ]signed"), "self-signed"),
)
_LEVEL = re.compile(r"LOG(\d)\[([^\]]*)\]: ")


def command(kind: str) -> list[str]:
    """Return the command that starts one; raise AssertionError saying how to get the oracle."""
    if kind == "meshd":
        return [str(Path(sys.executable).with_name("meshd-stunnel"))]
    found = shutil.which("stunnel4")
    if found is None:
        raise AssertionError("stunnel4, the oracle of these tests, is not installed: run .ci/programs")
    return [found]


def plain(line: str) -> str:
    """Return a line of a log without what differs from run to run."""
    line = _STAMP.sub("", line)
    for pattern, instead in _RUNS:
        line = pattern.sub(instead, line)
    return line


class Stunnel:
    """A running stunnel; stop() must be called, whatever happened."""

    def __init__(self, kind: str, text: str, directory: Path, arguments: Iterable[str] = ()) -> None:
        self.kind = kind
        self.path = directory / f"{kind}.conf"
        self.path.write_text(text)
        self.log_path = directory / f"{kind}.log"
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [*command(kind), *arguments, str(self.path)],
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "PYTHONPATH": str(CHECKOUT)},
                preexec_fn=die_with_parent,
            )
        try:
            wait_until(self._accepts, f"{kind} to accept connections")
        except BaseException:
            self.stop()
            raise

    def _accepts(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"{self.kind} ended with {self.process.returncode}:\n{self.said()}")
        return "Accepting new connections" in self.said()

    def said(self) -> str:
        """Return its log."""
        return self.log_path.read_text(errors="replace")

    def lines(self, most: int = 5, of: str = r"\d+(_\d+)?") -> list[str]:
        """Return the lines up to a level that are of connections (or of another), without stamps."""
        found = []
        for line in map(plain, self.said().splitlines()):
            match = _LEVEL.match(line)
            if match and int(match[1]) <= most and re.fullmatch(of, match[2]):
                found.append(line)
        return found

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait_for(self, text: str, times: int = 1) -> None:
        """Wait until the log has a text so many times."""
        wait_until(lambda: self.said().count(text) >= times, f"{self.kind} to log {text!r}:\n")

    def stop(self) -> int:
        """End it; return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait(5)


def check(kind: str, text: str, directory: Path) -> tuple[int, list[str]]:
    """Start one with a file that it refuses; return its exit status and what it says with [!] or [:]."""
    path = directory / "bad.conf"
    path.write_text(text)
    done = subprocess.run(
        [*command(kind), str(path)],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        preexec_fn=die_with_parent,
    )
    return done.returncode, complaints(done.stderr.splitlines())


def complaints(lines: Iterable[str]) -> list[str]:
    """Return the lines that are warnings or errors, without OpenSSL's own and what not all versions say."""
    return [
        plain(line)
        for line in lines
        if line[:3] in ("[!]", "[:]")
        and "error queue" not in line
        and ": error:" not in line
        and "No trusted certificates found" not in line
    ]
