"""
The subscribers of one Redis channel, and who publishes: all in this process.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from tests.bench.load import dial
from tests.bench.programs import Failed

CHANNEL = b"news"
TEXT = b"x" * 100


def words(*what: bytes) -> bytes:
    """Write an array of bulk strings."""
    return b"*%d\r\n" % len(what) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in what)


SUBSCRIBE = words(b"SUBSCRIBE", CHANNEL)
SUBSCRIBED = words(b"subscribe", CHANNEL).replace(b"*2", b"*3", 1) + b":1\r\n"
PUBLISH = words(b"PUBLISH", CHANNEL, TEXT)
MESSAGE = words(b"message", CHANNEL, TEXT)

#: Publishes so many messages at once, over and over for some seconds; returns the deliveries.
Run = Callable[[int, float], int]


def receive(sock: socket.socket, size: int) -> bytes:
    """Return so many bytes. Raises Failed if the connection ends."""
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            raise Failed(f"the connection ended after {data!r}")
        data += more
    return data


class Audience:
    """Those who have subscribed, and one who publishes."""

    def __init__(self, publisher: socket.socket, subscribers: Sequence[socket.socket]) -> None:
        self._publisher = publisher
        self._count = len(subscribers)
        self._epoll = select.epoll()
        for sock in subscribers:
            self._epoll.register(sock.fileno(), select.EPOLLIN)

    def close(self) -> None:
        """Listen no more."""
        self._epoll.close()

    def run(self, burst: int, seconds: float) -> int:
        """Publish so many messages at once, at least once; return the deliveries. Raises Failed."""
        end = time.monotonic() + seconds
        deliveries = 0
        while not deliveries or time.monotonic() < end:
            self._publisher.sendall(PUBLISH * burst)
            self._hear(burst)
            deliveries += burst * self._count
        return deliveries

    def _hear(self, burst: int) -> None:
        """Wait until all have got all."""
        left = len(MESSAGE) * burst * self._count
        while left > 0:
            ready = self._epoll.poll(20.0, self._count)
            if not ready:
                raise Failed(f"{left} bytes of messages did not come")
            for fd, _ in ready:
                got = len(os.read(fd, 65536))
                if not got:
                    raise Failed("a subscriber was cut off")
                left -= got
        if left:
            raise Failed(f"{-left} bytes came that are no messages")
        answers = 0
        while answers < burst:
            answers += self._publisher.recv(65536).count(b"\n")


@contextmanager
def audience(port: int, count: int) -> Iterator[Run]:
    """Have so many subscribers; yield what publishes to them. Raises Failed."""
    with ExitStack() as stack:
        subscribers = [stack.enter_context(dial(port, number)) for number in range(count)]
        for sock in subscribers:
            sock.sendall(SUBSCRIBE)
        for sock in subscribers:
            said = receive(sock, len(SUBSCRIBED))
            if said != SUBSCRIBED:
                raise Failed(f"SUBSCRIBE was answered {said!r}")
        publisher = stack.enter_context(dial(port, count))
        made = Audience(publisher, subscribers)
        stack.callback(made.close)
        yield made.run
