"""Real clusters, connections over loopback and their far ends, for the tests of connect."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from typing import Any

from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from meshd.filter import NetworkFilter
from meshd.interfaces import ConnectError, IUpstream
from meshd.observe.info import ConnectionInfo
from meshd.testing import CLIENT, SERVER
from meshd.upstream.cluster import Cluster
from meshd.upstream.connect import Connecting, Connector
from tests.net.loop import Loop
from tests.upstream.support import Surrounding, assignment


@implementer(IUpstream)
class Caller:
    """Who wants a connection, and notes what becomes of it."""

    transport: Any = None

    def __init__(self) -> None:
        self.events: list[str] = []
        self.data = b""
        self.error: ConnectError | None = None
        self.reason: Failure | None = None

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        self.connectionMade()

    def connectionMade(self) -> None:
        self.events.append("made")

    def connect_failed(self, error: ConnectError) -> None:
        """Note why."""
        self.events.append("failed")
        self.error = error

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def readConnectionLost(self) -> None:
        self.events.append("fin")

    def connectionLost(self, reason: Failure) -> None:
        self.events.append("lost")
        self.reason = reason


class Handshake(NetworkFilter):
    """A transport socket that tells of a connection once the host has said hello."""

    def connectionMade(self) -> None:
        self.transport.write(b"hello?")

    def dataReceived(self, data: bytes) -> None:
        if data == b"hello":
            self.leave()
            self.inner.connectionMade()
        else:
            self.connection.failure_reason = "it said something else"  # type: ignore[attr-defined]
            self.transport.loseConnection()


class Raises(NetworkFilter):
    """A transport socket with a bug."""

    def connectionMade(self) -> None:
        raise ZeroDivisionError("a bug")


class DiallingCase(SynchronousTestCase):
    """A host that listens, a cluster of it, and a count of descriptors."""

    def setUp(self) -> None:
        self.descriptors = set(os.listdir("/proc/self/fd"))
        self.loop = Loop()
        self.around = Surrounding()
        self.connector = self.around.context.connector = Connector(self.loop.poller, self.loop.timers)
        self.sockets: list[socket.socket] = []
        self.listening = self.listen()
        self.caller = Caller()
        self.addCleanup(self.check_nothing_is_left)

    def check_nothing_is_left(self) -> None:
        """Let no descriptor, no timer and no count be left behind."""
        for sock in self.sockets:
            sock.close()
        self.loop.turn()
        left: list[Any] = list(self.loop.clock.getDelayedCalls())
        self.loop.poller._epoll.close()
        self.assertEqual(set(os.listdir("/proc/self/fd")) - self.descriptors, set())
        self.assertEqual([call for call in left if call.func.__name__ != "_fire"], [])
        for name, gauge in self.around.store.gauges.items():
            if name.endswith(("cx_active", "rq_active", "pending_active", "cx_open", "rq_pending_open")):
                self.assertEqual(gauge.value, 0, name)

    def keep(self, sock: socket.socket) -> socket.socket:
        """Close it when the test is over."""
        self.sockets.append(sock)
        sock.settimeout(10)
        return sock

    def listen(self, backlog: int = 10) -> socket.socket:
        """Return a socket that listens on loopback."""
        sock = self.keep(socket.socket())
        sock.bind(("127.0.0.1", 0))
        sock.listen(backlog)
        return sock

    def deaf(self) -> int:
        """Return a port where nothing answers: its queue is full."""
        sock = self.listen(0)
        self.keep(socket.create_connection(sock.getsockname()))
        return int(sock.getsockname()[1])

    def closed(self) -> int:
        """Return a port that refuses."""
        sock = self.keep(socket.socket())
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])

    def cluster(self, port: int | None = None, links: Sequence[Any] = (), **config: Any) -> Cluster:
        """Return a cluster with one host: the one that listens, or that at port."""
        if "load_assignment" not in config:
            config["load_assignment"] = assignment([port or int(self.listening.getsockname()[1])])
        cluster = self.around.cluster(connect_timeout="1s", **config)
        cluster.transport = tuple(links)
        return cluster

    def connect(self, cluster: Cluster, caller: Caller | None = None) -> Connecting:
        """Begin to connect the caller, or another one."""
        connecting = cluster.connect(caller or self.caller, ConnectionInfo(CLIENT, SERVER))
        assert isinstance(connecting, Connecting)
        return connecting

    def stand(self, cluster: Cluster) -> tuple[Connecting, socket.socket]:
        """Connect the caller; return the connection and the host's end of it."""
        connecting = self.connect(cluster)
        host = self.keep(self.listening.accept()[0])
        self.loop.until(lambda: self.caller.events)
        self.assertEqual(self.caller.events, ["made"])
        return connecting, host

    def until(self, *events: str) -> None:
        """Turn until the caller has seen these events; no others."""
        self.loop.until(lambda: len(self.caller.events) >= len(events))
        self.loop.turn()
        self.assertEqual(self.caller.events, list(events))

    def counted(self, *words: str) -> dict[str, int]:
        """Return the counters of the cluster that are not 0, those of upstream_cx_ only, without it."""
        return {
            name.removeprefix("cluster.c.upstream_"): counter.value
            for name, counter in self.around.store.counters.items()
            if counter.value and name.startswith("cluster.c.upstream_") and "bytes" not in name
        }
