"""Tests for meshd.upstream.limits."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.config.cluster.v3.circuit_breaker_pb2 import CircuitBreakers
from google.protobuf.json_format import ParseDict

from meshd.observe.stats import Store
from meshd.plugin import ConfigError
from meshd.upstream.host import Host
from meshd.upstream.limits import NO_POOL_LIMIT, Limits, read_limits


class TestLimits:
    """The breakers of a cluster."""

    def setup_method(self) -> None:
        """Make a store."""
        self.store = Store()

    def read(self, *thresholds: dict[str, Any], per_host: int = 0) -> Limits:
        """Return the limits of the default priority."""
        config: dict[str, Any] = {"thresholds": list(thresholds)}
        if per_host:
            config["per_host_thresholds"] = [{"max_connections": per_host}]
        return read_limits(ParseDict(config, CircuitBreakers()), self.store.scope("cluster.c"))[0]

    def gauge(self, name: str) -> int:
        """Return a gauge of the default priority."""
        return self.store.gauges[f"cluster.c.circuit_breakers.default.{name}"].value

    def test_defaults(self) -> None:
        """The limits are Envoy's, and nothing is tracked."""
        limits = self.read()
        assert (limits.max_connections, limits.max_pending_requests) == (1024, 1024)
        assert (limits.max_requests, limits.max_retries) == (1024, 3)
        assert not [name for name in self.store.gauges if "remaining" in name]

    def test_connections(self) -> None:
        """The last connection there may be opens the breaker; one less closes it."""
        limits = self.read({"max_connections": 2})
        assert limits.try_connection()
        assert self.gauge("cx_open") == 0
        assert limits.try_connection()
        assert self.gauge("cx_open") == 1
        assert not limits.try_connection()
        limits.connection_closed()
        assert self.gauge("cx_open") == 0
        assert limits.try_connection()

    def test_none(self) -> None:
        """A limit of 0 lets nothing through."""
        limits = self.read({"max_connections": 0, "max_pending_requests": 0})
        assert not limits.try_connection()
        assert not limits.try_pending()

    def test_pending(self) -> None:
        """What waits is limited too."""
        limits = self.read({"max_pending_requests": 1})
        assert limits.try_pending()
        assert not limits.try_pending()
        assert self.gauge("rq_pending_open") == 1
        limits.pending_done()
        assert limits.try_pending()

    def test_per_host(self) -> None:
        """A host may have fewer connections than the cluster."""
        limits = self.read(per_host=1)
        busy, free = Host(("127.0.0.1", 1)), Host(("127.0.0.1", 2))
        busy.cx_active = 1
        assert not limits.try_connection(busy)
        assert limits.try_connection(free)
        assert limits.connections.count == 1

    def test_remaining(self) -> None:
        """What remains is shown, if that is asked for."""
        limits = self.read({"max_connections": 2, "track_remaining": True})
        assert self.gauge("remaining_cx") == 2
        assert self.gauge("remaining_cx_pools") == NO_POOL_LIMIT
        limits.try_connection()
        assert self.gauge("remaining_cx") == 1
        limits.connection_closed()
        assert self.gauge("remaining_cx") == 2

    def test_beyond(self) -> None:
        """Where more than the limit is counted, nothing remains and the breaker stays open."""
        limits = self.read({"max_requests": 1, "track_remaining": True})
        limits.requests.add()
        limits.requests.add()
        assert (self.gauge("remaining_rq"), self.gauge("rq_open")) == (0, 1)
        limits.requests.done()
        assert (self.gauge("remaining_rq"), self.gauge("rq_open")) == (0, 1)
        limits.requests.done()
        assert (self.gauge("remaining_rq"), self.gauge("rq_open")) == (1, 0)

    def test_priorities(self) -> None:
        """Each priority has its own, and the first entry for it counts."""
        config = {
            "thresholds": [
                {"priority": "HIGH", "max_connections": 7},
                {"max_connections": 1},
                {"max_connections": 2},
            ]
        }
        default, high = read_limits(ParseDict(config, CircuitBreakers()), self.store)
        assert (default.max_connections, high.max_connections) == (1, 7)

    def test_per_host_other(self) -> None:
        """Only connections can be limited per host."""
        config = ParseDict({"per_host_thresholds": [{"max_requests": 1}]}, CircuitBreakers())
        with pytest.raises(ConfigError) as caught:
            read_limits(config, self.store)
        assert caught.value.path == ("per_host_thresholds", 0)
