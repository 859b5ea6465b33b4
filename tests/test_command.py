"""Tests for meshd.command and meshd.tap: the commands as a user runs them."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from textwrap import dedent
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from meshd.command import filters_text
from meshd.discover import Plugins
from meshd.plugin import NetworkFilterPlugin
from tests.ports import free_port

ROOT = Path(__file__).parent.parent
MESHD = (sys.executable, "-c", "import sys; from meshd.command import main; sys.exit(main())")
TWISTD = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()")

GOOD = """
    listeners:
      {address}:
      - echo: {{}}
"""
BAD = """
    listeners:
      127.0.0.1:0:
      - ecko: {}
      - tcp_proxy: {stat_prefix: a, cluster: none}
"""


class CommandCase(SynchronousTestCase):
    """A directory of its own, and the commands run in it."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name).resolve()

    def write(self, name: str, text: str) -> None:
        """Write a file into the directory."""
        (self.directory / name).write_text(dedent(text))

    def start(self, *command: str, path: str = "") -> subprocess.Popen[str]:
        """Start a command in the directory, with path before meshd on PYTHONPATH."""
        process = subprocess.Popen(
            command,
            cwd=self.directory,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [path, str(ROOT)]))},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(self.end, process)
        return process

    def end(self, process: subprocess.Popen[str]) -> None:
        """Leave no process behind."""
        if process.poll() is None:
            process.kill()
        process.communicate()

    def wait_for(self, port: int, process: subprocess.Popen[str] | None = None) -> None:
        """Wait until the port echoes; the process must not end meanwhile."""
        deadline = time.monotonic() + 30
        while True:
            try:
                with socket.create_connection(("127.0.0.1", port), 5) as client:
                    client.sendall(b"hello")
                    self.assertEqual(client.recv(5), b"hello")
                    return
            except ConnectionRefusedError:
                if process is not None and process.poll() is not None:
                    self.fail(process.communicate()[1])
                self.assertLess(time.monotonic(), deadline, "it does not listen")
                time.sleep(0.05)

    def meshd(self, *arguments: str, path: str = "") -> tuple[int, str, str]:
        """Run meshd to its end; return the exit status, and what is on stdout and stderr."""
        process = self.start(*MESHD, *arguments, path=path)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err


class ChoreTests(CommandCase):
    """What ends by itself."""

    def test_help(self) -> None:
        """--help tells the chores and the options."""
        status, out, _ = self.meshd("--help")
        self.assertEqual(status, 0)
        for word in ("meshd validate FILE", "meshd new-filter NAME", "--config-path="):
            self.assertIn(word, out)

    def test_version(self) -> None:
        """--version tells meshd's."""
        status, out, _ = self.meshd("--version")
        self.assertEqual((status, out.partition(":")[0]), (0, "meshd version"))

    def test_validate(self) -> None:
        """A good file is said to be OK, in Envoy's words, by either command."""
        self.write("x.yaml", GOOD.format(address="127.0.0.1:0"))
        for arguments in (["validate", "x.yaml"], ["--mode", "validate", "-c", "x.yaml"]):
            self.assertEqual(self.meshd(*arguments), (0, "configuration 'x.yaml' OK\n", ""))

    def test_validate_wrong(self) -> None:
        """Each problem is a line on stderr with its place, and the status is 1; there is no traceback."""
        self.write("x.yaml", BAD)
        for arguments in (["validate", "x.yaml"], ["--mode=validate", "-c", "x.yaml"], ["-c", "x.yaml"]):
            status, out, err = self.meshd(*arguments)
            self.assertEqual((status, out), (1, ""))
            self.assertNotIn("Traceback", err)
            for line in err.splitlines():
                self.assertRegex(line, r"^x\.yaml:\d+:\d+: ")
            self.assertIn("x.yaml:4:5: ", err)
            self.assertIn("did you mean 'echo'", err)

    def test_no_file(self) -> None:
        """A file that is not there is one line, too."""
        status, _, err = self.meshd("validate", "none.yaml")
        self.assertEqual(status, 1)
        self.assertIn("none.yaml", err)
        self.assertEqual(err.count("\n"), 1)

    def test_allow_unserved(self) -> None:
        """What is not served is an error, and with --allow-unserved a warning."""
        self.write("x.yaml", GOOD.format(address="127.0.0.1:0") + "    watchdog: {miss_timeout: 1s}\n")
        self.assertEqual(self.meshd("validate", "x.yaml")[0], 1)
        status, out, err = self.meshd("validate", "x.yaml", "--allow-unserved")
        self.assertEqual((status, out), (0, "configuration 'x.yaml' OK\n"))
        self.assertIn("watchdog", err)

    def test_expand(self) -> None:
        """The short form is printed as Envoy's, which is the same configuration."""
        self.write("x.yaml", GOOD.format(address="127.0.0.1:0"))
        status, out, _ = self.meshd("expand", "x.yaml")
        self.assertEqual(status, 0)
        self.assertIn("static_resources:", out)
        self.assertIn("type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo", out)
        self.write("y.yaml", out)
        self.assertEqual(self.meshd("validate", "y.yaml")[0], 0)

    def test_usage(self) -> None:
        """Wrong arguments are a line on stderr and status 1."""
        for arguments in (
            ["validate"],
            ["validate", "a", "b"],
            ["filters", "a"],
            ["new-filter"],
            ["bogus"],
            [],
        ):
            status, out, err = self.meshd(*arguments)
            self.assertEqual((status, out, err[:7], err.count("\n")), (1, "", "error: ", 1), arguments)

    def test_wrong_log(self) -> None:
        """A log that cannot be had is a line on stderr and status 1."""
        self.write("x.yaml", GOOD.format(address="127.0.0.1:0"))
        for option in ("--component-log-level=nonesuch:debug", "--log-path=none/x.log"):
            status, out, err = self.meshd("-c", "x.yaml", option)
            self.assertEqual((status, out, err[:7], err.count("\n")), (1, "", "error: ", 1), err)

    def test_new_filter(self) -> None:
        """A new filter is in the list as soon as its directory is on the path."""
        status, out, _ = self.meshd("new-filter", "count")
        self.assertEqual(status, 0)
        self.assertIn("meshd/filters/network/count.py", out)
        self.assertIn("tests/test_count.py", out)
        _, out, _ = self.meshd("filters", path=".")
        self.assertIn("meshd.filters.network.count  (network)", out)
        self.write("x.yaml", "listeners: {127.0.0.1:0: [{count: {prefix: a}}, {echo: {}}]}")
        self.assertEqual(self.meshd("validate", "x.yaml", path=".")[0], 0)
        status, _, err = self.meshd("new-filter", "count")
        self.assertEqual((status, err[:7]), (1, "error: "))

    def test_filters_that_failed(self) -> None:
        """A plugin that cannot be imported is in the list, with the reason, and without a traceback."""
        for place in ("meshd/filters/network", "twisted/plugins"):
            (self.directory / place).mkdir(parents=True)
            self.write(f"{place}/broken_{place[0]}.py", "import no_such_module\n")
        status, out, err = self.meshd("filters", path=".")
        self.assertEqual((status, err), (0, ""))
        self.assertIn("meshd.filters.network.broken_m\n    ModuleNotFoundError", out)
        self.assertIn("twisted.plugins.broken_t\n    ModuleNotFoundError", out)


class FiltersTextTests(SynchronousTestCase):
    """The list of plugins."""

    def test_text(self) -> None:
        """It tells the name, the config's type, what is served, and the origin; then what failed."""
        import attrs

        @attrs.define
        class Config:
            size: int = 0

        def configure(config: Any, context: Any) -> Any:
            """Make nothing."""

        plugins = Plugins()
        plugins.add(NetworkFilterPlugin("acme.echo", Config, configure, ("size",)), "acme.py")
        plugins.failed.append(("acme.gone", "ImportError: no"))
        self.assertEqual(
            filters_text(plugins),
            "acme.echo  (network)\n    config  acme.echo\n    serves  size\n    from    acme.py\n\n"
            "These cannot be used:\n  acme.gone\n    ImportError: no\n",
        )


class RunningTests(CommandCase):
    """What runs until a signal."""

    def running(self, *command: str) -> tuple[subprocess.Popen[str], int]:
        """Start a command that echoes at some port; return it, and the port, when it answers."""
        port = free_port()
        self.write(f"{port}.yaml", GOOD.format(address=f"127.0.0.1:{port}"))
        process = self.start(*command, "-c", f"{port}.yaml")
        self.wait_for(port, process)
        return process, port

    def test_two_in_one_directory(self) -> None:
        """Two run in one directory; a signal ends each with status 0, and no file is left."""
        one, _ = self.running(*MESHD)
        two, _ = self.running(*MESHD)
        for process, number in ((one, signal.SIGTERM), (two, signal.SIGINT)):
            process.send_signal(number)
            process.communicate(timeout=30)
            self.assertEqual(process.returncode, 0)
        self.assertEqual({path.suffix for path in self.directory.iterdir()}, {".yaml"})

    def test_log(self) -> None:
        """In the foreground, the log is meshd's own and goes to stderr, by both commands."""
        for command in (MESHD, (*TWISTD, "-n", "--pidfile=", "meshd")):
            process, _ = self.running(*command)
            process.terminate()
            out, err = process.communicate(timeout=30)
            self.assertEqual(out, "")
            for line in err.splitlines():
                self.assertRegex(
                    line, r"^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\]\[\d+\]\[[a-z]+\]\[[\w.]+\] "
                )

    def test_notices(self) -> None:
        """An option that has no effect yet says so in the log."""
        process, _ = self.running(*MESHD, "--concurrency", "4", "--base-id=1")
        process.terminate()
        _, err = process.communicate(timeout=30)
        self.assertIn("--concurrency has no effect yet", err)
        self.assertIn("--base-id has no effect yet", err)

    def test_port_in_use(self) -> None:
        """An address that is in use is a line on stderr with its place, and status 1."""
        with socket.socket() as busy:
            busy.bind(("127.0.0.1", 0))
            busy.listen()
            self.write("x.yaml", GOOD.format(address=f"127.0.0.1:{busy.getsockname()[1]}"))
            status, _, err = self.meshd("-c", "x.yaml")
        self.assertEqual(status, 1)
        self.assertNotIn("Traceback", err)
        self.assertIn("x.yaml:3:", err)
        self.assertIn("in use", err)

    def test_background(self) -> None:
        """Twistd alone runs it in the background, with a pid file, and its log where --log-path says."""
        port = free_port()
        self.write("x.yaml", GOOD.format(address=f"127.0.0.1:{port}"))
        starting = self.start(*TWISTD, "--pidfile=x.pid", "meshd", "-c", "x.yaml", "--log-path=x.log")
        starting.communicate(timeout=30)
        self.assertEqual(starting.returncode, 0)
        self.wait_for(port)
        pid = int((self.directory / "x.pid").read_text())
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 30
        while (self.directory / "x.pid").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertEqual({path.name for path in self.directory.iterdir()}, {"x.yaml", "x.log"})
        self.assertRegex((self.directory / "x.log").read_text(), r"^\[\d{4}-\d\d-\d\d ")
