"""
Channels: SUBSCRIBE and its like, and PUBLISH.

Subscriptions are shared: a Hub has one connection to each host for all of them,
subscribes once to each channel, and passes each message on, as it came, to
all clients that want it.  A channel belongs to a host as a key does, so that PUBLISH
and SUBSCRIBE, of this proxy or of another, meet there; a pattern is subscribed to everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from meshd.codec.resp import encode
from meshd.codec.resp_reply import Push
from meshd.codec.resp_reply import encode as encode_value
from meshd.filters.network.redis_proxy.channels import Seat, place_channel
from meshd.filters.network.redis_proxy.deliveries import Deliveries
from meshd.filters.network.redis_proxy.request import NO_HOST, UPSTREAM_FAILURE, Acknowledgement, Request
from meshd.interfaces import IHost, ITimer, UpstreamError

if TYPE_CHECKING:
    from meshd.filters.network.redis_proxy.client import Client
    from meshd.filters.network.redis_proxy.link import Link
    from meshd.filters.network.redis_proxy.pool import Pool
    from meshd.filters.network.redis_proxy.routes import Route
    from meshd.filters.network.redis_proxy.settings import Settings
    from meshd.filters.network.redis_proxy.table import Entry

#: The start of what a host says: how many words, the first, and the length of the second.
_SAID = re.compile(rb"\*\d\r\n\$\d+\r\n([a-z]+)\r\n\$(-?\d+)\r\n").match

#: Seconds between looks whether channels belong to other hosts now.
_LOOK = 1.0

#: By the word of a message, the command whose subscribers get it.
_KINDS = {b"message": b"SUBSCRIBE", b"pmessage": b"PSUBSCRIBE", b"smessage": b"SSUBSCRIBE"}
_ACKS = {b"subscribe", b"psubscribe", b"ssubscribe"}
_UNSUBSCRIBE = {b"SUBSCRIBE": b"UNSUBSCRIBE", b"PSUBSCRIBE": b"PUNSUBSCRIBE", b"SSUBSCRIBE": b"SUNSUBSCRIBE"}


class Topic:
    """A channel or pattern that somebody wants, where it is subscribed to, and who wants it."""

    __slots__ = ("clients", "kind", "links", "missing", "name", "then")

    def __init__(self, kind: bytes, name: bytes) -> None:
        self.kind = kind
        self.name = name
        self.clients: dict[Client, None] = {}
        self.links: list[Link] = []
        #: How many hosts have not yet said that it is subscribed to.
        self.missing = 0
        self.then: list[Callable[[], object]] = []


class Hub:
    """The subscriptions of all clients of a redis_proxy; or those to channels as a route names them."""

    def __init__(self, settings: Settings, route: Route | None = None) -> None:
        self._settings = settings
        self._route = route
        self._links: dict[tuple[Pool, IHost], Link] = {}
        self._topics: dict[tuple[bytes, bytes], Topic] = {}
        self._deliveries = Deliveries(settings.context.soon)
        self._timer: ITimer | None = None

    def join(self, client: Client, kind: bytes, name: bytes, then: Callable[[bytes], object]) -> None:
        """Let client have the messages of a topic; then is called with an error, or b"" once it stands."""
        topic = self._topics.get((kind, name))
        if topic is None:
            topic = Topic(kind, name)
            error = self._subscribe(topic)
            if error:
                then(error)
                return
            self._topics[kind, name] = topic
        self._deliveries.flush()
        topic.clients[client] = None
        if topic.missing:
            topic.then.append(partial(then, b""))
        else:
            then(b"")
        if self._timer is None:
            self._timer = self._settings.timers.call_later(_LOOK, self._look)

    def leave(self, client: Client, kind: bytes, name: bytes) -> None:
        """Let client have them no more."""
        topic = self._topics.get((kind, name))
        if topic is None:
            return
        self._deliveries.flush()
        topic.clients.pop(client, None)
        if not topic.clients:
            del self._topics[kind, name]
            for link in topic.links:
                self._unsubscribe(topic, link)

    @staticmethod
    def _unsubscribe(topic: Topic, link: Link) -> None:
        if not link.over:
            link.transmit(encode([_UNSUBSCRIBE[topic.kind], topic.name]))

    def _places(self, topic: Topic) -> list[tuple[Pool, IHost]]:
        """Return where a topic is to be subscribed to."""
        settings = self._settings
        if topic.kind == b"PSUBSCRIBE":
            routes = [self._route] if self._route is not None else settings.routes.all
            pools = {settings.pools[route.cluster]: None for route in routes}
            # The nodes of a Redis Cluster tell each other: one is enough.
            return [
                (pool, host)
                for pool in pools
                for host in pool.hosts()[
                    : 1 if pool.cluster is not None and pool.cluster.redis_slots else None
                ]
            ]
        route = self._route or settings.routes.find(topic.name)
        pool = settings.pools[route.cluster] if route is not None else None
        host = pool.host_of(topic.name) if pool is not None else None
        return [(pool, host)] if pool is not None and host is not None else []

    def _subscribe(self, topic: Topic) -> bytes:
        places = self._places(topic)
        if not places:
            return NO_HOST
        try:
            topic.links = [self._link(*place) for place in places]
        except UpstreamError:
            return UPSTREAM_FAILURE
        topic.missing = len(topic.links)
        for link in topic.links:
            link.transmit(encode([topic.kind, topic.name]))
        return b""

    def _link(self, pool: Pool, host: IHost) -> Link:
        link = self._links.get((pool, host))
        if link is None:
            link = self._links[pool, host] = pool.open(host, self._settings.flavour(0, 2))
            link.timeout = None
            link.pushes_only = True
            link.on_push = partial(self._said, link)
            link.on_end = partial(self._lost, pool, host, link)
        return link

    def _said(self, link: Link, said: bytes) -> None:
        """Pass a message on; take note of an acknowledgement."""
        match = _SAID(said)
        if match is None:
            if said[:1] == b"-":
                link.fail("error")
            return
        word, size = match.groups()
        name = said[match.end() : match.end() + max(0, int(size))]
        kind = _KINDS.get(word)
        if kind is not None:
            topic = self._topics.get((kind, name))
            if topic is not None:
                self._deliveries.add(topic, said)
        elif word in _ACKS:
            topic = self._topics.get((word.upper(), name))
            if topic is not None and topic.missing:
                topic.missing -= 1
                if not topic.missing:
                    then, topic.then = topic.then, []
                    for call in then:
                        call()

    def _lost(self, pool: Pool, host: IHost, link: Link) -> None:
        """A host is gone: its subscribers are cut, for what they miss nobody can tell them."""
        self._links.pop((pool, host), None)
        self._deliveries.flush()
        for key, topic in list(self._topics.items()):
            if link in topic.links:
                self._topics.pop(key, None)
                for client in list(topic.clients):
                    client.cut()

    def _look(self) -> None:
        """Subscribe where topics belong now, if the hosts have changed."""
        self._timer = None
        if not self._topics:
            for link in list(self._links.values()):
                link.on_end = None
                link.close()
            self._links.clear()
            return
        for topic in list(self._topics.values()):
            wanted = self._places(topic)
            if topic.missing or not wanted or {link.host for link in topic.links} == {h for _, h in wanted}:
                continue
            old = topic.links
            try:
                topic.links = [self._link(*place) for place in wanted]
            except UpstreamError:
                continue
            for link in topic.links:
                if link not in old:
                    link.transmit(encode([topic.kind, topic.name]))
            for link in old:
                if link not in topic.links:
                    self._unsubscribe(topic, link)
        self._timer = self._settings.timers.call_later(_LOOK, self._look)


class Subscriber:
    """The subscriptions of one client."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.topics: dict[bytes, dict[bytes, Seat]] = {kind: {} for kind in _UNSUBSCRIBE}
        client.shared.stats.subscribers.inc()
        self.gate_before = client.gate
        if client.protocol == 2:
            client.gate = subscribed

    def count(self, kind: bytes) -> int:
        """Return the number that Redis tells with an acknowledgement."""
        topics = self.topics
        if kind == b"SSUBSCRIBE":
            return len(topics[kind])
        return len(topics[b"SUBSCRIBE"]) + len(topics[b"PSUBSCRIBE"])

    @property
    def empty(self) -> bool:
        """Whether nothing is subscribed to."""
        return not any(self.topics.values())

    def end(self) -> None:
        """Leave all."""
        for seats in self.topics.values():
            for seat in seats.values():
                seat.leave()
            seats.clear()
        self._client.shared.stats.subscribers.dec()
        if self._client.gate is subscribed:
            self._client.gate = self.gate_before


_ALLOWED = frozenset(
    {"subscribe", "unsubscribe", "psubscribe", "punsubscribe", "ssubscribe", "sunsubscribe", "ping", "quit",
     "reset"}
)  # fmt: skip


def subscribed(client: Client, entry: Entry | None, arguments: list[bytes], raw: bytes) -> bool:
    """Let a subscriber of RESP2 do what it may."""
    if entry is None or entry.name in _ALLOWED:
        return False
    client.reply(
        b"-ERR Can't execute '%b': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed"
        b" in this context\r\n" % entry.name.encode()
    )
    return True


def pubsub(client: Client, entry: Entry, arguments: list[bytes], raw: bytes) -> None:
    """Do a command of this kind."""
    name = entry.name.upper().encode()
    if not entry.command.accepts(len(arguments)):
        if len(arguments) == 1:
            client.invalid(entry)
        else:
            client.reply(b"-ERR wrong number of arguments for '%b' command\r\n" % entry.name.encode())
    elif name in (b"PUBLISH", b"SPUBLISH"):
        _publish(client, entry, arguments, raw)
    else:
        act = _subscribe if name in _UNSUBSCRIBE else _unsubscribe
        client.when_idle(partial(act, client, name, arguments[1:]))
        entry.stats.success.value += 1


def _publish(client: Client, entry: Entry, arguments: list[bytes], raw: bytes) -> None:
    channel = arguments[1]
    place = place_channel(client, arguments)
    if isinstance(place, bytes):
        entry.stats.error.value += 1
        client.reply(place)
        return
    if place.key != channel:
        raw = encode(arguments)
    request = Request(client, entry, raw, place.pool, place.key)
    client.queue.append(request)
    place.pool.send_to(place.host, request)


def _acknowledge(client: Client, word: bytes, name: bytes | None, count: int) -> bytes:
    return encode_value(Push([word.lower(), name, count]), client.protocol)


def _subscribe(client: Client, kind: bytes, names: list[bytes]) -> None:
    """Subscribe to all names, and go on when each stands."""
    if client.subscriber is None:
        client.subscriber = Subscriber(client)
    state: Subscriber = client.subscriber
    left = len(names)

    def one(name: bytes, slot: Acknowledgement, error: bytes) -> None:
        nonlocal left
        left -= 1
        if client.gone:
            return
        if error:
            state.topics[kind].pop(name, None)
        slot.reply = error or _acknowledge(client, kind, name, counts[slot])
        if not left:
            _end_if_empty(client)
            client.release()

    counts: dict[Acknowledgement, int] = {}
    slots = []
    seats = []
    for name in names:
        seat = state.topics[kind].get(name) or Seat(client, kind, name)
        state.topics[kind][name] = seat
        seats.append(seat)
        slot = Acknowledgement()
        counts[slot] = state.count(kind)
        slots.append(slot)
    client.queue.extend(slots)
    client.shared.stats.rq_active.value += len(slots) - 1
    for name, seat, slot in zip(names, seats, slots, strict=True):
        seat.take(partial(one, name, slot))


def _unsubscribe(client: Client, word: bytes, names: list[bytes]) -> None:
    kind = next(kind for kind, other in _UNSUBSCRIBE.items() if other == word)
    state: Subscriber | None = client.subscriber
    replies = []
    for name in names or list(state.topics[kind] if state is not None else ()):
        if state is not None and name in state.topics[kind]:
            state.topics[kind].pop(name).leave()
        replies.append(_acknowledge(client, word, name, 0 if state is None else state.count(kind)))
    if not replies:
        replies.append(_acknowledge(client, word, None, 0 if state is None else state.count(kind)))
    client.queue.append(Acknowledgement(b"".join(replies)))
    _end_if_empty(client)
    client.release()


def _end_if_empty(client: Client) -> None:
    state = client.subscriber
    if state is not None and state.empty:
        client.subscriber = None
        state.end()
