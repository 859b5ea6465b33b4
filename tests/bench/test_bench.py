"""
The command line, the candidates' files, and the programs that are started.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import yaml

from tests.bench import profile, proxies, redis_rows, tls_proxies, tls_rows
from tests.bench.__main__ import choose_cores, parse
from tests.bench.programs import Failed, Program
from tests.bench.rows import ROWS, Bench
from tests.interop.peers import wait_until
from tests.ports import free_port


def bench_of(command: list[str]) -> proxies.Prepare:
    """Return a candidate that is started by this command."""
    return lambda directory, port, backend: command


class TestCommandLine:
    """The command line."""

    def test_nothing_given(self) -> None:
        """All rows and all candidates."""
        options = parse([])
        assert set(options.rows) == {*ROWS, *tls_rows.ROWS, *redis_rows.ROWS}
        assert set(options.peers) == {
            *proxies.CANDIDATES,
            *tls_proxies.CANDIDATES,
            *redis_rows.CANDIDATES,
        }

    @pytest.mark.parametrize("arguments", [["smal"], ["--peers", "apache"], ["--rounds", "0"]])
    def test_wrong(self, arguments: list[str]) -> None:
        """What there is not is refused."""
        with pytest.raises(SystemExit):
            parse(arguments)

    def test_cores(self) -> None:
        """Cores are taken as given, or from those that may be used."""
        assert choose_cores("3,5") == (3, 5)
        assert set(choose_cores("")) <= os.sched_getaffinity(0)


class TestCandidates:
    """What each is configured with."""

    def test_relay_file(self, tmp_path: Path) -> None:
        """The file of meshd and Envoy relays from the one port to the other."""
        config = yaml.safe_load(Path(proxies.relay_file(tmp_path, 81, 82)).read_text())
        listener = config["static_resources"]["listeners"][0]
        assert listener["address"]["socket_address"]["port_value"] == 81
        assert "port_value: 82" in (tmp_path / "relay.yaml").read_text()

    def test_missing(self) -> None:
        """A program that is not installed is named."""
        with pytest.raises(Failed, match="no-such-program is not installed"):
            proxies.program("no-such-program")

    def test_left_out(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A candidate that does not start is left out, with what it said."""
        wrong = [sys.executable, "-c", "raise SystemExit('no such luck')"]
        monkeypatch.setitem(proxies.CANDIDATES, "envoy", lambda directory, port, backend: wrong)
        bench = Bench(["envoy"], [1], 0, min(os.sched_getaffinity(0)))
        bench.find()
        assert bench.names == []
        assert "no such luck" in bench.left_out["envoy, all rows"]

    def test_others(self) -> None:
        """A bench may have candidates of its own, and so may a row."""
        others = {"other": bench_of([sys.executable, "-c", "raise SystemExit('no such luck')"])}
        bench = Bench(["other"], [1], 0, min(os.sched_getaffinity(0)), rounds=1, candidates=others)
        bench.alternate("row", lambda proxy: None, ["other"])
        assert "no such luck" in bench.left_out["other, row"]
        bench.alternate("row", lambda proxy: None, ["third"], candidates={"third": others["other"]})
        assert "no such luck" in bench.left_out["third, row"]


def is_dead(stat: Path) -> bool:
    """Whether a process has ended; till somebody reaps it, it is a zombie."""
    try:
        return stat.read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


class TestProgram:
    """Starting and ending."""

    def test_ends_with_its_children(self, tmp_path: Path) -> None:
        """What it started is gone with it, though it ignores SIGTERM."""
        port = free_port()
        text = (
            "import os, signal, socket, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "child = os.fork()\n"
            "if child:\n"
            "    open('child', 'w').write(str(child))\n"
            f"    server = socket.create_server(('127.0.0.1', {port}))\n"
            "time.sleep(60)"
        )
        core = min(os.sched_getaffinity(0))
        with Program("it", [sys.executable, "-c", text], core, tmp_path, cwd=tmp_path) as started:
            started.wait_for_port(port)
            started.stop(0.1)
        child = Path("/proc", (tmp_path / "child").read_text(), "stat")
        wait_until(lambda: is_dead(child), "the child's end")


class TestProfile:
    """The report of the sampler."""

    def test_report(self) -> None:
        """Lines that run and functions on the stack are counted apart, imports not at all."""
        folded = ["a (x.py:1);b (x.py:2) 3", "a (x.py:9) 1", "f (<frozen importlib>:1);g (y.py:1) 7"]
        assert profile.report(folded).splitlines() == [
            "running, by line (4 samples)",
            "  75.0%  b (x.py:2)",
            "  25.0%  a (x.py:9)",
            "on the stack, by function (4 samples)",
            " 100.0%  a (x.py)",
            "  75.0%  b (x.py)",
        ]

    def test_sampling(self, tmp_path: Path) -> None:
        """A process that the sampler is in writes its stacks when it ends."""
        text = (
            "from tests.bench.profile import start_sampling; import time; start_sampling()\n"
            "while time.process_time() < 0.4: pass"
        )
        env = {profile.VARIABLE: str(tmp_path)}
        core = max(os.sched_getaffinity(0))
        program = Program("it", [sys.executable, "-c", text], core, tmp_path, env, proxies.CHECKOUT)
        assert os.waitstatus_to_exitcode(os.waitpid(program.pid, 0)[1]) == 0
        assert "<module>" in next(tmp_path.glob("*.folded")).read_text()
