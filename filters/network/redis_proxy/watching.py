"""
The connection of WATCH: where the keys of a client's next transaction are watched.

A WATCH that meets MOVED or ASK goes where that says, as long as nothing was watched
before it.  Otherwise what is watched stays where it was, and the transaction
is lost: its EXEC answers null, as if a key had changed, and the client tries again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from meshd.codec.resp import encode
from meshd.filters.network.redis_proxy.keyed import CROSSSLOT, place_of
from meshd.filters.network.redis_proxy.local import OK
from meshd.filters.network.redis_proxy.request import ASKING, UPSTREAM_FAILURE, Copy, Once
from meshd.interfaces import UpstreamError

if TYPE_CHECKING:
    from meshd.filters.network.redis_proxy.client import Client
    from meshd.filters.network.redis_proxy.keyed import Place
    from meshd.filters.network.redis_proxy.link import Link
    from meshd.filters.network.redis_proxy.table import Entry
    from meshd.filters.network.redis_proxy.transaction import Transaction
    from meshd.interfaces import IHost

_UNWATCH = encode([b"UNWATCH"])


def together(one: Place, other: Place) -> bool:
    """Whether two places are the same, even if the topology has changed since the first was found."""
    pool = one.pool
    if pool is not other.pool:
        return False
    return not pool.has_places or one.host is other.host or pool.slot_of(one.key) == pool.slot_of(other.key)


class _Watch(Once):
    """A WATCH on its way."""

    __slots__ = ("state",)
    state: Transaction

    def answered(self, reply: bytes) -> Client | None:
        if reply == OK:
            self.state.watched = True
        host = self.pool.redirected(self, reply) if reply[0] == 45 else None
        if host is None:
            return super().answered(reply)
        if self.state.watched:
            self.state.lost = True
            return super().answered(OK)
        if not self._follow(host, reply.startswith(b"-ASK")):
            return super().answered(UPSTREAM_FAILURE)
        return None

    def _follow(self, host: IHost, asks: bool) -> bool:
        """Watch at another host, over a connection to that; return whether there is one."""
        state, link = self.state, self.state.link
        state.link = None
        if link is not None:
            self.pool.give_back(link, state.flavour)
        try:
            state.link = self.pool.borrow(host, state.flavour)
        except UpstreamError:
            return False
        state.asks = asks
        self.host = host
        if asks:
            state.link.send(Copy(self.client, self.entry, ASKING, self.pool, None), ASKING)
        state.link.send(self, self.raw)
        return True


def watch_keys(
    state: Transaction, entry: Entry, arguments: list[bytes], then: Callable[[bytes], None]
) -> bytes:
    """Send WATCH; then is called with its reply.  Return an error if it cannot be sent."""
    client = state.client
    place = place_of(client, arguments, range(1, len(arguments)))
    if isinstance(place, bytes):
        return place
    if state.place is not None and not together(state.place, place):
        return CROSSSLOT
    state.place = state.place or place
    if state.link is None:
        try:
            state.link = place.pool.borrow(state.place.host, state.flavour)
        except UpstreamError:
            return UPSTREAM_FAILURE
    request = _Watch(client, entry, encode(arguments), place.pool, then)
    request.state, request.host = state, state.link.host
    if state.asks:
        state.link.send(Copy(client, entry, ASKING, place.pool, None), ASKING)
    state.link.send(request, request.raw)
    return b""


def unwatch(state: Transaction, entry: Entry) -> None:
    """Let the server forget what is watched, and give the connection back."""
    link, state.link = state.link, None
    if link is not None and not link.over:
        link.on_end = None
        request = Once(state.client, entry, _UNWATCH, link.pool, partial(_forgotten, state, link))
        link.send(request, _UNWATCH)


def _forgotten(state: Transaction, link: Link, reply: bytes) -> None:
    if reply == OK:
        link.pool.give_back(link, state.flavour)
