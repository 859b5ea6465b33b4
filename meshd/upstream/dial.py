"""
A cluster as a Twisted endpoint, for code off the hot path.

Any Twisted protocol can so be connected to a host of a cluster, through the
same connector as the traffic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectError as TwistedConnectError
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from meshd.interfaces import ConnectError, IConnecting, IUpstream, UpstreamError
from meshd.observe.info import ConnectionInfo, twisted_address

if TYPE_CHECKING:
    from meshd.upstream.cluster import Cluster


@implementer(IStreamClientEndpoint)
class ClusterEndpoint:
    """
    Connects to a host of a cluster, picked anew for each connection.

    The Deferred fails with what the cluster raises (NoHost, Overflow,
    ConnectError).
    """

    def __init__(self, cluster: Cluster, hash_key: int | None = None) -> None:
        self._cluster = cluster
        self._hash_key = hash_key

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        dialled = _Dialled(protocolFactory)
        info = ConnectionInfo("", "")
        try:
            dialled.connecting = self._cluster.connect(dialled, info, self._hash_key)
        except UpstreamError as error:
            return fail(error)
        return dialled.deferred


@implementer(IUpstream)
class _Dialled:
    """The upstream that hands its connection to a protocol of someone else's."""

    transport: Any
    connecting: IConnecting
    _protocol: IProtocol | None = None

    def __init__(self, factory: IProtocolFactory) -> None:
        self._factory = factory
        self.deferred: Deferred[IProtocol] = Deferred(self._cancel)

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        self.connectionMade()

    def connectionMade(self) -> None:
        address = twisted_address(self.connecting.host.address)
        protocol = self._factory.buildProtocol(address)
        if protocol is None:
            self.transport.abortConnection()
            self.deferred.errback(TwistedConnectError(string="the factory made no protocol"))
            return
        self._protocol = protocol
        protocol.makeConnection(self.transport)
        self.deferred.callback(protocol)

    def connect_failed(self, error: ConnectError) -> None:
        self.deferred.errback(error)

    def dataReceived(self, data: bytes) -> None:
        if self._protocol is not None:
            self._protocol.dataReceived(data)

    def readConnectionLost(self) -> None:
        half_closeable = IHalfCloseableProtocol(self._protocol, None)
        if half_closeable is not None:
            half_closeable.readConnectionLost()
        else:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure) -> None:
        if self._protocol is not None:
            self._protocol.connectionLost(reason)

    def _cancel(self, deferred: Deferred[IProtocol]) -> None:
        self.connecting.cancel()
