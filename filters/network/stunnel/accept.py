"""The beginning of a connection: its number, and the first lines of its log."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NoReturn

import attrs
from attrs import validators
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.threads import deferToThreadPool
from zope.interface import implementer

from meshd.filters.network.stunnel.ident import Identification, Unknown
from meshd.filters.network.stunnel.tunnel import (
    DEBUG,
    IDENTIFIERS,
    INFO,
    NOTICE,
    WARNING,
    Tunnel,
    address_text,
)
from meshd.filters.network.stunnel.wrappers import LIBRARY, Wrappers
from meshd.interfaces import IFactoryContext, IListenerFilter, IStreamInfo, Refused
from meshd.plugin import ConfigError


@attrs.frozen
class Accept:
    """The config of meshd.filters.listener.stunnel; level is syslog's, 7 for everything."""

    service: str = attrs.field(validator=validators.min_len(1))
    client: bool = False
    level: int = attrs.field(default=5, validator=[validators.ge(0), validators.le(7)])
    log_id: str = attrs.field(default="sequential", validator=validators.in_(tuple(IDENTIFIERS)))
    timeout_busy: timedelta = timedelta(seconds=300)
    #: Whether the peer has to show a certificate.
    verifies: bool = False
    #: Whether a program is the client, again and again: its runs share a number, and have one below it.
    program: bool = False
    #: Whether /etc/hosts.allow and /etc/hosts.deny are asked.
    libwrap: bool = False
    #: The user whose the client must be, as an RFC 1413 server on its machine says; empty: anybody's.
    ident: str = ""
    timeout_connect: timedelta = timedelta(seconds=10)
    #: Whether a client that is refused is reset.
    reset: bool = True


@implementer(IListenerFilter)
class Acceptor:
    """What the connections of a listener share; it counts those that are open."""

    limit = 0
    #: The number of a program, and how often it was run before.
    _program = ""
    _run = -1

    def __init__(self, config: Accept, context: IFactoryContext) -> None:
        self.config = config
        self.timeout_busy = config.timeout_busy.total_seconds()
        reactor = self._reactor = context.reactor
        self._wrappers = _wrappers() if config.libwrap else None
        self._identification = Identification(
            reactor, config.timeout_connect.total_seconds(), self.timeout_busy
        )
        self.open = context.stats.gauge(f"stunnel.{config.service}.connections")

    def __call__(self) -> IListenerFilter:
        return self

    def inspect(self, data: bytes, info: IStreamInfo) -> int | Deferred[int]:
        config = self.config
        tunnel = Tunnel(config.service, config.client, config.level, config.log_id)
        tunnel.timeout_busy = self.timeout_busy
        tunnel.finished = self._finished
        tunnel.verifies = config.verifies
        if config.program:
            self._run += 1
            self._program = self._program or tunnel.id
            tunnel.id = f"{self._program}_{self._run}"
        info.witness = tunnel
        self.open.inc()
        level = config.level
        if level >= NOTICE:
            tunnel.say(DEBUG, f"Service [{config.service}] started")
        if self._wrappers is not None or config.ident:
            return self._admit(tunnel, info)
        return self._accept(tunnel, info)

    @inlineCallbacks
    def _admit(self, tunnel: Tunnel, info: IStreamInfo) -> Any:
        """Go on once everybody who is asked has nothing against the client; raise Refused."""
        if self._wrappers is not None:
            yield self._ask_wrappers(self._wrappers, tunnel, info)
        if self.config.ident:
            yield self._ask_ident(tunnel, info)
        return self._accept(tunnel, info)

    @inlineCallbacks
    def _ask_wrappers(self, wrappers: Wrappers, tunnel: Tunnel, info: IStreamInfo) -> Any:
        """Ask about clients with an IP address; others have nothing that could be against them."""
        name, remote, local = self.config.service, info.remote, info.local
        if isinstance(remote, str) or isinstance(local, str):
            return
        reactor = self._reactor
        permitted = yield deferToThreadPool(
            reactor, reactor.getThreadPool(), wrappers.permits, name, remote, local
        )
        if not permitted:
            text = f"Service [{name}] REFUSED by libwrap from {address_text(remote)}"
            self._refuse(tunnel, WARNING, text)
        tunnel.say(DEBUG, f"Service [{name}] permitted by libwrap from {address_text(remote)}")

    @inlineCallbacks
    def _ask_ident(self, tunnel: Tunnel, info: IStreamInfo) -> Any:
        try:
            user = yield self._identification.user(info.remote, info.local, tunnel.say)
        except Unknown as unknown:
            self._refuse(tunnel, unknown.level, unknown.text)
        if user != self.config.ident:
            who = address_text(info.remote)
            self._refuse(tunnel, WARNING, f'Connection from {who} REFUSED by IDENT (user "{user}")')
        tunnel.say(INFO, "IDENT authentication passed")

    def _refuse(self, tunnel: Tunnel, level: int, text: str) -> NoReturn:
        tunnel.reset = self.config.reset
        tunnel.fail(level, text)
        raise Refused(text, reset=self.config.reset)

    def _accept(self, tunnel: Tunnel, info: IStreamInfo) -> int:
        config = self.config
        level = config.level
        if level >= NOTICE:
            # A unix socket's client has no address: the listener says its own instead.
            who = "" if isinstance(info.remote, str) else info.remote
            tunnel.say(NOTICE, f"Service [{config.service}] accepted connection from {address_text(who)}")
        if level >= INFO and not config.client:
            tunnel.say(INFO, f"Peer certificate {'' if config.verifies else 'not '}required")
        return 0

    def _finished(self, tunnel: Tunnel) -> None:
        self.open.dec()
        tunnel.say(DEBUG, f"Service [{tunnel.service}] finished ({self.open.value} left)")


def _wrappers() -> Wrappers:
    try:
        return Wrappers()
    except (OSError, ValueError) as error:
        raise ConfigError(f'"libwrap = yes" needs {LIBRARY}: {error}', "libwrap") from None
