"""Tests for meshd.filters.network.connection_limit."""

from typing import Any

from envoy.extensions.filters.network.connection_limit.v3.connection_limit_pb2 import ConnectionLimit
from google.protobuf.json_format import ParseDict
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from meshd.filters.network.connection_limit import connection_limit
from meshd.interfaces import INetworkFilter, INetworkFilterFactory
from meshd.testing import FakeClient, FakeContext


class ConnectionLimitCase(SynchronousTestCase):
    """A limit of one connection."""

    def make(self, **config: Any) -> None:
        """Configure the filter."""
        self.context = FakeContext()
        message = ParseDict({"stat_prefix": "db", "max_connections": 1, **config}, ConnectionLimit())
        self.build = connection_limit.configure(message, self.context)

    def counted(self) -> tuple[int, int]:
        """Return how many were limited, and how many are active."""
        stats = self.context.stats.scope("connection_limit.db")
        return stats["limited_connections"], stats["active_connections"]


class ConnectionLimitTests(ConnectionLimitCase):
    """A limit without a delay."""

    def setUp(self) -> None:
        self.make()

    def test_interfaces(self) -> None:
        """The plugin and the filter provide what they stand for."""
        verifyObject(INetworkFilterFactory, connection_limit)
        gate = self.build()
        FakeClient(gate)
        verifyObject(INetworkFilter, gate)

    def test_under(self) -> None:
        """A connection under the limit reaches the next filter."""
        client = FakeClient(self.build())
        client.send(b"hello")
        self.assertEqual(client.upstream.received, b"hello")
        self.assertEqual(self.counted(), (0, 1))

    def test_over(self) -> None:
        """A connection over the limit is closed and counted."""
        FakeClient(self.build())
        second = FakeClient(self.build())
        second.send(b"hello")
        self.assertTrue(second.dropped)
        self.assertFalse(second.upstream.connected)
        self.assertEqual(second.upstream.received, b"")
        self.assertEqual(second.info.local_close_reason, "over_connection_limit")
        self.assertEqual(self.counted(), (1, 2))
        second.close()
        self.assertEqual(self.counted(), (1, 1))

    def test_freed(self) -> None:
        """A connection that closes makes room for another."""
        FakeClient(self.build()).close()
        self.assertTrue(FakeClient(self.build()).upstream.connected)

    def test_refused_is_not_freed(self) -> None:
        """Closing a refused connection does not make room."""
        FakeClient(self.build())
        FakeClient(self.build()).close()
        self.assertTrue(FakeClient(self.build()).dropped)


class DelayTests(ConnectionLimitCase):
    """A limit with a delay, and a connection over it."""

    def setUp(self) -> None:
        self.make(delay="0.3s")
        self.first = FakeClient(self.build())
        self.second = FakeClient(self.build())

    def test_delay(self) -> None:
        """It is closed after the delay; what it sends meanwhile is dropped."""
        self.second.send(b"hello")
        self.context.clock.advance(0.29)
        self.assertFalse(self.second.dropped)
        self.context.clock.advance(0.01)
        self.assertTrue(self.second.dropped)
        self.assertFalse(self.second.upstream.connected)
        self.assertEqual(self.second.upstream.received, b"")
        self.assertEqual(self.second.info.local_close_reason, "over_connection_limit")

    def test_not_admitted_later(self) -> None:
        """It is closed even if there is room by then."""
        self.first.close()
        self.context.clock.advance(0.3)
        self.assertTrue(self.second.dropped)

    def test_client_ends(self) -> None:
        """A client that ends first is not waited for."""
        self.second.half_close()
        self.assertTrue(self.second.dropped)
        self.second.close()
        self.assertEqual(self.context.clock.getDelayedCalls(), [])
        self.assertEqual(self.second.info.local_close_reason, "")


class RuntimeTests(ConnectionLimitCase):
    """A limit that is turned off by runtime."""

    def test_off(self) -> None:
        """Nothing is limited or counted while it is off."""
        self.make(runtime_enabled={"runtime_key": "limit", "default_value": False})
        clients = [FakeClient(self.build()) for _ in range(2)]
        self.assertTrue(all(client.upstream.connected for client in clients))
        self.assertEqual(self.counted(), (0, 0))
        self.context.runtime.values["limit"] = "true"
        clients += [FakeClient(self.build()) for _ in range(2)]
        self.assertEqual([client.dropped for client in clients], [False, False, False, True])
