"""
An open-loop client: requests leave when they are due, however slow the answers.

Latency counts from the moment a request was due, so an answer that holds up
others is not hidden (no "coordinated omission").  Arrivals are Poisson with a
fixed seed: each candidate sees the same ones.  Run as
``python -m tests.bench.openloop PORT BACKEND RATE SECONDS``; prints one JSON object,
times in microseconds.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench.measure import percentile

REQUEST = b"x" * 40
ANSWER = b"y" * 160


@dataclass
class Latency:
    """What came of a run; times in microseconds, rate in answers per second."""

    count: int
    rate: float
    p50: float
    p99: float
    p999: float
    most: float
    #: How late this client itself sent, at the 99.9th percentile of requests that found a connection free.
    late: float
    #: CPU time that this client took for each request.
    cost: float


def summary(latencies: list[float], delays: list[float], seconds: float, cost: float) -> Latency:
    """Sum up latencies and the client's own delays, both in seconds; cost is in microseconds."""
    latencies.sort()
    delays.sort()
    p50, p99, p999, most = (1e6 * percentile(latencies, fraction) for fraction in (0.5, 0.99, 0.999, 1.0))
    late = 1e6 * percentile(delays, 0.999) if delays else 0.0
    return Latency(len(latencies), len(latencies) / seconds, p50, p99, p999, most, late, cost)


def arrivals(rate: float, seed: int = 1) -> Iterator[float]:
    """Yield the seconds from the start at which requests are due, without end."""
    gap = random.Random(seed).expovariate
    due = 0.0
    while True:
        due += gap(rate)
        yield due


class OpenLoop:
    """
    Kept connections to a proxy, their other ends behind it, and the requests that are under way.

    It is its own backend, in the same loop: two processes on one core would
    wait for each other, for milliseconds, and that would count as latency.
    """

    def __init__(self, port: int, backend: int, connections: int) -> None:
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        #: How many bytes make a whole message, by the descriptor that reads it, and how many are missing.
        self._sizes: dict[int, int] = {}
        self._free = deque[int]()
        self._waiting = deque[float]()
        self._under_way: dict[int, float] = {}
        self._latencies: list[float] = []
        self._delays: list[float] = []
        with socket.create_server(("127.0.0.1", backend), backlog=connections) as listening:
            listening.settimeout(5.0)
            for _ in range(connections):
                client = socket.create_connection(("127.0.0.1", port), 5.0)
                server, _address = listening.accept()
                self._free.append(self._add(client, len(ANSWER)))
                self._add(server, len(REQUEST))
                client.sendall(REQUEST)
                server.sendall(server.recv(len(REQUEST), socket.MSG_WAITALL) and ANSWER)
                client.recv(len(ANSWER), socket.MSG_WAITALL)
        for sock in self._sockets.values():
            sock.setblocking(False)
        self._missing = self._sizes.copy()
        self._send = {number: sock.send for number, sock in self._sockets.items()}
        self._receive = {number: sock.recv_into for number, sock in self._sockets.items()}
        self._buffer = bytearray(4096)

    def _add(self, sock: socket.socket, size: int) -> int:
        sock.settimeout(5.0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        number = sock.fileno()
        self._sockets[number], self._sizes[number] = sock, size
        self._epoll.register(number, select.EPOLLIN)
        return number

    def run(self, rate: float, warm: float, seconds: float) -> Latency:
        """Send at this rate; what was due in the first warm seconds does not count."""
        clock = time.perf_counter
        schedule, epoll = arrivals(rate), (self._epoll,)
        used, start = time.process_time(), clock()
        end = start + warm + seconds
        due = start + next(schedule)
        while due < end or self._under_way or self._waiting:
            while due <= (now := clock()) and due < end:
                self._request(due, now)
                due = start + next(schedule)
            if now > end + 5.0:
                raise TimeoutError(f"{len(self._under_way) + len(self._waiting)} answers are still missing")
            # select() for its microseconds: epoll's own time-out is in milliseconds.
            select.select(epoll, (), (), max(0.0, min(due, end + 6.0) - now))
            self._read(start + warm)
        cost = 1e6 * (time.process_time() - used) / len(self._delays)
        return summary(self._latencies, self._delays, seconds, cost)

    def _request(self, due: float, now: float) -> None:
        if self._free:
            number = self._free.popleft()
            self._send[number](REQUEST)
            self._under_way[number] = due
            self._delays.append(now - due)
        else:
            self._waiting.append(due)

    def _read(self, counts: float) -> None:
        """Take what has arrived at either end; what was due before counts is not recorded."""
        clock, receive, missing, under_way = time.perf_counter, self._receive, self._missing, self._under_way
        for number, _ in self._epoll.poll(0, 256):
            if not (size := receive[number](self._buffer)):
                raise ConnectionError("closed before an answer")
            if size < missing[number]:
                missing[number] -= size
                continue
            missing[number] = self._sizes[number]
            if number not in under_way:
                self._send[number](ANSWER)
                continue
            if (due := under_way.pop(number)) >= counts:
                self._latencies.append(clock() - due)
            if self._waiting:
                under_way[number] = self._waiting.popleft()
                self._send[number](REQUEST)
            else:
                self._free.append(number)


def main(arguments: list[str]) -> None:
    """Run it by the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.openloop", description=__doc__)
    parser.add_argument("port", type=int, help="of the proxy; that of the backend, for no proxy")
    parser.add_argument("backend", type=int, help="port to listen on for what the proxy relays")
    parser.add_argument("rate", type=float, help="requests per second")
    parser.add_argument("seconds", type=float)
    parser.add_argument("--warm", type=float, default=1.0, help="seconds before those that count")
    parser.add_argument("--connections", type=int, default=64)
    options = parser.parse_args(arguments)
    try:
        Path("/proc/self/timerslack_ns").write_text("1")
    except OSError:  # then timers are up to 50 us late
        pass
    loop = OpenLoop(options.port, options.backend, options.connections)
    gc.freeze()
    gc.disable()
    print(json.dumps(asdict(loop.run(options.rate, options.warm, options.seconds))))


if __name__ == "__main__":
    main(sys.argv[1:])
