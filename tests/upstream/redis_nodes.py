"""A Redis Cluster for tests: nodes that the test lets answer, each question a connection of its own."""

from __future__ import annotations

from typing import Any

from meshd.codec.resp_reply import encode
from meshd.testing import FakeHost
from meshd.testing.cluster import FakeConnecting
from meshd.upstream.host import Host
from meshd.upstream.redis_cluster import RedisCluster
from tests.upstream.support import Surrounding, assignment, endpoint

TYPE = "type.googleapis.com/envoy.extensions.clusters.redis.v3.RedisClusterConfig"


class Nodes(Surrounding):
    """The surroundings of a cluster; asked has each question: the host and the connection to it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[Host, FakeConnecting]] = []
        self.told: list[list[int]] = []
        self.context.connector = self._asked

    def _asked(self, cluster: Any, host: Host, upstream: Any, info: Any) -> Any:
        connecting = FakeConnecting(FakeHost(host.address), upstream)
        self.asked.append((host, connecting))
        return connecting

    def redis(
        self, *seeds: Any, start: bool = True, redis: dict[str, Any] | None = None, **config: Any
    ) -> RedisCluster:
        """Make a cluster of these endpoints, with these fields of RedisClusterConfig and of Cluster."""
        config.setdefault("load_assignment", assignment([endpoint(seed) for seed in seeds or (1,)]))
        made = self.cluster(
            start=False,
            lb_policy="CLUSTER_PROVIDED",
            cluster_type={"name": "envoy.clusters.redis", "typed_config": {"@type": TYPE, **(redis or {})}},
            **config,
        )
        assert isinstance(made, RedisCluster)
        made.on_removed(lambda hosts: self.told.append(sorted(ports_of(hosts))))
        if start:
            made.start()
            self.look_up(len(seeds or (1,)))
        return made

    def look_up(self, count: int = 1) -> None:
        """Answer lookups: addresses are what they are."""
        for _ in range(count):
            name = self.resolver.lookups[0][0]
            self.resolver.answer(name if name[0].isdigit() else "10.0.0.9")

    def tell(self, *entries: list[Any]) -> int:
        """Let the node that was asked last tell this; return its port."""
        host, connecting = self.asked[-1]
        connecting.accept().send(encode(list(entries)))
        assert isinstance(host.address, tuple)
        return host.address[1]

    def fail(self) -> int:
        """Let the node that was asked last refuse; return its port."""
        host, connecting = self.asked[-1]
        connecting.refuse()
        assert isinstance(host.address, tuple)
        return host.address[1]

    def pass_time(self, seconds: float) -> None:
        """Let time go by."""
        self.reactor.advance(seconds)


def entry(first: int, last: int, *ports: int | str) -> list[Any]:
    """Return slots as CLUSTER SLOTS tells them, with the nodes at these ports (or names, at port 7)."""
    nodes = [[b"127.0.0.1", port] if isinstance(port, int) else [port.encode(), 7] for port in ports]
    return [first, last, *nodes]


def ports_of(hosts: Any) -> list[int]:
    """Return the ports of hosts, in order."""
    return [int(host.address[1]) for host in hosts]
