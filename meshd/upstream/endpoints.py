"""
The endpoints of a cluster, as the config has them: read once into plain values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.json_format import MessageToDict
from twisted.internet.abstract import isIPAddress, isIPv6Address

from meshd.interfaces import SocketAddress
from meshd.plugin import ConfigError
from meshd.upstream.host import NOWHERE, Host, Locality
from meshd.upstream.priorities import OVERPROVISIONING

#: Envoy's flags for the values of HealthStatus.
STATUS_FLAGS: Mapping[int, frozenset[str]] = {
    2: frozenset({"failed_eds_health"}),  # UNHEALTHY
    3: frozenset({"eds_status_draining"}),  # DRAINING
    4: frozenset({"failed_eds_health"}),  # TIMEOUT
    5: frozenset({"degraded_eds_health"}),  # DEGRADED
}

#: More than this Envoy's weights may not come to.
WEIGHT_LIMIT = 0xFFFFFFFF


@dataclass(frozen=True)
class Endpoint:
    """One LbEndpoint; address may still have a name to be looked up."""

    address: SocketAddress
    hostname: str = ""
    weight: int = 1
    priority: int = 0
    locality: Locality = NOWHERE
    metadata: dict[str, dict[str, Any]] = field(default_factory=dict, compare=False)
    health_flags: frozenset[str] = frozenset()
    path: tuple[str | int, ...] = ()

    @property
    def is_literal(self) -> bool:
        """Whether the address needs no lookup."""
        return isinstance(self.address, str) or is_ip(self.address[0])

    def host(self, address: SocketAddress | None = None, hostname: str = "") -> Host:
        """Make the host of this endpoint, at address if that was found by a lookup."""
        return Host(
            self.address if address is None else address,
            hostname=self.hostname or hostname,
            weight=self.weight,
            priority=self.priority,
            locality=self.locality,
            metadata=self.metadata,
            health_flags=self.health_flags,
        )


@dataclass(frozen=True)
class Assignment:
    """A ClusterLoadAssignment: its endpoints in order, and its policy."""

    endpoints: tuple[Endpoint, ...] = ()
    overprovisioning: int = OVERPROVISIONING
    weighted_health: bool = False


def is_ip(text: str) -> bool:
    """Return whether text is an IPv4 or IPv6 address."""
    return bool(isIPAddress(text)) or bool(isIPv6Address(text))


def read_assignment(message: Any) -> Assignment:
    """
    Read a ClusterLoadAssignment; ConfigError, with a path within it, if it cannot be served.
    """
    endpoints = [
        _endpoint(each, locality, ("endpoints", at, "lb_endpoints", index))
        for at, locality in enumerate(message.endpoints)
        for index, each in enumerate(locality.lb_endpoints)
    ]
    policy = message.policy
    factor = OVERPROVISIONING
    if policy.HasField("overprovisioning_factor"):
        factor = policy.overprovisioning_factor.value
    return Assignment(tuple(endpoints), factor, policy.weighted_priority_health)


def read_address(message: Any, *path: str | int) -> SocketAddress:
    """Read a core.v3.Address: a socket address (by name or number) or a pipe."""
    kind = message.WhichOneof("address")
    if kind == "pipe":
        return _pipe(message.pipe.path)
    if kind != "socket_address":
        raise ConfigError("Address must be set: a socket_address or a pipe", *path)
    socket_address = message.socket_address
    if socket_address.WhichOneof("port_specifier") == "named_port":
        raise ConfigError("meshd has no named ports: give port_value", *path, "socket_address", "named_port")
    if socket_address.protocol != 0:
        raise ConfigError("meshd connects by TCP only", *path, "socket_address", "protocol")
    if socket_address.resolver_name:
        raise ConfigError(
            f"Unknown address resolver: {socket_address.resolver_name}",
            *path,
            "socket_address",
            "resolver_name",
        )
    return (socket_address.address, socket_address.port_value)


def _pipe(path: str) -> str:
    """Return the path, that of an abstract socket beginning with a NUL instead of @."""
    return "\0" + path[1:] if path.startswith("@") else path


def _endpoint(message: Any, locality: Any, path: tuple[str | int, ...]) -> Endpoint:
    if message.WhichOneof("host_identifier") != "endpoint":
        raise ConfigError("an lb_endpoint needs its endpoint", *path)
    where = locality.locality
    metadata = MessageToDict(message.metadata).get("filterMetadata", {})
    return Endpoint(
        read_address(message.endpoint.address, *path, "endpoint", "address"),
        hostname=message.endpoint.hostname,
        weight=max(1, message.load_balancing_weight.value),
        priority=locality.priority,
        locality=Locality(where.region, where.zone, where.sub_zone),
        metadata=metadata,
        health_flags=STATUS_FLAGS.get(message.health_status, frozenset()),
        path=path,
    )


def check_weights(endpoints: Sequence[Endpoint]) -> None:
    """Refuse weights whose sum in one locality and priority is beyond 32 bits, as Envoy's hashing does."""
    sums: dict[tuple[int, Locality], int] = {}
    for each in endpoints:
        key = (each.priority, each.locality)
        sums[key] = sums.get(key, 0) + each.weight
        if sums[key] > WEIGHT_LIMIT:
            raise ConfigError(
                f"The sum of weights of all upstream hosts in a locality exceeds {WEIGHT_LIMIT}",
                *each.path,
                "load_balancing_weight",
            )
