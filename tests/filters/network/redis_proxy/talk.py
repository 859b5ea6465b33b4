"""A conversation through a redis_proxy: clients that say things, hosts that hear and answer them."""

from __future__ import annotations

from typing import Any

from envoy.extensions.filters.network.redis_proxy.v3.redis_proxy_pb2 import RedisProxy
from google.protobuf.json_format import ParseDict

from meshd.codec.resp import RequestParser, encode
from meshd.filters.network.redis_proxy import redis_options, redis_proxy
from meshd.filters.network.redis_proxy.options import RedisOptions
from meshd.testing import FakeClient, FakeCluster, FakeConnecting, FakeContext, FakeHost


class CountingHost(FakeHost):
    """A host with the numbers that a pool adds to."""

    def __init__(self, number: int) -> None:
        super().__init__((f"198.51.100.{number + 1}", 6379))
        self.rq_total = self.rq_active = self.rq_success = 0


def _last_digit(key: bytes) -> int:
    return int(key[-1:]) if key[-1:].isdigit() else 0


class Talk:
    """
    A redis_proxy under the stat prefix r, and its surroundings.

    The cluster c has as many hosts as asked for; with several, a key that ends in a
    digit belongs to the host of that number.  Connections are accepted at once
    unless accepting is False.
    """

    def __init__(self, hosts: int = 1, options: dict[str, Any] | None = None, **config: Any) -> None:
        self.hosts = [CountingHost(number) for number in range(hosts)]
        self.cluster = FakeCluster("c", *self.hosts)
        self.other = FakeCluster("other", CountingHost(8))
        self.context = FakeContext(self.cluster, self.other)
        self.stats = self.context.stats
        self.accepting = True
        settings = {"op_timeout": "1s", **config.pop("settings", {})}
        config = {"stat_prefix": "r", "prefix_routes": {"catch_all_route": {"cluster": "c"}}, **config}
        message = ParseDict({"settings": settings, **config}, RedisProxy())
        self.build = redis_proxy.configure(message, self.context)
        self.shared = self.build.args[0]  # type: ignore[attr-defined]
        self.build_options = None
        if options is not None:
            self.build_options = redis_options.configure(RedisOptions(**options), self.context)
        self.cluster.places = hosts
        if hosts > 1:
            self.cluster.hashing = True
            for pool in self.shared.pools.values():
                pool._hash = pool.hash_of = _last_digit
                pool.hashes_of = lambda keys: map(_last_digit, keys)
        self._read: dict[int, int] = {}

    def client(self) -> FakeClient:
        """Connect a client."""
        filters = [self.build()]
        if self.build_options is not None:
            filters.insert(0, self.build_options())
        client = FakeClient(*filters, terminal=True)
        client.seen = 0  # type: ignore[attr-defined]
        return client

    def say(self, client: FakeClient, *commands: str | bytes) -> bytes:
        """Let client send commands, one string of words each; return what it has got since it last asked."""
        for command in commands:
            client.send(command if isinstance(command, bytes) else encode(command.encode().split(b" ")))
        self.settle()
        return self.got(client)

    def got(self, client: FakeClient) -> bytes:
        """Return what client has got since it last asked."""
        seen: int = client.seen  # type: ignore[attr-defined]
        client.seen = len(client.received)  # type: ignore[attr-defined]
        return client.received[seen:]

    def settle(self, seconds: float = 0.0) -> None:
        """Let time pass, and what is to be done soon be done."""
        for _ in range(3):
            if self.accepting:
                for link in self.links():
                    if link.local is None and not link.cancelled and not getattr(link, "refused", False):
                        link.accept()
            self.context.clock.advance(seconds)
            seconds = 0.0

    def links(self, host: int | None = None) -> list[FakeConnecting]:
        """Return the connections to a host, or to all."""
        hosts: list[Any] = self.hosts if host is None else [self.hosts[host]]
        return [
            link for each in [*hosts, *(self.other.hosts if host is None else ())] for link in each.connects
        ]

    def heard(self, link: FakeConnecting) -> list[str]:
        """Return the commands that came over a connection since this was last asked."""
        seen = self._read.get(id(link), 0)
        self._read[id(link)] = len(link.received)
        return [
            b" ".join(arguments).decode() for arguments, _ in RequestParser().receive(link.received[seen:])
        ]

    def answer(self, link: FakeConnecting, *replies: bytes) -> None:
        """Let a host answer over a connection."""
        for reply in replies:
            link.send(reply)
        self.settle()
