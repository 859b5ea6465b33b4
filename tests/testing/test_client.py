"""Tests for meshd.testing.client."""

from twisted.internet.interfaces import IConsumer, IPushProducer, ITransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from meshd.filter import NetworkFilter
from meshd.interfaces import IConnection, IListenerFilter, INetworkFilter, IStreamInfo
from meshd.testing import FakeClient, FakeWire, Terminal, inspect_all


class FakeClientTests(SynchronousTestCase):
    """A client before one filter."""

    def setUp(self) -> None:
        self.client = FakeClient(NetworkFilter())

    def test_interfaces(self) -> None:
        """The doubles provide what they stand for."""
        verifyObject(IConnection, self.client)
        verifyObject(INetworkFilter, self.client)
        verifyObject(INetworkFilter, self.client.upstream)
        for each in (ITransport, IConsumer, IPushProducer):
            verifyObject(each, FakeWire())

    def test_bytes(self) -> None:
        """Bytes reach the upstream, and come back."""
        self.client.send(b"ask")
        self.client.upstream.write(b"answer")
        self.assertEqual(self.client.upstream.received, b"ask")
        self.assertEqual(self.client.received, b"answer")

    def test_end(self) -> None:
        """The end is told once, then the callbacks are called."""
        told: list[object] = []
        self.client.on_close(lambda: told.append(self.client.upstream.lost is not None))
        self.client.half_close()
        self.client.close()
        self.client.reset()
        self.assertTrue(self.client.upstream.half_closed)
        self.assertEqual(told, [True])

    def test_client_reset(self) -> None:
        """A reset by the client is noted in the info."""
        self.client.reset()
        self.assertEqual(self.client.info.detected_close_type, "RemoteReset")

    def test_proxy_ends(self) -> None:
        """How the proxy ended the connection is seen."""
        self.client.upstream.loseWriteConnection()
        self.assertEqual((self.client.finished, self.client.dropped), (True, False))
        self.client.upstream.loseConnection()
        self.assertEqual((self.client.dropped, self.client.was_reset), (True, False))
        self.client.abort()
        self.assertTrue(self.client.was_reset)

    def test_slow_reader(self) -> None:
        """A client that does not read pauses the producer that is registered."""
        self.client.upstream.registerProducer(self.client, True)
        self.client.wire.full()
        self.assertEqual(self.client.paused_by, {"upstream"})
        self.client.wire.drained()
        self.assertEqual(self.client.paused_by, set())
        self.assertRaises(RuntimeError, self.client.registerProducer, self.client, True)

    def test_terminal(self) -> None:
        """With terminal=True nothing lies inside the last filter."""
        last = Terminal()
        client = FakeClient(last, terminal=True)
        client.send(b"x")
        self.assertEqual((last.received, last.inner), (b"x", None))


@implementer(IListenerFilter)
class Three:
    """Wants three bytes, and takes one."""

    limit = 3

    def inspect(self, data: bytes, info: IStreamInfo) -> int | None:
        info.server_name = data.decode()
        return 1 if len(data) == 3 else None


class InspectTests(SynchronousTestCase):
    """A listener filter that wants three bytes."""

    def test_inspect_all(self) -> None:
        """It is shown more and more, until it has enough."""
        self.assertEqual(inspect_all(Three(), b"ab")[0], None)
        taken, info = inspect_all(Three(), b"abcd")
        self.assertEqual((taken, info.server_name), (1, "abc"))
