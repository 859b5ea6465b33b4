"""
Failover: a connection tries one host after the other, in the order that discovery has them.

An attempt to connect that fails is followed by one to the next host; when all
were tried there is no host any more.  Hosts that are known to be unwell come
last.  With rotate each connection begins one host further on than the last.
One whose filter state meshd.failover.first is the address of a host begins there.

It is a load balancing policy of meshd's own: in Envoy's, each attempt is a draw
that may hit the same host again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from meshd.interfaces import IStreamInfo, NoHost
from meshd.upstream.host import Host

#: What a TypedStruct calls it; its one field is rotate.
FAILOVER = "meshd.load_balancing_policies.failover"
#: Filter state: the address of the host that is tried first.
FIRST_KEY = "meshd.failover.first"


class Failover:
    """The order for the connections of one cluster."""

    def __init__(self, rotate: bool = False) -> None:
        self.rotate = rotate
        self._turn = -1

    def next(self, hosts: Sequence[Host], info: IStreamInfo, cluster: str) -> Host:
        """Return the host for a connection's next attempt; raise NoHost when all were tried."""
        if not hosts:
            raise NoHost(f"cluster {cluster} has no host that may be used")
        tried = _tried(info, hosts)
        if not tried:
            self._turn += 1
        if len(tried) >= len(hosts):
            raise NoHost(f"cluster {cluster}: all hosts were tried")
        start = _first(info, hosts)
        if start is None:
            start = self._start(hosts, tried)
        order = [*hosts[start:], *hosts[:start]]
        order.sort(key=lambda host: not host.healthy)
        return next(host for host in order if host not in tried)

    def _start(self, hosts: Sequence[Host], tried: Sequence[Host]) -> int:
        if not self.rotate:
            return 0
        return hosts.index(tried[-1]) if tried else self._turn % len(hosts)


def _tried(info: IStreamInfo, hosts: Sequence[Host]) -> list[Any]:
    """Return the hosts that attempts of the connection went to, in order, if there still are such hosts."""
    upstream = info.upstream
    return [] if upstream is None else [each.host for each in upstream.tried if each.host in hosts]


def _first(info: IStreamInfo, hosts: Sequence[Host]) -> int | None:
    """Return the index of the host that a filter wants to be tried first, if there is one."""
    address = info.filter_state.get(FIRST_KEY) if info.has_filter_state else None
    return next((index for index, host in enumerate(hosts) if host.address == address), None)
