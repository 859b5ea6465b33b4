"""
Channels that are called otherwise upstream, as keys are: the option rewrite_channels.

Each route that renames has a Hub of its own, whose topics have the names upstream; a
client is there as a View, which puts the client's names back into what it is told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from meshd.codec.resp_reply import Push, ReplySplitter, decode, encode
from meshd.filters.network.redis_proxy.fan_out import fan_out
from meshd.filters.network.redis_proxy.glob import literal_start
from meshd.filters.network.redis_proxy.keyed import Place
from meshd.filters.network.redis_proxy.request import NO_HOST

if TYPE_CHECKING:
    from meshd.filters.network.redis_proxy.client import Client
    from meshd.filters.network.redis_proxy.pubsub import Hub
    from meshd.filters.network.redis_proxy.routes import Route
    from meshd.filters.network.redis_proxy.table import Entry

#: Where a client of RESP2 is told what has changed: by the proxy, so that it may have no route.
_INVALIDATE = b"__redis__:invalidate"

_SEVERAL = (
    b"-ERR The proxy rewrites channels: a pattern has to begin with the prefix of one route, which has no"
    b" key_formatter\r\n"
)
_NOT_TOLD = b"-ERR %b is not supported by the proxy where it rewrites channels\r\n"


def rewrites(client: Client) -> bool:
    """Whether channels are called otherwise upstream."""
    return client.options.rewrite_channels and any(each.changes for each in client.shared.routes.all)


class View:
    """What a Hub takes for a client: it has subscribed to name, and is told of that."""

    __slots__ = ("_client", "_name", "_route", "connection", "cut")

    def __init__(self, client: Client, route: Route, name: bytes) -> None:
        self._client = client
        self._route = route
        self._name = name
        self.connection: Any = client.connection
        self.cut = client.cut

    @property
    def protocol(self) -> int:
        """The version of RESP that the client speaks."""
        return self._client.protocol

    def write(self, data: bytes) -> None:
        """Tell the client some messages, which are whole."""
        messages = map(self._renamed, ReplySplitter().receive(data))
        self._client.write(b"".join(messages))

    def _renamed(self, message: bytes) -> bytes:
        word, _, *rest = decode(message)
        if word == b"pmessage":
            # Its pattern has the prefix as this client writes it.
            start = self._name[: len(self._route.prefix)] if self._route.remove else b""
            rest[0] = start + rest[0]
        return encode(Push([word, self._name, *rest]), self.protocol)


class Seat:
    """Where a client has subscribed to something: to be left again."""

    __slots__ = ("_hub", "_kind", "_name", "_who", "error")

    def __init__(self, client: Client, kind: bytes, name: bytes) -> None:
        self._kind = kind
        self._name = name
        self._who: Any = client
        self._hub: Hub | None = client.shared.hub
        self.error = b""
        routes = client.shared.routes
        if name == _INVALIDATE and routes.find(name) is None:
            self._hub = None
        elif rewrites(client):
            self._find_hub(client)

    def _find_hub(self, client: Client) -> None:
        name, shared = self._name, client.shared
        is_pattern = self._kind == b"PSUBSCRIBE"
        if is_pattern:
            route = shared.routes.find_all(literal_start(name))
            if route is None or route.formatter is not None:
                self.error = _SEVERAL
                return
        else:
            route = shared.routes.find(name)
        if route is None:
            return
        if route.changes or is_pattern:
            self._hub = shared.hub_of(route)
        if route.changes:
            self._who = View(client, route, name)
            self._name = route.upstream_key(name)

    def take(self, then: Callable[[bytes], object]) -> None:
        """Subscribe; then is called with an error, or b"" once it stands."""
        if self.error or self._hub is None:
            then(self.error)
        else:
            self._hub.join(self._who, self._kind, self._name, then)

    def leave(self) -> None:
        """Subscribe no more."""
        if self._hub is not None and not self.error:
            self._hub.leave(self._who, self._kind, self._name)


def place_channel(client: Client, arguments: list[bytes]) -> Place | bytes:
    """Return where PUBLISH goes, and rename its channel in arguments; an error reply if there is no place."""
    route = client.shared.routes.find(arguments[1])
    if route is None:
        return NO_HOST
    if route.changes and client.options.rewrite_channels:
        arguments[1] = route.upstream_key(arguments[1])
    pool = client.shared.pools[route.cluster]
    host = pool.host_of(arguments[1])
    return NO_HOST if host is None else Place(pool, host, arguments[1], route)


def _refuse(client: Client, entry: Entry, arguments: list[bytes], raw: bytes) -> None:
    entry.stats.error.value += 1
    client.reply(_NOT_TOLD % entry.name.upper().replace("|", " ").encode())


def told_by_name(client: Client, entry: Entry, arguments: list[bytes], raw: bytes) -> None:
    """PUBSUB CHANNELS, NUMSUB and their like: of all hosts, unless names are not what they seem."""
    (_refuse if rewrites(client) else fan_out)(client, entry, arguments, raw)
