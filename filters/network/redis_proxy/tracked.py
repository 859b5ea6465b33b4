"""
CLIENT TRACKING: connections of a client's own, on which the servers keep book of what it has read.

What they tell goes to the client behind the replies that it knows the keys from, or
with REDIRECT to another client.  A server that is to redirect needs one more
connection, a Receiver, that it redirects to.  Where nobody can tell what changes any more
(a connection is lost, keys belong to other hosts) those who would be told are cut, so that
they believe nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import frozen

from meshd.codec.resp import encode
from meshd.codec.resp_reply import Push, decode
from meshd.codec.resp_reply import encode as encode_value
from meshd.filters.network.redis_proxy.ledger import look_at, look_away
from meshd.filters.network.redis_proxy.link import Link
from meshd.filters.network.redis_proxy.pool import Flavour
from meshd.filters.network.redis_proxy.request import ASKING, UPSTREAM_FAILURE, Copy, Gather, Once, Slot
from meshd.interfaces import IHost, ITimer, Result

if TYPE_CHECKING:
    from meshd.filters.network.redis_proxy.client import Client
    from meshd.filters.network.redis_proxy.pool import Pool
    from meshd.filters.network.redis_proxy.table import Entry

_HEAD = b">2\r\n$10\r\ninvalidate\r\n"
_ALL = b"_\r\n"
_MESSAGE = b"*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n"
_PING = encode([b"PING"])
_ID = encode([b"CLIENT", b"ID"])

#: Seconds between looks whether keys belong to other hosts now.
_LOOK = 1.0

#: In the number of a client the lowest bits are those of its connection, the others tell the worker.
_NUMBER_BITS = 30


def number_of(client: Client) -> int:
    """Return what CLIENT ID answers; who knows it can redirect to that client."""
    number = os.getpid() << _NUMBER_BITS | client.connection.info.id & ((1 << _NUMBER_BITS) - 1)
    client.shared.clients[number] = client
    return number


def push_in_order(client: Client, push: bytes) -> None:
    """Send what a server said by itself, behind the replies that came before it, if those wait for others."""
    queue = client.queue
    after = 0
    for place, slot in enumerate(queue, 1):
        if slot.reply is not None or (isinstance(slot, Gather) and any(each.reply for each in slot.parts)):
            after = place
    if after:
        client.shared.stats.rq_active.value += 1
        queue.insert(after, Slot(push))
    else:
        client.write(push)


@frozen
class Terms:
    """What a client said with CLIENT TRACKING ON."""

    bcast: bool = False
    optin: bool = False
    optout: bool = False
    noloop: bool = False
    prefixes: tuple[bytes, ...] = ()
    #: The number of the client that is told instead; 0: none.
    redirect: int = 0


class Tracking(Flavour):
    """The connections of a client that tracks; it has them until end()."""

    def __init__(self, client: Client, terms: Terms) -> None:
        super().__init__(client.database, client.protocol)
        self.client = client
        self.terms = terms
        #: Whether the client that was to be told is gone.
        self.broken = False
        #: Whether CLIENT CACHING was said, and the command that it is about has not come.
        self.caching = False
        #: Commands that CLIENT CACHING is about.
        self.marked: set[Slot] = set()
        self.links: dict[TrackedLink, None] = {}
        self._receivers: dict[tuple[Pool, IHost], Receiver] = {}
        self._timer: ITimer | None = None
        self._stands = False
        shared = client.shared
        self.pools: list[Pool] = list(
            dict.fromkeys(
                shared.pools[name]
                for route in shared.routes.all
                for name in (route.cluster, route.read_cluster)
                if name
            )
        )

    # Beginning and end.

    def begin(self, entry: Entry, then: Callable[[bytes], object]) -> None:
        """Track; then is called with an error, or b"" once it stands: with BCAST, at every host."""
        self._then = then
        self._hosts = self._watched_hosts()
        self._missing = 1
        for pool in self.pools if self.terms.bcast else ():
            for host in pool.hosts() if self.words(pool) is not None else ():
                link = pool.link_to(host, self)
                if link is None:
                    self._begun(UPSTREAM_FAILURE)
                    return
                self._missing += 1
                link.send(Once(self.client, entry, _PING, pool, self._begun), _PING)
        self._begun(b"+")

    def _begun(self, reply: bytes) -> None:
        self._missing -= 1
        if self._stands or self._missing < 0:
            return
        if reply[0] == 45:
            self._missing = -1
            self.end()
            self._then(reply)
        elif not self._missing:
            self._stands = True
            self._timer = self.client.shared.timers.call_later(_LOOK, self._look)
            self._then(b"")

    def _watched_hosts(self) -> list[frozenset[Any]]:
        """
        Return the hosts whose change means that nobody tells of some keys any more.

        The nodes of a Redis Cluster tell of keys that move away; new ones do not know of BCAST.
        """
        bcast, found = self.terms.bcast, []
        for pool in self.pools:
            cluster: Any = pool.current()
            if cluster is None:
                continue
            if cluster.redis_slots:
                found.append(frozenset(shard.primary for shard in cluster.shards if bcast))
            elif bcast or pool.has_places:
                found.append(frozenset(host for host in cluster.hosts if host.healthy))
        return found

    def _look(self) -> None:
        self._timer = None
        if self._watched_hosts() != self._hosts:
            self.lost()
        else:
            self._timer = self.client.shared.timers.call_later(_LOOK, self._look)

    def lost(self) -> None:
        """Something has changed of which nobody tells: cut who relies on that."""
        if not self._stands:
            return
        self._stands = False
        target = self._target()
        for each in (self.client, target):
            if each is not None and not each.gone:
                each.cut()

    def end(self) -> None:
        """Close the connections."""
        self._stands = False
        if self._timer is not None:
            self._timer.cancel()
        look_away(self.client, self._mark)
        for link in list(self.links):
            link.draining = True
        for pool in self.client.shared.pools.values():
            pool.drop(self)
        receivers, self._receivers = self._receivers, {}
        for receiver in receivers.values():
            receiver.close()

    def renew(self, terms: Terms, entry: Entry) -> None:
        """Track on other terms from now on, but with BCAST; what was read before is still kept book of."""
        self.terms = terms
        self.broken = self.caching = False
        look_away(self.client, self._mark)
        for link in list(self.links):
            command = link.command()
            if command and not link.over:
                link.send(Copy(self.client, entry, command, link.pool, None), command)

    # Connections.

    def make_link(self, pool: Pool, host: IHost, greetings: list[bytes]) -> Link:
        words = self.words(pool)
        if words is None or pool not in self.pools:
            return Link(pool, host, greetings)
        receiver = self._receiver(pool, host) if self.terms.redirect else None
        return TrackedLink(self, pool, host, greetings, receiver)

    def words(self, pool: Pool) -> list[bytes] | None:
        """Return what CLIENT TRACKING ON is to say to the hosts of a pool; None: it need not be said."""
        terms = self.terms
        said = []
        if terms.bcast:
            starts = self.client.shared.routes.upstream_starts(pool.name, terms.prefixes)
            if not starts:
                return None
            said.append(b"BCAST")
            for start in starts if b"" not in starts else ():
                said += [b"PREFIX", start]
        names = ("optin", "optout", "noloop")
        return said + [name.upper().encode() for name in names if getattr(terms, name)]

    def _receiver(self, pool: Pool, host: IHost) -> Receiver:
        receiver = self._receivers.get((pool, host))
        if receiver is None:
            receiver = self._receivers[pool, host] = Receiver(self, pool, host)
        return receiver

    def forget(self, place: tuple[Pool, IHost]) -> None:
        """A receiver could not be had: the next command tries again."""
        self._receivers.pop(place, None)

    # What servers tell.

    def told(self, pool: Pool, push: bytes) -> None:
        """Pass an invalidation on."""
        if not push.startswith(_HEAD):
            return
        keys = push[len(_HEAD) :]
        routes, terms = self.client.shared.routes, self.terms
        if keys != _ALL and routes.renames(pool.name):
            names = [name for key in decode(keys) for name in routes.client_keys(pool.name, key)]
            names = [name for name in names if not terms.bcast or name.startswith(terms.prefixes)]
            if not names:
                return
            keys = encode_value(names)
        if terms.redirect:
            self._redirect(keys)
        else:
            push_in_order(self.client, _HEAD + keys)

    def _target(self) -> Client | None:
        """Return the client that REDIRECT names; None if it is gone."""
        if not self.terms.redirect:
            return None
        target = self.client.shared.clients.get(self.terms.redirect)
        return None if target is None or target.gone else target

    def _redirect(self, keys: bytes) -> None:
        """Tell another client, as Redis does (sendTrackingMessage in its tracking.c)."""
        client, target = self.client, self._target()
        if target is None:
            self.broken = True
            if client.protocol == 3:
                push = Push([b"tracking-redir-broken", self.terms.redirect])
                push_in_order(client, encode_value(push, 3))
        elif target is client:
            push_in_order(client, _HEAD + keys)
        elif target.protocol == 3:
            target.write(_HEAD + keys)
        elif target.subscriber is not None:
            target.write(_MESSAGE + (b"$-1\r\n" if keys == _ALL else keys))

    # CLIENT CACHING.

    def cache_next(self) -> None:
        """Let the next command, or transaction, be marked."""
        self.caching = True
        look_at(self.client, self._mark)

    def _mark(self, slot: Slot) -> Slot:
        transaction = self.client.transaction
        # To keep book of more than was asked for does no harm.
        if (self.terms.optin and slot.reply is not None) or (transaction is not None and transaction.open):
            return slot
        self.caching = False
        look_away(self.client, self._mark)
        self.marked = {each for each in self.marked if each.reply is None}
        self.marked.add(slot)
        return slot


class TrackedLink(Link):
    """A connection on which a server keeps book."""

    def __init__(
        self, tracking: Tracking, pool: Pool, host: IHost, greetings: list[bytes], receiver: Receiver | None
    ) -> None:
        self._tracking = tracking
        self._receiver = receiver
        self._early: Any = None
        # The place of CLIENT TRACKING, which may have to wait for the receiver.
        super().__init__(pool, host, [*greetings, b""])
        self.on_push = partial(tracking.told, pool)

    def command(self) -> bytes:
        """Return CLIENT TRACKING ON on the terms that hold; b"" as long as the receiver is not known."""
        words = [b"CLIENT", b"TRACKING", b"ON"]
        if self._receiver is not None:
            if self._receiver.number is None:
                return b""
            words += [b"REDIRECT", b"%d" % self._receiver.number]
        return encode([*words, *(self._tracking.words(self.pool) or ())])

    def connectionMade(self) -> None:
        command = self.command()
        if command:
            self._greetings += command
            self._tracking.links[self] = None
            super().connectionMade()
            return
        assert self._receiver is not None
        self._early, self.transport = self.transport, None
        self._receiver.tell(self)

    def go_on(self, known: bool) -> None:
        """The receiver is known, or never will be."""
        if self.over:
            return
        if known:
            self.transport, self._early = self._early, None
            self.connectionMade()
        else:
            self.fail("connect_failed")

    def send(self, request: Any, raw: bytes) -> None:
        tracking = self._tracking
        if tracking.marked and getattr(request, "gather", request) in tracking.marked:
            if self.pending and getattr(self.pending[-1], "raw", b"") == ASKING:
                # ASKING is about the next command only, and so is CLIENT CACHING: what is read is not
                # kept book of, so the client has to forget it once it has the reply.
                if tracking.terms.optin:
                    self.pool.soon(partial(self._forget_all, request))
            else:
                words = encode([b"CLIENT", b"CACHING", b"YES" if tracking.terms.optin else b"NO"])
                super().send(Copy(request.client, request.entry, words, self.pool, None), words)
        super().send(request, raw)

    def _forget_all(self, request: Any) -> None:
        """Once a request of just now is answered, tell that everything has changed."""
        if not self.over:
            then = partial(self._forgotten, self._tracking, self.pool)
            super().send(Once(request.client, request.entry, _PING, self.pool, then), _PING)

    @staticmethod
    def _forgotten(tracking: Tracking, pool: Pool, reply: bytes) -> None:
        tracking.told(pool, _HEAD + _ALL)

    def _drop(self) -> None:
        if self._early is not None:
            self._early.abortConnection()
        else:
            super()._drop()

    def _end(self, result: Result | None) -> None:
        # One that never stood has told of nothing.
        if self in self._tracking.links:
            del self._tracking.links[self]
            self._tracking.lost()
        super()._end(result)


class Receiver:
    """A connection that a server redirects what it tells to, by its number."""

    def __init__(self, tracking: Tracking, pool: Pool, host: IHost) -> None:
        self.number: int | None = None
        self._waiting: list[TrackedLink] = []
        self._tracking = tracking
        self._place = pool, host
        client = tracking.client
        self._link = link = pool.open(host, client.shared.flavour(0, 3))
        link.on_push = partial(tracking.told, pool)
        link.on_end = self._ended
        entry = client.table.find(b"client")
        assert entry is not None
        link.send(Once(client, entry, _ID, pool, self._answered), _ID)

    def _answered(self, reply: bytes) -> None:
        if reply[:1] != b":":
            self._link.fail("error")
            return
        self.number = int(reply[1:-2])
        self._tell_all(True)

    def _ended(self) -> None:
        if self.number is not None:
            self._tracking.lost()
        else:
            self._tracking.forget(self._place)
            self._tell_all(False)

    def _tell_all(self, known: bool) -> None:
        waiting, self._waiting = self._waiting, []
        for link in waiting:
            link.go_on(known)

    def tell(self, link: TrackedLink) -> None:
        """Let a link go on once the number is known, or be told that it never will be."""
        if self._link.over:
            link.go_on(False)
        else:
            self._waiting.append(link)

    def close(self) -> None:
        """End it."""
        self._link.on_end = None
        self._link.close()
