"""
The rows of TLS: what is done to each candidate that terminates it, and what is read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench import measure, tls_client
from tests.bench.programs import file_limit
from tests.bench.rows import Bench, Running, cpu_of
from tests.bench.table import Line
from tests.bench.tls_proxies import CANDIDATES

#: Connections of the row tls-idle at most: a handshake takes a hundred times as long as a connection.
IDLE = 2000


class TlsBench:
    """A Bench whose candidates terminate TLS, and the environment of its clients."""

    def __init__(self, bench: Bench, env: Mapping[str, str]) -> None:
        names = [name for name in bench.peers if name in CANDIDATES]
        self.bench = replace(bench, candidates=CANDIDATES, names=names)
        self.bench.find()
        self.env = env

    def alternate(self, where: str, work: Callable[[Running], None], names: list[str] | None = None) -> None:
        """Do this work with each, once it has shown that it speaks the cipher that all shall speak."""

        def checked(proxy: Running) -> None:
            with tls_client.holding(proxy.port, 1, self.env) as seen:
                seen.check(False)
            work(proxy)

        self.bench.alternate(where, checked, self.bench.names if names is None else names)


@contextmanager
def _prepared(bench: Bench) -> Iterator[TlsBench]:
    with TemporaryDirectory(prefix="bench-") as place:
        yield TlsBench(bench, tls_client.environment(Path(place)))


def tls_bulk(bench: Bench) -> list[Line]:
    """Downloads of a large file by one client, AES-256-GCM."""
    line = Line("TLS bulk, per GB (10^9)", "s CPU", ("stunnel", 0.8))
    second = Line("the same", "s CPU", ("haproxy", 0.9), line.values)
    with _prepared(bench) as tls:

        def work(proxy: Running) -> None:
            def download() -> int:
                until, total = time.monotonic() + bench.seconds, 0
                while not total or time.monotonic() < until:
                    total += tls_client.run("bulk", proxy.port, bench.big, tls.env).check(False)
                return total

            line.add(proxy.name, 1e9 * cpu_of(proxy.pid, download))

        tls.alternate("tls-bulk", work)
    return [line, second]


def tls_handshakes(bench: Bench) -> list[Line]:
    """A connection with a handshake for each request: all of them full, then all resumed."""
    full = Line("TLS 1.3, a full handshake each", "us CPU", ("stunnel", 1.0))
    resumed = Line("the same, resumed", "us CPU")
    ratio = Line("resumed / full of its own", "ratio", plain=True, limit=0.7)
    with _prepared(bench) as tls:

        def cost(proxy: Running, line: Line, what: str) -> float:
            def load_it() -> int:
                return tls_client.run(what, proxy.port, bench.seconds, tls.env).check(what == "resumed")

            line.add(proxy.name, 1e6 * cpu_of(proxy.pid, load_it))
            return line.values[proxy.name][-1]

        def work(proxy: Running) -> None:
            whole = cost(proxy, full, "full")
            ratio.add(proxy.name, cost(proxy, resumed, "resumed") / whole)

        tls.alternate("tls-handshakes", work)
    return [full, resumed, ratio]


def tls_idle(bench: Bench) -> list[Line]:
    """Connections of TLS that had one round trip and then nothing: memory, without the kernel's."""
    count = min(bench.idle, IDLE, (file_limit() - 200) // 2)
    each = Line(f"{count} idle connections of TLS, each", "KiB PSS", ("stunnel", 1.0))
    with _prepared(bench) as tls:

        def work(proxy: Running) -> None:
            time.sleep(0.5)
            before = measure.memory_bytes(proxy.pid)
            with tls_client.holding(proxy.port, count, tls.env) as seen:
                seen.check(False)
                time.sleep(1.0)
                after = measure.memory_bytes(proxy.pid)
            each.add(proxy.name, (after - before) / count / 1024)

        tls.alternate("tls-idle", work)
    return [each]


ROWS: dict[str, Callable[[Bench], list[Line]]] = {
    "tls-bulk": tls_bulk,
    "tls-handshakes": tls_handshakes,
    "tls-idle": tls_idle,
}
