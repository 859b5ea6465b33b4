"""
The rows of the table: what is done to each candidate, and what is read.

Candidates take turns within a round, each in a fresh process, and each round
begins with another one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from tests.bench import load, measure
from tests.bench.openloop import Latency
from tests.bench.programs import Failed, Program, file_limit
from tests.bench.proxies import CANDIDATES, CHECKOUT, MONGO, ONLY_IN, Prepare
from tests.bench.table import REFERENCE, Line
from tests.ports import free_port

#: A backend without a proxy: the least latency that client and backend can show.
DIRECT = "direct"

#: How much of its core the client of the row latency may take; above, it waits for itself.
CLIENT_SHARE = 0.6


@dataclass
class Running:
    """A candidate that accepts connections."""

    name: str
    pid: int
    port: int
    #: The port that it relays to.
    backend: int


@dataclass
class Bench:
    """What a run is told, and what it has found out."""

    names: list[str]
    backends: list[int]
    big: int
    core: int
    seconds: int = 5
    rounds: int = 3
    idle: int = 10000
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    candidates: Mapping[str, Prepare] = field(default_factory=lambda: CANDIDATES)
    #: All that are asked for; of some of them there is nothing in candidates.
    peers: Sequence[str] = ()

    @contextmanager
    def running(
        self, name: str, backend: int, candidates: Mapping[str, Prepare] | None = None
    ) -> Iterator[Running]:
        """Start a candidate that relays to a port, and end it. Raises Failed."""
        with TemporaryDirectory(prefix="bench-") as place:
            directory, port = Path(place), free_port()
            command = (candidates or self.candidates)[name](directory, port, backend)
            with Program(name, command, self.core, directory, cwd=CHECKOUT) as started:
                started.wait_for_port(port)
                yield Running(name, started.pid, port, backend)

    def leave_out(self, name: str, where: str, why: str) -> None:
        """Say that a candidate is not measured, and why."""
        self.left_out[f"{name}, {where}"] = why
        print(f"{name} is left out of {where}: {why}", file=sys.stderr, flush=True)

    def find(self) -> None:
        """Start each candidate once; those that do not start are left out from now on."""
        for name in list(self.names):
            try:
                with self.running(name, self.backends[0]):
                    pass
            except Failed as error:
                self.names.remove(name)
                self.leave_out(name, "all rows", str(error))

    def alternate(
        self,
        where: str,
        work: Callable[[Running], None],
        names: Sequence[str],
        backend: Callable[[], int] | None = None,
        candidates: Mapping[str, Prepare] | None = None,
    ) -> None:
        """
        Do this work with each, round by round; one with which it fails is not tried again.

        backend gives the port to relay to, in place of that of the HTTP server; candidates
        are what names mean, if not what the bench has.
        """
        ports = cycle(self.backends)
        names = [name for name in names if where in ONLY_IN.get(name, (where,))]
        for turn in range(self.rounds):
            first = turn % max(1, len(names))
            for name in names[first:] + names[:first]:
                try:
                    port = backend() if backend else next(ports)
                    with self.running(name, port, candidates) as candidate:
                        work(candidate)
                except (Failed, OSError) as error:
                    names.remove(name)
                    self.leave_out(name, where, str(error))


def cpu_of(pid: int, work: Callable[[], float]) -> float:
    """Return the CPU seconds that a proxy takes for one unit of what work does; work returns how many."""
    before = measure.cpu_seconds(pid)
    units = work()
    return (measure.cpu_seconds(pid) - before) / units


def small(bench: Bench) -> list[Line]:
    """Small requests and answers, one after the other on each of 64 kept connections."""
    line = Line("small round trip, 64 connections", "us CPU", (REFERENCE, 0.9))

    def work(proxy: Running) -> None:
        load.wrk(proxy.port, 1)
        seconds = cpu_of(proxy.pid, lambda: load.wrk(proxy.port, bench.seconds).count)
        line.add(proxy.name, 1e6 * seconds)

    bench.alternate("small", work, bench.names)
    return [line]


def connections(bench: Bench) -> list[Line]:
    """A new connection for each request, 64 at a time."""
    line = Line("new connection each", "us CPU", (REFERENCE, 0.8))

    def work(proxy: Running) -> None:
        load.wrk(proxy.port, 1, keep=False)
        seconds = cpu_of(proxy.pid, lambda: load.wrk(proxy.port, bench.seconds, keep=False).count)
        line.add(proxy.name, 1e6 * seconds)

    bench.alternate("connections", work, bench.names)
    return [line]


def bulk(bench: Bench) -> list[Line]:
    """Downloads of a large file, one at a time."""
    line = Line("bulk, per GB (10^9)", "s CPU", ("best peer", 0.6))

    def work(proxy: Running) -> None:
        seconds = cpu_of(proxy.pid, lambda: load.download(proxy.port, bench.big, bench.seconds))
        line.add(proxy.name, 1e9 * seconds)

    bench.alternate("bulk", work, bench.names)
    return [line]


def idle(bench: Bench) -> list[Line]:
    """Connections that had one round trip and then nothing: memory of the proxy, without the kernel's."""
    count = min(bench.idle, (file_limit() - 200) // 2)
    each = Line(f"{count} idle connections, each", "KiB PSS", (REFERENCE, 1.0))
    empty = Line("without connections", "MiB PSS")

    def work(proxy: Running) -> None:
        load.wrk(proxy.port, 1, connections=1)
        time.sleep(0.5)
        before = measure.memory_bytes(proxy.pid)
        with load.idle_connections(proxy.port, count):
            time.sleep(1.0)
            after = measure.memory_bytes(proxy.pid)
        empty.add(proxy.name, before / 2**20)
        each.add(proxy.name, (after - before) / count / 1024)

    bench.alternate("idle", work, bench.names)
    return [each, empty]


#: What is read of a run of the open-loop client.
FIGURES: dict[str, Callable[[Latency], float]] = {
    "P50": lambda seen: seen.p50,
    "P99": lambda seen: seen.p99,
    "P99.9": lambda seen: seen.p999,
}


def _latency_lines(when: str) -> dict[str, Line]:
    return {
        name: Line(f"{name}, {when}", "us", None if name == "P50" else (REFERENCE, 1.0)) for name in FIGURES
    }


def _saturations(bench: Bench) -> dict[str, float]:
    """Return the requests a second that each candidate does at most on 64 connections."""
    most: dict[str, list[float]] = {}
    busy: dict[str, list[float]] = {}

    def saturate(proxy: Running) -> None:
        load.wrk(proxy.port, 1)
        before = measure.cpu_seconds(proxy.pid)
        done = load.wrk(proxy.port, max(1, bench.seconds // 2))
        used = measure.cpu_seconds(proxy.pid) - before
        most.setdefault(proxy.name, []).append(done.rate)
        busy.setdefault(proxy.name, []).append(used * done.rate / done.count)

    bench.alternate("latency", saturate, bench.names)
    shares = ", ".join(f"{name} {median(share):.0%}" for name, share in busy.items())
    bench.notes.append(
        f"latency: at saturation the candidates used this much of their core: {shares}; where it is"
        " clearly less than all, the load's core was full first, and saturation is higher than what was seen"
    )
    return {name: median(rates) for name, rates in most.items()}


def _capacity(bench: Bench) -> float:
    """Return the rate at which the open-loop client and backend are busy for CLIENT_SHARE of the time."""
    port = free_port()
    seen = load.open_loop(port, port, 20000, max(1, bench.seconds // 2))
    rate = CLIENT_SHARE * 1e6 / seen.cost
    bench.notes.append(
        f"latency: client and backend take {seen.cost:.1f} us of their core for each request, so no rate is"
        f" above {rate:.0f}/s, where they take {CLIENT_SHARE:.0%} of it; {DIRECT} is their own latency"
    )
    return rate


def latency(bench: Bench) -> list[Line]:
    """P50, P99 and P99.9 at half of what each can do, and at half of what Envoy can do."""
    capacity = _capacity(bench)
    most = _saturations(bench)
    half = {name: min(capacity, rate / 2) for name, rate in most.items()}
    if not half:
        return []
    rate = half.get(REFERENCE) or min(half.values())
    # A rate that the client could not have kept is not passed off as half of saturation.
    lowered = any(bound / 2 > capacity for bound in most.values())
    when = "half of its own saturation" + (f" or {capacity:.0f}/s" if lowered else "")
    own, equal = _latency_lines(when), _latency_lines(f"all at {rate:.0f}/s")
    rates = Line(when, "1/s", plain=True)
    for name, value in half.items():
        rates.add(name, value)

    def figures(name: str, port: int, backend: int, lines: dict[str, Line], at: float) -> None:
        seen = load.open_loop(port, backend, at, bench.seconds)
        for figure, read in FIGURES.items():
            lines[figure].add(name, read(seen))

    def work(proxy: Running) -> None:
        figures(proxy.name, proxy.port, proxy.backend, own, half[proxy.name])
        if rate < 0.95 * most[proxy.name]:  # else the answers never end
            figures(proxy.name, proxy.port, proxy.backend, equal, rate)

    bench.alternate("latency", work, list(half), free_port)
    for _ in range(bench.rounds):
        port = free_port()
        figures(DIRECT, port, port, equal, rate)
    return [rates, *own.values(), *equal.values()]


def _mongo(bench: Bench, kind: str, lines: Sequence[Line], names: Sequence[str]) -> list[Line]:
    """Finds by _id on 64 connections: CPU for each, of the relays with the filter and without."""

    def work(proxy: Running) -> None:
        with load.mongo(kind, proxy.port, proxy.backend, bench.seconds) as run:
            seconds = cpu_of(proxy.pid, run)
        for line in lines:
            line.add(proxy.name, 1e6 * seconds)

    wanted = [name for name in names if name in bench.names or name.startswith("bare")]
    bench.alternate("mongo", work, wanted, free_port, MONGO)
    return list(lines)


def mongo(bench: Bench) -> list[Line]:
    """Finds as pymongo sends them, with the filter that looks at them and without."""
    line = Line("MongoDB find by _id, OP_MSG, 1 KiB, 64 connections", "us CPU", ("bare relay", 1.4))
    return _mongo(bench, "msg", [line], ["meshd", "bare relay"])


def mongo_query(bench: Bench) -> list[Line]:
    """Finds as they were sent before MongoDB 3.6, which Envoy's filter can read too."""
    line = Line("MongoDB find by _id, OP_QUERY, 1 KiB, 64 connections", "us CPU", (REFERENCE, 1.0))
    return _mongo(bench, "query", [line], ["meshd", "envoy", "bare relay", "bare envoy"])


ROWS: dict[str, Callable[[Bench], list[Line]]] = {
    "small": small,
    "connections": connections,
    "bulk": bulk,
    "idle": idle,
    "latency": latency,
    "mongo": mongo,
    "mongo-query": mongo_query,
}
