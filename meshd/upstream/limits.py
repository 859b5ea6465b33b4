"""
Circuit breakers: how much a cluster may have open, waiting or in progress.

A Limits is for one routing priority.  Who is refused is counted by whoever
asks (upstream_cx_overflow, upstream_rq_pending_overflow); here are the gauges
that say that a breaker is open, and what remains.
"""

from __future__ import annotations

from typing import Any

from meshd.interfaces import IGauge, IScope
from meshd.plugin import ConfigError
from meshd.upstream.host import Host

#: Where Envoy has no limit: the largest number of 32 bits.
NO_LIMIT = 0xFFFFFFFF

#: The same for connection pools, which Envoy counts with 64 bits.
NO_POOL_LIMIT = 0xFFFFFFFFFFFFFFFF


class Breaker:
    """One limit: how many there may be, and are."""

    __slots__ = ("_open", "_remaining", "count", "limit")

    def __init__(self, limit: int, open_: IGauge, remaining: IGauge | None) -> None:
        self.limit = limit
        self.count = 0
        self._open = open_
        self._remaining = remaining
        if remaining is not None:
            remaining.set(limit)

    @property
    def may_add(self) -> bool:
        """Whether there is room for one more."""
        return self.count < self.limit

    def add(self) -> None:
        """Count one more, limit or not."""
        self.count = count = self.count + 1
        if count >= self.limit:
            self._open.set(1)
        if self._remaining is not None:
            self._remaining.set(max(0, self.limit - count))

    def try_add(self) -> bool:
        """Count one more if there is room; return whether there was."""
        if self.count >= self.limit:
            return False
        self.add()
        return True

    def done(self) -> None:
        """Count one less."""
        self.count = count = self.count - 1
        if count == self.limit - 1:
            self._open.set(0)
        if self._remaining is not None:
            self._remaining.set(max(0, self.limit - count))


class Limits:
    """The breakers of one routing priority of a cluster."""

    def __init__(self, name: str, thresholds: Any, per_host: Any, stats: IScope) -> None:
        """
        Read the messages CircuitBreakers.Thresholds of name ("default" or "high").

        Either may be None; stats is the scope of the cluster.
        """
        self.max_connections = _value(thresholds, "max_connections", 1024)
        self.max_pending_requests = _value(thresholds, "max_pending_requests", 1024)
        self.max_requests = _value(thresholds, "max_requests", 1024)
        self.max_retries = _value(thresholds, "max_retries", 3)
        self.max_connections_per_host = _value(per_host, "max_connections", NO_LIMIT)
        scope = stats.scope(f"circuit_breakers.{name}")
        track = thresholds is not None and thresholds.track_remaining

        def breaker(limit: int, open_: str, remaining: str) -> Breaker:
            left = scope.gauge(f"remaining_{remaining}") if track else None
            return Breaker(limit, scope.gauge(f"{open_}_open"), left)

        self.connections = breaker(self.max_connections, "cx", "cx")
        self.pending = breaker(self.max_pending_requests, "rq_pending", "pending")
        self.requests = breaker(self.max_requests, "rq", "rq")
        self.retries = breaker(self.max_retries, "rq_retry", "retries")
        pools = _value(thresholds, "max_connection_pools", NO_POOL_LIMIT)
        self.pools = breaker(pools, "cx_pool", "cx_pools")

    def try_connection(self, host: Host | None = None) -> bool:
        """Count a connection (to host, if known); return False if there may be no more."""
        if host is not None and host.cx_active >= self.max_connections_per_host:
            return False
        return self.connections.try_add()

    def connection_closed(self) -> None:
        """Count a connection less."""
        self.connections.done()

    def try_pending(self) -> bool:
        """Count a request (or connection of a client) that waits; return False if too many do."""
        return self.pending.try_add()

    def pending_done(self) -> None:
        """Count one less that waits."""
        self.pending.done()


def read_limits(breakers: Any, stats: IScope) -> tuple[Limits, Limits]:
    """
    Return the limits of the priorities DEFAULT and HIGH, from a CircuitBreakers message.

    Raises ConfigError for a limit per host that there cannot be.
    """
    for index, each in enumerate(breakers.per_host_thresholds):
        for field, _ in each.ListFields():
            if field.name not in ("priority", "max_connections"):
                raise ConfigError("Unsupported field in per_host_thresholds", "per_host_thresholds", index)
    return (
        Limits("default", _of(breakers.thresholds, 0), _of(breakers.per_host_thresholds, 0), stats),
        Limits("high", _of(breakers.thresholds, 1), _of(breakers.per_host_thresholds, 1), stats),
    )


def _of(thresholds: Any, priority: int) -> Any:
    """Return the first of that priority, as Envoy does; None if there is none."""
    return next((each for each in thresholds if each.priority == priority), None)


def _value(thresholds: Any, field: str, default: int) -> int:
    if thresholds is None or not thresholds.HasField(field):
        return default
    return int(getattr(thresholds, field).value)
