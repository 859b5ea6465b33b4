"""
MGET over several hosts, the short way: each has a share of it.

Shares for one host that come in one batch of events go out as one command, a
Sheaf.  The values are put together in the order of the keys.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING

from meshd.codec.resp_uniform import joined, pairs
from meshd.filters.network.redis_proxy.keyed import elements_of
from meshd.filters.network.redis_proxy.request import UPSTREAM_FAILURE, Slot
from meshd.interfaces import Result

if TYPE_CHECKING:
    from meshd.filters.network.redis_proxy.client import Client
    from meshd.filters.network.redis_proxy.link import Link
    from meshd.filters.network.redis_proxy.table import Entry

#: Keys from which on a Sheaf takes no more.
_MOST = 512

_BAD = b"-upstream protocol error\r\n"


class Spread(Slot):
    """The replies to MGETs with width keys each, of which several hosts have a share."""

    __slots__ = ("_links", "_width", "broken", "client", "entry", "left", "owed", "start", "values")

    def __init__(self, client: Client, entry: Entry, links: list[Link], width: int) -> None:
        """links has the connection for each key."""
        self.reply = None
        self.client = client
        self.entry = entry
        self.start = client.seconds()
        self._links = links
        self._width = width
        #: How many replies that is.
        self.owed = len(links) // width
        #: By host, the lines of each of its values.
        self.values: dict[Link, Iterator[tuple[bytes, ...]]] = {}
        #: Shares that are not there yet.
        self.left = 0
        self.broken = False

    def put_together(self) -> None:
        """All values are there: make them the replies, which count as one from now on."""
        values = map(next, map(self.values.__getitem__, self._links))
        width, owed = self._width, self.owed
        head = b"*%d\r\n%%b\r\n" % width
        join, lines = b"\r\n".join, chain.from_iterable
        self.reply = b"".join([head % join(lines(islice(values, width))) for _ in range(owed)])
        self.values = {}
        client, stats = self.client, self.entry.stats
        (stats.error if self.broken else stats.success).value += owed
        stats.latency.record((client.seconds() - self.start) * client.factor, owed)
        client.shared.stats.rq_active.value -= owed - 1
        client.in_trains -= owed - 1
        self.owed = 1


class Sheaf:
    """
    An MGET for the shares of several Spreads, in order: one pending command of a link.

    keys are what follows the $ of each as a bulk string, and shares says how many are whose.
    """

    __slots__ = ("at", "client", "keys", "link", "shares", "start")

    def __init__(self, link: Link, spread: Spread, keys: list[bytes]) -> None:
        self.link = link
        self.client = spread.client
        self.start = spread.start
        self.shares = [(spread, len(keys))]
        self.keys = keys
        #: Where in link.out it goes.
        self.at = 0

    @property
    def raw(self) -> bytes:
        """Its bytes."""
        return b"*%d\r\n$4\r\nMGET\r\n$%b" % (len(self.keys) + 1, b"$".join(self.keys))

    def answered(self, reply: bytes | list[bytes]) -> Client | None:
        """Take the reply, or the lines of an array."""
        if reply.__class__ is not list or reply[0] != b"*%d" % len(self.keys):
            self._odd(joined(reply))
        else:
            self._deal(pairs(reply))
        return None

    def _odd(self, reply: bytes) -> None:
        """Take a reply that has to be looked at: long values, or an error, which stands for each value."""
        if reply[0] == 45:
            if len(self.shares) > 1 and not self.link.over:
                self._apart(reply)
                return
            found = [reply] * len(self.keys)
        else:
            found = elements_of(reply, self.client.protocol)
            if len(found) != len(self.keys):
                found = [_BAD] * len(self.keys)
        self._deal([(value[:-2],) for value in found])

    def _apart(self, reply: bytes) -> None:
        """Ask again for each share: the error may be about a key of another's."""
        if reply.startswith(b"-NOPERM"):
            self.link.gathers = False
        start = 0
        for spread, count in self.shares:
            alone = Sheaf(self.link, spread, self.keys[start : start + count])
            self.link.send(alone, alone.raw)
            start += count

    def _deal(self, values: list[tuple[bytes, ...]]) -> None:
        """Give each share its values."""
        start, link, touched = 0, self.link, None
        for spread, count in self.shares:
            end = start + count
            spread.values[link] = iter(values[start:end])
            start = end
            spread.left -= 1
            if not spread.left:
                spread.put_together()
                client = spread.client
                if client is not touched:  # those of a pipeline lie side by side
                    if touched is not None:
                        touched.flush()
                    touched = client
        if touched is not None:
            touched.flush()

    def failed(self, result: Result | None, why: bytes = UPSTREAM_FAILURE) -> None:
        """There will be no reply."""
        for spread, _ in self.shares:
            spread.broken = True
        self._deal([(why[:-2],)] * len(self.keys))


def spread(client: Client, entry: Entry, links: list[Link], keys: Iterable[bytes], width: int) -> None:
    """
    Send MGETs with width keys each.

    links has the connection for each key, and keys what follows the $ of each as a bulk string.
    """
    whole = Spread(client, entry, links, width)
    own: defaultdict[Link, list[bytes]] = defaultdict(list)
    for link, key in zip(links, keys):  # noqa: B905 - they are as many, and this is the hot path
        own[link].append(key)
    count = whole.owed
    whole.left = len(own)
    client.queue.append(whole)
    client.in_trains += count - 1
    for link, its in own.items():
        # What waits for the same flush goes along, unless something else was sent after it.
        sheaf = link.sheaf
        if sheaf is None or link.pending[-1] is not sheaf or len(sheaf.keys) >= _MOST or not link.gathers:
            link.sheaf = sheaf = Sheaf(link, whole, its)
            sheaf.at = len(link.out)
            link.sheaves.append(sheaf)
            link.send(sheaf, b"")
        else:
            sheaf.shares.append((whole, len(its)))
            sheaf.keys += its
    entry.stats.total.value += count
    stats = client.shared.stats
    stats.rq_total.value += count
    stats.rq_active.value += count
