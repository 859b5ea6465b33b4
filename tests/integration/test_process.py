"""The process: signals, draining, logs, and what is wrong in a config."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path

from tests.interop.case import Case
from tests.interop.oracle import CHECKOUT, command, try_config
from tests.interop.peers import FIN, RST, wait_until
from tests.interop.yaml_parts import bootstrap, listener, network, relay, tcp_proxy


def test_sigterm_drains(case: Case) -> None:
    """SIGTERM closes the listeners; a connection goes on until it ends, then so does the process."""
    proxy = case.start(relay(case.backend()), options=("--drain-time-s", "60"))
    client = case.client()
    client.send(b"a")
    assert client.read(1) == b"a"
    address = proxy.address()
    proxy.signal(signal.SIGTERM)
    proxy.await_refused(address)
    client.send(b"b")
    assert client.read(1) == b"b"
    client.half_close()
    assert client.read_to_end() == (b"", FIN)
    assert proxy.wait() == 0
    # The log is flushed at the end.  A look whether connections are refused may have been one too many.
    assert [line["BYTES_SENT"] for line in map(json.loads, proxy.lines()) if line["BYTES_SENT"]] == [2]


def test_drain_time(case: Case) -> None:
    """A connection that does not end is closed when the drain time is over."""
    proxy = case.start(relay(case.backend()), options=("--drain-time-s", "1"))
    client = case.client()
    client.send(b"a")
    assert client.read(1) == b"a"
    proxy.signal(signal.SIGTERM)
    assert client.read_to_end()[1] in (FIN, RST)
    assert proxy.wait() == 0


def test_second_signal(case: Case) -> None:
    """A second signal ends at once what would drain for long."""
    proxy = case.start(relay(case.backend()), options=("--drain-time-s", "600"))
    client = case.client()
    client.send(b"a")
    assert client.read(1) == b"a"
    address = proxy.address()
    proxy.signal(signal.SIGINT)
    proxy.await_refused(address)
    proxy.signal(signal.SIGINT)
    assert proxy.wait() == 0
    assert client.read_to_end()[1] in (FIN, RST)


def test_idle_sigterm(case: Case) -> None:
    """Without connections SIGTERM ends at once, drain time or not."""
    proxy = case.start(relay(case.backend()), options=("--drain-time-s", "600"))
    proxy.signal(signal.SIGTERM)
    assert proxy.wait() == 0


def test_sigusr1_reopens(case: Case) -> None:
    """After a log was moved away, SIGUSR1 makes a new one."""
    proxy = case.start(relay(case.backend()))
    case.converse()
    case.log(1)
    moved = proxy.log_path.rename(proxy.directory / "moved.log")
    proxy.signal(signal.SIGUSR1)
    wait_until(proxy.log_path.exists, "the new log")
    case.converse()
    assert len(proxy.logged(1)) == 1
    assert len(proxy.lines(moved)) == 1


def test_log_flushed_at_exit(case: Case) -> None:
    """What was logged is in the file when the process has ended, whatever the interval."""
    proxy = case.start(relay(case.backend()), flush_ms=600_000)
    case.converse()
    proxy.await_stat("listener.front.downstream_cx_active", 0)
    proxy.signal(signal.SIGTERM)
    assert proxy.wait() == 0
    assert len(proxy.lines()) == 1


PLACE = re.compile(r"config\.yaml:\d+:\d+: [^:]+: .")


def test_bad_config(tmp_path: Path) -> None:
    """A bad config ends with status 1 and a line FILE:LINE:COLUMN for each of its errors."""
    config = bootstrap(
        listener(tcp_proxy("nowhere", idle_timeouts="1s")),
        listener(network("echoo", "Echo"), name="other"),
    )
    status, said = try_config("meshd", config, tmp_path)
    assert status == 1
    lines = [line for line in said.splitlines() if PLACE.search(line)]
    assert len(lines) >= 2, said
    assert "idle_timeouts" in said
    assert "Traceback" not in said


def test_bad_config_when_serving(tmp_path: Path) -> None:
    """Without --mode validate a bad config does not start either."""
    path = tmp_path / "config.yaml"
    path.write_text("static_resources:\n  listeners:\n  - name: a\n    adress: {}\n")
    done = subprocess.run(
        [*command("meshd"), "-c", str(path)],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert b"config.yaml:4:5: " in done.stderr, done.stderr


def environment() -> dict[str, str]:
    """Return our environment with the checkout on PYTHONPATH."""
    return {**os.environ, "PYTHONPATH": str(CHECKOUT)}


def test_missing_config(tmp_path: Path) -> None:
    """A config file that is not there is told in one line."""
    done = subprocess.run(
        [*command("meshd"), "-c", str(tmp_path / "nope.yaml")],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert b"nope.yaml" in done.stderr
    assert b"Traceback" not in done.stderr


def test_address_in_use(case: Case) -> None:
    """A port that is taken is told, with the address, and the process ends with status 1."""
    backend = case.backend()
    config = bootstrap(listener(network("echo", "Echo"), port=backend.port))
    path = case.directory / "config.yaml"
    path.write_text(json.dumps(config))
    done = subprocess.run(
        [*command("meshd"), "-c", str(path)],
        cwd=case.directory,
        env=environment(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert b"127.0.0.1:%d" % backend.port in done.stderr
    assert b"in use" in done.stderr
