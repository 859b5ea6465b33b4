"""
A transport socket that speaks with the host first, in clear text, and then lets another begin: TLS.

smtp, pop3, imap, nntp, ldap, pgsql and cifs ask the host for TLS; connect asks a
proxy for a connection to it.  Two are spoken inside of TLS: socks, and after
smtp the authentication.  What the host's greeting has for the client is given to
it when the connection stands; if there comes none, it goes with the failure.

The cluster's connect_timeout is for all of it, from TCP to the end of TLS.

Serves Dialogue, below; Envoy has no such transport socket.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import attrs
from envoy.config.core.v3.base_pb2 import TransportSocket

from meshd.codec.dialogue import cifs, connect, imap, ldap, nntp, pgsql, pop3, smtp, socks
from meshd.codec.dialogue.script import CLIENT, LINE_LIMIT, SERVER, Action, Failed, Outcome, Say, Script
from meshd.codec.dialogue.script import Dialogue as Run
from meshd.filter import NetworkFilter
from meshd.interfaces import IFactoryContext, INetworkFilter
from meshd.plugin import ConfigError, TransportSocketPlugin

Builder = Callable[[], INetworkFilter]
#: What begins the dialogue for a client, of whom the info tells.
Opening = Callable[[Any], Script]


@attrs.frozen
class Dialogue:
    """The config of meshd.transport_sockets.dialogue."""

    protocol: Literal["smtp", "pop3", "imap", "nntp", "ldap", "pgsql", "cifs", "connect", "socks"]
    #: connect, socks: host:port of the target (socks: where the client wanted to go, if empty).
    #: smtp: the name that EHLO gives.
    host: str = ""
    #: smtp, connect: with both, it authenticates.
    username: str = ""
    password: str = attrs.field(default="", repr=False)
    #: smtp: plain (or empty) or login; connect: basic (or empty) or ntlm.
    authentication: str = ""
    #: ntlm
    domain: str = ""
    #: connect: lines that are added to the request.
    headers: tuple[str, ...] = ()
    #: Whether a dialogue that fails ends with a RST, for the host and the client.
    reset: bool = True
    #: What begins after the dialogue, and lies inside of it.
    transport_socket: TransportSocket | None = None


#: Which fields mean something to which protocols.
MEANT: dict[str, tuple[str, ...]] = {
    "host": ("smtp", "connect", "socks"),
    "username": ("smtp", "connect"),
    "password": ("smtp", "connect"),
    "authentication": ("smtp", "connect"),
    "domain": ("connect",),
    "headers": ("connect",),
}
#: How it can authenticate, by protocol.
METHODS: dict[str, tuple[str, ...]] = {"smtp": ("", "plain", "login"), "connect": ("", "basic", "ntlm")}


class Spoken(NetworkFilter):
    """Speaks with the host, then leaves and lets those inside begin."""

    def __init__(self, opening: Opening, reset: bool) -> None:
        self.opening = opening
        self.reset = reset

    def connectionMade(self) -> None:
        connecting: Any = self.connection
        self.run = Run(self.opening(connecting.info))
        self._do(self.run.start())

    def dataReceived(self, data: bytes) -> None:
        self._do(self.run.received(SERVER, data))

    def readConnectionLost(self) -> None:
        self._do(self.run.ended(SERVER))

    def _do(self, actions: list[Action]) -> None:
        connecting: Any = self.connection
        for action in actions:
            if isinstance(action, Say):
                if action.side == CLIENT:
                    connecting.greeting += action.data
                    if len(connecting.greeting) > LINE_LIMIT + 2:
                        self._fail(Failed("the greeting of the server is too long"))
                        return
                else:
                    self.transport.write(action.data)
            elif isinstance(action, Failed):
                self._fail(action)
            elif isinstance(action, Outcome):
                self._hand_over()

    def _fail(self, failed: Failed) -> None:
        self.run.over = True
        connecting: Any = self.connection
        connecting.failure_reason = failed.text
        if failed.reset and self.reset:
            connecting.reset_client = True
            self.transport.abortConnection()
        else:
            connecting.reset_client = None if failed.reset else False
            self.transport.loseConnection()

    def _hand_over(self) -> None:
        rest = self.run.rest(SERVER)
        self.leave()
        self.inner.connectionMade()
        if rest:
            self.inner.dataReceived(rest)

    def connectionLost(self, reason: Any) -> None:
        self.run.over = True  # those inside have not been told of the connection


def configure(config: Dialogue, context: IFactoryContext) -> Sequence[Builder]:
    """Read the config; return what makes the links, outermost first."""
    _check(config)
    inside: Sequence[Builder] = ()
    if config.transport_socket is not None:
        try:
            inside = context.transport_socket(config.transport_socket)
        except ConfigError as error:
            raise error.under("transport_socket") from None
    first, last = openings(config)
    before = [partial(Spoken, first, config.reset)] if first is not None else []
    after = [partial(Spoken, last, config.reset)] if last is not None else []
    return (*before, *inside, *after)


def openings(config: Dialogue) -> tuple[Opening | None, Opening | None]:
    """Return what begins the dialogue outside of TLS, and the one inside."""
    if config.protocol == "socks":
        return None, _socks(config.host)
    if config.protocol == "smtp":
        login = partial(
            smtp.login, config.username, config.password, config.authentication or "plain", config.host
        )
        late = (lambda info: login()) if config.username and config.password else None
        return lambda info: smtp.client(config.host), late
    if config.protocol == "connect":
        ask = partial(
            connect.client,
            config.host,
            config.username,
            config.password,
            config.authentication or "basic",
            config.domain,
            config.headers,
        )
        return lambda info: ask(), None
    scripts: dict[str, Callable[[], Script]] = {
        "pop3": pop3.client,
        "imap": imap.client,
        "nntp": nntp.client,
        "ldap": ldap.client,
        "pgsql": pgsql.client,
        "cifs": cifs.client,
    }
    script = scripts[config.protocol]
    return lambda info: script(), None


def _socks(target: str) -> Opening:
    """Return the dialogue with a SOCKS server about target, or about where each client wanted to go."""
    if target:
        host, port = split(target)
        return lambda info: socks.client(host, port)

    def ask(info: Any) -> Script:
        if isinstance(info.local, str):
            return _nowhere()
        return socks.client(*info.local)

    return ask


def _nowhere() -> Script:
    raise Failed("the client wanted to go to no IP address")
    yield


def split(target: str) -> tuple[str, int]:
    """Return host and port of host:port; ConfigError if it is none."""
    host, _, port = target.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) <= 0xFFFF:
        raise ConfigError(f"expected host:port, not {target!r}", "host")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _check(config: Dialogue) -> None:
    """Refuse what means nothing to the protocol, and would be ignored."""
    protocol = config.protocol
    for field, protocols in MEANT.items():
        if getattr(config, field) and protocol not in protocols:
            raise ConfigError(f"{field} means nothing to {protocol}", field)
    if config.authentication not in METHODS.get(protocol, ("",)):
        methods = " or ".join(METHODS[protocol][1:])
        raise ConfigError(f"{protocol} authenticates by {methods}", "authentication")
    if protocol == "connect":
        split(config.host)
    for index, header in enumerate(config.headers):
        if ":" not in header or any(each in header for each in "\r\n\0"):
            raise ConfigError("expected a header line, name: value", "headers", index)
    for field in ("host", "username", "password", "domain"):
        if any(each in getattr(config, field) for each in "\r\n\0"):
            raise ConfigError("it must have no line ends", field)


dialogue = TransportSocketPlugin(
    "meshd.transport_sockets.dialogue",
    Dialogue,
    configure,
    serves=tuple(field.name for field in attrs.fields(Dialogue)),
    side="upstream",
)
