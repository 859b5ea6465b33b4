"""
What the config says of DNS: how often to look up, which addresses, whom to ask.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from envoy.config.cluster.v3.cluster_pb2 import Cluster as ClusterMessage
from envoy.extensions.network.dns_resolver.cares.v3.cares_dns_resolver_pb2 import CaresDnsResolverConfig

from meshd.plugin import ConfigError
from meshd.upstream.discovery import DnsConfig
from meshd.upstream.endpoints import Assignment, Endpoint, is_ip, read_address
from meshd.upstream.resolver import Asking, INameResolver, Resolver, system_asking


class ResolverContext(Protocol):
    """What read_resolver uses of a context."""

    reactor: Any
    #: An INameResolver.
    resolver: Any


#: The fields of CaresDnsResolverConfig that meshd serves.
CARES_SERVED = ("resolvers", "dns_resolver_options", "query_timeout_seconds", "query_tries")


def read_dns(cluster: Any) -> DnsConfig:
    """Read the DNS fields of a Cluster message; ConfigError if they make no sense."""
    refresh = seconds(cluster.dns_refresh_rate) if cluster.HasField("dns_refresh_rate") else 5.0
    return DnsConfig(
        family=ClusterMessage.DnsLookupFamily.Name(cluster.dns_lookup_family),
        refresh=refresh,
        jitter=seconds(cluster.dns_jitter),
        respect_ttl=cluster.respect_dns_ttl,
        failure=read_failure(cluster),
        logical=cluster.type == ClusterMessage.LOGICAL_DNS,
    )


def read_failure(message: Any) -> tuple[float, float] | None:
    """Read dns_failure_refresh_rate of a message: the shortest and longest wait in seconds; ConfigError."""
    if not message.HasField("dns_failure_refresh_rate"):
        return None
    rate = message.dns_failure_refresh_rate
    shortest = seconds(rate.base_interval)
    longest = seconds(rate.max_interval) if rate.HasField("max_interval") else shortest * 10
    if longest < shortest:
        raise ConfigError(
            "dns_failure_refresh_rate must have max_interval greater than or equal to the base_interval",
            "dns_failure_refresh_rate",
            "max_interval",
        )
    return shortest, longest


def check_endpoints(assignment: Assignment, config: DnsConfig, kind: str) -> Sequence[Endpoint]:
    """Return the endpoints to look up; ConfigError, worded as in Envoy, if they are not fit for it."""
    endpoints = assignment.endpoints
    if config.logical and not endpoints:
        raise ConfigError("LOGICAL_DNS clusters must have a single host", "load_assignment")
    if config.logical and len(endpoints) != 1:
        raise ConfigError(
            "LOGICAL_DNS clusters must have a single locality_lb_endpoint and a single lb_endpoint",
            "load_assignment",
        )
    for endpoint in endpoints:
        if isinstance(endpoint.address, str):
            raise ConfigError(
                f"{kind} clusters have socket addresses only",
                "load_assignment",
                *endpoint.path,
                "endpoint",
                "address",
            )
    return endpoints


def read_resolver(cluster: Any, context: ResolverContext) -> INameResolver:
    """Return the resolver that a message (Cluster, DnsCacheConfig) wants: mostly that of the context."""
    if cluster.HasField("typed_dns_resolver_config"):
        path = ("typed_dns_resolver_config", "typed_config")
        typed = cluster.typed_dns_resolver_config.typed_config
        cares = CaresDnsResolverConfig()
        if not typed.Is(cares.DESCRIPTOR):
            raise ConfigError("meshd serves the resolver envoy.network.dns_resolver.cares only", *path)
        typed.Unpack(cares)
        for field, _ in cares.ListFields():
            if field.name not in CARES_SERVED:
                raise ConfigError(f"meshd does not serve the field {field.name}", *path, field.name)
        return _resolver(cares, context, path)
    if cluster.HasField("dns_resolution_config"):
        return _resolver(cluster.dns_resolution_config, context, ("dns_resolution_config",))
    resolver: INameResolver = context.resolver
    return resolver


def _resolver(config: Any, context: ResolverContext, path: Sequence[str]) -> INameResolver:
    """Make a resolver from a CaresDnsResolverConfig or DnsResolutionConfig message."""
    system = system_asking()
    options = config.dns_resolver_options
    timeout, tries = system.timeout, system.tries
    if isinstance(config, CaresDnsResolverConfig):
        timeout = config.query_timeout_seconds.value or timeout
        tries = config.query_tries.value or tries
    servers = tuple(_server(each, (*path, "resolvers", index)) for index, each in enumerate(config.resolvers))
    asking = Asking(
        servers or system.servers,
        search=() if options.no_default_search_domain else system.search,
        dots=system.dots,
        tcp=options.use_tcp_for_dns_lookups,
        timeout=timeout,
        tries=tries,
    )
    return Resolver(context.reactor, asking)


def _server(message: Any, path: Sequence[str | int]) -> tuple[str, int]:
    address = read_address(message, *path)
    if isinstance(address, str) or not is_ip(address[0]):
        raise ConfigError("a resolver is an IP address", *path)
    return (address[0], address[1] or 53)


def seconds(duration: Any) -> float:
    """Return the seconds of a Duration message."""
    return float(duration.seconds + duration.nanos / 1e9)
