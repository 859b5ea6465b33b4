"""
Which hosts are asked by a command that is about all of them, and what their keys are called by clients.

They are those of the catch-all route, or with the option fan_out those of all routes.
Then keys of each host are told by the names that the routes give them, and those that no
route leads to are not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from meshd.codec.resp_reply import decode, encode
from meshd.filters.network.redis_proxy.glob import literal_start, matcher
from meshd.filters.network.redis_proxy.request import Part

if TYPE_CHECKING:
    from meshd.filters.network.redis_proxy.client import Client
    from meshd.filters.network.redis_proxy.pool import Pool
    from meshd.filters.network.redis_proxy.routes import Route, Routes
    from meshd.interfaces import IHost

_ALL = b"*"
LOSSY = b"-ERR The proxy removes the prefix '%b', in whatever case: names of keys cannot be put back\r\n"
#: What RANDOMKEY answers where a host has keys, but named one that no route leads to.
_NAMELESS = b"-ERR a server named a key that no route leads to; try again\r\n"


class Spot:
    """A host that is asked, the pool that it is asked by, and all clusters of routes that it is in."""

    __slots__ = ("clusters", "host", "pool")

    def __init__(self, pool: Pool, host: IHost) -> None:
        self.pool = pool
        self.host = host
        self.clusters = {pool.name}


def spots_of(client: Client) -> list[Spot]:
    """Return where all is, each host once; nothing if one of the clusters has no hosts."""
    if not client.options.everywhere:
        pool = client.anywhere()
        return [] if pool is None else [Spot(pool, host) for host in pool.hosts()]
    pools = client.shared.pools
    found: dict[object, Spot] = {}
    for name in dict.fromkeys(route.cluster for route in client.shared.routes.all):
        hosts = pools[name].hosts()
        if not hosts:
            return []
        for host in hosts:
            found.setdefault(host.address, Spot(pools[name], host)).clusters.add(name)
    return list(found.values())


class Names:
    """What clients call the keys of a spot, as far as a pattern of theirs matches."""

    def __init__(self, routes: Routes, spot: Spot, pattern: bytes = _ALL) -> None:
        self._find = routes.find
        self._routes = [each for each in routes.all if each.cluster in spot.clusters]
        self._matches: Callable[[bytes], bool] | None = matcher(pattern) if pattern != _ALL else None
        asked = {_upstream_pattern(route, pattern) for route in self._routes}
        #: What the host is asked for: at least the keys that the pattern matches.
        self.pattern = asked.pop() if len(asked) == 1 else _ALL

    def of(self, keys: Iterable[bytes]) -> list[bytes]:
        """Return the names of keys, each once."""
        found: dict[bytes, None] = {}
        for key in keys:
            for route in self._routes:
                name = route.client_key(key)
                if name is None or self._find(name) is not route:
                    continue
                if self._matches is None or self._matches(name):
                    found[name] = None
        return list(found)


def _upstream_pattern(route: Route, pattern: bytes) -> bytes:
    """Return a pattern of at least those of the route's keys upstream that pattern matches."""
    if not route.changes:
        return pattern
    if route.formatter is None and literal_start(pattern).startswith(route.prefix):
        return pattern[len(route.prefix) :]
    return _ALL


class Share(Part):
    """What one of all hosts answers; keys in it may be told by other names."""

    __slots__ = ("rename",)
    fixed = True
    rename: Callable[[bytes], bytes] | None

    def answered(self, reply: bytes) -> Client | None:
        if self.rename is not None and reply[0] != 45:
            reply = self.rename(reply)
        return super().answered(reply)


def rename_keys(names: Names, reply: bytes) -> bytes:
    """Return what KEYS answers."""
    return encode(names.of(decode(reply)))


def rename_one(names: Names, reply: bytes) -> bytes:
    """Return what RANDOMKEY answers."""
    key = decode(reply)
    if key is None:
        return reply
    found = names.of([key])
    return encode(found[0]) if found else _NAMELESS


def any_of(replies: Sequence[bytes], merge: Callable[[Sequence[bytes]], bytes]) -> bytes:
    """Return one of the keys that hosts named; the error only if none did."""
    named = [reply for reply in replies if reply != _NAMELESS]
    found = merge(named) if named else _NAMELESS
    return _NAMELESS if decode(found) is None and len(named) < len(replies) else found
