"""
The command ``python -m tests.bench``: see README.rst beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench import redis_rows, table, tls_proxies, tls_rows
from tests.bench.load import download
from tests.bench.programs import Failed, Program, raise_file_limit
from tests.bench.proxies import CANDIDATES, backend_command
from tests.bench.rows import DIRECT, ROWS, Bench
from tests.ports import free_port

ALL_ROWS = {**ROWS, **tls_rows.ROWS, **redis_rows.ROWS}
ALL_CANDIDATES = list(dict.fromkeys([*CANDIDATES, *tls_proxies.CANDIDATES, *redis_rows.CANDIDATES]))

#: Each measurement has another, so that none is short of ports that the last one's connections still hold.
BACKEND_PORTS = 16


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line; SystemExit with a message if it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measures relays.")
    parser.add_argument("rows", nargs="*", metavar="row", help=f"of {', '.join(ALL_ROWS)}; all unless given")
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", default=",".join(ALL_CANDIDATES), help="candidates, by commas")
    parser.add_argument("--idle", type=int, default=10000, help="connections of the row idle")
    parser.add_argument("--big", type=int, default=1 << 30, help="bytes of the file of the row bulk")
    parser.add_argument("--cores", default="", help="PROXY,LOAD; the first two that may be used unless given")
    parser.add_argument("--format", choices=("rst", "markdown"), default="rst")
    parser.add_argument("--json", metavar="FILE", help="write all figures of all rounds there")
    options = parser.parse_args(arguments)
    options.rows = options.rows or list(ALL_ROWS)
    options.peers = options.peers.split(",")
    for given, known in ((options.rows, ALL_ROWS), (options.peers, ALL_CANDIDATES)):
        if wrong := set(given) - set(known):
            parser.error(f"there is no {', '.join(sorted(wrong))}; there are {', '.join(known)}")
    if min(options.seconds, options.rounds) < 1:
        parser.error("at least one second and one round")
    return options


def choose_cores(text: str) -> tuple[int, int]:
    """Return the core of the proxies and that of load and backend."""
    if text:
        proxy, _, other = text.partition(",")
        return int(proxy), int(other or proxy)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        print("there is one core only: proxy and load disturb each other", file=sys.stderr)
    return cores[0], cores[1 % len(cores)]


def run(options: argparse.Namespace) -> int:
    """Measure and print; return the exit status."""
    proxy_core, load_core = choose_cores(options.cores)
    os.sched_setaffinity(0, {load_core})
    raise_file_limit()
    with TemporaryDirectory(prefix="bench-") as place:
        directory, ports = Path(place), [free_port() for _ in range(BACKEND_PORTS)]
        try:
            command = backend_command(directory, ports, options.big)
        except Failed as error:
            print(f"there is nothing to relay to: {error}", file=sys.stderr)
            return 1
        with Program("backend", command, load_core, directory) as backend:
            backend.wait_for_port(ports[0])
            names = [name for name in options.peers if name in CANDIDATES]
            bench = Bench(names, ports, options.big, proxy_core, peers=options.peers)
            bench.seconds, bench.rounds, bench.idle = options.seconds, options.rounds, options.idle
            if set(options.rows) & set(ROWS):
                bench.find()
            if {"bulk", "tls-bulk"} & set(options.rows):
                download(ports[0], options.big, 0)  # so that the first candidate finds it in memory too
            lines = [line for row in options.rows for line in ALL_ROWS[row](bench)]
    report(options, bench, lines)
    return 0


def report(options: argparse.Namespace, bench: Bench, lines: list[table.Line]) -> None:
    """Print the table and what is missing in it."""
    known = dict.fromkeys((*options.peers, DIRECT, *(name for line in lines for name in line.values)))
    names = [name for name in known if any(name in line.values for line in lines)]
    rows = table.cells(lines, names)
    print(table.markdown(rows) if options.format == "markdown" else table.rst(rows))
    for note in bench.notes:
        print(f"Note: {note}")
    for where, why in bench.left_out.items():
        print(f"Left out: {where}: {why}")
    if options.json:
        Path(options.json).write_text(json.dumps(table.as_json(lines, bench.left_out, bench.notes), indent=1))


def main() -> None:
    """Run by the command line; SIGTERM ends what was started, as SIGINT does."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        sys.exit(run(parse(sys.argv[1:])))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
