"""
MULTI, EXEC, DISCARD, WATCH, UNWATCH.

The commands of a transaction are collected here, and sent in one piece, with
MULTI before and EXEC behind them: so they may go over a connection that others
use too, whose commands come before or after.  WATCH takes a connection of
its own (watching), on which the transaction is then sent.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from meshd.codec.resp import encode
from meshd.filters.network.redis_proxy.channels import place_channel
from meshd.filters.network.redis_proxy.commands import BadKeys, resolve
from meshd.filters.network.redis_proxy.keyed import CROSSSLOT, mirror, place_of
from meshd.filters.network.redis_proxy.local import OK, wrong_number
from meshd.filters.network.redis_proxy.request import ASKING, NO_HOST, UPSTREAM_FAILURE, Copy, Request, Slot
from meshd.filters.network.redis_proxy.sorting import place_patterns
from meshd.filters.network.redis_proxy.watching import together, unwatch, watch_keys
from meshd.interfaces import IHost, Result

if TYPE_CHECKING:
    from meshd.filters.network.redis_proxy.client import Client
    from meshd.filters.network.redis_proxy.commands import Command
    from meshd.filters.network.redis_proxy.keyed import Place
    from meshd.filters.network.redis_proxy.link import Link
    from meshd.filters.network.redis_proxy.pool import Flavour, Pool
    from meshd.filters.network.redis_proxy.table import Entry

MULTI = encode([b"MULTI"])
EXEC = encode([b"EXEC"])
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
        #: Whether a key is watched over it.
        self.watched = False
        #: Whether the slot of the keys is on its way to the link's host: that wants ASKING first.
        self.asks = False
        #: Whether nobody can tell any more if a key has changed.
        self.lost = False
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
        if entry.name in _IN_MULTI or (entry.name in _AT_ONCE and not _lasts(arguments)):
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
        place = _place(client, command, arguments)
        if isinstance(place, bytes):
            return place
        if place is not None:
            if self.place is not None and not together(self.place, place):
                return CROSSSLOT
            if self.place is None or place.pool.has_places:
                self.place = place  # the topology may have changed since the first
            raw = encode(arguments) if place.route.changes else raw
        self.commands.append(raw)
        return b""


class _Exec(Request):
    """
    A whole transaction: of its replies only that of EXEC is for the client.

    If a server says MOVED or ASK to a part of it, it has done nothing (Redis
    cluster specification, "MOVED Redirection"; EXEC then answers with an error),
    and all of it goes where that says.  One whose keys are watched does not: they
    are watched where they were, so the answer is null, as if one had changed.
    ASKING counts for all of a MULTI that follows it (resetClient in Redis's networking.c).
    """

    __slots__ = ("elsewhere", "later", "left", "state")

    def __init__(self, state: Transaction, entry: Entry, pool: Pool) -> None:
        client, place = state.client, state.place
        raw = b"".join((MULTI, *state.commands, EXEC))
        super().__init__(client, entry, raw, pool, place.key if place is not None else None)
        self.state = state
        #: How many replies are still to come.
        self.left = 0
        #: MOVED or ASK, if that was said.
        self.elsewhere = b""
        #: Why it is worth while to try again, if that was said.
        self.later = b""

    def answered(self, reply: bytes) -> Client | None:
        self.left -= 1
        if reply[0] == 45:
            if reply.startswith((b"-MOVED ", b"-ASK ")):
                self.elsewhere = self.elsewhere or reply
            elif reply.startswith((b"-TRYAGAIN ", b"-CLUSTERDOWN ")):
                self.later = self.later or reply
        if self.left:
            return None
        if reply[0] != 45:
            return self._over(reply)
        if not self.elsewhere:
            return self._over(self.later or reply)
        follow = partial(self._follow, reply)
        return None if self.pool.waits(self, self.elsewhere, follow) else follow(self.elsewhere)

    def _follow(self, refused: bytes, elsewhere: bytes) -> Client | None:
        """Send it all where elsewhere says, or tell the client why not."""
        host = self.pool.redirected(self, elsewhere)
        if host is None:
            return self._over(self.later or refused)
        if self.state.watched:
            return self._over(null(self.client))
        _send_exec(self.state, self, host, elsewhere.startswith(b"-ASK"))
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


def _place(client: Client, command: Command, arguments: list[bytes]) -> Place | bytes | None:
    """Return where a command of a transaction belongs; None: anywhere; or an error reply."""
    if command.name == "publish":
        return place_channel(client, arguments)
    try:
        indexes = command.keys(arguments)
    except BadKeys:
        return b"-ERR Invalid arguments specified for command\r\n"
    if not indexes:
        return None
    return place_patterns(client, command, arguments) or place_of(client, arguments, indexes)


def _lasts(arguments: list[bytes]) -> bool:
    """Whether a command is about those after it, and so cannot be done before EXEC."""
    command = resolve(arguments)
    return command is not None and (command.kind == "session" or command.name == "client|reply")


def null(client: Client) -> bytes:
    """Return what EXEC answers when a watched key has changed."""
    return b"*-1\r\n" if client.protocol == 2 else b"_\r\n"


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
    unwatch(state, entry)
    client.reply(OK)


def _exec(client: Client, entry: Entry, arguments: list[bytes]) -> None:
    state = client.transaction
    if state is None or not state.open:
        entry.stats.error.value += 1
        client.reply(b"-EXEC without MULTI\r\n")
        return
    _leave(client)
    if state.spoilt or (not state.commands and state.link is None):
        unwatch(state, entry)
        entry.stats.error.value += 1
        client.reply(ABORTED if state.spoilt else b"*0\r\n")
        return
    place = state.place
    if state.lost or _has_moved(state):
        unwatch(state, entry)
        entry.stats.success.value += 1
        client.reply(null(client))
        return
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


def _has_moved(state: Transaction) -> bool:
    """Whether the watched keys belong to another host now; where servers redirect, they know better."""
    link, place = state.link, state.place
    if link is None or place is None or place.pool.may_redirect:
        return False
    return place.pool.has_places and place.pool.host_of(place.key) is not link.host


def _send_exec(state: Transaction, request: _Exec, host: IHost | None, asks: bool = False) -> None:
    """Send it all, in one piece; so many replies are expected.  asks: to a host that is to have the slot."""
    pool, link = request.pool, state.link
    if link is None:
        assert host is not None
        link = pool.link_to(host, request.client.flavour)
    if link is None or link.over:
        request.failed(None)
        return
    request.host = link.host
    request.elsewhere = request.later = b""
    request.left = len(state.commands) + 2
    if asks or state.asks:
        link.send(Copy(request.client, request.entry, ASKING, pool, None), ASKING)
    link.send(request, request.raw)
    for _ in range(request.left - 1):
        link.expect(request)
    unwatch(state, request.entry)


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

    if client.transaction is None:
        client.transaction = Transaction(client)
    error = watch_keys(client.transaction, entry, arguments, answered)
    if error:
        answered(error)


def _unwatch(client: Client, entry: Entry, arguments: list[bytes]) -> None:
    state = client.transaction
    if state is not None and not state.open:
        _leave(client)
        unwatch(state, entry)
    client.reply(OK)


_ACTS = {"multi": _multi, "exec": _exec, "discard": _discard, "watch": _watch, "unwatch": _unwatch}
_IN_MULTI = frozenset({"multi", "exec", "discard", "watch"})
