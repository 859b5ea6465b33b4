"""
Many commands of one client, that came together, on their way together.

A pipeline of commands with one key each costs most of its time in what is done for each
of them.  So they share one slot in the client's queue, and one place in the queue of
each connection: a Train, of which each connection pulls a Car.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from meshd.codec.resp_uniform import Uniform
from meshd.filters.network.redis_proxy.request import UPSTREAM_FAILURE, Request, Slot
from meshd.interfaces import Result

if TYPE_CHECKING:
    from meshd.filters.network.redis_proxy.client import Client
    from meshd.filters.network.redis_proxy.link import Link
    from meshd.filters.network.redis_proxy.pool import Pool
    from meshd.filters.network.redis_proxy.table import Entry

#: Seconds that the first replies of a pipeline wait for the others: a write for each would cost more.
PATIENCE = 0.01


class Load:
    """The bytes of commands that are not uniform."""

    def __init__(self, raws: list[bytes]) -> None:
        #: Each without head, which all begin with.
        self.pieces = raws
        self.head = b""
        self.count = len(raws)

    @property
    def data(self) -> bytes:
        """All bytes."""
        return b"".join(self.pieces)


class Train(Slot):
    """The replies to many commands, in order."""

    __slots__ = (
        "_cars",
        "_links",
        "_next",
        "client",
        "counts",
        "entry_at",
        "errors",
        "left",
        "load",
        "owed",
        "ready",
        "start",
    )

    def __init__(
        self,
        client: Client,
        counts: Mapping[Entry, int],
        entry_at: Callable[[int], Entry],
        load: Load | Uniform,
    ) -> None:
        """counts says how many commands of each kind there are, and entry_at which is at a place."""
        self.reply = None
        self.client = client
        self.counts = counts
        self.entry_at = entry_at
        for entry, number in counts.items():
            entry.stats.total.value += number
        self.load = load
        self.start = client.now
        #: How many replies are not given to the client.
        self.owed = load.count
        #: Those that can be, maybe several in one, and how many they are.
        self.ready: tuple[list[bytes], int] = ([], 0)
        #: How many replies have not come.
        self.left = load.count
        #: Places of commands that failed.
        self.errors: list[int] = []
        self._links: Sequence[Link] = ()
        self._cars: dict[Link, Car] = {}
        #: The place of the first command, among those of several links, that is not ready.
        self._next = 0

    def couple(self, links: Sequence[Link]) -> None:
        """Send each command over its own of links."""
        self._links = links
        load = self.load
        first = links[0]
        if not first.may_redirect and links.count(first) == len(links):
            first.send_car(Car(self, first, len(links), whole=True), load.data)
            return
        own: defaultdict[Link, list[bytes]] = defaultdict(list)
        for link, piece in zip(links, load.pieces):  # noqa: B905 - they are as many, and this is the hot path
            own[link].append(piece)
        head = load.head
        for link, pieces in own.items():
            car = self._cars[link] = Car(self, link, len(pieces))
            link.send_car(car, head + head.join(pieces))

    def came(self, count: int) -> None:
        """Count replies; with the last one, put them in order."""
        self.left -= count
        if self.left:
            return
        if self._cars:
            self._make_ready()
            self._cars = {}  # there is a cycle
        client = self.client
        elapsed = (client.seconds() - self.start) * client.factor
        for entry, number in self.counts.items():
            entry.stats.success.value += number
            entry.stats.latency.record(elapsed, number)
        for place in self.errors:
            stats = self.entry_at(place).stats
            stats.success.value -= 1
            stats.error.value += 1

    def _make_ready(self) -> None:
        links, first = self._links, self._next
        replies = {link: iter(car.replies) for link, car in self._cars.items()}
        merged = list(map(next, map(replies.__getitem__, links[first:] if first else links)))
        ready, count = self.ready
        self.ready = (ready + merged if ready else merged, count + len(merged))

    def hurry(self) -> None:
        """Make those ready that have come, though others have not."""
        if not self._cars:
            return
        ready, count = self.ready
        for link in self._links[self._next :]:
            car = self._cars[link]
            if not car.replies or car.replies[0] is None:
                break
            ready.append(car.replies.pop(0))
            car.given += 1
            count += 1
            self._next += 1
        self.ready = (ready, count)

    def take(self) -> tuple[list[bytes], int]:
        """Return the replies that can be sent now, and how many they are."""
        ready, self.ready = self.ready, ([], 0)
        self.owed -= ready[1]
        return ready

    def places_of(self, link: Link) -> list[int]:
        """Return the places of the commands of a link."""
        return [place for place, other in enumerate(self._links) if other is link]


class Car:
    """What of a Train goes over one connection; left is how many replies are still to come."""

    __slots__ = ("_count", "client", "given", "is_whole", "left", "link", "replies", "start", "train")

    def __init__(self, train: Train, link: Link, count: int, whole: bool = False) -> None:
        """whole says that it is all of the train, so that replies need not be told apart."""
        self.train = train
        self.client = train.client
        self.link = link
        self._count = self.left = count
        self.is_whole = whole
        self.start = train.start
        #: Those that came and are not ready; None stands for one that comes by another way.
        self.replies: list[Any] = []
        #: How many there were before those.
        self.given = 0

    def take(self, replies: list[bytes], index: int) -> int:
        """Take our replies from those that came, beginning at index; return how many."""
        count = min(self.left, len(replies) - index)
        own: list[Any] = replies if count == len(replies) else replies[index : index + count]
        first = self._count - self.left
        self.left -= count
        if self.is_whole:
            self._pass(own, count)
            return count
        done = count
        if self.link.may_redirect and any(reply[0] == 45 for reply in own):
            own = [self._redirected(reply, first + number) for number, reply in enumerate(own)]
            done -= own.count(None)
        self.replies = self.replies + own if self.replies else own
        self.train.came(done)
        return count

    def take_whole(self, data: bytes, count: int) -> None:
        """Take data, which is count replies, where nobody has to tell them apart."""
        self.left -= count
        self._pass([data], count)

    def _pass(self, replies: list[bytes], count: int) -> None:
        ready, before = self.train.ready
        self.train.ready = (ready + replies, before + count)
        self.train.came(count)

    def _redirected(self, reply: bytes, number: int) -> bytes | None:
        """Return a reply; None if the command follows it elsewhere."""
        if reply[0] != 45:
            return reply
        straggler = Straggler(self, number, self.link.pool)
        return None if straggler.pool.redirect(straggler, reply) else reply

    def waiting(self) -> Client | None:
        """Return the client if there is something for it now; else it gets what there is in a moment."""
        if self.train.left and not self.is_whole:
            self.client.flush_later()
            return None
        return self.client

    def answered(self, reply: bytes) -> Client:
        """Take one reply."""
        self.take([reply], 0)
        return self.client

    def _lose(self, replies: list[bytes]) -> None:
        """Take replies of our own instead of those that are still to come."""
        self.left = 0
        if self.is_whole:
            self._pass(replies, len(replies))
        else:
            self.replies = self.replies + replies
            self.train.came(len(replies))

    def failed(self, result: Result | None, why: bytes = UPSTREAM_FAILURE) -> None:
        """There will be no more replies."""
        train, left = self.train, self.left
        train.errors += train.places_of(self.link)[self._count - left :]
        self._lose([why] * left)
        self.client.flush()


class Straggler(Request):
    """A command of a train that a host sent elsewhere."""

    __slots__ = ("_car", "_number", "_place")

    def __init__(self, car: Car, number: int, pool: Pool) -> None:
        train = car.train
        self._place = place = train.places_of(car.link)[number]
        raw = train.load.head + train.load.pieces[place]
        super().__init__(train.client, train.entry_at(place), raw, pool, None)
        self.host = car.link.host
        self._car = car
        self._number = number

    def answered(self, reply: bytes) -> Client | None:
        if reply[0] == 45 and self.pool.redirect(self, reply):
            return None
        self._arrive(reply)
        return self.client

    def failed(self, result: Result | None, why: bytes = UPSTREAM_FAILURE) -> None:
        self._car.train.errors.append(self._place)
        self._arrive(why)
        self.client.flush()

    def _arrive(self, reply: bytes) -> None:
        car = self._car
        car.replies[self._number - car.given] = reply
        car.train.came(1)
