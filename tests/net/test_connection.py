"""Tests for meshd.net.connection."""

from __future__ import annotations

import gc
import weakref
from typing import Any

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.interfaces import ITCPTransport
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from meshd.filter import NOTHING, Flow, NetworkFilter, WatchingFilter
from meshd.interfaces import IConnection, INetworkFilter
from meshd.net.connection import GONE, Connection
from meshd.net.stream import Stream
from meshd.testing import FakeNumber
from tests.net.chain import ConnectionCase, Echo, Logger, Notes
from tests.net.loop import Recorder, ending, fill, reset, some_bytes


class EndTests(ConnectionCase):
    """How a connection ends."""

    def test_order(self) -> None:
        """The filters are told, outermost first, then who asked, the loggers, the owner; once."""
        order = self.owner.order
        self.owner.access_loggers = [Logger(order, "log 1"), Logger(order, "log 2")]
        connection, client = self.connect(Notes(order, "outer"), Notes(order, "inner"), Echo())
        connection.on_close(lambda: order.append("asked 1"))
        connection.on_close(lambda: order.append("asked 2"))
        client.close()
        self.loop.turn()
        expected = ["outer", "inner", "asked 1", "asked 2", "log 1", "log 2", "forgotten"]
        self.assertEqual(order, expected)
        connection.connectionLost(Failure(ValueError()))
        self.assertEqual(order, expected)

    def test_info(self) -> None:
        """The loggers find the bytes and the time of the end."""
        self.owner.access_loggers = [Logger(self.owner.order, "log")]
        connection, client = self.connect(Echo())
        client.sendall(b"12345")
        self.loop.turn()
        self.assertIsNone(connection.info.end)
        self.assertEqual(client.recv(5), b"12345")
        client.close()
        self.loop.turn()
        info: Any = self.owner.access_loggers[0].infos[0]
        self.assertIs(info, connection.info)
        self.assertGreaterEqual(info.end, info.start)
        self.assertEqual((info.bytes_received, info.bytes_sent), (5, 5))
        self.assertEqual((info.wire_bytes_received, info.wire_bytes_sent), (5, 5))
        self.assertEqual((info.detected_close_type, info.log_type), ("Normal", "NotSet"))

    def test_payload_is_the_terminal_filter_s(self) -> None:
        """What the last filter counted as payload stays."""
        connection, client = self.connect(Echo())
        connection.info.bytes_received = 2
        client.sendall(b"12345")
        client.close()
        self.loop.turn()
        self.assertEqual((connection.info.bytes_received, connection.info.bytes_sent), (2, 0))
        self.assertEqual(connection.info.wire_bytes_received, 5)

    def test_resets(self) -> None:
        """Who reset it is noted."""
        connection, client = self.connect(Echo())
        reset(client)
        self.loop.turn()
        self.assertEqual(connection.info.detected_close_type, "RemoteReset")
        connection, client = self.connect(Echo())
        connection.abort()
        self.loop.turn()
        self.assertEqual(connection.info.detected_close_type, "LocalReset")
        self.assertEqual(ending(client), (b"", "RST"))

    def test_close_now(self) -> None:
        """close_now() ends with a FIN, and does not wait for what is to be sent."""
        connection, client = self.connect(Echo(), limit=1000)
        gauge = FakeNumber()
        connection.count_buffered(gauge)
        connection.write(some_bytes(20_000_000))
        self.assertGreater(gauge.value, 0)
        connection.close_now()
        self.assertFalse(connection.over)
        self.loop.turn()
        self.assertTrue(connection.over)
        self.assertEqual(gauge.value, 0)
        data, end = ending(client)
        self.assertLess(len(data), 20_000_000)
        self.assertEqual(end, "FIN")

    def test_links_are_cut(self) -> None:
        """After the end the links know neither each other nor the outside, and are not garbage."""
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        outer, last = NetworkFilter(), Echo()
        connection, client = self.connect(outer, last)
        gone = weakref.ref(connection)
        client.close()
        self.loop.turn()
        self.assertIs(connection.inner, NOTHING)
        self.assertIs(outer.inner, NOTHING)
        self.assertIs(outer.transport, GONE)
        self.assertIs(last.transport, GONE)
        self.assertIsNone(last.inner)
        self.owner.closed.clear()
        del connection, outer, last
        self.assertIsNone(gone())

    def test_late_calls(self) -> None:
        """What a filter does after the end goes nowhere."""

        class Producer:
            stopped = 0

            def stopProducing(self) -> None:
                """Note it."""
                self.stopped += 1

        link, last, producer = NetworkFilter(), Echo(), Producer()
        connection, client = self.connect(link, last)
        client.close()
        self.loop.turn()
        last.transport.write(b"x")
        last.transport.writeSequence([b"x"])
        link.dataReceived(b"x")
        link.readConnectionLost()
        for name in ("loseConnection", "loseWriteConnection", "abortConnection"):
            getattr(link, name)()
        for name in ("pauseProducing", "resumeProducing", "stopProducing", "unregisterProducer"):
            getattr(link, name)()
        link.registerProducer(producer, True)
        self.assertEqual(producer.stopped, 1)
        self.assertEqual((link.getPeer(), link.getHost()), (UNIXAddress(None), UNIXAddress(None)))
        self.assertTrue(link.transport.disconnecting)
        connection.pause(link)
        connection.resume(link)
        connection.abort()
        self.loop.turn()

    def test_late_release(self) -> None:
        """A filter that releases after the end passes nothing on."""
        link, last = NetworkFilter(), Echo()
        _, client = self.connect(link, last)
        link.hold()
        client.close()
        self.loop.turn()
        link.release()
        self.assertEqual(last.made, 1)


class ChainTests(ConnectionCase):
    """What a connection is for its filters."""

    def test_interfaces(self) -> None:
        """It is the head of the links, and what filters know as their connection."""
        link, last = NetworkFilter(), Echo()
        connection, _ = self.connect(link, last)
        verifyObject(IConnection, connection)
        verifyObject(INetworkFilter, connection)
        verifyObject(ITCPTransport, connection.stream)
        self.assertEqual((link.connection, last.connection), (connection, connection))
        self.assertIs(link.transport, connection)
        self.assertEqual(last.made, 1)

    def test_addresses(self) -> None:
        """The addresses are those that the listener filters found."""
        connection, _ = self.connect(Echo())
        connection.info.remote, connection.info.local = ("203.0.113.1", 5), "/run/x"
        self.assertEqual(connection.getPeer(), IPv4Address("TCP", "203.0.113.1", 5))
        self.assertEqual(connection.getHost(), UNIXAddress("/run/x"))

    def test_pause(self) -> None:
        """Nothing is read until everybody who paused has resumed."""
        connection, client = self.connect(Echo())
        connection.pause("a")
        connection.pauseProducing()
        client.sendall(b"x")
        self.loop.turn()
        connection.resume("a")
        self.loop.turn()
        client.setblocking(False)
        self.assertRaises(BlockingIOError, client.recv, 10)
        connection.resumeProducing()
        self.loop.turn()
        self.assertEqual(client.recv(10), b"x")

    def test_logged(self) -> None:
        """Filters can ask whether anybody will log it."""
        connection, _ = self.connect(Echo())
        self.assertFalse(connection.logged)
        self.owner.access_loggers = [Logger([], "log")]
        self.assertTrue(connection.logged)

    def test_last_active(self) -> None:
        """It knows when bytes came last."""
        connection, client = self.connect(Echo())
        self.loop.clock.advance(7)
        client.sendall(b"x")
        self.loop.turn()
        self.assertEqual(connection.last_active, 7.0)


class FakeUpstream:
    """An upstream connection, as join() knows it."""

    secured = None

    def __init__(self, stream: Stream | None) -> None:
        self.stream = stream


class JoinTests(ConnectionCase):
    """Relaying past the filters."""

    def setUp(self) -> None:
        super().setUp()
        self.server_side = Recorder()
        self.up, self.server = self.loop.stream(self.server_side, tcp=True)
        self.addCleanup(self.server.close)

    def join(self, connection: Connection, terminal: Any, stream: Stream | None) -> bool:
        """Ask for it."""
        flows = [Flow(*(FakeNumber() for _ in range(4))) for _ in range(2)]
        self.there, self.back = flows
        return connection.join(terminal, FakeUpstream(stream), *flows)

    def test_nothing_looks(self) -> None:
        """With the terminal filter alone, bytes go straight through, and are counted at the end."""
        last = Echo()
        connection, client = self.connect(last)
        self.assertTrue(self.join(connection, last, self.up))
        client.sendall(b"question")
        self.loop.turn()
        self.assertEqual(self.server.recv(100), b"question")
        self.server.sendall(b"answer")
        self.loop.turn()
        self.assertEqual(client.recv(100), b"answer")
        reset(client)
        self.loop.turn()
        self.assertEqual((self.there.bytes, self.back.bytes), (8, 6))
        self.assertEqual(connection.info.wire_bytes_received, 8)
        self.assertEqual(connection.info.wire_bytes_sent, 6)
        self.assertEqual(last.lost, 1)
        self.assertEqual(self.owner.relays._relays, set())

    def test_somebody_looks(self) -> None:
        """With another link there, it is refused; once that has left, it is not."""
        link, last = NetworkFilter(), Echo()
        connection, client = self.connect(link, last)
        self.assertFalse(self.join(connection, last, self.up))
        client.sendall(b"x")
        self.loop.turn()
        self.assertEqual(client.recv(10), b"x")
        link.leave()
        self.assertTrue(self.join(connection, last, self.up))

    def test_somebody_watches(self) -> None:
        """With links that only watch, bytes go straight through, and are shown to each, the nearest first."""
        seen: list[str] = []

        class Watches(WatchingFilter):
            def __init__(self, name: str) -> None:
                self.name = name

            def received(self, data: bytes) -> None:
                seen.append(f"{self.name} received {data.decode()}")

            def sent(self, data: bytes) -> None:
                seen.append(f"{self.name} sent {data.decode()}")

        last = Echo()
        connection, client = self.connect(Watches("outer"), Watches("inner"), last)
        self.assertTrue(self.join(connection, last, self.up))
        client.sendall(b"question")
        self.loop.turn()
        self.assertEqual(self.server.recv(100), b"question")
        self.server.sendall(b"answer")
        self.loop.turn()
        self.assertEqual(client.recv(100), b"answer")
        self.assertEqual(
            seen,
            ["outer received question", "inner received question", "inner sent answer", "outer sent answer"],
        )

    def test_does_more_than_watch(self) -> None:
        """A link that watches only at other times is one that looks."""
        watches, last = WatchingFilter(), Echo()
        watches.watching = False
        connection, _ = self.connect(watches, last)
        self.assertFalse(self.join(connection, last, self.up))

    def test_held(self) -> None:
        """While a filter holds, it is refused."""
        link, last = NetworkFilter(), Echo()
        connection, _ = self.connect(link, last)
        link.hold()
        self.assertFalse(self.join(connection, last, self.up))

    def test_upstream_has_links(self) -> None:
        """If the upstream's bytes are looked at, it is refused."""
        last = Echo()
        connection, _ = self.connect(last)
        self.assertFalse(self.join(connection, last, None))

    def test_over(self) -> None:
        """When the connection is over, it is refused."""
        last = Echo()
        connection, client = self.connect(last)
        reset(client)
        self.loop.turn()
        self.assertFalse(self.join(connection, last, self.up))

    def test_end_with_bulk(self) -> None:
        """Ends are told to the filter as ever, though it never saw a byte."""
        last = Echo()
        connection, client = self.connect(last)
        self.assertTrue(self.join(connection, last, self.up))
        fill(client, some_bytes(8_000_000))
        self.loop.turn(20)
        client.close()
        self.server.setblocking(False)

        def read() -> bool:
            try:
                self.server.recv(1 << 20)
            except BlockingIOError:
                pass
            return connection.over

        self.loop.until(read)
        self.assertEqual((last.made, last.lost), (1, 1))
