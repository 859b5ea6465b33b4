"""
The short way of commands, for clients that share a connection to each host.

Where keys live is a table that holds until the cluster picks by another function; a
lone short command is taken apart by a single split, and travels in a slot that its
client uses again and again.  Whatever is not as usual goes the long way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from meshd.codec.murmur import murmur2
from meshd.codec.resp_uniform import bulk, line_size
from meshd.filters.network.redis_proxy.request import Request
from meshd.filters.network.redis_proxy.spread import spread
from meshd.interfaces import NoHost

if TYPE_CHECKING:
    from meshd.filters.network.redis_proxy.client import Client
    from meshd.filters.network.redis_proxy.link import Link
    from meshd.filters.network.redis_proxy.pool import Flavour, Pool
    from meshd.filters.network.redis_proxy.table import Entry

#: Places from which on the cluster is asked each time, rather than a table: a megabyte.
_MOST_PLACES = 131072

#: Bytes of the longest command that is taken apart by a split.
SHORT = 512


class Quick(Request):
    """A client's only command: one object for all of them, and the connection answers it by itself."""

    __slots__ = ()


class Lane:
    """Where keys go, for the clients of one flavour of a pool."""

    def __init__(self, pool: Pool, flavour: Flavour) -> None:
        self.pool = pool
        self._flavour = flavour
        self._find = pool.clusters.get
        self._name = pool.name
        self._cluster: Any = None
        self._pick: Callable[[int | None], Any] | None = None
        self._hash_of: Callable[[bytes], int] = murmur2
        #: Whether a key keeps its host, and whether replicas answer some.
        self._placed = False
        self._spreads_reads = False
        #: The connection to the only host, once there is one.
        self.only: Link | None = None
        #: By place, the connection to the host that has it; empty if there are no places.
        self._links: list[Link | None] = []

    def forget(self) -> None:
        """Look for connections anew."""
        self.only = None
        self._links = [None] * len(self._links)

    @property
    def current(self) -> bool:
        """Whether what is remembered holds, or can be had anew: the cluster is there, and places keys."""
        cluster: Any = self._find(self._name)
        if cluster is self._cluster and cluster is not None and cluster.pick is self._pick:
            return self._placed
        return self._renew()

    def _renew(self) -> bool:
        pool = self.pool
        self._cluster = cluster = pool.current()
        self.only = None
        self._placed = False
        if cluster is None:
            return False
        self._pick = cluster.pick
        self._hash_of = pool.hash_of
        self._placed = cluster.places is not None and pool.takes_trains and not pool.flush_size
        places = cluster.places or 0
        self._links = [None] * (places if places <= _MOST_PLACES else 0)
        self._spreads_reads = cluster.redis_slots and pool.settings.read_policy != "MASTER"
        return self._placed

    def sole(self) -> Link | None:
        """Return the connection to the only host; None if there are several."""
        if self.only is None and len(self._links) == 1:
            self.only = self._to(0)
        return self.only

    def link(self, key: bytes, entry: Entry) -> Link | None:
        """Return the connection for a key; None if it has to go the long way."""
        if entry.reads and self._spreads_reads:
            return None
        table = self._links
        if len(table) == 1:
            return self.sole()
        hashed = self._hash_of(key)
        if not table:
            return self._to(hashed)
        return table[hashed % len(table)] or self._fill(hashed)

    def links(self, keys: Sequence[bytes], entries: Sequence[Entry]) -> list[Link] | None:
        """
        Return the connection for each key; None if one has to go the long way.

        entries are the kinds of commands that there are.
        """
        if self._spreads_reads and any(entry.reads for entry in entries):
            return self._read_links(keys) if all(entry.reads for entry in entries) else None
        only = self.only or self.sole()
        if only is not None:
            return [only] * len(keys)
        hashes = self.pool.hashes_of(keys)
        table = self._links
        if not table:
            found: list[Any] = [self._to(hashed) for hashed in hashes]
        else:
            size = len(table)
            found = [table[hashed % size] or self._fill(hashed) for hashed in hashes]
        return None if None in found else found

    def _read_links(self, keys: Sequence[bytes]) -> list[Link] | None:
        """Return connections to hosts that may answer reads."""
        found: list[Any] = []
        for key in keys:
            host = self.pool.host_of(key, True)
            found.append(None if host is None else self.pool.link_to(host, self._flavour))
        return None if None in found else found

    def _fill(self, hashed: int) -> Link | None:
        link = self._links[hashed % len(self._links)] = self._to(hashed)
        return link

    def _to(self, hashed: int) -> Link | None:
        try:
            host = self._cluster.pick(hashed)
        except NoHost:
            return None
        return self.pool.link_to(host, self._flavour)

    def take(self, client: Client, data: bytes) -> bool:
        """Send data, if it is one usual command of a client that waits for nothing; whether it was."""
        lines = data.split(b"\r\n")
        width = len(lines)
        if width == 6:
            if lines[0] != b"*2" or line_size(lines[3]) != len(lines[4]) or lines[5]:
                return False
        elif width != 8 or lines[0] != b"*3" or lines[7]:
            return self._take_many(client, data, lines)
        elif line_size(lines[3]) != len(lines[4]) or line_size(lines[5]) != len(lines[6]):
            return False
        name = lines[2]
        entry = client.table.spelt.get(name)
        if entry is None or not entry.quick or line_size(lines[1]) != len(name) or not self.current:
            return False
        key = lines[4]
        link = self.only or self.link(key, entry)
        if link is None:
            return False
        self._send(client, entry, link, key, data)
        return True

    def _send(self, client: Client, entry: Entry, link: Link, key: bytes, data: bytes) -> None:
        request = client.quick
        request.reply = None
        request.entry = entry
        request.raw = data
        request.key = key
        request.start = client.seconds()
        request.attempts = request.redirects = 0
        request.host = link.host
        client.queue.append(request)
        link.pending.append(request)
        link.out.append(data)
        link.fresh += 1
        if not link.scheduled:
            link.schedule(len(data))
        entry.stats.total.value += 1

    def _take_many(self, client: Client, data: bytes, lines: list[bytes]) -> bool:
        """Send an MGET of many keys, as take does."""
        width = len(lines)
        entry = client.table.spelt.get(lines[2]) if width > 8 and not width % 2 else None
        if entry is None or not entry.gathers or lines[-1] or lines[0] != b"*%d" % (width // 2 - 1):
            return False
        if list(map(line_size, lines[1:-1:2])) != list(map(len, lines[2::2])) or not self.current:
            return False
        keys = lines[4::2]
        only = self.sole()
        if only is not None:
            self._send(client, entry, only, keys[0], data)
            return True
        if self.pool.may_redirect:
            return False
        links = self.links(keys, (entry,))
        if links is None:
            return False
        pieces = data.split(b"$")
        if len(pieces) == len(keys) + 2:
            spread(client, entry, links, islice(pieces, 2, None), len(keys))
        else:  # there is a $ in a key
            spread(client, entry, links, map(bulk, keys), len(keys))
        return True
