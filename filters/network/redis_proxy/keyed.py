"""Commands with keys: to the host of the key, or cut up by host and put together again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from meshd.codec.resp import encode
from meshd.codec.resp_reply import decode
from meshd.codec.resp_reply import encode as encode_value
from meshd.codec.resp_uniform import split_replies
from meshd.filters.network.redis_proxy.commands import BadKeys
from meshd.filters.network.redis_proxy.request import NO_HOST, Gather, Part, Request

if TYPE_CHECKING:
    from meshd.filters.network.redis_proxy.client import Client
    from meshd.filters.network.redis_proxy.pool import Pool
    from meshd.filters.network.redis_proxy.routes import Route
    from meshd.filters.network.redis_proxy.table import Entry
    from meshd.interfaces import IHost

CROSSSLOT = b"-CROSSSLOT Keys in request don't hash to the same slot\r\n"

#: How many keys an error names.
_NAMED = 10


def single(client: Client, entry: Entry, arguments: list[bytes], raw: bytes) -> None:
    """A command with one key."""
    first = entry.first
    if len(arguments) <= first:
        client.invalid(entry)
        return
    key = arguments[first]
    shared = client.shared
    route = shared.routes.find(key)
    if route is None:
        client.no_host()
        return
    reads = entry.reads
    if route.changes:
        key = route.upstream_key(key)
        arguments[first] = key
        raw = encode(arguments)
    pool = shared.pools[route.read_cluster if reads and route.read_cluster else route.cluster]
    request = Request(client, entry, raw, pool, key)
    client.queue.append(request)
    pool.send(request)
    if route.mirrors:
        mirror(client, route, request)


def mirror(client: Client, route: Route, request: Request) -> None:
    """Send a copy of a command to the mirrors of its route."""
    shared = client.shared
    for each in route.mirrors:
        if each.writes_only and request.entry.reads:
            continue
        if each.fraction is None or shared.context.runtime.sampled(each.fraction):
            shared.pools[each.cluster].copy(request)


class Place:
    """Where a command with several keys belongs: all of them have to."""

    __slots__ = ("host", "key", "pool", "route")

    def __init__(self, pool: Pool, host: IHost, key: bytes, route: Route) -> None:
        self.pool = pool
        self.host = host
        self.key = key
        self.route = route


def place_of(
    client: Client, arguments: list[bytes], indexes: Sequence[int], reads: bool = False
) -> Place | bytes:
    """
    Find the host that has all keys, and rename the keys in arguments as their routes say.

    reads says that a replica will do.  Return an error reply if there is none.
    """
    place: Place | None = None
    for index in indexes:
        key = arguments[index]
        route = client.shared.routes.find(key)
        if route is None:
            return NO_HOST
        pool = client.pool_of(route, reads)
        if route.changes:
            key = arguments[index] = route.upstream_key(key)
        if place is None:
            host = pool.host_of(key, reads)
            if host is None:
                return NO_HOST
            place = Place(pool, host, key, route)
        elif pool is not place.pool or (pool.has_places and pool.host_of(key, reads) is not place.host):
            client.shared.stats.crossslot.inc()
            return CROSSSLOT
    assert place is not None
    return place


def multi(client: Client, entry: Entry, arguments: list[bytes], raw: bytes) -> None:
    """A command with several keys, which must be in one place."""
    if len(arguments) == 1:
        client.invalid(entry)
        return
    try:
        indexes = entry.command.keys(arguments)
    except BadKeys:
        indexes = []  # a server has an error for it
    if not indexes:
        keyless(client, entry, arguments, raw)
        return
    place = place_of(client, arguments, indexes, entry.reads)
    if isinstance(place, bytes):
        entry.stats.error.value += 1
        client.reply(place)
        return
    if place.route.changes:
        raw = encode(arguments)
    request = Request(client, entry, raw, place.pool, place.key)
    client.queue.append(request)
    place.pool.send_to(place.host, request)
    mirror(client, place.route, request)


def keyless(client: Client, entry: Entry, arguments: list[bytes], raw: bytes) -> None:
    """A command that any host can answer."""
    pool = client.anywhere()
    if pool is None:
        client.no_host()
        return
    request = Request(client, entry, raw, pool, None)
    client.queue.append(request)
    pool.send(request)


# Commands that are cut up.


def split(client: Client, entry: Entry, arguments: list[bytes], raw: bytes) -> None:
    """A command with keys that may each go their own way: one command for each host."""
    step = 2 if entry.name == "mset" else 1
    if len(arguments) == 1:
        client.invalid(entry)
        return
    if step == 2 and not len(arguments) % 2:
        client.shared.stats.invalid.inc()
        client.reply(b"-wrong number of arguments for 'MSET' command\r\n")
        return
    groups = _group(client, entry, arguments, step)
    if groups is None:
        entry.stats.error.value += 1
        client.no_host()
        return
    if len(groups) == 1:
        _whole(client, entry, arguments, raw, groups[0])
        return
    gather = Gather(client, entry)
    parts = []
    for group in groups:
        own = [arguments[0]]
        for index in group.indexes:
            own.extend(arguments[index : index + step])
        parts.append(Part(gather, encode(own), group.pool, arguments[group.indexes[0]], group.names))
    if entry.name == "mget":
        gather.merge = partial(_in_order, gather, [group.indexes for group in groups], len(arguments) - 1)
    else:
        gather.merge = partial(_all_ok if entry.name == "mset" else _sum, gather)
    gather.key = groups[0].names[0]
    client.queue.append(gather)
    for part, group in zip(parts, groups, strict=True):
        group.pool.send_to(group.host, part)
        mirror(client, group.route, part)


class _Group:
    """The keys of a split command that one host has: where they are, and what the client calls them."""

    __slots__ = ("host", "indexes", "names", "pool", "route")

    def __init__(self, pool: Pool, host: IHost, route: Route) -> None:
        self.pool = pool
        self.host = host
        self.route = route
        self.indexes: list[int] = []
        self.names: list[bytes] = []


def _group(client: Client, entry: Entry, arguments: list[bytes], step: int) -> list[_Group] | None:
    """Group the keys by host, and rename them as their routes say; None if one has no host."""
    groups: dict[Any, _Group] = {}
    find, reads = client.shared.routes.find, entry.reads
    for index in range(1, len(arguments), step):
        name = key = arguments[index]
        route = find(key)
        if route is None:
            return None
        pool = client.pool_of(route, reads)
        if route.changes:
            key = arguments[index] = route.upstream_key(key)
        slot = pool.slot_of(key)
        group = groups.get((pool, slot))
        if group is None:
            host = pool.host_of(key, reads)
            if host is None:
                return None
            where = (pool, slot if pool.cluster.redis_slots else host)
            group = groups.get(where)
            if group is None:
                group = groups[where] = _Group(pool, host, route)
            groups[pool, slot] = group
        group.indexes.append(index)
        group.names.append(name)
    return list({id(group): group for group in groups.values()}.values())


def _whole(client: Client, entry: Entry, arguments: list[bytes], raw: bytes, group: _Group) -> None:
    """All keys have one host: nothing is to be cut up."""
    if group.route.changes:
        raw = encode(arguments)
    request = Request(client, entry, raw, group.pool, arguments[1])
    client.queue.append(request)
    group.pool.send_to(group.host, request)
    mirror(client, group.route, request)


def _broken(gather: Gather, replies: Sequence[bytes]) -> bytes | None:
    """Return the error if parts failed, with the keys that it is about; None if none did."""
    failed = [part for part, reply in zip(gather.parts, replies, strict=True) if reply[0] == 45]
    if not failed:
        return None
    names = [name for part in failed for name in part.keys]
    shown = b" ".join(repr(name)[2:-1].encode()[:64] for name in names[:_NAMED])
    more = b" ..." if len(names) > _NAMED else b""
    why = (failed[0].reply or b"")[1:-2]
    return b"-finished with %d error(s): %b%b (%b)\r\n" % (len(names), shown, more, why)


def _all_ok(gather: Gather, replies: Sequence[bytes]) -> bytes:
    return _broken(gather, replies) or b"+OK\r\n"


def _sum(gather: Gather, replies: Sequence[bytes]) -> bytes:
    broken = _broken(gather, replies)
    if broken is not None:
        return broken
    try:
        return b":%d\r\n" % sum(int(reply[1:-2]) for reply in replies)
    except ValueError:
        return b"-upstream protocol error\r\n"


def _in_order(
    gather: Gather, indexes: Sequence[Sequence[int]], count: int, replies: Sequence[bytes]
) -> bytes:
    """Put the values where their keys were; a host's error stands in each place of its keys."""
    found: list[bytes] = [b""] * count
    protocol = gather.client.protocol
    for places, reply in zip(indexes, replies, strict=True):
        values: Any = [reply] * len(places)
        if reply[0] != 45:
            values = elements_of(reply, protocol)
            if len(values) != len(places):
                values = [b"-upstream protocol error\r\n"] * len(places)
        for place, value in zip(places, values, strict=True):
            found[place - 1] = value
    return b"*%d\r\n" % count + b"".join(found)


def elements_of(reply: bytes, protocol: int) -> list[bytes]:
    """Return the bytes of each element of an array of strings; none of something else."""
    found = []
    try:
        position = reply.index(b"\r\n") + 2
        alike = split_replies(reply[position:])
        if alike is not None:
            return alike
        end = len(reply)
        while position < end:
            stop = reply.index(b"\r\n", position)
            after = stop + 2
            if reply[position] == 36 and reply[position + 1] != 45:
                after += int(reply[position + 1 : stop]) + 2
            found.append(reply[position:after])
            position = after
    except ValueError:
        value = decode(reply)
        return [encode_value(each, protocol) for each in value] if isinstance(value, list) else []
    return found
