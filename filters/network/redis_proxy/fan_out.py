"""Commands that every host is asked; the answers are put together by merge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from meshd.codec.resp import encode
from meshd.codec.resp_reply import decode
from meshd.codec.resp_reply import encode as encode_value
from meshd.filters.network.redis_proxy.dedicated import ask_after_writes
from meshd.filters.network.redis_proxy.everywhere import (
    LOSSY,
    Names,
    Share,
    Spot,
    any_of,
    rename_keys,
    rename_one,
    spots_of,
)
from meshd.filters.network.redis_proxy.merge import merge
from meshd.filters.network.redis_proxy.request import Gather, Request

if TYPE_CHECKING:
    from meshd.filters.network.redis_proxy.client import Client
    from meshd.filters.network.redis_proxy.table import Entry

#: In the cursor that the client sees, the lowest bits tell which host is asked.
_HOST_BITS = 10


class _OfHost(Request):
    """What one host alone can answer."""

    __slots__ = ()
    fixed = True


def fan_out(client: Client, entry: Entry, arguments: list[bytes], raw: bytes) -> None:
    """Ask every host."""
    if not entry.command.accepts(len(arguments)):
        if len(arguments) == 1:
            client.invalid(entry)
        else:
            client.reply(b"-ERR wrong number of arguments for '%b' command\r\n" % entry.name.encode())
        return
    spots = spots_of(client)
    if not spots:
        client.no_host()
    elif entry.name in ("wait", "waitaof"):
        client.when_idle(partial(ask_after_writes, client, entry, raw, spots))
    elif client.options.everywhere and entry.name in ("keys", "randomkey"):
        _ask_for_keys(client, entry, arguments, spots)
    elif len(spots) == 1:
        _ask_one(client, entry, raw, spots[0])
    else:
        gather = Gather(client, entry)
        gather.merge = partial(merge, entry.name, client.protocol)
        _ask_all(client, gather, [(spot, raw, None) for spot in spots])


def _ask_one(client: Client, entry: Entry, raw: bytes, spot: Spot) -> None:
    request = _OfHost(client, entry, raw, spot.pool, None)
    client.queue.append(request)
    spot.pool.send_to(spot.host, request)


#: Whom to ask what, and what is to be done with the answer.
_Question = tuple[Spot, bytes, Callable[[bytes], bytes] | None]


def _ask_all(client: Client, gather: Gather, questions: Sequence[_Question]) -> None:
    client.queue.append(gather)
    shares = []
    for spot, raw, rename in questions:
        share = Share(gather, raw, spot.pool, None)
        share.rename = rename
        shares.append((spot, share))
    for spot, share in shares:
        spot.pool.send_to(spot.host, share)


def _is_lossy(client: Client, entry: Entry) -> bool:
    """Refuse a command if keys of servers cannot be told by their names."""
    lossy = client.shared.routes.lossy
    if lossy is None:
        return False
    entry.stats.error.value += 1
    client.reply(LOSSY % lossy.prefix)
    return True


def _ask_for_keys(client: Client, entry: Entry, arguments: list[bytes], spots: Sequence[Spot]) -> None:
    """Ask every host of all routes for keys, which are told by the names that clients have for them."""
    if _is_lossy(client, entry):
        return
    gather = Gather(client, entry)
    together = partial(merge, entry.name, client.protocol)
    gather.merge = together
    questions: list[_Question] = []
    for spot in spots:
        if entry.name == "keys":
            names = Names(client.shared.routes, spot, arguments[1])
            questions.append((spot, encode([arguments[0], names.pattern]), partial(rename_keys, names)))
        else:
            names = Names(client.shared.routes, spot)
            questions.append((spot, encode(arguments), partial(rename_one, names)))
            gather.merge = partial(any_of, merge=together)
    _ask_all(client, gather, questions)


class _Scan(_OfHost):
    """A SCAN of one host, whose cursor becomes one for all."""

    __slots__ = ("count", "index", "names")
    count: int
    index: int
    names: Names | None

    def answered(self, reply: bytes) -> Client | None:
        if reply[0] == 42:
            cursor, keys = decode(reply)
            next_one = int(cursor) << _HOST_BITS | self.index
            if not int(cursor):
                next_one = self.index + 1 if self.index + 1 < self.count else 0
            if self.names is not None:
                keys = self.names.of(keys)
            reply = encode_value([b"%d" % next_one, keys])
        return super().answered(reply)


def scan(client: Client, entry: Entry, arguments: list[bytes], raw: bytes) -> None:
    """Ask one host after the other; the cursor tells which is next."""
    if len(arguments) < 2:
        client.invalid(entry)
        return
    spots = spots_of(client)
    renames = client.options.everywhere
    if not spots:
        client.no_host()
        return
    text = arguments[1]
    if not text.isdigit() or len(text) > 20:
        client.reply(b"-ERR invalid cursor\r\n")
        return
    if len(spots) == 1 and not renames:
        _ask_one(client, entry, raw, spots[0])
        return
    if renames and _is_lossy(client, entry):
        return
    cursor = int(text)
    index = cursor & ((1 << _HOST_BITS) - 1)
    if index >= len(spots):  # there are fewer hosts than there were
        client.reply(b"*2\r\n$1\r\n0\r\n*0\r\n")
        return
    spot = spots[index]
    arguments[1] = b"%d" % (cursor >> _HOST_BITS)
    names = _names_of_scan(client, arguments, spot) if renames else None
    one = _Scan(client, entry, encode(arguments), spot.pool, None)
    one.index, one.count, one.names = index, len(spots), names
    client.queue.append(one)
    spot.pool.send_to(spot.host, one)


def _names_of_scan(client: Client, arguments: list[bytes], spot: Spot) -> Names:
    """Return the names of what SCAN finds; put into arguments what the host is asked for."""
    places = [place + 1 for place in range(2, len(arguments) - 1, 2) if arguments[place].upper() == b"MATCH"]
    names = Names(client.shared.routes, spot, arguments[places[-1]] if places else b"*")
    for place in places:
        arguments[place] = names.pattern
    return names


def shard_info(client: Client, entry: Entry, arguments: list[bytes], raw: bytes) -> None:
    """INFO.SHARD n [section]: INFO of the n-th host, as Envoy has it."""
    spots = spots_of(client)
    if len(arguments) < 2:
        client.invalid(entry)
    elif not spots:
        client.no_host()
    elif not arguments[1].isdigit() or int(arguments[1]) >= len(spots):
        client.reply(b"-ERR invalid shard index\r\n")
    else:
        _ask_one(client, entry, encode([b"INFO", *arguments[2:]]), spots[int(arguments[1])])
