"""
MULTI, EXEC, DISCARD, WATCH, UNWATCH.

The commands of a transaction are collected here, and sent in one piece, with
MULTI before and EXEC behind them: so they may go over a connection that others
use too, whose commands come before or after.  WATCH takes a connection of
its own, on which the transaction is then sent.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from meshd.codec.resp import encode
from meshd.filters.network.redis_proxy.commands import BadKeys, resolve
from meshd.filters.network.redis_proxy.keyed import CROSSSLOT, mirror, place_of
from meshd.filters.network.redis_proxy.local import OK, wrong_number
from meshd.filters.network.redis_proxy.request import NO_HOST, UPSTREAM_FAILURE, Once, Request, Slot
from meshd.filters.network.redis_proxy.sorting import place_patterns
from meshd.interfaces import IHost, Result, UpstreamError

if TYPE_CHECKING:
    from meshd.filters.network.redis_proxy.client import Client
    from meshd.filters.network.redis_proxy.keyed import Place
    from meshd.filters.network.redis_proxy.link import Link
    from meshd.filters.network.redis_proxy.pool import Flavour, Pool
    from meshd.filters.network.redis_proxy.table import Entry

MULTI = encode([b"MULTI"])
EXEC = encode([b"EXEC"])
UNWATCH = encode([b"UNWATCH"])
QUEUED = b"+QUEUED\r\n"
ABORTED = b"-EXECABORT Transaction discarded because of previous errors.\r\n"

#: Kinds of commands that can be part of a transaction.
_KINDS = frozenset({"single", "multi", "split", "keyless", "blocking"})

#: What is done at once, and not queued.
_AT_ONCE = frozenset({"ping", "quit", "reset", "auth", "hello", "echo", "time", "client"})


class Transaction:
    """What a client that said WATCH or MULTI has."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.open = False
        self.commands: list[bytes] = []
        self.spoilt = False
        self.place: Place | None = None
        #: After WATCH.
        self.link: Link | None = None
        self.flavour: Flavour = client.flavour

    def __len__(self) -> int:
        return len(self.commands)

    def end(self) -> None:
        """Give it up: with the connection the server forgets what was watched."""
        client, link, self.link = self.client, self.link, None
        if client.gate == self.gate:
            client.gate = None
        if link is not None:
            link.on_end = None
            link.close()

    def gate(self, client: Client, entry: Entry | None, arguments: list[bytes], raw: bytes) -> bool:
        """Take a command after MULTI."""
        if entry is None:
            self.spoilt = True
            return False
        if entry.name in _IN_MULTI or entry.name in _AT_ONCE:
            return False
        error = self._queue(client, entry, arguments, raw)
        if error:
            self.spoilt = True
            entry.stats.error.value += 1
        else:
            entry.stats.success.value += 1
        entry.stats.total.value += 1
        client.reply(error or QUEUED)
        return True

    def _queue(self, client: Client, entry: Entry, arguments: list[bytes], raw: bytes) -> bytes:
        """Queue a command; return an error if that cannot be."""
        command = resolve(arguments)
        assert command is not None
        name = command.name
        if client.table.is_refused(command, name):
            text = b"NOPERM User %b has no permissions to run the '%b' command"
            return b"-%b\r\n" % (text % (client.user, name.encode()))
        if not command.accepts(len(arguments)):
            return wrong_number(name)
        if command.kind not in _KINDS and name != "publish":
            text = arguments[0].upper().replace(b"\r", b"").replace(b"\n", b"")
            return b"-'%b' command is not supported within transaction\r\n" % text
        try:
            indexes = [1] if name == "publish" else command.keys(arguments)
        except BadKeys:
            return b"-ERR Invalid arguments specified for command\r\n"
        if indexes:
            error = place_patterns(client, command, arguments)
            if error:
                return error
            place = place_of(client, arguments, indexes)
            if isinstance(place, bytes):
                return place
            if self.place is None:
                self.place = place
            elif place.pool is not self.place.pool or (
                place.host is not self.place.host and place.pool.has_places
            ):
                return CROSSSLOT
            raw = encode(arguments) if place.route.changes else raw
        self.commands.append(raw)
        return b""


class _Exec(Request):
    """
    A whole transaction: of its replies only that of EXEC is for the client.

    If a server that was asked says MOVED to a part of it, it has done nothing (Redis
    cluster specification, "MOVED Redirection"; EXEC then answers with an error),
    and all of it goes where that says.  One whose keys are watched does not: they
    are watched where they were.  ASK cannot be followed, since ASKING is
    about the next command only, and is queued itself.
    """

    __slots__ = ("left", "moved", "state")

    def __init__(self, state: Transaction, entry: Entry, pool: Pool) -> None:
        client, place = state.client, state.place
        raw = b"".join((MULTI, *state.commands, EXEC))
        super().__init__(client, entry, raw, pool, place.key if place is not None else None)
        self.state = state
        #: How many replies are still to come.
        self.left = 0
        self.moved = b""

    def answered(self, reply: bytes) -> Client | None:
        self.left -= 1
        if reply.startswith(b"-MOVED ") and self.state.link is None:
            self.moved = self.moved or reply
        if self.left:
            return None
        if not self.moved or reply[0] != 45:
            return self._over(reply)
        follow = partial(self._follow, reply)
        return None if self.pool.waits(self, self.moved, follow) else follow(self.moved)

    def _follow(self, aborted: bytes, moved: bytes) -> Client | None:
        """Send it all where moved says, or answer what EXEC did."""
        host = self.pool.redirected(self, moved)
        if host is None:
            return self._over(aborted)
        _send_exec(self.state, self, host)
        return None

    def _over(self, reply: bytes) -> Client | None:
        self.redirects = 1 << 30
        client = super().answered(reply)
        self.client.release()
        return client

    def failed(self, result: Result | None, why: bytes = UPSTREAM_FAILURE) -> None:
        if self.reply is None:
            self.give_up(why)
            self.client.release()
            self.client.flush()


def transaction(client: Client, entry: Entry, arguments: list[bytes], raw: bytes) -> None:
    """Do a command of this kind."""
    _ACTS[entry.name](client, entry, arguments)
    if entry.name != "exec":
        entry.stats.success.value += 1


def _multi(client: Client, entry: Entry, arguments: list[bytes]) -> None:
    state = client.transaction
    if state is not None and state.open:
        client.reply(b"-MULTI calls can not be nested\r\n")
        return
    if state is None:
        state = client.transaction = Transaction(client)
    state.open = True
    client.gate = state.gate
    client.reply(OK)


def _leave(client: Client) -> Transaction:
    """End the transaction's state; the connection of WATCH remains with what is returned."""
    state: Transaction = client.transaction
    client.transaction = None
    if client.gate == state.gate:
        client.gate = None
    return state


def _discard(client: Client, entry: Entry, arguments: list[bytes]) -> None:
    state = client.transaction
    if state is None or not state.open:
        client.reply(b"-DISCARD without MULTI\r\n")
        return
    _leave(client)
    _unwatch_link(client, entry, state)
    client.reply(OK)


def _unwatch_link(client: Client, entry: Entry, state: Transaction) -> None:
    """Let the server forget what is watched, and give the connection back."""
    link, state.link = state.link, None
    if link is None or link.over:
        return
    pool, flavour = link.pool, state.flavour
    link.on_end = None

    def forgotten(reply: bytes) -> None:
        if reply == OK:
            pool.give_back(link, flavour)

    link.send(Once(client, entry, UNWATCH, pool, forgotten), UNWATCH)


def _exec(client: Client, entry: Entry, arguments: list[bytes]) -> None:
    state = client.transaction
    if state is None or not state.open:
        entry.stats.error.value += 1
        client.reply(b"-EXEC without MULTI\r\n")
        return
    _leave(client)
    if state.spoilt or (not state.commands and state.link is None):
        _unwatch_link(client, entry, state)
        entry.stats.error.value += 1
        client.reply(ABORTED if state.spoilt else b"*0\r\n")
        return
    place = state.place
    pool: Pool | None = place.pool if place is not None else client.anywhere()
    if state.link is not None:
        pool = state.link.pool
    host: IHost | None = place.host if place is not None else None
    if pool is not None and host is None and state.link is None:
        host = pool.host_of(None)
    if pool is None or (host is None and state.link is None):
        client.reply(NO_HOST)
        return
    request = _Exec(state, entry, pool)
    if state.link is None:
        client.queue.append(request)
        _send_exec(state, request, host)
    else:
        client.when_idle(partial(_send_watched, client, state, request, host))
    if place is not None:
        _mirror_all(client, state, request)


def _send_watched(client: Client, state: Transaction, request: _Exec, host: IHost | None) -> None:
    """Send it over the connection of WATCH, now that all that was asked before is done."""
    client.queue.append(request)
    request.start = client.seconds()
    _send_exec(state, request, host)


def _send_exec(state: Transaction, request: _Exec, host: IHost | None) -> None:
    """Send it all, in one piece; so many replies are expected."""
    pool, link = request.pool, state.link
    watched = link is not None
    if link is None:
        assert host is not None
        link = pool.link_to(host, request.client.flavour)
    if link is None or link.over or (watched and host is not None and link.host is not host):
        request.failed(None)
        return
    request.host = link.host
    request.moved = b""
    request.left = len(state.commands) + 2
    link.send(request, request.raw)
    for _ in range(request.left - 1):
        link.expect(request)
    if watched:
        link.on_end = None
        link.send(Once(request.client, request.entry, UNWATCH, pool, partial(_done, state, link)), UNWATCH)


def _done(state: Transaction, link: Link, reply: bytes) -> None:
    if reply == OK:
        link.pool.give_back(link, state.flavour)


def _mirror_all(client: Client, state: Transaction, request: _Exec) -> None:
    """Send the commands to the mirrors too, one by one."""
    assert state.place is not None
    route = state.place.route
    for raw in state.commands if route.mirrors else ():
        mirror(client, route, Request(client, request.entry, raw, request.pool, request.key))


def _watch(client: Client, entry: Entry, arguments: list[bytes]) -> None:
    state = client.transaction
    if state is not None and state.open:
        client.reply(b"-ERR WATCH inside MULTI is not allowed\r\n")
        return
    if len(arguments) < 2:
        client.reply(b"-wrong number of arguments for 'WATCH' command\r\n")
        return
    client.when_idle(partial(_start_watch, client, entry, arguments))


def _start_watch(client: Client, entry: Entry, arguments: list[bytes]) -> None:
    """Watch, now that all that was asked before is done."""
    slot = Slot()
    client.queue.append(slot)

    def answered(reply: bytes) -> None:
        slot.reply = reply
        client.release()

    error = _watch_keys(client, entry, arguments, answered)
    if error:
        answered(error)


def _watch_keys(
    client: Client, entry: Entry, arguments: list[bytes], answered: Callable[[bytes], None]
) -> bytes:
    """Send WATCH; return an error if that cannot be."""
    state = client.transaction
    place = place_of(client, arguments, range(1, len(arguments)))
    if isinstance(place, bytes):
        return place
    if state is None:
        state = client.transaction = Transaction(client)
    if state.place is not None and state.place.host is not place.host and place.pool.has_places:
        return CROSSSLOT
    state.place = state.place or place
    if state.link is None:
        try:
            state.link = place.pool.borrow(state.place.host, state.flavour)
        except UpstreamError:
            return UPSTREAM_FAILURE
    raw = encode(arguments)
    state.link.send(Once(client, entry, raw, place.pool, answered), raw)
    return b""


def _unwatch(client: Client, entry: Entry, arguments: list[bytes]) -> None:
    state = client.transaction
    if state is not None and not state.open:
        _leave(client)
        _unwatch_link(client, entry, state)
    client.reply(OK)


_ACTS = {"multi": _multi, "exec": _exec, "discard": _discard, "watch": _watch, "unwatch": _unwatch}
_IN_MULTI = frozenset({"multi", "exec", "discard", "watch"})
