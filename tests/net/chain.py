"""Connections with links of all kinds, for tests."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Any

from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from meshd.filter import NetworkFilter, TerminalFilter
from meshd.interfaces import IStreamInfo
from meshd.net.connection import Connection, ConnectionsOwner
from meshd.net.relay import Relays
from meshd.observe.info import ConnectionInfo
from meshd.testing import FakeNumber
from tests.net.loop import Loop


class Logger:
    """An access logger that notes that it was asked, and may raise."""

    def __init__(self, order: list[str], name: str, error: Exception | None = None) -> None:
        self.order, self.name, self.error = order, name, error
        self.infos: list[IStreamInfo] = []

    def log(self, info: IStreamInfo) -> None:
        """Note it."""
        self.order.append(self.name)
        self.infos.append(info)
        if self.error is not None:
            raise self.error


class Owner(ConnectionsOwner):
    """What connections share in these tests."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.filter_errors = FakeNumber()
        self.relays = Relays()
        self.access_loggers: Sequence[Any] = []
        self.closed: list[Connection] = []

    def connection_closed(self, connection: Connection) -> None:
        """Note it."""
        self.order.append("forgotten")
        self.closed.append(connection)


class Notes(NetworkFilter):
    """A filter that notes the end."""

    def __init__(self, order: list[str], name: str) -> None:
        self.order, self.name = order, name

    def connectionLost(self, reason: Failure) -> None:
        self.order.append(self.name)
        super().connectionLost(reason)


class Echo(TerminalFilter):
    """Answers with what it gets."""

    made = lost = 0

    def connectionMade(self) -> None:
        self.made += 1

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)

    def connectionLost(self, reason: Failure) -> None:
        self.lost += 1


class Raises(NetworkFilter):
    """Raises in the method of the name given."""

    def __init__(self, where: str) -> None:
        setattr(self, where, self.broken)

    def broken(self, *args: Any) -> None:
        """Raise."""
        raise ValueError("broken")


class ConnectionCase(SynchronousTestCase):
    """Makes connections with links of its own."""

    def setUp(self) -> None:
        self.loop = Loop()
        self.owner = Owner()
        self.events: list[Any] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def connect(self, *links: Any, limit: int = 1 << 20) -> tuple[Connection, socket.socket]:
        """Return a connection with these links, or what these callables make, and its client."""
        stream, client = self.loop.stream(None, limit, tcp=True)
        self.addCleanup(client.close)
        info = ConnectionInfo(stream.remote_address(), stream.local_address())
        connection = stream.protocol = Connection(stream, info, self.owner)

        def made(link: Any) -> Callable[[], Any]:
            return link if callable(link) else lambda: link

        connection.start([made(each) for each in links])
        return connection, client

    def blamed(self) -> list[str]:
        """Return who was named in the log, flushing its errors."""
        self.flushLoggedErrors(ValueError)
        return [event["filter"] for event in self.events if "filter" in event]
