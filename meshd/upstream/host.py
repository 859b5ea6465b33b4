"""
A host: one endpoint of a cluster, its health and its numbers.

The numbers are plain integers, which the connections to the host add to
directly; the admin page reads them.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from twisted.internet.abstract import isIPv6Address
from zope.interface import implementer

from meshd.interfaces import IHost, Result, SocketAddress

Health = Literal["healthy", "degraded", "unhealthy"]

#: The health flags with their health, in the order in which Envoy prints them.
FLAGS: dict[str, Health] = {
    "failed_active_hc": "unhealthy",
    "failed_outlier_check": "unhealthy",
    "failed_eds_health": "unhealthy",
    "degraded_active_hc": "degraded",
    "degraded_eds_health": "degraded",
    "pending_dynamic_removal": "healthy",
    "pending_active_hc": "healthy",
    "excluded_via_immediate_hc_fail": "healthy",
    "active_hc_timeout": "healthy",
    "eds_status_draining": "unhealthy",
}

#: Flags whose hosts do not count when availability and panic are computed.
EXCLUDING = frozenset({"pending_active_hc", "excluded_via_immediate_hc_fail", "eds_status_draining"})


class Locality(NamedTuple):
    """Where a host is."""

    region: str = ""
    zone: str = ""
    sub_zone: str = ""


NOWHERE = Locality()


def address_text(address: SocketAddress) -> str:
    """Return the address as Envoy writes it: 1.2.3.4:80, [::1]:80, or the path of a unix socket."""
    if isinstance(address, str):
        return address.replace("\0", "@", 1)
    ip, port = address
    return f"[{ip}]:{port}" if isIPv6Address(ip) else f"{ip}:{port}"


@implementer(IHost)
class Host:
    """One endpoint of a cluster."""

    __slots__ = (
        "_address",
        "cx_active",
        "cx_connect_fail",
        "cx_total",
        "health_flags",
        "hostname",
        "locality",
        "metadata",
        "priority",
        "rq_active",
        "rq_error",
        "rq_success",
        "rq_timeout",
        "rq_total",
        "text",
        "weight",
    )

    def __init__(
        self,
        address: SocketAddress,
        *,
        hostname: str = "",
        weight: int = 1,
        priority: int = 0,
        locality: Locality = NOWHERE,
        metadata: dict[str, dict[str, Any]] | None = None,
        health_flags: frozenset[str] | set[str] = frozenset(),
    ) -> None:
        self.address = address
        self.hostname = hostname
        self.weight = weight
        self.priority = priority
        self.locality = locality
        self.metadata = metadata or {}
        self.health_flags = set(health_flags)
        self.cx_active = self.cx_total = self.cx_connect_fail = 0
        self.rq_active = self.rq_total = self.rq_success = self.rq_error = self.rq_timeout = 0

    @property
    def address(self) -> SocketAddress:
        """Where it listens; a LOGICAL_DNS host's changes, hence the setter."""
        return self._address

    @address.setter
    def address(self, address: SocketAddress) -> None:
        self._address = address
        self.text = address_text(address)

    def report(self, result: Result) -> None:
        if result == "success":
            self.rq_success += 1
            return
        self.rq_error += 1
        if result == "timeout":
            self.rq_timeout += 1

    @property
    def active(self) -> int:
        """Requests in progress (a TCP connection is one), in this worker."""
        return self.rq_active

    @property
    def health(self) -> Health:
        """Whether it is healthy, degraded (used if the healthy are too few) or unhealthy."""
        found = {FLAGS[flag] for flag in self.health_flags}
        return "unhealthy" if "unhealthy" in found else "degraded" if "degraded" in found else "healthy"

    @property
    def healthy(self) -> bool:
        """Whether it is to be used without reserve."""
        return not self.health_flags or self.health == "healthy"

    @property
    def excluded(self) -> bool:
        """Whether it does not count for availability and panic."""
        return not EXCLUDING.isdisjoint(self.health_flags)

    @property
    def health_text(self) -> str:
        """The flags as Envoy's /clusters prints them: healthy, or /flag/flag."""
        return "".join(f"/{flag}" for flag in FLAGS if flag in self.health_flags) or "healthy"

    def __repr__(self) -> str:
        return f"<Host {self.text} {self.health_text}>"
