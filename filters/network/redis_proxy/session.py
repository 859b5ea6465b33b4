"""Commands that change a connection's state at the server: the state is the client's own here."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from meshd.codec.resp import encode
from meshd.filters.network.redis_proxy.everywhere import spots_of
from meshd.filters.network.redis_proxy.local import OK
from meshd.filters.network.redis_proxy.request import Once, Slot
from meshd.filters.network.redis_proxy.tracking import caching, redirection, tracking, tracking_info
from meshd.interfaces import UpstreamError

if TYPE_CHECKING:
    from meshd.filters.network.redis_proxy.client import Client
    from meshd.filters.network.redis_proxy.link import Link
    from meshd.filters.network.redis_proxy.pool import Pool
    from meshd.filters.network.redis_proxy.table import Entry


def session(client: Client, entry: Entry, arguments: list[bytes], raw: bytes) -> None:
    """Do a command of this kind."""
    act = _ACTS.get(entry.name)
    if act is None:
        client.unknown(arguments)
    elif not entry.command.accepts(len(arguments)):
        if len(arguments) == 1:
            client.invalid(entry)
        else:
            client.reply(b"-ERR wrong number of arguments for '%b' command\r\n" % entry.name.encode())
    else:
        act(client, entry, arguments, raw)


# SELECT: another flavour of the shared connections.


def _select(client: Client, entry: Entry, arguments: list[bytes], raw: bytes) -> None:
    text = arguments[1]
    if not text.isdigit() or len(text) > 9:
        client.reply(b"-ERR value is not an integer or out of range\r\n")
        return
    pool = client.anywhere()
    if client.private is not None:
        client.reply(b"-ERR SELECT is not supported by the proxy while tracking is on\r\n")
    elif pool is None:
        client.no_host()
    elif int(text) == client.database:
        client.reply(OK)
    else:
        client.when_idle(partial(_try_select, client, entry, int(text), pool))


def _try_select(client: Client, entry: Entry, database: int, pool: Pool) -> None:
    """Ask a server whether there is such a database, over a connection that nobody else uses."""
    host = pool.host_of(None)
    slot = Slot()
    client.queue.append(slot)

    def answered(reply: bytes) -> None:
        if reply == OK:
            client.database = database
            client.choose_flavour()
            pool.give_back(link, client.flavour)
        elif not link.over:
            link.close()
        slot.reply = reply
        client.release()

    if host is None:
        slot.reply = b"-no upstream host\r\n"
        client.release()
        return
    try:
        link = pool.open(host, client.shared.flavour(0, client.protocol))
    except UpstreamError:
        slot.reply = b"-upstream failure\r\n"
        client.release()
        return
    raw = encode([b"SELECT", b"%d" % database])
    link.send(Once(client, entry, raw, pool, answered), raw)


# MONITOR: a connection to each host, whose lines are passed on.


class Monitor:
    """What a client that said MONITOR has."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.links: list[Link] = []
        for spot in spots_of(client):
            try:
                link = spot.pool.open(spot.host, client.shared.flavour(0, 2))
            except UpstreamError:
                self.end()
                raise
            link.timeout = None
            link.on_push = self._said
            link.on_end = client.cut
            link.pushes_only = True
            link.transmit(encode([b"MONITOR"]))
            self.links.append(link)
        self._skip = len(self.links)

    def _said(self, line: bytes) -> None:
        if line == OK and self._skip:
            self._skip -= 1
            return
        self._client.write(line)

    def end(self) -> None:
        """Close the connections."""
        for link in self.links:
            link.on_end = None
            link.close()


def _monitor(client: Client, entry: Entry, arguments: list[bytes], raw: bytes) -> None:
    if not spots_of(client):
        client.no_host()
        return
    client.when_idle(partial(_start_monitor, client))


def _start_monitor(client: Client) -> None:
    try:
        client.monitor = Monitor(client)
        reply = OK
    except UpstreamError:
        reply = b"-upstream failure\r\n"
    client.queue.append(Slot(reply))
    client.release()


_ACTS = {
    "select": _select,
    "monitor": _monitor,
    "client|tracking": tracking,
    "client|trackinginfo": tracking_info,
    "client|getredir": redirection,
    "client|caching": caching,
}
