"""Which cluster a key belongs to, and what the key is called there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attrs import field, frozen

from meshd.plugin import ConfigError

_KEY = "%KEY%"


@frozen(eq=False)
class Mirror:
    """A cluster that gets a copy of some commands; its answers are dropped."""

    cluster: str
    #: A RuntimeFractionalPercent message, or None for all.
    fraction: Any
    writes_only: bool


@frozen(eq=False)
class Route:
    """One of the prefix_routes."""

    prefix: bytes
    cluster: str
    remove: bool = False
    #: What a key is called upstream, its prefix removed before; None if it is not changed.
    formatter: tuple[bytes, bytes] | None = None
    mirrors: tuple[Mirror, ...] = ()
    #: The cluster for commands that only read; empty: the same.
    read_cluster: str = ""
    #: Whether keys are called something else upstream.
    changes: bool = field(init=False)

    @changes.default
    def _changes(self) -> bool:
        return (self.remove and bool(self.prefix)) or self.formatter is not None

    def upstream_key(self, key: bytes) -> bytes:
        """Return what key is called upstream."""
        if self.remove:
            key = key[len(self.prefix) :]
        return key if self.formatter is None else key.join(self.formatter)

    def client_key(self, key: bytes) -> bytes | None:
        """Return what clients call the key that is called so upstream; None if it is none of this route."""
        if self.formatter is not None:
            before, after = self.formatter
            if len(key) < len(before) + len(after) or not (key.startswith(before) and key.endswith(after)):
                return None
            key = key[len(before) : len(key) - len(after)]
        return self.prefix + key if self.remove else key

    def upstream_start(self, start: bytes) -> bytes | None:
        """Return how those of its keys that begin with start begin upstream; None if there are none."""
        folded, prefix = start.lower(), self.prefix.lower()
        if not folded.startswith(prefix) and not prefix.startswith(folded):
            return None
        if self.remove:
            start = start[len(self.prefix) :]
        return start if self.formatter is None else self.formatter[0] + start

    def upstream_pattern(self, pattern: bytes) -> bytes | None:
        """
        Return what a pattern of SORT is called upstream; None if that cannot be said.

        There is a * in it, behind the route's prefix, and maybe -> and the field of a hash.
        """
        if self.formatter is None:
            return self.upstream_key(pattern)
        if any(b"*" in part or b"->" in part for part in self.formatter):
            return None
        arrow = pattern.find(b"->", pattern.index(b"*") + 1)
        if arrow < 0 or arrow + 2 == len(pattern):
            return self.upstream_key(pattern)
        return self.upstream_key(pattern[:arrow]) + pattern[arrow:]


class Routes:
    """The routes by prefix, the longest first; find is a function from a key to its Route, or None."""

    def __init__(self, routes: list[Route], catch_all: Route | None, case_insensitive: bool) -> None:
        self.all = [*routes, *([catch_all] if catch_all else [])]
        self.catch_all = catch_all
        self._fold = case_insensitive
        self._by_cluster: dict[str, list[Route]] = {}
        self._by_prefix = {self._folded(route.prefix): route for route in routes}
        self._lengths = sorted({len(prefix) for prefix in self._by_prefix}, reverse=True)
        self.find: Callable[[bytes], Route | None] = self._search if routes else lambda key: catch_all

    def find_all(self, start: bytes) -> Route | None:
        """Return the route of all keys that begin so; None if they have several, or none."""
        folded = self._folded(start)
        if any(len(prefix) > len(folded) and prefix.startswith(folded) for prefix in self._by_prefix):
            return None
        return self.find(start)

    # From the names upstream back to those of clients.

    @property
    def lossy(self) -> Route | None:
        """A route whose keys upstream do not tell what clients call them: its prefix may be in any case."""
        return next((each for each in self.all if each.remove and each.prefix and self._fold), None)

    def of_cluster(self, cluster: str) -> list[Route]:
        """Return the routes to a cluster."""
        found = self._by_cluster.get(cluster)
        if found is None:
            found = [each for each in self.all if cluster in (each.cluster, each.read_cluster)]
            self._by_cluster[cluster] = found
        return found

    def renames(self, cluster: str) -> bool:
        """Whether keys of a cluster are called otherwise there."""
        return any(each.changes for each in self.of_cluster(cluster))

    def client_keys(self, cluster: str, key: bytes) -> list[bytes]:
        """Return all names by which clients find a key of a cluster; not if a route is lossy."""
        names = ((each, each.client_key(key)) for each in self.of_cluster(cluster))
        return [name for route, name in names if name is not None and self.find(name) is route]

    def upstream_starts(self, cluster: str, starts: Sequence[bytes]) -> list[bytes]:
        """Return how keys that begin with one of starts begin in a cluster; none of them twice."""
        routes = self.of_cluster(cluster)
        found = (each.upstream_start(start) for each in routes for start in starts)
        shortest: list[bytes] = []
        for start in sorted({each for each in found if each is not None}):
            if not shortest or not start.startswith(shortest[-1]):
                shortest.append(start)
        return shortest

    def _folded(self, key: bytes) -> bytes:
        return key.lower() if self._fold else key

    def _search(self, key: bytes) -> Route | None:
        key = self._folded(key)
        for length in self._lengths:
            route = self._by_prefix.get(key[:length])
            if route is not None:
                return route
        return self.catch_all


def read_routes(config: Any) -> Routes:
    """Return the routes of a PrefixRoutes message; raise ConfigError."""
    routes = []
    seen: set[str] = set()
    for index, each in enumerate(config.routes):
        prefix = each.prefix.lower() if config.case_insensitive else each.prefix
        if prefix in seen:
            raise ConfigError(f"prefix `{each.prefix}` already exists.", "routes", index, "prefix")
        seen.add(prefix)
        try:
            routes.append(_route(each, each.prefix.encode()))
        except ConfigError as error:
            raise error.under("routes", index) from None
    catch_all = None
    if config.HasField("catch_all_route"):
        try:
            catch_all = _route(config.catch_all_route, b"")
        except ConfigError as error:
            raise error.under("catch_all_route") from None
    return Routes(routes, catch_all, config.case_insensitive)


def _route(message: Any, prefix: bytes) -> Route:
    mirrors = tuple(
        Mirror(
            each.cluster,
            each.runtime_fraction if each.HasField("runtime_fraction") else None,
            each.exclude_read_commands,
        )
        for each in message.request_mirror_policy
    )
    return Route(
        prefix,
        message.cluster,
        message.remove_prefix,
        _formatter(message.key_formatter),
        mirrors,
        message.read_command_policy.cluster,
    )


def _formatter(text: str) -> tuple[bytes, bytes] | None:
    """Return what comes before and after the key."""
    if not text:
        return None
    before, found, after = text.partition(_KEY)
    if not found or "%" in before + after:
        raise ConfigError("meshd serves key_formatter with text and one %KEY% only", "key_formatter")
    return before.encode(), after.encode()
