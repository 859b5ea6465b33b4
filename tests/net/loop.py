"""A poller without a reactor: real sockets, and time that the test moves."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.task import Clock
from twisted.python.failure import Failure

from meshd.net.poller import Poller
from meshd.net.stream import Stream
from meshd.net.timers import Timers


class Loop:
    """Turns the poller when told to."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.poller = Poller(self.clock)
        self.timers = Timers(self.clock)

    def turn(self, times: int = 5) -> None:
        """Handle all that has happened."""
        for _ in range(times):
            self.poller.doRead()
            self.clock.advance(0)

    def until(self, condition: Callable[[], object]) -> None:
        """Turn until the condition holds; fail if it does not within seconds."""
        deadline = time.monotonic() + 10
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError("it never happened")
            self.turn(1)
            time.sleep(0.0005)

    def stream(self, protocol: Any, limit: int = 1 << 20, tcp: bool = False) -> tuple[Stream, socket.socket]:
        """Return a stream for protocol, and the socket at its other end."""
        ours, theirs = tcp_pair() if tcp else socket.socketpair()
        ours.setblocking(False)
        theirs.settimeout(10)
        stream = Stream(ours, self.poller, protocol, limit)
        if isinstance(protocol, Recorder):
            protocol.transport = stream
        stream.watch()
        return stream, theirs


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a TCP connection over loopback."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(1)
        client = socket.create_connection(listening.getsockname())
        server, _ = listening.accept()
    return server, client


class Recorder:
    """A protocol that notes what happens to it."""

    transport: Any = None

    def __init__(self) -> None:
        self.data = b""
        self.events: list[str] = []
        self.reason: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def readConnectionLost(self) -> None:
        self.events.append("fin")

    def connectionLost(self, reason: Failure) -> None:
        self.events.append("lost")
        self.reason = reason


def reset(sock: socket.socket) -> None:
    """Close the socket with a RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    sock.close()


def ending(sock: socket.socket) -> tuple[bytes, str]:
    """Read to the end; return what came, and FIN or RST."""
    data = b""
    while True:
        try:
            piece = sock.recv(65536)
        except ConnectionResetError:
            return data, "RST"
        if not piece:
            return data, "FIN"
        data += piece


def open_files() -> int:
    """Return how many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))


def some_bytes(size: int, seed: int = 0) -> bytes:
    """Return bytes in which each place differs from any other."""
    return Random(seed).randbytes(size)


def fill(sock: socket.SocketType, data: bytes, at_most: int = 1 << 40) -> int:
    """Send of data what the kernel takes at once; return how much that was."""
    sock.setblocking(False)
    sent = 0
    try:
        while sent < min(len(data), at_most):
            sent += sock.send(data[sent : sent + 65536])
    except BlockingIOError:
        pass
    finally:
        sock.settimeout(10)
    return sent
