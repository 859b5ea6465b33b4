"""The DNS caches of one config, by their names."""

from __future__ import annotations

from random import Random
from typing import Any

from envoy.config.cluster.v3.cluster_pb2 import Cluster as ClusterMessage
from twisted.internet.interfaces import IReactorTime

from meshd.config.plain import optional_seconds, wrapped
from meshd.interfaces import IScope
from meshd.plugin import ConfigError
from meshd.upstream.discovery import DnsConfig
from meshd.upstream.dns_cache import CacheConfig, CacheTools, DnsCache
from meshd.upstream.dns_config import read_failure, read_resolver


class DnsCaches:
    """
    Makes the caches, each when the first config names it.

    From start() on they look names up by themselves, until stop().
    """

    _started = False

    def __init__(self, clock: IReactorTime, reactor: Any, resolver: Any, stats: IScope) -> None:
        self.clock = clock
        self.reactor = reactor
        self.resolver = resolver
        self.stats = stats
        self._random = Random()
        self._caches: dict[str, tuple[Any, DnsCache]] = {}

    def cache(self, message: Any) -> DnsCache:
        """Return the cache of a DnsCacheConfig message; raise ConfigError, its path seen from there."""
        if message.name in self._caches:
            known, cache = self._caches[message.name]
            if known != message:
                raise ConfigError(
                    f"config specified DNS cache '{message.name}' with different settings", "name"
                )
            return cache
        config = read_cache(message)
        resolver = read_resolver(message, self)
        scope = self.stats.scope(f"dns_cache.{message.name}")
        cache = DnsCache(config, CacheTools(self.clock, self._random, resolver, scope))
        self._caches[message.name] = (message, cache)
        if self._started:
            cache.start()
        return cache

    def start(self) -> None:
        """Look up what the configs name."""
        self._started = True
        for _, cache in self._caches.values():
            cache.start()

    def stop(self) -> None:
        """Look up nothing by ourselves any more; who still asks gets answers."""
        for _, cache in self._caches.values():
            cache.stop()


def read_cache(message: Any) -> CacheConfig:
    """Read a DnsCacheConfig message; raise ConfigError, its path seen from there."""
    default = CacheConfig()
    places = tuple((each.address, each.port_value) for each in message.preresolve_hostnames)
    max_hosts = wrapped(message, "max_hosts", default.max_hosts)
    if len(places) > max_hosts:
        raise ConfigError(
            f"DNS Cache [{message.name}] configured with preresolve_hostnames={len(places)} larger than"
            f" max_hosts={max_hosts}",
            "preresolve_hostnames",
        )

    def time(field: str, value: float) -> float:
        return optional_seconds(message, field, value) or 0.0

    dns = DnsConfig(
        family=ClusterMessage.DnsLookupFamily.Name(message.dns_lookup_family),
        refresh=time("dns_refresh_rate", default.dns.refresh),
        failure=read_failure(message),
    )
    return CacheConfig(
        dns,
        min_refresh=time("dns_min_refresh_rate", default.min_refresh),
        refresh_failed=not message.disable_dns_refresh_on_failure,
        host_ttl=time("host_ttl", default.host_ttl),
        max_hosts=max_hosts,
        timeout=time("dns_query_timeout", default.timeout),
        max_pending=wrapped(message.dns_cache_circuit_breaker, "max_pending_requests", default.max_pending),
        places=places,
    )
