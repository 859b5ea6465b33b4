"""
Limits how many connections a filter chain serves at a time, in each worker.

A connection over the limit is closed, after a delay if there is one: what it
sends meanwhile is dropped.  While runtime_enabled is off, nothing is counted.

Serves envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from envoy.extensions.filters.network.connection_limit.v3.connection_limit_pb2 import (
    ConnectionLimit as Config,
)

from meshd.config.plain import optional_seconds
from meshd.filter import NOTHING, NetworkFilter
from meshd.interfaces import IFactoryContext
from meshd.plugin import NetworkFilterPlugin


class ConnectionLimit:
    """The limit and the count that the connections of one filter chain share."""

    def __init__(self, config: Any, context: IFactoryContext) -> None:
        self.max = config.max_connections.value
        self.delay = optional_seconds(config, "delay", 0)
        self.timers = context.timers
        self.admitted = 0
        self.enabled = (
            partial(context.runtime.enabled, config.runtime_enabled)
            if config.HasField("runtime_enabled")
            else lambda: True
        )
        stats = context.stats.scope(f"connection_limit.{config.stat_prefix}")
        self.limited = stats.counter("limited_connections")
        #: Also those over the limit, until they are closed.
        self.active = stats.gauge("active_connections")

    def __call__(self) -> Gate:
        return Gate(self)

    def closed(self) -> None:
        """Forget a connection that was let through."""
        self.admitted -= 1
        self.active.dec()


class Gate(NetworkFilter):
    """Lets its connection through, and leaves the chain; or closes it."""

    def __init__(self, limit: ConnectionLimit) -> None:
        self.limit = limit

    def connectionMade(self) -> None:
        limit = self.limit
        if limit.enabled():
            limit.active.inc()
            if limit.admitted >= limit.max:
                self._turn_away()
                return
            limit.admitted += 1
            self.connection.on_close(limit.closed)
        self.leave()
        self.inner.connectionMade()

    def readConnectionLost(self) -> None:
        # Only a gate that turns its connection away is still in the chain.
        self.transport.loseConnection()

    def _turn_away(self) -> None:
        self.limit.limited.inc()
        self.connection.on_close(self.limit.active.dec)
        if not self.limit.delay:
            self.refuse("over_connection_limit")
            return
        self.inner = NOTHING
        timer = self.limit.timers.call_later(self.limit.delay, partial(self.refuse, "over_connection_limit"))
        self.connection.on_close(timer.cancel)


connection_limit = NetworkFilterPlugin(
    "envoy.filters.network.connection_limit",
    Config,
    ConnectionLimit,
    serves=("stat_prefix", "max_connections", "delay", "runtime_enabled"),
)
