"""
SORT, whose BY and GET name other keys by a pattern: the server looks for those at itself.

Where they may lie elsewhere the answer would be wrong without a sign, so that
is refused as Redis Cluster does (sortCommandGeneric in Redis's sort.c): a pattern
is fine if there is a hash tag before its *, and that has the place of the key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshd.codec.redis_slot import hash_tag
from meshd.codec.resp import encode
from meshd.filters.network.redis_proxy.keyed import multi

if TYPE_CHECKING:
    from meshd.filters.network.redis_proxy.client import Client
    from meshd.filters.network.redis_proxy.commands import Command
    from meshd.filters.network.redis_proxy.pool import Pool
    from meshd.filters.network.redis_proxy.table import Entry
    from meshd.interfaces import IHost

_DENIED = (
    b"-ERR %b option of SORT denied in cluster mode when keys formed by the pattern may be"
    b" in different slots.\r\n"
)


def sort(client: Client, entry: Entry, arguments: list[bytes], raw: bytes) -> None:
    """SORT and SORT_RO."""
    before = list(arguments)
    error = place_patterns(client, entry.command, arguments, entry.reads)
    if error:
        entry.stats.error.value += 1
        client.reply(error)
        return
    multi(client, entry, arguments, raw if arguments == before else encode(arguments))


def place_patterns(client: Client, command: Command, arguments: list[bytes], reads: bool = False) -> bytes:
    """
    Rename the patterns in arguments as their routes say; reads is as in place_of.

    Return an error reply if keys that one of them names may not be where the
    command's own key is.
    """
    indexes = command.patterns(arguments)
    route = client.shared.routes.find(arguments[1]) if indexes else None
    if route is None:
        return b""
    pool = client.pool_of(route, reads)
    host = pool.host_of(route.upstream_key(arguments[1]))
    for index in indexes:
        pattern = arguments[index]
        if host is None or b"*" not in pattern:
            continue  # such a pattern names no key: the server answers nulls
        placed = _placed(client, pattern, pool, host, reads)
        if placed is None:
            client.shared.stats.crossslot.inc()
            return _DENIED % arguments[index - 1].upper()
        arguments[index] = placed
    return b""


def _placed(client: Client, pattern: bytes, pool: Pool, host: IHost, reads: bool) -> bytes | None:
    """Return what a pattern is called upstream if all that it names is on host; None if not."""
    route = client.shared.routes.find_all(pattern[: pattern.index(b"*")])
    if route is None or client.pool_of(route, reads) is not pool:
        return None
    upstream = route.upstream_pattern(pattern)
    if upstream is None or not pool.has_places or pool.is_single:
        return upstream
    start = upstream[: upstream.index(b"*")]
    if not pool.hashes_tags or hash_tag(start) == start:
        return None
    return upstream if pool.host_of(start) is host else None
