"""Tests for meshd.net.timers."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from meshd.interfaces import ITimer, ITimers
from meshd.net.timers import STEP, Timers


class TimersTests(SynchronousTestCase):
    """A wheel on a clock that the test moves."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.timers = Timers(self.clock)
        self.fired: list[str] = []

    def test_fires_once(self) -> None:
        """A timer fires at its time or a step later, once."""
        self.timers.call_later(0.5, lambda: self.fired.append("a"))
        self.clock.advance(0.49)
        self.assertEqual(self.fired, [])
        self.clock.advance(0.01 + STEP)
        self.assertEqual(self.fired, ["a"])
        self.clock.advance(10)
        self.assertEqual(self.fired, ["a"])

    def test_order(self) -> None:
        """Timers fire in the order of their times, however they were started."""
        for delay in (3.0, 0.1, 1.0, 0.5):
            self.timers.call_later(delay, lambda delay=delay: self.fired.append(str(delay)))  # type: ignore[misc]
        for _ in range(400):
            self.clock.advance(0.01)
        self.assertEqual(self.fired, ["0.1", "0.5", "1.0", "3.0"])

    def test_cancel(self) -> None:
        """A timer that was cancelled does not fire, and cancelling again is nothing."""
        timer = self.timers.call_later(0.1, lambda: self.fired.append("a"))
        timer.cancel()
        timer.cancel()
        self.clock.advance(1)
        self.assertEqual(self.fired, [])

    def test_cancelled_is_forgotten(self) -> None:
        """Long timers that are cancelled leave nothing behind but their bucket."""
        for _ in range(1000):
            self.timers.call_later(3600, lambda: None).cancel()
        self.assertLess(len(self.timers._buckets), 3)
        self.assertEqual(sum(len(bucket) for bucket in self.timers._buckets.values()), 0)

    def test_late_by_one_percent(self) -> None:
        """A long timer is late by one per cent at most, and never early."""
        for delay in (2.5, 10, 60, 3600):
            start = self.clock.seconds()
            done: list[float] = []
            self.timers.call_later(delay, lambda done=done: done.append(self.clock.seconds()))  # type: ignore[misc]
            while not done:
                self.clock.advance(delay / 1000)
            self.assertGreaterEqual(done[0] - start, delay * 0.999)
            self.assertLessEqual(done[0] - start, delay * 1.012 + 2 * STEP)

    def test_earlier_one_later(self) -> None:
        """A short timer started after a long one does not wait for it."""
        self.timers.call_later(60, lambda: self.fired.append("long"))
        self.timers.call_later(0.05, lambda: self.fired.append("short"))
        self.clock.advance(0.1)
        self.assertEqual(self.fired, ["short"])

    def test_error_stops_nobody(self) -> None:
        """A timer that raises is logged, and the others of its step still fire."""
        self.timers.call_later(0.1, lambda: 1 / 0)
        self.timers.call_later(0.1, lambda: self.fired.append("b"))
        self.clock.advance(0.2)
        self.assertEqual(self.fired, ["b"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_restarts_itself(self) -> None:
        """A timer may start another from its callback."""
        self.timers.call_later(0.1, lambda: self.timers.call_later(0.1, lambda: self.fired.append("c")))
        self.clock.advance(0.15)
        self.clock.advance(0.15)
        self.assertEqual(self.fired, ["c"])

    def test_interfaces(self) -> None:
        """They provide what they say."""
        verifyObject(ITimers, self.timers)
        verifyObject(ITimer, self.timers.call_later(1, lambda: None))
        self.timers.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
