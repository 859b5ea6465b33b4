"""What the tests of upstream share: messages, a context to look into, a resolver to direct."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from envoy.config.cluster.v3.cluster_pb2 import Cluster as ClusterMessage
from google.protobuf.json_format import ParseDict
from twisted.internet.testing import MemoryReactorClock

from meshd.observe.stats import Store
from meshd.testing.context import FakeResolver, FakeRuntime, FakeTimers
from meshd.upstream.cluster import Cluster, ClusterContext
from meshd.upstream.clusters import make_cluster
from meshd.upstream.host import Host
from meshd.upstream.policy import Surroundings


class Surrounding:
    """A ClusterContext, and what it is made of; each connection that is wanted is in wanted."""

    def __init__(self, seed: int = 1) -> None:
        self.reactor = MemoryReactorClock()
        self.store = Store()
        self.runtime = FakeRuntime()
        self.resolver = FakeResolver()
        self.wanted: list[tuple[Host, Any, Any]] = []
        self.context = ClusterContext(
            clock=self.reactor,
            reactor=self.reactor,
            timers=FakeTimers(self.reactor),
            stats=self.store,
            runtime=self.runtime,
            connector=self._connect,
            resolver=self.resolver,
            random=Random(seed),
        )

    def _connect(self, cluster: Any, host: Host, upstream: Any, info: Any) -> Any:
        self.wanted.append((host, upstream, info))
        return host

    def cluster(self, start: bool = True, **config: Any) -> Cluster:
        """Make a cluster named c, and start it."""
        made = make_cluster(message(**config), self.context)
        if start:
            made.start()
        return made

    def value(self, name: str) -> int:
        """Return the counter or gauge cluster.c.<name>; KeyError if there is none."""
        full = f"cluster.c.{name}"
        return (self.store.counters if full in self.store.counters else self.store.gauges)[full].value


def message(**config: Any) -> Any:
    """Return a Cluster message named c."""
    return ParseDict({"name": "c", **config}, ClusterMessage())


def endpoint(port: int | str, weight: int = 0, **more: Any) -> dict[str, Any]:
    """Return an LbEndpoint at 127.0.0.1:port, or with a name at port 80."""
    address, number = ("127.0.0.1", port) if isinstance(port, int) else (port, 80)
    hostname = more.pop("hostname", "")
    made: dict[str, Any] = {
        "endpoint": {
            "hostname": hostname,
            "address": {"socket_address": {"address": address, "port_value": number}},
        },
        **more,
    }
    if weight:
        made["load_balancing_weight"] = weight
    return made


def assignment(*levels: Sequence[Any], **policy: Any) -> dict[str, Any]:
    """Return a load_assignment with these endpoints (ports or LbEndpoints) by priority."""
    return {
        "cluster_name": "c",
        "policy": policy,
        "endpoints": [
            {
                "priority": priority,
                "lb_endpoints": [each if isinstance(each, dict) else endpoint(each) for each in level],
            }
            for priority, level in enumerate(levels)
        ],
    }


def hosts(*weights: int) -> list[Host]:
    """Return hosts of these weights at ports 1, 2, ..."""
    return [Host(("127.0.0.1", port), weight=weight) for port, weight in enumerate(weights, start=1)]


def ports(picked: Sequence[Host]) -> str:
    """Return the last digits of the ports of hosts, as one text."""
    return "".join(str(host.address[1])[-1] for host in picked)


def surroundings(seed: int = 1) -> Surroundings:
    """Return what a balancer is given."""
    store = Store()
    return Surroundings(store, store.gauge("active"), Random(seed), FakeRuntime())
