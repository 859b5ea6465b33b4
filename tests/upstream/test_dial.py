"""Tests for meshd.upstream.dial."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from meshd.interfaces import ConnectError, IUpstream, NoHost
from tests.upstream.support import Surrounding, assignment


class Connecting:
    """A connection that the test makes, or not."""

    def __init__(self, host: Any) -> None:
        self.host = host
        self.cancelled = False

    def cancel(self) -> None:
        """Note it."""
        self.cancelled = True


class Plain(Protocol):
    """A protocol that keeps what it hears."""

    data = b""
    closed = False

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.closed = True


@implementer(IHalfCloseableProtocol)
class HalfCloseable(Protocol):
    """A protocol that can do with one direction."""

    ended = False

    def readConnectionLost(self) -> None:
        """Note it."""
        self.ended = True

    def writeConnectionLost(self) -> None:
        """Ignore it."""


class EndpointTests(SynchronousTestCase):
    """The endpoint of a cluster of one host."""

    def setUp(self) -> None:
        self.around = Surrounding()
        self.around.context.connector = self._connect
        self.endpoint = self.around.cluster(load_assignment=assignment([1])).endpoint()
        self.transport = StringTransport()

    def _connect(self, cluster: Any, host: Any, upstream: Any, info: Any) -> Any:
        self.upstream, self.connecting = upstream, Connecting(host)
        return self.connecting

    def connect(self, protocol: type[Protocol]) -> Any:
        """Connect such a protocol, successfully."""
        made = self.endpoint.connect(Factory.forProtocol(protocol))
        self.upstream.transport = self.transport
        self.upstream.connectionMade()
        return self.successResultOf(made)

    def test_interfaces(self) -> None:
        """It is an IStreamClientEndpoint; what it gives the cluster is an IUpstream."""
        verifyObject(IStreamClientEndpoint, self.endpoint)
        self.connect(Plain)
        verifyObject(IUpstream, self.upstream)

    def test_connected(self) -> None:
        """The protocol has the connection's transport and data, and is told of its end."""
        protocol = self.connect(Plain)
        protocol.transport.write(b"hello")
        self.upstream.dataReceived(b"hi")
        self.upstream.connectionLost(Failure(ConnectionDone()))
        self.assertEqual((self.transport.value(), protocol.data), (b"hello", b"hi"))
        self.assertTrue(protocol.closed)

    def test_address(self) -> None:
        """The factory is told of the host's address."""
        addresses: list[Any] = []

        class Noting(Factory):
            """Notes the address."""

            def buildProtocol(self, addr: Any) -> Protocol:
                addresses.append(addr)
                return Protocol()

        self.endpoint.connect(Noting())
        self.upstream.transport = self.transport
        self.upstream.connectionMade()
        self.assertEqual((addresses[0].host, addresses[0].port), ("127.0.0.1", 1))

    def test_half_close(self) -> None:
        """A protocol that knows of half-close is told of it; for others the connection ends."""
        protocol = self.connect(HalfCloseable)
        self.upstream.readConnectionLost()
        self.assertTrue(protocol.ended)
        self.assertFalse(self.transport.disconnecting)
        self.connect(Plain)
        self.upstream.readConnectionLost()
        self.assertTrue(self.transport.disconnecting)

    def test_failed(self) -> None:
        """If there is no connection, the Deferred fails with the reason."""
        made = self.endpoint.connect(Factory.forProtocol(Protocol))
        self.upstream.connect_failed(ConnectError("refused"))
        self.failureResultOf(made, ConnectError)

    def test_no_host(self) -> None:
        """If there is no host, the Deferred fails at once."""
        endpoint = Surrounding().cluster().endpoint()
        self.failureResultOf(endpoint.connect(Factory.forProtocol(Protocol)), NoHost)

    def test_cancel(self) -> None:
        """Cancelling gives the connection up."""
        made = self.endpoint.connect(Factory.forProtocol(Protocol))
        made.cancel()
        self.failureResultOf(made)
        self.assertTrue(self.connecting.cancelled)

    def test_no_protocol(self) -> None:
        """A factory that makes no protocol ends the connection."""

        class Unwilling(Factory):
            """Makes none."""

            def buildProtocol(self, addr: Any) -> None:
                return None

        made = self.endpoint.connect(Unwilling())
        self.upstream.transport = self.transport
        self.upstream.connectionMade()
        self.failureResultOf(made)
        self.assertTrue(self.transport.disconnected)
