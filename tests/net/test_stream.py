"""Tests for meshd.net.stream."""

import socket

from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from meshd.net.reasons import ConnectionReset
from meshd.observe.stats import Store
from tests.net.loop import Loop, Recorder, ending, reset


class Pausing:
    """A streaming producer that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


class StreamTests(SynchronousTestCase):
    """A stream with a real socket at its other end."""

    def setUp(self) -> None:
        self.loop = Loop()
        self.protocol = Recorder()
        self.stream, self.peer = self.loop.stream(self.protocol, limit=16384, tcp=True)
        self.addCleanup(self.peer.close)

    def test_reads(self) -> None:
        """What the peer sends reaches the protocol, in pieces or at once."""
        self.peer.sendall(b"hello")
        self.loop.until(lambda: self.protocol.data == b"hello")
        self.peer.sendall(b"x" * 300_000)
        self.loop.until(lambda: len(self.protocol.data) == 300_005)

    def test_writes_at_once(self) -> None:
        """A write is sent without a turn of the loop."""
        self.stream.write(b"hello")
        self.stream.writeSequence([b" ", b"world"])
        self.assertEqual(self.peer.recv(100), b"hello world")

    def test_half_close_by_peer(self) -> None:
        """After the peer's FIN the protocol can still answer."""
        self.peer.sendall(b"question")
        self.peer.shutdown(socket.SHUT_WR)
        self.loop.until(lambda: "fin" in self.protocol.events)
        self.assertEqual(self.protocol.data, b"question")
        self.stream.write(b"answer")
        self.stream.loseWriteConnection()
        self.loop.until(lambda: "lost" in self.protocol.events)
        self.assertEqual(ending(self.peer), (b"answer", "FIN"))

    def test_half_close_by_us(self) -> None:
        """After our FIN the peer can still send, and its FIN ends the connection."""
        self.stream.loseWriteConnection()
        self.assertEqual(self.peer.recv(10), b"")
        self.peer.sendall(b"late")
        self.loop.until(lambda: self.protocol.data == b"late")
        self.peer.close()
        self.loop.until(lambda: "lost" in self.protocol.events)
        assert self.protocol.reason is not None
        self.assertTrue(self.protocol.reason.check(ConnectionDone))
        self.assertTrue(self.stream.closed_by_peer)

    def test_reset_by_peer(self) -> None:
        """A reset is told as one."""
        reset(self.peer)
        self.loop.until(lambda: "lost" in self.protocol.events)
        assert self.protocol.reason is not None
        self.assertTrue(self.protocol.reason.check(ConnectionReset))

    def test_reset_while_paused(self) -> None:
        """A reset is found out even while nobody reads."""
        self.stream.pause("x")
        self.loop.turn()
        reset(self.peer)
        self.loop.until(lambda: "lost" in self.protocol.events)

    def test_reset_after_half_close(self) -> None:
        """A reset after the peer's FIN is found out, though there is nothing to read any more."""
        self.peer.shutdown(socket.SHUT_WR)
        self.loop.until(lambda: "fin" in self.protocol.events)
        reset(self.peer)
        self.loop.until(lambda: "lost" in self.protocol.events)
        assert self.protocol.reason is not None
        self.assertTrue(self.protocol.reason.check(ConnectionReset))

    def test_abort(self) -> None:
        """abortConnection() sends a reset, and tells the protocol in a later turn."""
        self.stream.abortConnection()
        self.assertEqual(self.protocol.events, [])
        self.loop.turn()
        assert self.protocol.reason is not None
        self.assertTrue(self.protocol.reason.check(ConnectionAborted))
        self.assertEqual(ending(self.peer), (b"", "RST"))

    def test_lose_connection_is_not_synchronous(self) -> None:
        """connectionLost is never called from within loseConnection()."""
        self.stream.loseConnection()
        self.assertEqual(self.protocol.events, [])
        self.loop.turn()
        self.assertEqual(self.protocol.events, ["lost"])

    def test_lose_connection_flushes(self) -> None:
        """What was written before loseConnection() still arrives."""
        data = bytes(range(256)) * 20_000
        self.stream.write(data)
        self.assertGreater(self.stream.waiting, 0)
        self.stream.loseConnection()
        self.stream.write(b"too late")
        received = bytearray()
        self.peer.settimeout(0.001)
        while True:
            self.loop.turn(1)
            try:
                piece = self.peer.recv(65536)
            except TimeoutError:
                continue
            if not piece:
                break
            received += piece
        self.assertEqual(bytes(received), data)

    def test_watermarks(self) -> None:
        """A producer is paused above the limit, once, and resumed below half of it."""
        producer = Pausing()
        gauge = Store().gauge("buffered")
        self.stream.buffered = gauge
        self.stream.registerProducer(producer, True)
        while not producer.told:
            self.stream.write(b"x" * 4096)
        self.stream.write(b"x" * 4096)
        self.assertEqual(producer.told, ["pause"])
        self.assertEqual(gauge.value, self.stream.waiting)
        self.peer.settimeout(0.001)
        while self.stream.waiting:
            self.loop.turn(1)
            try:
                self.peer.recv(65536)
            except TimeoutError:
                continue
        self.assertEqual(producer.told, ["pause", "resume"])
        self.assertEqual(gauge.value, 0)

    def test_stops_producer(self) -> None:
        """A producer is told when the connection is over, and so is one that comes too late."""
        producer, late = Pausing(), Pausing()
        self.stream.registerProducer(producer, True)
        self.assertRaises(RuntimeError, self.stream.registerProducer, late, True)
        self.stream.close_now()
        self.loop.turn()
        self.stream.registerProducer(late, True)
        self.assertEqual((producer.told, late.told), (["stop"], ["stop"]))

    def test_pull_producer(self) -> None:
        """A pull producer is asked for more each time that all has gone."""
        asked: list[int] = []
        stream = self.stream

        class Pull(Pausing):
            def resumeProducing(self) -> None:
                asked.append(len(asked))
                if len(asked) < 4:
                    stream.write(b"x" * 3_000_000)
                else:
                    stream.unregisterProducer()
                    stream.loseConnection()

        stream.registerProducer(Pull(), False)
        self.peer.settimeout(0.001)
        size = 0
        while "lost" not in self.protocol.events:
            self.loop.turn(1)
            try:
                size += len(self.peer.recv(1 << 20))
            except TimeoutError:
                continue
        while piece := self.peer.recv(1 << 20):
            size += len(piece)
        self.assertEqual(size, 9_000_000)

    def test_pause_by_two(self) -> None:
        """Nothing is read until everybody who paused has resumed, however often each paused."""
        self.stream.pause("a")
        self.stream.pause("a")
        self.stream.pause("b")
        self.peer.sendall(b"x")
        self.loop.turn()
        self.stream.resume("a")
        self.loop.turn()
        self.assertEqual(self.protocol.data, b"")
        self.stream.resume("b")
        self.loop.until(lambda: self.protocol.data == b"x")

    def test_unread(self) -> None:
        """What was put back comes first, and not before reading goes on."""
        self.stream.pause("a")
        self.stream.unread(b"first ")
        self.peer.sendall(b"second")
        self.loop.turn()
        self.assertEqual(self.protocol.data, b"")
        self.stream.resume("a")
        self.loop.until(lambda: self.protocol.data == b"first second")

    def test_fair(self) -> None:
        """A peer that sends without end does not keep the others from being served."""
        other = Recorder()
        _, quiet = self.loop.stream(other)
        self.addCleanup(quiet.close)
        self.peer.setblocking(False)
        quiet.sendall(b"me too")
        for _ in range(100):
            try:
                self.peer.send(b"x" * 65536)
            except BlockingIOError:
                break
        self.loop.turn(1)
        self.assertEqual(other.data, b"me too")

    def test_protocol_raises(self) -> None:
        """A protocol that raises is told what, and its connection is reset."""
        failures: list[object] = []

        def fail(data: bytes) -> None:
            raise ValueError("no")

        self.protocol.dataReceived = fail  # type: ignore[method-assign]
        self.protocol.protocol_failed = failures.append  # type: ignore[attr-defined]
        self.peer.sendall(b"x")
        self.loop.until(lambda: "lost" in self.protocol.events)
        self.assertEqual(len(failures), 1)
        self.assertEqual(ending(self.peer)[1], "RST")

    def test_write_to_the_dead(self) -> None:
        """Writing to a connection that the peer has reset ends it, in a later turn."""
        self.stream.pause("x")
        reset(self.peer)
        for _ in range(3):
            self.stream.write(b"x")
        self.assertEqual(self.protocol.events, [])
        self.loop.until(lambda: "lost" in self.protocol.events)

    def test_interfaces(self) -> None:
        """It provides what Twisted asks of a TCP transport."""
        for interface in (ITCPTransport, IConsumer, IPushProducer):
            verifyObject(interface, self.stream)
        self.stream.setTcpNoDelay(True)
        self.stream.setTcpKeepAlive(True)
        self.assertTrue(self.stream.getTcpNoDelay())
        self.assertTrue(self.stream.getTcpKeepAlive())
        self.assertEqual(self.stream.getPeer().port, self.peer.getsockname()[1])
        self.assertEqual(self.stream.getHost().port, self.peer.getpeername()[1])
