"""Clusters of type envoy.clusters.redis against Envoy: the hosts that are found, and what is counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.interop.oracle import KINDS, Proxy
from tests.interop.peers import wait_until
from tests.interop.yaml_parts import Part, address, bootstrap, listener, tcp_proxy
from tests.redis_servers import RedisCluster

CONFIG = "type.googleapis.com/envoy.extensions.clusters.redis.v3.RedisClusterConfig"
OPTIONS = "type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProtocolOptions"

# Envoy counts AUTH as a request, and the hosts that it finds at each change.
COMPARED = ("membership_total", "membership_healthy", "membership_change", "update_attempt", "update_success",
            "update_failure", "update_empty", "update_no_rebuild", "max_host_weight", "upstream_cx_total",
         "upstream_cx_connect_fail",)  # fmt: skip


class Play(Protocol):
    """Plays a scenario on both proxies; returns what it told of each, Envoy first."""

    def __call__(
        self, part: Part, scenario: Callable[[Proxy], Any], kinds: Sequence[str] = KINDS
    ) -> list[Any]: ...


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisCluster]:
    """Three primaries and three replicas, with a password."""
    servers = RedisCluster(password="secret")
    yield servers
    servers.stop()


def config(*ports: int, password: str = "secret", host: str = "127.0.0.1", **fields: Any) -> Part:
    """A bootstrap with a Redis cluster that is known by those ports."""
    redis = {"cluster_refresh_rate": "3600s", **fields}
    options = {"@type": OPTIONS, "auth_password": {"inline_string": password}}
    endpoints = [{"endpoint": {"address": address(port, host)}} for port in ports]
    made = {
        "name": "c",
        "lb_policy": "CLUSTER_PROVIDED",
        "connect_timeout": "1s",
        "dns_lookup_family": "V4_ONLY",
        "cluster_type": {"name": "envoy.clusters.redis", "typed_config": {"@type": CONFIG, **redis}},
        "load_assignment": {"cluster_name": "c", "endpoints": [{"lb_endpoints": endpoints}]},
        "typed_extension_protocol_options": {"envoy.filters.network.redis_proxy": options},
    }
    return bootstrap(listener(tcp_proxy()), clusters=[made])


def counts(proxy: Proxy) -> dict[str, int]:
    """Return the numbers of the cluster that must agree."""
    return {name: proxy.stat(f"cluster.c.{name}") for name in COMPARED}


def hosts(proxy: Proxy) -> list[str]:
    """Return the addresses of the hosts on the admin page, with their health and weight."""
    [found] = proxy.get("/clusters?format=json").json["cluster_statuses"]
    return sorted(
        f"{where['address']['socket_address']} {where['health_status']} {where.get('weight')}"
        for where in found.get("host_statuses", [])
    )


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Play]:
    """What plays a scenario on Envoy and on meshd, and returns what both tell."""
    # Not a Case: Envoy keeps the connections that it asks through for ever, and is never idle.
    proxies: list[Proxy] = []

    def play(part: Part, scenario: Callable[[Proxy], Any], kinds: Sequence[str] = KINDS) -> list[Any]:
        told = []
        for kind in kinds:
            directory = tmp_path / kind
            directory.mkdir(exist_ok=True)
            proxies.append(Proxy(kind, part, directory))
            told.append(scenario(proxies[-1]))
        return told

    yield play
    for proxy in proxies:
        proxy.stop()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_hosts(play: Play, redis: RedisCluster, host: str) -> None:
    """Told of one node, by address or name, with the password, all six are found and counted."""

    def scenario(proxy: Proxy) -> Any:
        proxy.await_stat("cluster.c.membership_total", 6)
        return hosts(proxy), counts(proxy)

    envoy, meshd = play(config(redis.servers[4].port, host=host), scenario)
    assert len(meshd[0]) == 6
    assert meshd == envoy


def test_wrong_password(play: Play, redis: RedisCluster) -> None:
    """With a wrong password no host is found; Envoy is then never ready, meshd is."""
    part = config(redis.servers[0].port, password="wrong")
    with pytest.raises(AssertionError, match="the proxy to be ready"):
        play(part, hosts, kinds=("envoy",))

    def scenario(proxy: Proxy) -> Any:
        wait_until(lambda: proxy.stat("cluster.c.update_failure"), "the failure")
        return hosts(proxy)

    assert play(part, scenario, kinds=("meshd",)) == [[]]


def test_refresh(play: Play, redis: RedisCluster) -> None:
    """Asking again and again changes nothing, and is counted so."""

    def scenario(proxy: Proxy) -> Any:
        wait_until(lambda: proxy.stat("cluster.c.update_no_rebuild") >= 3, "three refreshes")
        found = counts(proxy)
        return hosts(proxy), [
            found[name] for name in ("update_failure", "membership_total", "membership_change")
        ]

    envoy, meshd = play(config(redis.servers[0].port, cluster_refresh_rate="0.1s"), scenario)
    assert meshd == envoy


def test_failover(play: Play, redis: RedisCluster) -> None:
    """A primary that dies is no host any more, and is one when it is back."""
    victim = redis.slots()[0][2][0]

    def scenario(proxy: Proxy) -> Any:
        proxy.await_stat("cluster.c.membership_total", 6)
        server = redis.server_at(victim)
        server.kill()
        try:
            proxy.await_stat("cluster.c.membership_total", 5)
            without = hosts(proxy)
        finally:
            server.start()
        redis.await_ok(6)
        proxy.await_stat("cluster.c.membership_total", 6)
        return without, hosts(proxy), proxy.stat("cluster.c.membership_change")

    envoy, meshd = play(
        config(redis.servers[1].port, redis.servers[2].port, cluster_refresh_rate="0.2s"), scenario
    )
    assert meshd == envoy
