"""
Where a relay in Python spends its CPU time: ``python -m tests.bench.profile small``.

cProfile slows calls and not system calls, which shifts the picture.  This
samples: by py-spy where it is installed, else by SIGPROF in the process
itself, started by a sitecustomize that the environment brings in, so worker
processes are seen too.  The time of a system call is at the line that makes it.
"""

from __future__ import annotations

import argparse
import atexit
import os
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

VARIABLE = "MESHD_BENCH_SAMPLES"
SECONDS_A_SAMPLE = 0.004


def start_sampling() -> None:
    """Sample this process until it ends, then write folded stacks into the directory of VARIABLE."""
    stacks: Counter[str] = Counter()

    def sample(_number: int, frame: FrameType | None) -> None:
        names = []
        while frame is not None:
            code = frame.f_code
            names.append(f"{code.co_name} ({Path(code.co_filename).name}:{frame.f_lineno})")
            frame = frame.f_back
        stacks[";".join(reversed(names))] += 1

    def write() -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        text = "".join(f"{stack} {count}\n" for stack, count in stacks.items())
        Path(os.environ[VARIABLE], f"{os.getpid()}.folded").write_text(text)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGPROF, sample)
        signal.setitimer(signal.ITIMER_PROF, SECONDS_A_SAMPLE, SECONDS_A_SAMPLE)
        atexit.register(write)


def report(folded: Iterable[str], most: int = 25) -> str:
    """Return the lines that were running most often, and the functions that were on the stack."""
    lines: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    for text in folded:
        stack, _, count = text.rpartition(" ")
        if "importlib" in stack:  # it starts
            continue
        frames = stack.split(";")
        lines[frames[-1]] += int(count)
        for function in {frame.rpartition(":")[0] + ")" for frame in frames}:
            functions[function] += int(count)
    total = max(1, lines.total())
    parts = []
    for title, found in (("running, by line", lines), ("on the stack, by function", functions)):
        parts.append(f"{title} ({total} samples)")
        parts.extend(f"{100 * count / total:6.1f}%  {name}" for name, count in found.most_common(most))
    return "\n".join(parts)


def main() -> None:
    """Run a candidate under the load of a row, and print the report."""
    from tests import ports
    from tests.bench import load, programs, proxies
    from tests.bench.__main__ import choose_cores

    loads = {
        "small": lambda port, seconds: load.wrk(port, seconds),
        "connections": lambda port, seconds: load.wrk(port, seconds, keep=False),
        "bulk": lambda port, seconds: load.download(port, 1 << 30, seconds),
    }
    parser = argparse.ArgumentParser(prog="python -m tests.bench.profile", description="Samples a relay.")
    parser.add_argument("row", choices=loads)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--candidate", choices=("meshd", "portforward"), default="meshd")
    options = parser.parse_args()
    proxy_core, load_core = choose_cores("")
    os.sched_setaffinity(0, {load_core})
    with TemporaryDirectory(prefix="bench-") as place:
        directory, backend, port = Path(place), ports.free_port(), ports.free_port()
        command = proxies.CANDIDATES[options.candidate](directory, port, backend)
        sampling = "from tests.bench.profile import start_sampling\nstart_sampling()\n"
        (directory / "sitecustomize.py").write_text(sampling)
        if spy := shutil.which("py-spy"):
            record = [spy, "record", "-s", "-r", "250", "-f", "raw", "-o", f"{place}/spy.folded", "--"]
            command, env = record + command, {}
        else:
            env = {VARIABLE: place, "PYTHONPATH": f"{place}:{proxies.CHECKOUT}"}
        serve = proxies.backend_command(directory, [backend], 1 << 30)
        with (
            programs.Program("backend", serve, load_core, directory),
            programs.Program("proxy", command, proxy_core, directory, env, proxies.CHECKOUT) as proxy,
        ):
            proxy.wait_for_port(port)
            loads[options.row](port, options.seconds)
            proxy.stop(15.0)
        folded = [line for file in directory.glob("*.folded") for line in file.read_text().splitlines()]
        print(report(folded) if folded else f"no samples: {proxy.said()}")


if __name__ == "__main__":
    main()
