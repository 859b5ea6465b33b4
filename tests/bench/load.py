"""
The clients: wrk for round trips, a reader for bulk, many idle connections, and the open-loop client.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tests.bench.openloop import Latency
from tests.bench.programs import Failed
from tests.bench.proxies import CHECKOUT, program

#: Linux's: the port is chosen by connect(), which may take one that waits for the end of another pair.
IP_BIND_ADDRESS_NO_PORT = 24

REQUEST = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n"


@dataclass
class Requests:
    """What wrk says of a run: requests done, how many a second, and how many went wrong."""

    count: int
    rate: float
    errors: int


def parse_wrk(text: str) -> Requests:
    """Read what wrk prints. Raises ValueError if that is no summary."""
    count = re.search(r"(\d+) requests in", text)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    if count is None or rate is None:
        raise ValueError(f"not a summary of wrk: {text[:200]!r}")
    errors = 0
    sockets = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    if sockets is not None:
        errors += sum(int(number) for number in sockets.groups())
    answers = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    if answers is not None:
        errors += int(answers.group(1))
    return Requests(int(count.group(1)), float(rate.group(1)), errors)


def wrk(port: int, seconds: int, *, keep: bool = True, connections: int = 64) -> Requests:
    """Load a port for so long; each request on a new connection unless keep. Raises Failed."""
    close = [] if keep else ["-H", "Connection: close"]
    command = [program("wrk"), "-t1", f"-c{connections}", f"-d{seconds}s", *close]
    run = subprocess.run(
        [*command, f"http://127.0.0.1:{port}/"], capture_output=True, text=True, timeout=seconds + 30
    )
    try:
        done = parse_wrk(run.stdout)
    except ValueError as error:
        raise Failed(f"wrk: {error} {run.stderr.strip()}") from None
    # More than one in a hundred, and the figure is one of something else.
    if not done.count or done.errors * 100 > done.count:
        raise Failed(f"wrk: {done.errors} errors in {done.count} requests")
    return done


def download(port: int, size: int, seconds: float, path: str = "/big") -> int:
    """Fetch a file of this size for so long, at least once; return the bytes got. Raises Failed."""
    end = time.monotonic() + seconds
    total = 0
    buffer = bytearray(1 << 18)
    while not total or time.monotonic() < end:
        with socket.create_connection(("127.0.0.1", port), 10.0) as sock:
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode())
            got = 0
            while count := sock.recv_into(buffer):
                got += count
        if got < size:
            raise Failed(f"a download ended after {got} of {size} bytes")
        total += got
    return total


def dial(port: int, number: int) -> socket.socket:
    """Return the connection of this number; each 5,000 have a source address. Raises Failed."""
    sock = socket.socket()
    try:
        sock.settimeout(10.0)
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((f"127.0.1.{1 + number // 5000}", 0))
        sock.connect(("127.0.0.1", port))
    except OSError as error:
        sock.close()
        raise Failed(f"connection {number}: {error}") from None
    return sock


@contextmanager
def idle_connections(port: int, count: int) -> Iterator[None]:
    """Hold so many connections open, each after one round trip."""
    with ExitStack() as stack:
        for number in range(count):
            sock = stack.enter_context(dial(port, number))
            try:
                sock.sendall(REQUEST)
                if not sock.recv(4096):
                    raise Failed(f"connection {number} was closed without an answer")
            except OSError as error:
                raise Failed(f"connection {number}: {error}") from None
        yield


def open_loop(port: int, backend: int, rate: float, seconds: float) -> Latency:
    """Run the open-loop client, which is its backend too, in a process of its own. Raises Failed."""
    numbers = (port, backend, rate, seconds)
    command = [sys.executable, "-m", "tests.bench.openloop", *map(str, numbers)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=CHECKOUT, timeout=seconds + 60)
    if run.returncode:
        raise Failed(f"at {rate:.0f}/s: {run.stderr.strip().splitlines()[-1:]}")
    return Latency(**json.loads(run.stdout))


@contextmanager
def mongo(kind: str, port: int, backend: int, seconds: float) -> Iterator[Callable[[], int]]:
    """Load a proxy with MongoDB's protocol; yield what runs it and returns the answers. Raises Failed."""
    command = [sys.executable, "-m", "tests.bench.mongo", kind, str(port), str(backend), str(seconds)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=CHECKOUT) as process:
        try:
            assert process.stdin is not None and process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise Failed("the MongoDB client and server did not start")
            write, read = process.stdin, process.stdout

            def run() -> int:
                write.write("go\n")
                write.flush()
                return int(read.readline() or 0)

            yield run
        finally:
            process.kill()
