"""A worker's parts over a poller that the test turns: what the tests of xds share."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from envoy.config.listener.v3.listener_pb2 import Listener as ListenerMessage
from google.protobuf.json_format import ParseDict
from twisted.trial.unittest import SynchronousTestCase

from meshd.discover import find_plugins
from meshd.net.listener import ConnectionCount, Listener
from meshd.net.relay import Relays
from meshd.observe.access_log import LogFiles
from meshd.observe.stats import Store
from meshd.testing import FakeResolver, FakeRuntime
from meshd.tls.handshakes import Handshakes
from meshd.tls.shared import Shared
from meshd.upstream.cluster import ClusterContext
from meshd.upstream.connect import Connector
from meshd.xds.context import FactoryContext
from meshd.xds.listeners import ListenerReader
from meshd.xds.resources import Resources
from tests.net.loop import Loop

TYPE = "type.googleapis.com/envoy.extensions"


def network(name: str, kind: str, **config: Any) -> dict[str, Any]:
    """Return a network filter: network("echo", "echo.v3.Echo")."""
    typed = {"@type": f"{TYPE}.filters.network.{kind}", **config}
    return {"name": f"envoy.filters.network.{name}", "typed_config": typed}


ECHO = network("echo", "echo.v3.Echo")


def answer(text: str) -> dict[str, Any]:
    """Return a filter that answers each connection with the text."""
    return network("direct_response", "direct_response.v3.Config", response={"inline_string": text})


def proxy(cluster: str = "c", **config: Any) -> dict[str, Any]:
    """Return a tcp_proxy."""
    return network("tcp_proxy", "tcp_proxy.v3.TcpProxy", stat_prefix="t", cluster=cluster, **config)


def chain(*filters: Any, **more: Any) -> dict[str, Any]:
    """Return a filter chain."""
    return {"filters": list(filters), **more}


def address(port: int = 0, ip: str = "127.0.0.1") -> dict[str, Any]:
    """Return an Address."""
    return {"socket_address": {"address": ip, "port_value": port}}


def listener(**config: Any) -> dict[str, Any]:
    """Return a listener at any port of loopback, that echoes unless the config says otherwise."""
    made = {"address": address(), "filter_chains": [chain(ECHO)], **config}
    return {name: value for name, value in made.items() if value is not None}


def file_log(path: Path, line: str, **more: Any) -> dict[str, Any]:
    """Return an access log with lines of one format."""
    typed = {
        "@type": f"{TYPE}.access_loggers.file.v3.FileAccessLog",
        "path": str(path),
        "log_format": {"text_format_source": {"inline_string": line + "\n"}},
    }
    return {"name": "envoy.access_loggers.file", "typed_config": typed, **more}


def static(**config: Any) -> Any:
    """Return a StaticResources message."""
    return ParseDict(config, Bootstrap.StaticResources())


class Worker:
    """The parts that a server has, put together for a test."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.stats = Store()
        self.runtime = FakeRuntime()
        self.resolver = FakeResolver()
        self.clusters: dict[str, Any] = {}
        self.count = ConnectionCount()
        self.log_files = LogFiles(self.stats, self.loop.timers)
        clock: Any = self.loop.clock
        self.context = FactoryContext(
            clock=clock,
            reactor=clock,
            timers=self.loop.timers,
            soon=self.loop.poller.soon,
            stats=self.stats,
            runtime=self.runtime,
            clusters=self.clusters,
            resolver=self.resolver,
            plugins=find_plugins(),
            tls=Shared(Handshakes(clock)),
            log_files=self.log_files,
        )
        cluster_context = ClusterContext(
            clock=clock,
            reactor=clock,
            timers=self.loop.timers,
            stats=self.stats,
            runtime=self.runtime,
            connector=Connector(self.loop.poller, self.loop.timers),
            resolver=self.resolver,
        )
        self.reader = ListenerReader(self.context, self.loop.poller, Relays(), self.count)
        self.resources = Resources(
            self.clusters, cluster_context, self.context, self.loop.poller, self.reader
        )

    def value(self, name: str) -> int:
        """Return a counter or gauge."""
        return (self.stats.counters if name in self.stats.counters else self.stats.gauges)[name].value


class WorkerCase(SynchronousTestCase):
    """A worker, listeners of it that run, and clients of theirs."""

    def setUp(self) -> None:
        self.descriptors = set(os.listdir("/proc/self/fd"))
        self.worker = Worker()
        self.loop = self.worker.loop
        self.running: list[Listener] = []
        self.clients: list[socket.socket] = []
        self.addCleanup(self.check_nothing_is_left)

    def check_nothing_is_left(self) -> None:
        """End everything; let no descriptor be left behind."""
        for client in self.clients:
            client.close()
        for each in (*self.running, *self.worker.resources.listeners.values()):
            each.stop()
            for connection in tuple(each.connections):
                connection.close_now()
        self.loop.turn(8)
        self.worker.log_files.close()
        self.loop.poller._epoll.close()
        self.assertEqual(set(os.listdir("/proc/self/fd")) - self.descriptors, set())

    def read(self, **config: Any) -> Listener:
        """Return the listener that a message becomes; it is not started."""
        return self.worker.reader.read(ParseDict(listener(**config), ListenerMessage()))

    def run_listener(self, **config: Any) -> Listener:
        """Return a listener that accepts connections."""
        made = self.read(**config)
        made.open()
        made.start()
        self.running.append(made)
        return made

    def client(self, to: Listener, which: int = 0, **options: Any) -> socket.socket:
        """Return a client that has connected to an address of the listener."""
        where = to.addresses[which]
        if isinstance(where, str):
            client = socket.socket(socket.AF_UNIX)
            client.connect(where)
        else:
            client = socket.create_connection(where, **options)
        client.settimeout(10)
        self.clients.append(client)
        self.loop.turn()
        return client

    def said(self, to: Listener, which: int = 0, **options: Any) -> bytes:
        """Return what a listener says to a client that half-closes."""
        client = self.client(to, which, **options)
        client.shutdown(socket.SHUT_WR)
        self.loop.turn()
        return client.recv(1000)

    def echoes(self, to: Listener, which: int = 0) -> None:
        """Check that what a client sends comes back."""
        client = self.client(to, which)
        client.sendall(b"hello")
        self.loop.turn()
        self.assertEqual(client.recv(100), b"hello")
