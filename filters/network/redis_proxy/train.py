"""
Many commands of one client, that came together, on their way together.

A pipeline of commands with one key each costs most of its time in what is done for each
of them.  So they share one slot in the client's queue, and one place in the queue of
each connection: a Train, of which each connection pulls a Car.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from meshd.codec.resp_uniform import Uniform
from meshd.filters.network.redis_proxy.request import NO_HOST, UPSTREAM_FAILURE, Request, Slot
from meshd.interfaces import IHost, Result

if TYPE_CHECKING:
    from meshd.filters.network.redis_proxy.client import Client
    from meshd.filters.network.redis_proxy.pool import Pool
    from meshd.filters.network.redis_proxy.table import Entry

#: Fewer commands than that go one by one.
LEAST = 4


class Load:
    """The bytes of commands that are not uniform."""

    __slots__ = ("_raws", "count")

    def __init__(self, raws: list[bytes]) -> None:
        self._raws = raws
        self.count = len(raws)

    def raw(self, places: list[int]) -> bytes:
        """Return the bytes of some of them."""
        raws = self._raws
        return b"".join(raws) if len(places) == self.count else b"".join([raws[place] for place in places])


class Train(Slot):
    """The replies to many commands, in order; those at its head can be had before the rest is there."""

    __slots__ = (
        "_first",
        "_given",
        "client",
        "counts",
        "entries",
        "errors",
        "left",
        "load",
        "replies",
        "start",
    )

    def __init__(self, client: Client, entries: list[Entry], load: Load | Uniform) -> None:
        self.reply = None
        self.client = client
        self.entries = entries
        self.counts = Counter(entries)
        for entry, number in self.counts.items():
            entry.stats.total.value += number
        self.load = load
        self.replies: list[bytes | None] = [None] * load.count
        self.left = load.count
        #: Places of commands that failed.
        self.errors: list[int] = []
        self.start = client.now
        self._given = 0

    @property
    def owed(self) -> int:
        """How many replies were not yet given."""
        return len(self.replies) - self._given

    def take(self) -> list[bytes]:
        """Return the replies that can be sent now."""
        replies, given = self.replies, self._given
        if not self.left:
            ready = replies[given:] if given else replies
        else:
            end = given
            count = len(replies)
            while end < count and replies[end] is not None:
                end += 1
            ready = replies[given:end]
        self._given = given + len(ready)
        return ready  # type: ignore[return-value]

    def filled(self, count: int) -> None:
        """Count replies; with the last one, tell the statistics."""
        self.left -= count
        if self.left:
            return
        client = self.client
        elapsed = (client.seconds() - self.start) * client.factor
        for entry, number in self.counts.items():
            entry.stats.success.value += number
            entry.stats.latency.record(elapsed, number)
        for place in self.errors:
            stats = self.entries[place].stats
            stats.success.value -= 1
            stats.error.value += 1


class Car:
    """What of a Train goes over one connection; places are where its replies belong."""

    __slots__ = ("_done", "client", "host", "left", "places", "pool", "start", "train")

    def __init__(self, train: Train, pool: Pool, host: IHost, places: list[int]) -> None:
        self.train = train
        self.client = train.client
        self.pool = pool
        self.host = host
        self.places = places
        self.left = len(places)
        self.start = train.start
        self._done = 0

    def take(self, replies: list[bytes], index: int) -> int:
        """Take our replies from those that came, beginning at index; return how many."""
        done, train = self._done, self.train
        count = min(self.left, len(replies) - index)
        own = replies if count == len(replies) else replies[index : index + count]
        self._done = done + count
        self.left -= count
        places = self.places
        where = places if count == len(places) else places[done : done + count]
        if self.pool.may_redirect and any(reply[0] == 45 for reply in own):
            self._redirect(where, own)
            return count
        if where[-1] - where[0] == count - 1:
            train.replies[where[0] : where[-1] + 1] = own
        else:
            target = train.replies
            for place, reply in zip(where, own, strict=True):
                target[place] = reply
        train.filled(count)
        return count

    def waiting(self) -> Client | None:
        """Return the client if the train is complete now; else they are sent after this batch."""
        if self.train.left:
            self.client.flush_soon()
            return None
        return self.client

    def take_whole(self, data: bytes, count: int) -> None:
        """Take data, which is count replies, none of which has to be looked at; they lie side by side."""
        done, train = self._done, self.train
        self._done = done + count
        self.left -= count
        start = self.places[done]
        train.replies[start : start + count] = [data, *[b""] * (count - 1)]
        train.filled(count)

    @property
    def is_whole(self) -> bool:
        """Whether the replies lie side by side, and none of them has to be looked at."""
        return len(self.places) == len(self.train.replies) and not self.pool.may_redirect

    def _redirect(self, places: list[int], replies: list[bytes]) -> None:
        for place, reply in zip(places, replies, strict=True):
            if reply[0] == 45:
                straggler = Straggler(self.train, place, self.pool)
                straggler.host = self.host
                if self.pool.redirect(straggler, reply):
                    continue
            self.train.replies[place] = reply
            self.train.filled(1)

    def answered(self, reply: bytes) -> Client:
        """Take one reply."""
        self.take([reply], 0)
        return self.client

    def failed(self, result: Result | None, why: bytes = UPSTREAM_FAILURE) -> None:
        """There will be no more replies."""
        train, places = self.train, self.places[self._done :]
        self._done, self.left = len(self.places), 0
        for place in places:
            train.replies[place] = why
        train.errors += places
        train.filled(len(places))
        self.client.flush()


class Straggler(Request):
    """A command of a train that a host sent elsewhere."""

    __slots__ = ("place", "train")

    def __init__(self, train: Train, place: int, pool: Pool) -> None:
        super().__init__(train.client, train.entries[place], train.load.raw([place]), pool, None)
        self.train = train
        self.place = place

    def answered(self, reply: bytes) -> Client | None:
        if reply[0] == 45 and self.pool.redirect(self, reply):
            return None
        self.train.replies[self.place] = reply
        self.train.filled(1)
        return self.client

    def failed(self, result: Result | None, why: bytes = UPSTREAM_FAILURE) -> None:
        self.train.replies[self.place] = why
        self.train.errors.append(self.place)
        self.train.filled(1)
        self.client.flush()


def depart(client: Client, pool: Pool, entries: list[Entry], keys: list[bytes], load: Load | Uniform) -> None:
    """Send commands with one key each."""
    train = Train(client, entries, load)
    client.queue.append(train)
    client.in_trains += load.count - 1
    by_host: dict[IHost | None, list[int]] = defaultdict(list)
    if pool.is_single:
        by_host[pool.host_of(None)] = list(range(load.count))
    else:
        for place, host in enumerate(pool.hosts_of(keys, entries)):
            by_host[host].append(place)
    for host, places in by_host.items():
        if host is None:
            for place in places:
                train.replies[place] = NO_HOST
            train.errors += places
            train.filled(len(places))
            continue
        pool.send_car(host, Car(train, pool, host, places), load.raw(places))
