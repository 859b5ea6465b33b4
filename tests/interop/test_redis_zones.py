"""Reads by availability zone: which node of a shard serves them, through Envoy and through meshd."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_redis import options, redis_filter
from tests.interop.oracle import KINDS, Proxy
from tests.interop.peers import wait_until
from tests.interop.yaml_parts import Part, address, bootstrap, chain, listener
from tests.interop.zoned_redis import ZonedRedis
from tests.redis_servers import Talk

CONFIG = "type.googleapis.com/envoy.extensions.clusters.redis.v3.RedisClusterConfig"

REPLICAS = "LOCAL_ZONE_AFFINITY"
PRIMARY_TOO = "LOCAL_ZONE_AFFINITY_REPLICAS_AND_PRIMARY"


@pytest.fixture(scope="module")
def redis() -> Iterator[ZonedRedis]:
    """A primary in the zone a, and replicas in b and c."""
    made = ZonedRedis("a", "b", "c")
    yield made
    made.stop()


def config(kind: str, policy: str, zone: str, redis: ZonedRedis, localities: tuple[str, ...] = ()) -> Part:
    """A redis_proxy in a zone, in front of the cluster, whose endpoints have localities if they are given."""
    typed = {"@type": CONFIG, "cluster_refresh_rate": "0.5s"}
    envoy = kind == "envoy"
    # What Envoy has fields for that the messages meshd reads do not know is meshd's own option.
    filters = [] if envoy else [options(read_policy=policy)]
    settings = {"read_policy": policy} if envoy else {}
    cluster = {
        "name": "c",
        "lb_policy": "CLUSTER_PROVIDED",
        "connect_timeout": "1s",
        "cluster_type": {
            "name": "envoy.clusters.redis",
            "typed_config": {**typed, "enable_zone_discovery": True} if envoy else typed,
        },
        "load_assignment": {
            "cluster_name": "c",
            "endpoints": [
                {
                    "locality": {"zone": localities[index] if localities else ""},
                    "lb_endpoints": [{"endpoint": {"address": address(front.port)}}],
                }
                for index, front in enumerate(redis.fronts)
            ],
        },
    }
    return bootstrap(
        listener(chain(*filters, redis_filter(settings=settings))),
        clusters=[cluster],
        node={"id": "n", "cluster": "n", "locality": {"zone": zone}},
    )


def read_by(proxy: Proxy, redis: ZonedRedis) -> set[int]:
    """Read 60 keys; return the numbers of the servers that were asked."""
    talk = Talk(int(proxy.address()[1]))
    try:
        redis.reads()
        assert talk.ask_all([("GET", f"k{number}") for number in range(60)]) == [None] * 60
        return {number for number, count in enumerate(redis.reads()) if count}
    finally:
        talk.close()


def settled(proxy: Proxy, redis: ZonedRedis, expected: set[int]) -> None:
    """Wait until reads go where they should: nobody says when zones are known."""
    found: list[Any] = []

    def right() -> bool:
        found.append(read_by(proxy, redis))
        return bool(found[-1] == expected)

    try:
        wait_until(right, f"reads by {expected}")
    except AssertionError:
        raise AssertionError(f"reads went to {found[-1]}, not to {expected}") from None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("policy", "zone", "expected"),
    [
        (REPLICAS, "c", {2}),
        (PRIMARY_TOO, "b", {1}),
        # There is the primary only.
        (REPLICAS, "a", {1, 2}),
        (PRIMARY_TOO, "a", {0}),
        # There is nobody.
        (PRIMARY_TOO, "x", {1, 2}),
        # We do not know where we are.
        (PRIMARY_TOO, "", {1, 2}),
    ],
)
def test_zones(
    redis: ZonedRedis, tmp_path: Path, kind: str, policy: str, zone: str, expected: set[int]
) -> None:
    """Nodes say where they are, and reads go to one that is near, as the policy wants it."""
    proxy = Proxy(kind, config(kind, policy, zone, redis), tmp_path)
    try:
        settled(proxy, redis, expected)
    finally:
        proxy.stop()


@pytest.mark.parametrize("kind", KINDS)
def test_failed(redis: ZonedRedis, tmp_path: Path, kind: str) -> None:
    """When the near one is gone reads go elsewhere, and come back with it."""
    proxy = Proxy(kind, config(kind, REPLICAS, "b", redis), tmp_path)
    try:
        settled(proxy, redis, {1})
        redis.servers[1].kill()
        try:
            proxy.await_stat("cluster.c.membership_total", 2)
            settled(proxy, redis, {2})
        finally:
            redis.servers[1].start()
        proxy.await_stat("cluster.c.membership_total", 3)
        settled(proxy, redis, {1})
    finally:
        proxy.stop()


def test_localities(tmp_path: Path) -> None:
    """Real Redis tells no zone: then the localities of the config hold; --service-zone says where we are."""
    redis = ZonedRedis("", "", "")
    try:
        part = config("meshd", REPLICAS, "x", redis, ("a", "b", "a"))
        proxy = Proxy("meshd", part, tmp_path, options=("--service-zone", "b"))
        try:
            settled(proxy, redis, {1})
        finally:
            proxy.stop()
    finally:
        redis.stop()
