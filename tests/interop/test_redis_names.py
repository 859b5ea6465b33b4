"""Redirections that name a host by its name: real nodes, Envoy and meshd, and a name server."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from meshd.codec.redis_slot import slot
from tests.integration.test_redis import redis_filter
from tests.interop.oracle import KINDS, Proxy
from tests.interop.peers import wait_until
from tests.interop.test_balancing import Names
from tests.interop.yaml_parts import Part, address, bootstrap, cluster, listener
from tests.ports import free_port
from tests.redis_servers import ErrorReply, RedisCluster, RedisServer, Talk

CONFIG = "type.googleapis.com/envoy.extensions.clusters.redis.v3.RedisClusterConfig"
CARES = "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"

#: A key of the other half of the slots.
THERE = next(f"k{number}" for number in range(100) if slot(f"k{number}".encode()) > 8191)
HERE = next(f"k{number}" for number in range(100) if slot(f"k{number}".encode()) < 8192)


class NamedRedis:
    """Two nodes with half of the slots each, which call the second one by its name."""

    def __init__(self) -> None:
        self.servers: list[RedisServer] = []
        for name in ("a.test", "b.test"):
            self.servers.append(
                RedisServer(
                    *("--cluster-enabled", "yes", "--cluster-announce-hostname", name),
                    *("--cluster-preferred-endpoint-type", "hostname"),
                    port=free_port(),
                )
            )
        here, there = self.servers
        self.ask(here, "CLUSTER", "ADDSLOTSRANGE", "0", "8191")
        self.ask(there, "CLUSTER", "ADDSLOTSRANGE", "8192", "16383")
        self.ask(there, "CLUSTER", "SET-CONFIG-EPOCH", "2")
        self.ask(there, "CLUSTER", "MEET", "127.0.0.1", str(here.port), str(here.port + 10000))
        self.is_called("b.test")

    def ask(self, server: RedisServer, *args: str) -> Any:
        """Ask a node itself."""
        talk = Talk(server.port)
        try:
            return talk.ask(*args)
        finally:
            talk.close()

    def call(self, name: str) -> None:
        """Give the second node another name."""
        self.ask(self.servers[1], "CONFIG", "SET", "cluster-announce-hostname", name)
        self.is_called(name)

    def is_called(self, name: str) -> None:
        """Wait until the first node names the second one so."""
        moved = ErrorReply(f"MOVED {slot(THERE.encode())} {name}:{self.servers[1].port}")
        RedisCluster.wait(lambda: self.ask(self.servers[0], "GET", THERE) == moved, f"{name} to be known")

    def stop(self) -> None:
        """End both."""
        for server in self.servers:
            server.stop()


@pytest.fixture(scope="module")
def redis() -> Iterator[NamedRedis]:
    """The nodes."""
    made = NamedRedis()
    yield made
    made.stop()


@pytest.fixture
def names() -> Iterator[Names]:
    """A name server."""
    made = Names()
    yield made
    made.close()


def config(redis: NamedRedis, names: Names, **cache: Any) -> Part:
    """A redis_proxy that knows the first node only, and has a DNS cache."""
    options = {"no_default_search_domain": True}
    typed = {"@type": CARES, "resolvers": [address(names.port)], "dns_resolver_options": options}
    dns = {
        "name": "names",
        "dns_lookup_family": "V4_ONLY",
        "typed_dns_resolver_config": {"name": "envoy.network.dns_resolver.cares", "typed_config": typed},
        **cache,
    }
    settings = {"enable_redirection": True, "dns_cache_config": dns}
    return bootstrap(
        listener(redis_filter(settings=settings)),
        clusters=[cluster(redis.servers[0], lb_policy="MAGLEV", connect_timeout="1s")],
    )


class Both:
    """Envoy and meshd with one config."""

    def __init__(self, directory: Path, part: Part) -> None:
        self.proxies = []
        for kind in KINDS:
            (directory / kind).mkdir()
            self.proxies.append(Proxy(kind, part, directory / kind))

    def say(self, *commands: tuple[str, ...]) -> list[Any]:
        """Return what both answer, Envoy first."""
        told = []
        for proxy in self.proxies:
            talk = Talk(int(proxy.address()[1]))
            told.append(talk.ask_all(commands))
            talk.close()
        return told

    def counts(self) -> list[dict[str, int]]:
        """Return the statistics of both."""
        return [proxy.stats(r"^dns_cache[.]|^cluster.*internal_redirect") for proxy in self.proxies]

    def stop(self) -> None:
        """End both."""
        for proxy in self.proxies:
            proxy.stop()


@pytest.fixture
def both(redis: NamedRedis, names: Names, tmp_path: Path) -> Iterator[Both]:
    """Both proxies, with a DNS cache that fails fast, and knows b.test."""
    redis.call("b.test")
    names.names["b.test"] = ["127.0.0.1"]
    fast = {"base_interval": "0.1s", "max_interval": "0.1s"}
    preresolved = [{"address": "first.test", "port_value": 80}]
    cache = {"dns_failure_refresh_rate": fast, "max_hosts": 4, "preresolve_hostnames": preresolved}
    made = Both(tmp_path, config(redis, names, **cache))
    yield made
    made.stop()


def same(told: list[Any]) -> Any:
    """Hold that both told the same; return it."""
    envoy, meshd = told
    assert meshd == envoy
    return meshd


def moved(redis: NamedRedis, name: str, kind: str = "MOVED") -> ErrorReply:
    """Return the redirection to the second node under a name."""
    return ErrorReply(f"{kind} {slot(THERE.encode())} {name}:{redis.servers[1].port}")


def test_moved(both: Both) -> None:
    """A name is looked up once, and followed; names of the config are looked up at the start."""
    assert same(both.say(("SET", THERE, "v"))) == [b"OK"]
    assert same(both.say(("GET", THERE), ("GET", HERE))) == [b"v", None]
    counted = same(both.counts())
    assert counted["dns_cache.names.dns_query_attempt"] == 2
    assert counted["cluster.c.upstream_internal_redirect_succeeded_total"] == 2


def test_ask(both: Both, redis: NamedRedis) -> None:
    """ASK is followed so as well."""
    here, there = redis.servers
    ids = [redis.ask(server, "CLUSTER", "MYID").decode() for server in redis.servers]
    number = str(slot(HERE.encode()))
    redis.ask(there, "CLUSTER", "SETSLOT", number, "IMPORTING", ids[0])
    redis.ask(here, "CLUSTER", "SETSLOT", number, "MIGRATING", ids[1])
    try:
        assert same(both.say(("SET", HERE, "v"), ("SET", HERE, "v"))) == [b"OK", b"OK"]
        same(both.counts())
    finally:
        for server in redis.servers:
            redis.ask(server, "CLUSTER", "SETSLOT", number, "STABLE")


@pytest.mark.parametrize("known", [[], None])
def test_not_found(both: Both, redis: NamedRedis, names: Names, known: list[str] | None) -> None:
    """If there is no address, or nobody can say, the client gets the redirection; later it is followed."""
    names.names["c.test"] = known
    redis.call("c.test")
    for _ in range(2):
        assert same(both.say(("GET", THERE))) == [moved(redis, "c.test")]
    for proxy in both.proxies:
        assert proxy.stat("cluster.c.upstream_internal_redirect_failed_total") == 2
    if known is None:
        names.names["c.test"] = ["127.0.0.1"]
        for proxy in both.proxies:
            wait_until(partial(takes, proxy), "the name to be found")


def takes(proxy: Proxy) -> bool:
    """Whether a write of the second node's key is followed."""
    return bool(ask(proxy, "SET", THERE, "v") == b"OK")


def test_overflow(both: Both, redis: NamedRedis, names: Names) -> None:
    """A name too many is not looked up."""
    for number in range(4):
        names.names[f"n{number}.test"] = ["127.0.0.1"]
        redis.call(f"n{number}.test")
        found = same(both.say(("SET", THERE, "v")))
        assert found == [b"OK" if number < 3 else moved(redis, "n3.test")]
    counted = same(both.counts())
    assert counted["dns_cache.names.host_overflow"] == 1
    assert counted["dns_cache.names.num_hosts"] == 4


def test_order(both: Both) -> None:
    """What waits for one lookup is done in the order in which it came; Envoy turns it round."""
    commands = [("SET", THERE, "v"), ("GET", THERE), ("DEL", THERE)]
    answers = both.say(*commands)
    assert answers[1] == [b"OK", b"v", 1]
    assert answers[0] != answers[1]


def ask(proxy: Proxy, *command: str) -> Any:
    """Return what a proxy answers."""
    talk = Talk(int(proxy.address()[1]))
    try:
        return talk.ask(*command)
    finally:
        talk.close()


def test_nodes(redis: NamedRedis, names: Names, tmp_path: Path) -> None:
    """In front of a Redis Cluster meshd knows the names of its nodes, and needs no cache to follow them."""
    names.names |= {"a.test": ["127.0.0.1"], "b.test": ["127.0.0.1"]}
    redis.call("b.test")
    part = config(redis, names)
    listening, made = part["static_resources"]["listeners"][0], part["static_resources"]["clusters"][0]
    settings = listening["filter_chains"][0]["filters"][0]["typed_config"]["settings"]
    dns = settings.pop("dns_cache_config")
    typed = {"@type": CONFIG, "cluster_refresh_rate": "3600s", "redirect_refresh_threshold": 0}
    del made["type"]
    made |= {
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": {"name": "envoy.clusters.redis", "typed_config": typed},
        "dns_lookup_family": "V4_ONLY",
        "typed_dns_resolver_config": dns["typed_dns_resolver_config"],
    }
    here, there = redis.servers
    ids = [redis.ask(server, "CLUSTER", "MYID").decode() for server in redis.servers]
    number = str(slot(HERE.encode()))
    proxy = Proxy("meshd", part, tmp_path)
    try:
        redis.ask(there, "CLUSTER", "SETSLOT", number, "IMPORTING", ids[0])
        redis.ask(here, "CLUSTER", "SETSLOT", number, "MIGRATING", ids[1])
        assert ask(proxy, "SET", HERE, "v") == b"OK"
        assert proxy.stat("cluster.c.upstream_internal_redirect_succeeded_total") == 1
    finally:
        proxy.stop()
        for server in redis.servers:
            redis.ask(server, "CLUSTER", "SETSLOT", number, "STABLE")
