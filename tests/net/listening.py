"""Listeners on loopback, for tests."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from meshd.filter import TerminalFilter
from meshd.interfaces import IListenerFilter, IStreamInfo, SocketAddress
from meshd.net.listener import (
    ConnectionCount,
    FilterChain,
    Listener,
    ListenerSetup,
    ListenerStats,
)
from meshd.net.relay import Relays
from meshd.net.sockets import ListenOptions
from meshd.testing import FakeAccessLogger, FakeRuntime, FakeScope
from tests.net.loop import Loop

LOCAL = ("127.0.0.1", 0)


class Echo(TerminalFilter):
    """Answers with what it gets."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


@implementer(IListenerFilter)
class Line:
    """A listener filter that wants a line."""

    limit = 100

    def inspect(self, data: bytes, info: IStreamInfo) -> int | None:
        """Take the line for the server name."""
        line, end, _ = data.partition(b"\n")
        info.server_name = line.decode() if end else ""
        return len(line) + 1 if end else None


class BadLogger:
    """An access logger that raises."""

    def log(self, info: IStreamInfo) -> None:
        """Raise."""
        raise ValueError("full")


class Failing:
    """A listening socket that fails to accept some times, before it goes on as it should."""

    def __init__(self, sock: socket.socket, *errors: int) -> None:
        self.sock, self.errors = sock, list(errors)

    def _accept(self) -> Any:
        if self.errors:
            number = self.errors.pop(0)
            raise OSError(number, os.strerror(number))
        return self.sock._accept()  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)


class ListenerCase(SynchronousTestCase):
    """A listener on loopback; nobody is accepted until the loop turns."""

    def setUp(self) -> None:
        self.loop = Loop()
        self.stats = FakeScope()
        self.runtime = FakeRuntime()
        self.log = FakeAccessLogger()
        self.count = ConnectionCount()
        self.infos: list[IStreamInfo] = []
        self.chain: FilterChain | None = FilterChain("echo", (Echo,))

    def find(self, info: IStreamInfo) -> FilterChain | None:
        """Choose the chain of the test."""
        self.infos.append(info)
        return self.chain

    def listener(self, *addresses: SocketAddress, **setup: Any) -> Listener:
        """Return a listener that has its sockets, and accepts."""
        listener = self.unopened(*addresses, **setup)
        listener.open()
        self.addCleanup(listener.stop)
        listener.start()
        return listener

    def unopened(self, *addresses: SocketAddress, **setup: Any) -> Listener:
        """Return a listener that has no sockets yet."""
        options = ListenOptions(reuse_port=False)
        fields: dict[str, Any] = {
            "name": "web",
            "addresses": [(each, options) for each in addresses or (LOCAL,)],
            "stats": ListenerStats(self.stats),
            "find_chain": self.find,
            "default_chain": None,
            "inspections": None,
            "access_loggers": [self.log],
            "buffer_limit": 1 << 20,
            "count": self.count,
            "relays": Relays(),
            "runtime": self.runtime,
        }
        return Listener(ListenerSetup(**fields | setup), self.loop.poller, self.loop.timers)

    def client(self, listener: Listener, number: int = 0) -> socket.socket:
        """Return a client that has connected, and ends with the test."""
        address = listener.addresses[number]
        if isinstance(address, str):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(address.encode() if address.startswith("\0") else address)
        else:
            sock = socket.create_connection(address)
        sock.settimeout(10)
        self.addCleanup(sock.close)
        return sock

    def echoed(self, client: socket.socket) -> None:
        """Check that the connection is served."""
        client.sendall(b"hello")
        self.loop.turn()
        self.assertEqual(client.recv(10), b"hello")

    def counted(self, *names: str) -> tuple[int, ...]:
        """Return the values of some numbers."""
        return tuple(self.stats[name] for name in names)

    def path(self) -> str:
        """Return a path for a unix socket."""
        return os.path.join("/tmp", f"meshd-test-{os.getpid()}-{self._testMethodName}")
