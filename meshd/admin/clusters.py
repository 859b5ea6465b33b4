"""The clusters with their hosts, and the listeners with their addresses: as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from envoy.admin.v3.clusters_pb2 import Clusters, ClusterStatus, HostStatus
from envoy.admin.v3.listeners_pb2 import Listeners
from envoy.admin.v3.metrics_pb2 import SimpleMetric
from envoy.config.core.v3.address_pb2 import Address
from envoy.config.core.v3.health_check_pb2 import HealthStatus

from meshd.admin.query import Answer, Query, Server, as_json
from meshd.interfaces import SocketAddress
from meshd.upstream.host import address_text

COUNTERS = ("cx_connect_fail", "cx_total", "rq_error", "rq_success", "rq_timeout", "rq_total")
GAUGES = ("cx_active", "rq_active", "rq_pending_active")

#: The flags of a host's health, and the fields of HostHealthStatus that tell of them.
FLAG_FIELDS = {
    "failed_active_hc": "failed_active_health_check",
    "failed_outlier_check": "failed_outlier_check",
    "degraded_active_hc": "failed_active_degraded_check",
    "pending_dynamic_removal": "pending_dynamic_removal",
    "pending_active_hc": "pending_active_hc",
    "excluded_via_immediate_hc_fail": "excluded_via_immediate_hc_fail",
    "active_hc_timeout": "active_hc_timeout",
}


LIMITS = ("max_connections", "max_pending_requests", "max_requests", "max_retries")


def limits(cluster: Any) -> Iterator[tuple[str, dict[str, int]]]:
    """Yield the limits of a cluster, first of its default and then of its high priority."""
    for name, found in (("default", cluster.limits), ("high", cluster.high_limits)):
        yield name, {field: getattr(found, field) for field in LIMITS}


def address_message(address: SocketAddress) -> Any:
    """Return it as an Address message."""
    made = Address()
    if isinstance(address, str):
        made.pipe.path = address
    else:
        made.socket_address.address, made.socket_address.port_value = address
    return made


def observability_name(cluster: Any) -> str:
    """Return the name that the cluster has in statistics."""
    return str(cluster.config.alt_stat_name or cluster.name)


def hosts_of(cluster: Any) -> list[Any]:
    """Return the hosts of a cluster by priority, as Envoy lists them."""
    return sorted(cluster.hosts, key=lambda host: host.priority)


def number(host: Any, name: str) -> int:
    """Return one of a host's numbers; 0 for those that only HTTP has."""
    return int(getattr(host, name, 0))


def is_canary(host: Any) -> bool:
    """Return whether the metadata of a host says so."""
    return bool((host.metadata or {}).get("envoy.lb", {}).get("canary", False))


def _wanted(server: Server, query: Query) -> list[Any]:
    pattern = query.pattern()
    return [each for each in server.clusters.values() if pattern is None or pattern.search(each.name)]


def clusters(server: Server, query: Query) -> Answer:
    """Answer /clusters."""
    wanted = _wanted(server, query)
    if query.get("format") == "json":
        return as_json(Clusters(cluster_statuses=[cluster_status(each) for each in wanted]))
    return Answer("".join(f"{line}\n" for each in wanted for line in _cluster_lines(each)))


def _cluster_lines(cluster: Any) -> Iterator[str]:
    name = cluster.name
    yield f"{name}::observability_name::{observability_name(cluster)}"
    for priority, values in limits(cluster):
        for field, value in values.items():
            yield f"{name}::{priority}_priority::{field}::{value}"
    yield f"{name}::added_via_api::false"
    for host in hosts_of(cluster):
        for key, shown in _host_values(host):
            yield f"{name}::{host.text}::{key}::{shown}"


def _host_values(host: Any) -> Iterator[tuple[str, object]]:
    yield from ((name, number(host, name)) for name in sorted(COUNTERS + GAUGES))
    yield "hostname", host.hostname
    yield "health_flags", host.health_text
    yield "weight", host.weight
    yield from zip(("region", "zone", "sub_zone"), host.locality, strict=True)
    yield "canary", "true" if is_canary(host) else "false"
    yield "priority", host.priority
    # Without outlier detection there is no success rate, which Envoy writes as -1.
    yield "success_rate", -1
    yield "local_origin_success_rate", -1


def cluster_status(cluster: Any) -> Any:
    """Return a cluster as a ClusterStatus message."""
    made = ClusterStatus(name=cluster.name, observability_name=observability_name(cluster))
    for priority, values in limits(cluster):
        threshold = made.circuit_breakers.thresholds.add(priority=priority.upper())
        for field, value in values.items():
            getattr(threshold, field).value = value
    made.host_statuses.extend(host_status(host) for host in hosts_of(cluster))
    return made


def host_status(host: Any) -> Any:
    """Return a host as a HostStatus message."""
    made = HostStatus(
        address=address_message(host.address),
        weight=host.weight,
        hostname=host.hostname,
        priority=host.priority,
    )
    for names, kind in ((COUNTERS, SimpleMetric.COUNTER), (GAUGES, SimpleMetric.GAUGE)):
        for name in names:
            made.stats.add(name=name, value=number(host, name), type=kind)
    for flag, field in FLAG_FIELDS.items():
        if flag in host.health_flags:
            setattr(made.health_status, field, True)
    made.health_status.eds_health_status = eds_health(host)
    made.locality.region, made.locality.zone, made.locality.sub_zone = host.locality
    made.locality.SetInParent()
    return made


def eds_health(host: Any) -> int:
    """Return the HealthStatus that the control plane, or the config, gave a host."""
    if "failed_eds_health" in host.health_flags:
        return HealthStatus.UNHEALTHY  # type: ignore[no-any-return]
    if "eds_status_draining" in host.health_flags:
        return HealthStatus.DRAINING  # type: ignore[no-any-return]
    if "degraded_eds_health" in host.health_flags:
        return HealthStatus.DEGRADED  # type: ignore[no-any-return]
    return HealthStatus.HEALTHY  # type: ignore[no-any-return]


def listeners(server: Server, query: Query) -> Answer:
    """Answer /listeners."""
    if query.get("format") != "json":
        lines = (
            f"{each.name}::{address_text(address)}\n"
            for each in server.listeners.values()
            for address in each.addresses
        )
        return Answer("".join(lines))
    made = Listeners()
    for each in server.listeners.values():
        status = made.listener_statuses.add(name=each.name)
        addresses = [address_message(address) for address in each.addresses]
        if addresses:
            status.local_address.CopyFrom(addresses[0])
            status.additional_local_addresses.extend(addresses[1:])
    return as_json(made)
