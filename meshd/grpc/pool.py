"""The connections to the hosts of one cluster, one to each, shared by all who make calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from meshd.codec.grpc import Status
from meshd.grpc.call import Call
from meshd.grpc.connection import Connection
from meshd.interfaces import ICluster, IFactoryContext, IHost, UpstreamError
from meshd.observe.info import ConnectionInfo


class Pool:
    """The connections to the cluster of a name, whichever that is at the time."""

    def __init__(self, context: IFactoryContext, name: str) -> None:
        self.name = name
        self.timers = context.timers
        self.soon: Callable[[Callable[[], object]], object] = context.soon
        self._clusters = context.clusters
        self._stats = context.stats
        self._cluster: ICluster | None = None
        self._connections: dict[IHost, Connection] = {}
        self._leaving = False
        self._info = ConnectionInfo("", "")
        self._counters: dict[str, Any] = {}

    # Starter: what calls want.

    def place(self, call: Call) -> None:
        """Give the call to a connection, or let it fail later."""
        cluster = self._current()
        if cluster is None:
            self._refuse(call, f"there is no cluster {self.name}")
        elif not cluster.limits.requests.may_add:
            cluster.stats.upstream_rq_pending_overflow.inc()
            self._refuse(call, "too many requests")
        else:
            try:
                self._place(call, cluster)
            except UpstreamError as error:
                self._refuse(call, f"{type(error).__name__}: {error}")

    def _place(self, call: Call, cluster: ICluster) -> None:
        host = cluster.pick(None)
        connection = self._connections.get(host)
        if connection is not None:
            connection.start(call)
            return
        connection = Connection(self, cluster, host)
        connection.connecting = cluster.connect_to(host, connection, self._info)
        self.add("upstream_cx_http2_total")
        self._connections[host] = connection
        connection.start(call)
        if self._leaving:
            connection.leave()

    def _refuse(self, call: Call, why: str) -> None:
        # Later: nobody is told that a call is over before it is theirs.
        self.soon(lambda: call.fail(Status.UNAVAILABLE, why, None))

    def count(self, status: int) -> None:
        """Count an answer of that HTTP status, as Envoy does for requests of its own."""
        if self._cluster is not None:
            for prefix in ("upstream_rq", "internal.upstream_rq"):
                for what in ("completed", f"{status // 100}xx", str(status)):
                    self.add(f"{prefix}_{what}")

    # The connections.

    def add(self, name: str) -> None:
        """Count one in a statistic of the cluster's."""
        counter = self._counters.get(name)
        if counter is None and self._cluster is not None:
            counter = self._stats.counter(f"cluster.{self._cluster.stat_name}.{name}")
            self._counters[name] = counter
        if counter is not None:
            counter.value += 1

    def _current(self) -> ICluster | None:
        """Return the cluster of our name, be it another than before."""
        cluster = self._clusters.get(self.name)
        if cluster is not self._cluster and cluster is not None:
            self._leave_all()
            self._cluster = cluster
            self._counters.clear()
            cluster.on_removed(partial(self._removed, cluster))
        return cluster

    def _removed(self, cluster: ICluster, hosts: Sequence[IHost]) -> None:
        for host in hosts:
            connection = self._connections.get(host)
            if connection is not None and connection.cluster is cluster:
                connection.leave()

    def forget(self, connection: Connection) -> None:
        """Give no more calls to a connection."""
        if self._connections.get(connection.host) is connection:
            del self._connections[connection.host]

    def _leave_all(self) -> None:
        for connection in list(self._connections.values()):
            connection.leave()

    def leave(self) -> None:
        """Keep no connection that has no calls, from now on: the configuration has been replaced."""
        self._leaving = True
        self._leave_all()
