"""Commands that need a connection to the host that nobody else uses meanwhile: those that block."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from meshd.codec.resp import encode
from meshd.filters.network.redis_proxy.commands import BadKeys
from meshd.filters.network.redis_proxy.keyed import keyless, multi, place_of
from meshd.filters.network.redis_proxy.merge import merge
from meshd.filters.network.redis_proxy.request import UPSTREAM_FAILURE, Copy, Gather, Part, Request
from meshd.interfaces import IHost, Result, UpstreamError

if TYPE_CHECKING:
    from meshd.filters.network.redis_proxy.client import Client
    from meshd.filters.network.redis_proxy.everywhere import Spot
    from meshd.filters.network.redis_proxy.link import Link
    from meshd.filters.network.redis_proxy.pool import Flavour, Pool
    from meshd.filters.network.redis_proxy.table import Entry

_PING = encode([b"PING"])


class _Loan:
    """A connection that is borrowed until one command is answered; abandoned, it is closed."""

    def __init__(self, client: Client, pool: Pool, link: Link) -> None:
        self.client = client
        self.flavour: Flavour = client.flavour
        self.pool = pool
        self.link = link
        link.timeout = None

    def over(self) -> None:
        """Give it back."""
        self.pool.give_back(self.link, self.flavour)

    def abandon(self) -> None:
        """The client is gone: end the connection, and so what the server does for it."""
        self.link.close()


class _Blocking(Request):
    """A command that a server may answer late."""

    __slots__ = ("loan",)
    loan: _Loan

    def answered(self, reply: bytes) -> Client | None:
        self.loan.over()
        client = super().answered(reply)
        self.client.blocked = False
        self.client.release()
        return client

    def failed(self, result: Result | None, why: bytes = UPSTREAM_FAILURE) -> None:
        self.give_up(why)
        self.client.blocked = False
        self.client.release()

    def abandon(self) -> None:
        self.loan.abandon()


def blocking(client: Client, entry: Entry, arguments: list[bytes], raw: bytes) -> None:
    """A command that may wait at the server: over a connection of its own, and the client's others wait."""
    if not entry.command.blocks(arguments):
        multi(client, entry, arguments, raw)
        return
    try:
        indexes = entry.command.keys(arguments)
    except BadKeys:
        indexes = []
    if not indexes:
        keyless(client, entry, arguments, raw)  # a server has an error for it
        return
    place = place_of(client, arguments, indexes)
    if isinstance(place, bytes):
        entry.stats.error.value += 1
        client.reply(place)
        return
    if place.route.changes:
        raw = encode(arguments)
    client.when_idle(partial(_block, client, entry, raw, place.pool, place.host, place.key))


def _block(client: Client, entry: Entry, raw: bytes, pool: Pool, host: IHost, key: bytes) -> None:
    request = _Blocking(client, entry, raw, pool, key)
    client.queue.append(request)
    try:
        link = pool.borrow(host, client.flavour)
    except UpstreamError:
        request.failed(None)
        return
    request.loan = _Loan(client, pool, link)
    request.host = host
    request.redirects = 1 << 30  # it must not wait on a shared connection
    client.blocked = True
    link.send(request, raw)


class _Wait(Part):
    """WAIT on one host."""

    __slots__ = ("loan",)
    loan: _Loan

    def answered(self, reply: bytes) -> Client | None:
        self.loan.over()
        self.reply = reply
        return self._one_done()

    def give_up(self, why: bytes) -> None:
        self.reply = why
        self.broken = True
        self._one_done()

    def _one_done(self) -> Client | None:
        client = self.gather.done()
        if client is not None:
            client.blocked = False
            client.release()
        return client

    def abandon(self) -> None:
        self.loan.abandon()


class _WaitGather(Gather):
    __slots__ = ()

    def abandon(self) -> None:
        for part in self.parts:
            part.abandon()


def ask_after_writes(client: Client, entry: Entry, raw: bytes, spots: Sequence[Spot]) -> None:
    """
    Send WAIT to every host over a connection of its own, and tell the least.

    WAIT is about what its connection wrote: a server takes that to be all that
    it has done when the connection's last command ran.  So PING goes first, now
    that all that the client wrote before is answered.
    """
    gather = _WaitGather(client, entry)
    gather.merge = partial(merge, entry.name, client.protocol)
    client.queue.append(gather)
    client.blocked = True
    parts = [_Wait(gather, raw, spot.pool, None) for spot in spots]
    for part, spot in zip(parts, spots, strict=True):
        pool = spot.pool
        try:
            link = pool.borrow(spot.host, client.flavour)
        except UpstreamError:
            part.give_up(UPSTREAM_FAILURE)
            continue
        part.loan = _Loan(client, pool, link)
        link.send(Copy(client, entry, _PING, pool, None), _PING)
        link.send(part, raw)
