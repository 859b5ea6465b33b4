"""
Runs any Twisted protocol behind a filter chain: a web site, or one's own.

factory names what makes the protocols, as "package.module:object": a protocol
factory, a protocol class, or a callable that is called with args and kwargs
and returns a factory.  The protocol has a TCP transport as in Twisted, whose
peer is the client that a PROXY header names, if one did; behind TLS it is an
ISSLTransport that knows the client's certificate and ALPN.  A factory that
returns no protocol closes the connection.

Serves Config, below; Envoy has no such filter.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
from OpenSSL import crypto
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    INegotiated,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    ISSLTransport,
    ITCPTransport,
)
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from zope.interface import implementer

from meshd.filter import TerminalFilter
from meshd.interfaces import IFactoryContext
from meshd.plugin import ConfigError, NetworkFilterPlugin, named_object


@attrs.frozen
class Config:
    """The config of meshd.filters.network.factory."""

    factory: str = attrs.field(validator=attrs.validators.matches_re(r"[\w.]+:[\w.]+"))
    args: list[Any] = attrs.field(factory=list)
    kwargs: dict[str, Any] = attrs.field(factory=dict)


class Run:
    """The factory that all connections of a filter chain share; it is started by the first one."""

    def __init__(self, config: Config, context: IFactoryContext) -> None:
        self.factory = _make_factory(config)
        self.reactor = context.reactor
        self.started = False

    def __call__(self) -> Runner:
        return Runner(self)

    def build(self, peer: Any) -> Any:
        """Return a protocol for a client, or None."""
        if not self.started:
            self.started = True
            self.factory.doStart()
            self.reactor.addSystemEventTrigger("during", "shutdown", self.factory.doStop)
        return self.factory.buildProtocol(peer)


class Runner(TerminalFilter):
    """Tells the protocol what happens to its connection."""

    protocol: Any = None

    def __init__(self, run: Run) -> None:
        self.run = run

    def connectionMade(self) -> None:
        protocol = self.run.build(self.transport.getPeer())
        if protocol is None:
            self.connection.info.local_close_reason = "protocol_factory_refused"
            self.transport.loseConnection()
            return
        self.protocol = protocol
        # Whatever the filters outside do: a protocol that is not told waits for ever.
        self.connection.on_close(lambda: self.connectionLost(Failure(ConnectionLost())))
        secure = self.connection.info.tls is not None
        protocol.makeConnection(SecureTransport(self) if secure else Transport(self))

    def dataReceived(self, data: bytes) -> None:
        self.connection.info.bytes_received += len(data)
        if self.protocol is not None:
            self.protocol.dataReceived(data)

    def readConnectionLost(self) -> None:
        if IHalfCloseableProtocol.providedBy(self.protocol):
            self.protocol.readConnectionLost()
        else:
            self.transport.loseConnection()

    def write_ended(self) -> None:
        """Tell a protocol that half-closed its connection that it is so."""
        if IHalfCloseableProtocol.providedBy(self.protocol):
            self.protocol.writeConnectionLost()

    def connectionLost(self, reason: Failure) -> None:
        protocol, self.protocol = self.protocol, None
        if protocol is not None:
            protocol.connectionLost(reason)


@implementer(ITCPTransport, IConsumer, IPushProducer)
class Transport:
    """What the protocol writes to: the filters outside of its runner."""

    disconnecting = False

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._connection: Any = runner.connection

    def write(self, data: bytes) -> None:
        self._connection.info.bytes_sent += len(data)
        self._runner.transport.write(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        self.disconnecting = True
        self._runner.transport.loseConnection()

    def loseWriteConnection(self) -> None:
        self._runner.transport.loseWriteConnection()
        self._runner.run.reactor.callLater(0, self._runner.write_ended)

    def abortConnection(self) -> None:
        self.disconnecting = True
        self._runner.transport.abortConnection()

    def pauseProducing(self) -> None:
        self._connection.pause(self)

    def resumeProducing(self) -> None:
        self._connection.resume(self)

    def stopProducing(self) -> None:
        self.loseConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self._runner.transport.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        self._runner.transport.unregisterProducer()

    def getPeer(self) -> Any:
        return self._runner.transport.getPeer()

    def getHost(self) -> Any:
        return self._runner.transport.getHost()

    # Of the socket, if the connection has one.

    def _socket(self) -> Any:
        return getattr(self._connection, "stream", None)

    def getTcpNoDelay(self) -> bool:
        tcp = self._socket()
        return tcp is not None and bool(tcp.getTcpNoDelay())

    def setTcpNoDelay(self, enabled: bool) -> None:
        tcp = self._socket()
        if tcp is not None:
            tcp.setTcpNoDelay(enabled)

    def getTcpKeepAlive(self) -> bool:
        tcp = self._socket()
        return tcp is not None and bool(tcp.getTcpKeepAlive())

    def setTcpKeepAlive(self, enabled: bool) -> None:
        tcp = self._socket()
        if tcp is not None:
            tcp.setTcpKeepAlive(enabled)


@implementer(ISSLTransport, INegotiated)
class SecureTransport(Transport):
    """The same behind a TLS link."""

    def getPeerCertificate(self) -> Any:
        """Return the client's certificate, an OpenSSL.crypto.X509; None if it showed none."""
        peer = self._connection.info.tls.peer
        return None if peer is None else crypto.X509.from_cryptography(peer.certificate)

    @property
    def negotiatedProtocol(self) -> bytes | None:
        """What ALPN chose, None if it chose nothing."""
        return self._connection.info.tls.alpn.encode() or None


def _make_factory(config: Config) -> Any:
    try:
        found = named_object(config.factory)
    except ConfigError as error:
        raise error.under("factory") from None
    if not IProtocolFactory.providedBy(found):
        found = _call(found, config)
    elif config.args or config.kwargs:
        raise ConfigError(f"{config.factory} is a factory, and takes no args or kwargs", "factory")
    if not IProtocolFactory.providedBy(found):
        raise ConfigError(f"{config.factory} is, or makes, no protocol factory but {found!r}", "factory")
    return found


def _call(found: Any, config: Config) -> Any:
    """Return what a callable makes; a protocol class is wrapped in a factory that gives it the args."""
    if isinstance(found, type) and IProtocol.implementedBy(found):
        return Factory.forProtocol(lambda: found(*config.args, **config.kwargs))
    if not callable(found):
        return found
    try:
        return found(*config.args, **config.kwargs)
    except Exception as error:
        raise ConfigError(f"{config.factory} raised {type(error).__name__}: {error}", "factory") from error


factory = NetworkFilterPlugin(
    "meshd.filters.network.factory",
    Config,
    Run,
    serves=tuple(field.name for field in attrs.fields(Config)),
    terminal=True,
)
