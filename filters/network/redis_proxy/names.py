"""
Redirections that name a host by its name: they are followed once the DNS cache has its address.

Envoy's conn_pool_impl.cc: the command waits for the lookup; if that finds nothing, or the cache is
full, the client gets the redirection itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.logger import Logger
from twisted.python.failure import Failure

from meshd.interfaces import ICluster, IDnsCache, IHost, Overflow

if TYPE_CHECKING:
    from meshd.filters.network.redis_proxy.client import Client
    from meshd.filters.network.redis_proxy.request import Request

log = Logger(namespace="meshd.redis")

#: Takes a redirection that names an address, or that cannot be followed; it returns whose queue has changed.
Then = Callable[[bytes], "Client | None"]


def is_ip(text: str) -> bool:
    """Return whether text is an IPv4 or IPv6 address."""
    return bool(isIPAddress(text)) or bool(isIPv6Address(text))


def target(reply: bytes) -> tuple[str, int] | None:
    """Return the name or address, which may be empty, and the port in a redirection; None: it has none."""
    parts = reply.split()
    name, _, port = parts[2].rpartition(b":") if len(parts) == 3 else (b"", b"", b"")
    if not port.isdigit():
        return None
    return name.decode("latin-1").strip("[]"), int(port)


def known_by_name(cluster: ICluster, name: str, port: int) -> IHost | None:
    """Return the node of a Redis Cluster that discovery has found by this name; None if it has not."""
    if cluster.redis_slots:
        for host in cluster.hosts:
            if host.hostname == name and host.address[1] == port:
                return host
    return None


class Names:
    """Looks up the names in redirections."""

    def __init__(self, cache: IDnsCache) -> None:
        self._cache = cache

    def wait(self, request: Request, reply: bytes, then: Then) -> bool:
        """Let then be called with the redirection once its name is looked up; return whether it will be."""
        where = target(reply)
        if where is None or not where[0] or is_ip(where[0]):
            return False
        found = self._cache.find(*where)
        changed = found.addCallbacks(partial(_found, request, reply), partial(_overflow, request, reply))
        changed.addCallback(partial(_go_on, then))
        changed.addErrback(partial(_broken, request))
        return True


def _found(request: Request, reply: bytes, addresses: Sequence[str]) -> bytes:
    if not addresses:
        return _unfollowed(request, reply)
    kind, slot, where = reply.split()
    _, _, port = where.rpartition(b":")
    return b"%b %b %b:%b\r\n" % (kind, slot, addresses[0].encode(), port)


def _overflow(request: Request, reply: bytes, failure: Failure) -> bytes:
    failure.trap(Overflow)
    return _unfollowed(request, reply)


def _unfollowed(request: Request, reply: bytes) -> bytes:
    request.redirects = 1 << 30
    return reply


def _go_on(then: Then, reply: bytes) -> None:
    client = then(reply)
    if client is not None:
        client.shared.context.soon(client.flush)


def _broken(request: Request, failure: Failure) -> None:
    log.failure("a redirection could not be followed", failure)
    if request.reply is None:
        request.failed(None)
