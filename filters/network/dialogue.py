"""
Speaks to the client what comes before TLS, and with its protocol what has to be said there.

smtp, pop3, imap: the filters inside connect to the backend first, whose greeting
the client gets; once the client asks for TLS, it begins.  pgsql, cifs, connect:
the inside is told of the connection when TLS stands.  All of these want the
transport socket envoy.transport_sockets.starttls.  socks is spoken inside of
TLS, or without any.

connect and socks say where the client wants to go: that is put into the filter
state meshd.target, for a tcp_proxy to a cluster of the type
meshd.clusters.named_target.

The counters are dialogue.<stat_prefix>.done, .failed and .timeout; what went wrong
is the connection's local close reason.

Serves Dialogue, below; Envoy has no such filter.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, Literal

import attrs
from attrs import validators
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from meshd.codec.dialogue import cifs, connect, imap, pgsql, pop3, smtp, socks
from meshd.codec.dialogue.script import (
    CLIENT,
    SERVER,
    Action,
    Failed,
    First,
    Outcome,
    Resolve,
    Say,
    Script,
    Target,
)
from meshd.codec.dialogue.script import (
    Dialogue as Run,
)
from meshd.filter import NetworkFilter
from meshd.interfaces import IFactoryContext, ITimer
from meshd.plugin import NetworkFilterPlugin

#: Filter state: (addresses, port), where addresses are a tuple of IP addresses to try in turn.
TARGET_KEY = "meshd.target"

#: Those whose client is answered with what the backend says.
CONNECT_FIRST = ("smtp", "pop3", "imap")


@attrs.frozen
class Dialogue:
    """The config of meshd.filters.network.dialogue."""

    stat_prefix: str = attrs.field(validator=validators.min_len(1))
    protocol: Literal["smtp", "pop3", "imap", "pgsql", "cifs", "connect", "socks"]
    #: For all of it, TLS handshake included.
    timeout: timedelta = attrs.field(default=timedelta(seconds=300), validator=validators.gt(timedelta(0)))
    #: smtp, imap: a client that says something within this time speaks TLS at once.
    client_first: timedelta = timedelta(milliseconds=200)
    #: connect: what the Server header says.
    product: str = "meshd"
    #: socks: whether targets on this machine's loopback are allowed.
    allow_loopback: bool = False
    dns_lookup_family: Literal["AUTO", "V4_ONLY", "V6_ONLY", "V4_PREFERRED", "ALL"] = "V4_PREFERRED"
    #: Whether a dialogue that fails ends with a RST.
    reset: bool = True


class Settings:
    """What the connections of one filter chain share."""

    def __init__(self, config: Dialogue, context: IFactoryContext) -> None:
        self.timers = context.timers
        self.resolver = context.resolver
        self.script = script_of(config)
        self.connects_first = config.protocol in CONNECT_FIRST
        self.timeout = config.timeout.total_seconds()
        self.family = config.dns_lookup_family
        self.reset = config.reset
        stats = context.stats.scope(f"dialogue.{config.stat_prefix}")
        self.done = stats.counter("done")
        self.failed = stats.counter("failed")
        self.timed_out = stats.counter("timeout")

    def __call__(self) -> Speaker:
        return Speaker(self)


def script_of(config: Dialogue) -> Callable[[], Script]:
    """Return what begins the dialogue of the protocol."""
    patience = config.client_first.total_seconds()
    scripts: dict[str, Callable[[], Script]] = {
        "smtp": partial(smtp.server, patience),
        "pop3": pop3.server,
        "imap": partial(imap.server, patience),
        "pgsql": pgsql.server,
        "cifs": cifs.server,
        "connect": partial(connect.server, config.product),
        "socks": partial(socks.server, config.allow_loopback),
    }
    return scripts[config.protocol]


class Speaker(NetworkFilter):
    """The dialogue of one connection; then it leaves the chain."""

    _told = False  # the inside, of the connection
    _begun = False
    _acting = False
    _inside_ended = False
    _early = b""
    _timers: tuple[ITimer, ...] = ()
    _lookup: Deferred[Any] | None = None

    def __init__(self, shared: Settings) -> None:
        self.shared = shared
        self.run = Run(shared.script())
        self._actions: list[Action] = []

    def connectionMade(self) -> None:
        shared = self.shared
        self._timers = (shared.timers.call_later(shared.timeout, self._too_long),)
        if shared.connects_first:
            self._tell_inside()
        else:
            self._begin()

    def _tell_inside(self) -> None:
        self._told = True
        self.inner.connectionMade()

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._do(self.run.start())

    # From the client.

    def dataReceived(self, data: bytes) -> None:
        if self.run.over:
            self._early += data  # while TLS is being begun: nobody else has it
        else:
            self._do(self.run.received(CLIENT, data))

    def readConnectionLost(self) -> None:
        self._do(self.run.ended(CLIENT))

    def connectionLost(self, reason: Failure) -> None:
        self._stop_waiting()
        self.run.over = True
        if self._told:
            self.inner.connectionLost(reason)

    # From the inside.

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        super().registerProducer(producer, streaming)
        # A tcp_proxy does this when it is connected: only now may the client be waited for.
        self._begin()

    def write(self, data: bytes) -> None:
        self._begin()
        self._do(self.run.received(SERVER, bytes(data)))

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def loseWriteConnection(self) -> None:
        self._inside_ended = True
        self._do(self.run.ended(SERVER))

    def loseConnection(self) -> None:
        if not self.run.over:
            self._do([Failed("there is no backend", reset=False)])
        self.transport.loseConnection()

    # What the dialogue wants.

    def _do(self, actions: list[Action]) -> None:
        """Do it in order; what comes of it, while it is being done, after it."""
        self._actions += actions
        if self._acting:
            return
        self._acting = True
        try:
            while self._actions:
                self._act(self._actions.pop(0))
        finally:
            self._acting = False

    def _act(self, action: Action) -> None:
        if isinstance(action, Say):
            if action.side == CLIENT:
                self.transport.write(action.data)
            else:
                self.inner.dataReceived(action.data)
        elif isinstance(action, First):
            timer = self.shared.timers.call_later(action.seconds, lambda: self._do(self.run.waited()))
            self._timers += (timer,)
        elif isinstance(action, Resolve):
            self._look_up(action.name)
        elif isinstance(action, Target):
            self.connection.info.filter_state[TARGET_KEY] = (action.addresses, action.port)
        elif isinstance(action, Failed):
            self._fail(action)
        elif action is Outcome.START_TLS:
            self._secure()
        else:
            self._hand_over()

    def _look_up(self, name: str) -> None:
        lookup = self._lookup = self.shared.resolver.lookup(name, self.shared.family)
        lookup.addCallbacks(lambda answer: answer[0], self._not_found)
        lookup.addCallback(lambda addresses: self._do(self.run.resolved(addresses)))

    def _not_found(self, failure: Failure) -> list[str]:
        if failure.check(CancelledError):
            self.run.over = True
        return []

    # The end.

    def _fail(self, failed: Failed) -> None:
        self._actions.clear()
        self._stop_waiting()
        self.run.over = True
        self.shared.failed.inc()
        info = self.connection.info
        info.local_close_reason = info.local_close_reason or failed.text
        if failed.reset:
            info.flags.add("DPE")
        if failed.reset and self.shared.reset:
            self.connection.abort()
        else:
            self.transport.loseConnection()

    def _too_long(self) -> None:
        self.shared.timed_out.inc()
        self._fail(Failed("the dialogue took too long"))

    def _stop_waiting(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers = ()
        lookup, self._lookup = self._lookup, None
        if lookup is not None:
            lookup.cancel()

    def _secure(self) -> None:
        """Begin TLS with the bytes that the client has sent after its last word."""
        self.connection.on_secured(self._hand_over)
        if not self.connection.start_secure_transport(self.run.rest(CLIENT)):
            self._fail(Failed("the transport socket cannot begin TLS: it must be starttls"))

    def _hand_over(self) -> None:
        """Leave the chain: the client and the inside speak to each other."""
        self._stop_waiting()
        self.shared.done.inc()
        self.leave()
        if not self._told:
            self._tell_inside()
        server = self.run.rest(SERVER)
        if server:
            self.transport.write(server)
        if self._inside_ended:
            self.transport.loseWriteConnection()
        client = self.run.rest(CLIENT) + self._early
        if client:
            self.inner.dataReceived(client)


dialogue = NetworkFilterPlugin(
    "meshd.filters.network.dialogue",
    Dialogue,
    Settings,
    serves=tuple(field.name for field in attrs.fields(Dialogue)),
)
