"""Tests for meshd.testing.cluster."""

from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from meshd.interfaces import ConnectError, ICluster, IConnecting, IHost, IUpstream, NoHost
from meshd.observe.info import ConnectionInfo
from meshd.testing import CLIENT, SERVER, FakeCluster, FakeHost, Terminal

INFO = ConnectionInfo(CLIENT, SERVER)


@implementer(IUpstream)
class Upstream(Terminal):
    """Notes what happens to it."""

    error: ConnectError | None = None

    def connect_failed(self, error: ConnectError) -> None:
        self.error = error


class FakeClusterTests(SynchronousTestCase):
    """A cluster of two hosts."""

    def setUp(self) -> None:
        self.cluster = FakeCluster("db", FakeHost(("192.0.2.7", 1)), FakeHost(("192.0.2.8", 1)))
        self.upstream = Upstream()

    def test_interfaces(self) -> None:
        """The doubles provide what they stand for."""
        verifyObject(ICluster, self.cluster)
        verifyObject(IHost, self.cluster.hosts[0])
        verifyObject(IConnecting, self.cluster.connect(self.upstream, INFO))

    def test_accept(self) -> None:
        """Nothing is told before the test accepts; then the test is the host."""
        connecting = self.cluster.connect(self.upstream, INFO, 7)
        self.assertFalse(self.upstream.connected)
        connecting.accept()
        connecting.send(b"hi")
        self.upstream.write(b"there")
        connecting.half_close()
        self.assertEqual((self.upstream.received, connecting.received), (b"hi", b"there"))
        self.assertTrue(self.upstream.half_closed)
        self.assertEqual(self.cluster.hash_keys, [7])
        connecting.reset()
        self.assertTrue(connecting.was_reset)

    def test_refuse(self) -> None:
        """The test may refuse, or let it take too long."""
        self.cluster.connect(self.upstream, INFO).refuse(timeout=True)
        assert self.upstream.error is not None
        self.assertTrue(self.upstream.error.timeout)

    def test_cancelled(self) -> None:
        """A connection that was given up cannot be accepted."""
        connecting = self.cluster.connect(self.upstream, INFO)
        connecting.cancel()
        self.assertRaises(RuntimeError, connecting.accept)

    def test_turns(self) -> None:
        """Healthy hosts have their turns; without any there is none to connect to."""
        first, second = self.cluster.hosts
        self.assertIs(self.cluster.connect(self.upstream, INFO).host, first)
        self.assertIs(self.cluster.connect(self.upstream, INFO).host, second)
        first.healthy = second.healthy = False
        self.assertRaises(NoHost, self.cluster.connect, self.upstream, INFO)

    def test_error(self) -> None:
        """An error that the test sets is raised by connect, and fails the endpoint."""
        self.cluster.error = NoHost("db")
        self.assertRaises(NoHost, self.cluster.connect, self.upstream, INFO)
        self.failureResultOf(self.cluster.endpoint().connect(Factory.forProtocol(Protocol)), NoHost)

    def test_endpoint(self) -> None:
        """An endpoint connects once the test accepts."""
        done = self.cluster.endpoint().connect(Factory.forProtocol(Protocol))
        self.assertNoResult(done)
        self.cluster.connects[0].accept()
        protocol = self.successResultOf(done)
        protocol.transport.write(b"x")
        self.assertEqual(self.cluster.connects[0].received, b"x")
