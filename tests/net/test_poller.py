"""Tests for meshd.net.poller."""

import select
import socket

from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from meshd.net.poller import ERROR, HANGUP, IN, OUT, ROUNDS, Poller
from tests.net.loop import reset, tcp_pair


class PollerCase(SynchronousTestCase):
    """A poller on a reactor that only notes what it is told, and a connection."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.poller = Poller(self.reactor)
        self.poller.start()
        self.addCleanup(self.poller.stop)
        self.events: list[int] = []
        self.ours, self.theirs = self.pair()

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """Return two ends of a connection, that end with the test."""
        ours, theirs = tcp_pair()
        ours.setblocking(False)
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        return ours, theirs


class EventTests(PollerCase):
    """What a descriptor's owner is told."""

    def test_edges(self) -> None:
        """Room is told of once, and data each time that some comes, though nobody reads it."""
        self.poller.add(self.ours.fileno(), self.events.append)
        self.poller.doRead()
        self.poller.doRead()
        self.assertEqual(self.events, [OUT])
        for _ in range(2):
            self.events.clear()
            self.theirs.send(b"x")
            self.poller.doRead()
            self.poller.doRead()
            self.assertEqual(self.events, [IN | OUT])

    def test_hang_up(self) -> None:
        """A FIN is a hang-up, and no error."""
        self.poller.add(self.ours.fileno(), self.events.append)
        self.theirs.shutdown(socket.SHUT_WR)
        self.poller.doRead()
        self.assertTrue(self.events[-1] & HANGUP)
        self.assertFalse(self.events[-1] & ERROR)

    def test_reset(self) -> None:
        """A reset is an error."""
        self.poller.add(self.ours.fileno(), self.events.append)
        reset(self.theirs)
        self.poller.doRead()
        self.assertTrue(self.events[-1] & ERROR)

    def test_listening(self) -> None:
        """Of a connection that waits to be accepted it is told again and again, but not without end."""
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            self.poller.add_listening(listening.fileno(), self.events.append)
            self.poller.doRead()
            self.assertEqual(self.events, [])
            with socket.create_connection(listening.getsockname()):
                self.poller.doRead()
            self.assertEqual(self.events, [IN] * ROUNDS)
            self.poller.remove(listening.fileno())

    def test_switch(self) -> None:
        """From switch() on another is told."""
        self.poller.add(self.ours.fileno(), self.fail)
        self.poller.switch(self.ours.fileno(), self.events.append)
        self.poller.doRead()
        self.assertEqual(self.events, [OUT])

    def test_remove(self) -> None:
        """Who was removed is told nothing, and may be removed again, and added again."""
        self.poller.add(self.ours.fileno(), self.fail)
        self.poller.remove(self.ours.fileno())
        self.poller.remove(self.ours.fileno())
        self.poller.doRead()
        self.poller.add(self.ours.fileno(), self.events.append)
        self.poller.doRead()
        self.assertEqual(self.events, [OUT])

    def test_removed_in_the_batch(self) -> None:
        """Who is removed by another's reaction is not told what is in the batch already."""
        other, _ = self.pair()
        told: list[int] = []

        def tell(fd: int, friend: int) -> None:
            told.append(fd)
            self.poller.remove(friend)

        one, two = self.ours.fileno(), other.fileno()
        self.poller.add(one, lambda event: tell(one, two))
        self.poller.add(two, lambda event: tell(two, one))
        self.poller.doRead()
        self.assertEqual(len(told), 1)

    def test_error_stops_nobody(self) -> None:
        """A reaction that raises is logged; the others of the batch are told."""
        other, _ = self.pair()

        def react(event: int) -> None:
            self.events.append(event)
            raise ZeroDivisionError

        for sock in (self.ours, other):
            self.poller.add(sock.fileno(), react)
        self.poller.doRead()
        self.assertEqual(self.events, [OUT, OUT])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)


class SoonTests(PollerCase):
    """What waits for the end of the batch."""

    def test_after_the_batch(self) -> None:
        """What is put off happens after the events of the batch, and within doRead()."""
        other, _ = self.pair()
        order: list[str] = []

        def react(event: int) -> None:
            order.append("event")
            self.poller.soon(lambda: order.append("soon"))

        for sock in (self.ours, other):
            self.poller.add(sock.fileno(), react)
        self.poller.doRead()
        self.assertEqual(order, ["event", "event", "soon", "soon"])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_out_of_a_batch(self) -> None:
        """What is put off from elsewhere happens in the reactor's next turn, with the time of that turn."""
        seen: list[float] = []
        self.reactor.advance(5)
        self.poller.soon(lambda: seen.append(self.poller.now))
        self.poller.soon(lambda: seen.append(self.poller.now))
        self.assertEqual((seen, len(self.reactor.getDelayedCalls())), ([], 1))
        self.reactor.advance(1)
        self.assertEqual(seen, [6.0, 6.0])

    def test_put_off_again(self) -> None:
        """What is put off by what was put off waits for the next turn."""
        order: list[str] = []

        def first() -> None:
            self.poller.soon(lambda: order.append("again"))
            order.append("first")

        self.poller.soon(first)
        self.poller.soon(lambda: order.append("second"))
        self.reactor.advance(0)
        self.reactor.advance(0)
        self.assertEqual(order, ["first", "second", "again"])

    def test_error_stops_nobody(self) -> None:
        """A call that raises is logged, and the others are made."""
        order: list[int] = []
        self.poller.soon(lambda: 1 / 0)
        self.poller.soon(lambda: order.append(1))
        self.reactor.advance(0)
        self.assertEqual(order, [1])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_discard(self) -> None:
        """Out of a batch a discarded socket is closed at once."""
        self.poller.add(self.ours.fileno(), self.fail)
        self.poller.discard(self.ours.fileno(), self.ours)
        self.assertEqual(self.ours.fileno(), -1)
        self.assertEqual(self.theirs.recv(1), b"")
        self.poller.doRead()

    def test_discard_in_the_batch(self) -> None:
        """Within a batch it is closed at the end: nobody else gets its number, and so its events."""
        other, _ = self.pair()
        open_while_handled: list[bool] = []

        def react(event: int) -> None:
            for sock in (self.ours, other):
                self.poller.discard(sock.fileno(), sock)
            open_while_handled.append(self.ours.fileno() >= 0 and other.fileno() >= 0)

        for sock in (self.ours, other):
            self.poller.add(sock.fileno(), react)
        self.poller.doRead()
        self.assertEqual(open_while_handled, [True])
        self.assertEqual((self.ours.fileno(), other.fileno()), (-1, -1))


class ReactorTests(PollerCase):
    """The poller as one reader of Twisted's reactor."""

    def test_reader(self) -> None:
        """It is a reader from start() to stop(), and its descriptor is readable when there are events."""
        verifyObject(IReadDescriptor, self.poller)
        self.assertEqual(self.reactor.getReaders(), [self.poller])
        self.assertEqual(self.poller.logPrefix(), "meshd")
        with select.epoll() as outer:
            outer.register(self.poller.fileno(), select.EPOLLIN)
            self.assertEqual(outer.poll(0), [])
            self.poller.add(self.ours.fileno(), self.events.append)
            self.assertEqual(len(outer.poll(1)), 1)
            self.poller.doRead()
            self.assertEqual(outer.poll(0), [])
        self.poller.connectionLost(Failure(ValueError()))

    def test_stop(self) -> None:
        """After stop() nothing that was put off happens."""
        poller = Poller(self.reactor)
        poller.start()
        poller.soon(self.fail)
        poller.stop()
        self.reactor.advance(1)
        self.assertNotIn(poller, self.reactor.getReaders())

    def test_bounded(self) -> None:
        """One call of doRead() ends, though there is ever something to do: others get their turn."""

        def react(event: int) -> None:
            self.events.append(event)
            self.theirs.send(b"x")

        self.poller.add(self.ours.fileno(), react)
        self.poller.doRead()
        self.assertLessEqual(len(self.events), ROUNDS)
