"""
The rows of the Redis proxy: redis-benchmark through each candidate, before one and four servers.

The candidates are proxies of the Redis protocol: meshd and Envoy read the same
file; nutcracker is twemproxy, as Debian calls it.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench import measure, proxies
from tests.bench.programs import Failed, Program, file_limit
from tests.bench.proxies import Prepare, program
from tests.bench.rows import Bench, Running, cpu_of
from tests.bench.subscribers import audience
from tests.bench.table import REFERENCE, Line
from tests.ports import free_port

CLIENTS = 50
KEYS = 100_000
KEY = "key:__rand_int__"

#: What is sent: its words, and how many pipelines.
WORK: dict[str, Sequence[str]] = {
    "GET": ("GET", KEY),
    "SET": ("SET", KEY, "xxx"),
    "MGET of 10": ("MGET", *[KEY] * 10),
}
PIPELINES = (1, 16, 128)

#: Of one channel; and how many messages are published at once.
SUBSCRIBERS = 10_000
BURSTS = (1, 16)
#: Without a proxy: what subscribers cost the server itself.
SERVER = "redis-server"

HEAD = """\
admin:
  address: {{ socket_address: {{ address: 127.0.0.1, port_value: {admin} }} }}
static_resources:
  listeners:
  - name: redis
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    tcp_backlog_size: 4096
    filter_chains:
    - filters:
      - name: envoy.filters.network.redis_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProxy
          stat_prefix: redis
          settings: {{ op_timeout: 5s }}
          prefix_routes: {{ catch_all_route: {{ cluster: backend }} }}
  clusters:
  - name: backend
    type: STATIC
    connect_timeout: 5s
    lb_policy: MAGLEV
    load_assignment:
      cluster_name: backend
      endpoints:
      - lb_endpoints:
"""
HOST = """\
        - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }}
"""
NUTCRACKER = """\
pool:
  listen: 127.0.0.1:{port}
  hash: murmur
  distribution: ketama
  redis: true
  servers:
"""


def redis_file(directory: Path, port: int, shards: Sequence[int]) -> str:
    """Write the file that meshd and Envoy read; return its path."""
    file = directory / "redis.yaml"
    hosts = "".join(HOST.format(port=shard) for shard in shards)
    file.write_text(HEAD.format(admin=free_port(), port=port) + hosts)
    return str(file)


def meshd(shards: Sequence[int], directory: Path, port: int, backend: int) -> list[str]:
    """Run meshd of this checkout with one worker."""
    return proxies.meshd_command(redis_file(directory, port, shards))


def envoy(shards: Sequence[int], directory: Path, port: int, backend: int) -> list[str]:
    """Run Envoy with one worker."""
    return proxies.envoy_command(redis_file(directory, port, shards))


def nutcracker(shards: Sequence[int], directory: Path, port: int, backend: int) -> list[str]:
    """Run twemproxy."""
    file = directory / "nutcracker.yml"
    servers = "".join(f"   - 127.0.0.1:{shard}:1\n" for shard in shards)
    file.write_text(NUTCRACKER.format(port=port) + servers)
    return [program("nutcracker"), "-c", str(file), "-m", "16384", "-s", str(free_port())]


CANDIDATES: dict[str, Callable[[Sequence[int], Path, int, int], list[str]]] = {
    "meshd": meshd,
    "envoy": envoy,
    "nutcracker": nutcracker,
}


def server(place: Path, port: int) -> list[str]:
    """Run a Redis server, empty, for as many connections as may be. Raises Failed."""
    return [program("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", "",
            "--protected-mode", "no", "--appendonly", "no", "--dir", str(place),
            "--tcp-backlog", "4096", "--maxclients", str(file_limit() - 100)]  # fmt: skip


@contextmanager
def servers(count: int, core: int) -> Iterator[list[int]]:
    """Have so many Redis servers, empty; yield their ports. Raises Failed."""
    ports = [free_port() for _ in range(count)]
    with TemporaryDirectory(prefix="bench-") as place, contextlib.ExitStack() as stack:
        for port in ports:
            started = Program(f"redis-{port}", server(Path(place), port), core, Path(place))
            stack.enter_context(started).wait_for_port(port)
        yield ports


def load(port: int, words: Sequence[str], pipeline: int, count: int) -> dict[str, float]:
    """Send count commands; return redis-benchmark's figures. Raises Failed."""
    command = [program("redis-benchmark"), "-p", str(port), "-c", str(CLIENTS), "-P", str(pipeline),
               "-n", str(count), "-r", str(KEYS), "--csv", *words]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise Failed(f"redis-benchmark: {done.stderr.strip() or done.stdout.strip()}")
    return figures(done.stdout)


def figures(text: str) -> dict[str, float]:
    """Read redis-benchmark's CSV. Raises Failed if it is none."""
    rows = [row for row in csv.reader(io.StringIO(text)) if len(row) > 2]
    if len(rows) < 2:
        raise Failed(f"redis-benchmark said {text!r}")
    head, row = rows[-2:]
    return {name: float(value) for name, value in zip(head[1:], row[1:], strict=True)}


def commands(bench: Bench, pipeline: int, words: Sequence[str]) -> int:
    """Return how many commands make for about the seconds that are asked for."""
    rate = {1: 30_000, 16: 120_000}.get(pipeline, 200_000)
    return max(2000, bench.seconds * rate // (10 if words[0] == "MGET" else 1))


def rows_for(bench: Bench, shards: int) -> list[Line]:
    """GET, SET and MGET through each candidate, with pipelines and without: CPU for each command, and P99."""
    lines: list[Line] = []
    core = min(os.sched_getaffinity(0))  # that of the load: see __main__
    with servers(shards, core) as ports:
        made: dict[str, Prepare] = {name: partial(make, ports) for name, make in CANDIDATES.items()}
        names = [name for name in bench.peers if name in made]
        own = replace(bench, candidates=made, names=names)
        own.find()
        for what, words in WORK.items():
            for pipeline in PIPELINES if what != "MGET of 10" else PIPELINES[:2]:
                where = f"{what}, pipelines of {pipeline}, {shards} servers"
                cpu = Line(where, "us CPU", (REFERENCE, 1.0))
                beside = Line("the same", "us CPU", ("nutcracker", 1.5), cpu.values)
                slow = Line("its P99", "ms", (REFERENCE, 1.0))
                lines += [cpu, beside, slow]

                def work(
                    proxy: Running,
                    words: Sequence[str] = words,
                    pipeline: int = pipeline,
                    cpu: Line = cpu,
                    slow: Line = slow,
                ) -> None:
                    count = commands(bench, pipeline, words)
                    load(proxy.port, words, pipeline, max(1000, count // 10))
                    before = measure.cpu_seconds(proxy.pid)
                    seen = load(proxy.port, words, pipeline, count)
                    cpu.add(proxy.name, 1e6 * (measure.cpu_seconds(proxy.pid) - before) / count)
                    slow.add(proxy.name, seen["p99_latency_ms"])

                own.alternate(row_name(shards), work, own.names, candidates=made)
    return lines


def row_name(shards: int) -> str:
    """Return the name of the row."""
    return "redis" if shards == 1 else f"redis-{shards}"


def one(bench: Bench) -> list[Line]:
    """One server."""
    return rows_for(bench, 1)


def four(bench: Bench) -> list[Line]:
    """Four servers."""
    return rows_for(bench, 4)


def subscribers(bench: Bench) -> list[Line]:
    """Subscribers of one channel: CPU for each message that one of them gets, beside the server's own."""
    count = min(SUBSCRIBERS, file_limit() - 300)
    lines = {
        burst: Line(f"{count} subscribers, {burst} published at once: each delivery", "us CPU", (SERVER, 1.2))
        for burst in BURSTS
    }

    def work(proxy: Running) -> None:
        with audience(proxy.port, count) as run:
            run(BURSTS[0], 0)
            for burst, line in lines.items():
                line.add(proxy.name, 1e6 * cpu_of(proxy.pid, partial(run, burst, bench.seconds)))

    with servers(1, min(os.sched_getaffinity(0))) as ports:
        made: dict[str, Prepare] = {SERVER: lambda place, port, _: server(place, port)}
        if "meshd" in bench.peers:
            made["meshd"] = partial(meshd, ports)
        bench.alternate("redis-subscribers", work, list(made), candidates=made)
    return list(lines.values())


ROWS: dict[str, Callable[[Bench], list[Line]]] = {
    "redis": one,
    "redis-4": four,
    "redis-subscribers": subscribers,
}
