"""Commands that every host is asked; the answers are put together by merge."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from meshd.codec.resp import encode
from meshd.codec.resp_reply import decode
from meshd.codec.resp_reply import encode as encode_value
from meshd.filters.network.redis_proxy.dedicated import ask_after_writes
from meshd.filters.network.redis_proxy.merge import merge
from meshd.filters.network.redis_proxy.request import Gather, Part, Request

if TYPE_CHECKING:
    from meshd.filters.network.redis_proxy.client import Client
    from meshd.filters.network.redis_proxy.table import Entry

#: In the cursor that the client sees, the lowest bits tell which host is asked.
_HOST_BITS = 10


class _OfHost(Request):
    """What one host alone can answer."""

    __slots__ = ()
    fixed = True


class _Share(Part):
    """What one of all hosts answers."""

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
    pool = client.anywhere()
    hosts = pool.hosts() if pool is not None else []
    if pool is None or not hosts:
        client.no_host()
        return
    if entry.name in ("wait", "waitaof"):
        client.when_idle(partial(ask_after_writes, client, entry, raw, pool, hosts))
        return
    if len(hosts) == 1:
        request = _OfHost(client, entry, raw, pool, None)
        client.queue.append(request)
        pool.send_to(hosts[0], request)
        return
    gather = Gather(client, entry)
    gather.merge = partial(merge, entry.name, client.protocol)
    client.queue.append(gather)
    for part, host in [(_Share(gather, raw, pool, None), host) for host in hosts]:
        pool.send_to(host, part)


class _Scan(_OfHost):
    """A SCAN of one host, whose cursor becomes one for all."""

    __slots__ = ("count", "index")
    count: int
    index: int

    def answered(self, reply: bytes) -> Client | None:
        if reply[0] == 42:
            cursor, keys = decode(reply)
            next_one = int(cursor) << _HOST_BITS | self.index
            if not int(cursor):
                next_one = self.index + 1 if self.index + 1 < self.count else 0
            reply = encode_value([b"%d" % next_one, keys])
        return super().answered(reply)


def scan(client: Client, entry: Entry, arguments: list[bytes], raw: bytes) -> None:
    """Ask one host after the other; the cursor tells which is next."""
    if len(arguments) < 2:
        client.invalid(entry)
        return
    pool = client.anywhere()
    hosts = pool.hosts() if pool is not None else []
    if pool is None or not hosts:
        client.no_host()
        return
    text = arguments[1]
    if not text.isdigit() or len(text) > 20:
        client.reply(b"-ERR invalid cursor\r\n")
        return
    if len(hosts) == 1:
        request = _OfHost(client, entry, raw, pool, None)
        client.queue.append(request)
        pool.send_to(hosts[0], request)
        return
    cursor = int(text)
    index = cursor & ((1 << _HOST_BITS) - 1)
    if index >= len(hosts):  # there are fewer hosts than there were
        client.reply(b"*2\r\n$1\r\n0\r\n*0\r\n")
        return
    arguments[1] = b"%d" % (cursor >> _HOST_BITS)
    one = _Scan(client, entry, encode(arguments), pool, None)
    one.index, one.count = index, len(hosts)
    client.queue.append(one)
    pool.send_to(hosts[index], one)


def shard_info(client: Client, entry: Entry, arguments: list[bytes], raw: bytes) -> None:
    """INFO.SHARD n [section]: INFO of the n-th host, as Envoy has it."""
    pool = client.anywhere()
    hosts = pool.hosts() if pool is not None else []
    if len(arguments) < 2:
        client.invalid(entry)
    elif pool is None or not hosts:
        client.no_host()
    elif not arguments[1].isdigit() or int(arguments[1]) >= len(hosts):
        client.reply(b"-ERR invalid shard index\r\n")
    else:
        request = _OfHost(client, entry, encode([b"INFO", *arguments[2:]]), pool, None)
        client.queue.append(request)
        pool.send_to(hosts[int(arguments[1])], request)
