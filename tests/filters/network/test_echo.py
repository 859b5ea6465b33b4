"""Tests for meshd.filters.network.echo."""

from envoy.extensions.filters.network.echo.v3.echo_pb2 import Echo
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from meshd.filters.network.echo import echo
from meshd.interfaces import INetworkFilterFactory
from meshd.testing import FakeClient, FakeContext


class EchoTests(SynchronousTestCase):
    """A connected client."""

    def setUp(self) -> None:
        self.client = FakeClient(echo.configure(Echo(), FakeContext())(), terminal=True)

    def test_interfaces(self) -> None:
        """The plugin provides what it stands for, and is terminal."""
        verifyObject(INetworkFilterFactory, echo)
        self.assertTrue(echo.terminal)

    def test_echo(self) -> None:
        """What is sent comes back, and is counted."""
        self.client.send(b"hello")
        self.assertEqual(self.client.received, b"hello")
        self.assertEqual((self.client.info.bytes_received, self.client.info.bytes_sent), (5, 5))

    def test_half_close(self) -> None:
        """When the client has sent all, the connection is closed after the answer."""
        self.client.send(b"hello")
        self.client.half_close()
        self.assertEqual((self.client.received, self.client.dropped), (b"hello", True))
        self.assertFalse(self.client.was_reset)
        self.assertIsNone(self.client.wire.producer)

    def test_slow_reader(self) -> None:
        """A client that does not read is not read from: Envoy would buffer without end."""
        self.client.wire.full()
        self.assertTrue(self.client.paused_by)
        self.client.wire.drained()
        self.assertFalse(self.client.paused_by)

    def test_end(self) -> None:
        """The end of the connection needs nothing."""
        self.client.wire.producer.stopProducing()
        self.client.close()
        self.assertFalse(self.client.dropped)
