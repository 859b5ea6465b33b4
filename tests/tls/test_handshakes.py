"""Tests for meshd.tls.handshakes."""

from functools import partial
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from meshd.tls.handshakes import Handshakes


class HandshakesTests(SynchronousTestCase):
    """Three steps in a turn."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.handshakes = Handshakes(self.clock, 3)
        self.done: list[int] = []

    def take(self, *numbers: int) -> None:
        """Ask for steps."""
        for number in numbers:
            self.handshakes.take(partial(self.done.append, number))

    def turn(self) -> None:
        """Let one turn of the reactor pass, and no more."""
        calls: Any = self.clock.getDelayedCalls()
        self.assertEqual(len(calls), 1)
        call = calls[0]
        function, args = call.func, call.args
        call.cancel()
        function(*args)

    def test_alone(self) -> None:
        """A step that is alone is done at once."""
        self.take(1)
        self.assertEqual(self.done, [1])

    def test_many(self) -> None:
        """Of many at a time three are done at once, and three in each turn, in their order."""
        self.take(*range(8))
        self.assertEqual((self.done, self.handshakes.waiting), ([0, 1, 2], 5))
        self.turn()
        self.assertEqual((self.done, self.handshakes.waiting), ([0, 1, 2, 3, 4, 5], 2))
        self.turn()
        self.assertEqual((self.done, self.handshakes.waiting), (list(range(8)), 0))

    def test_no_overtaking(self) -> None:
        """A step does not pass those that wait, though the turn has room for it."""
        self.take(*range(5))
        self.turn()
        self.take(5, 6)
        self.assertEqual(self.done, [0, 1, 2, 3, 4, 5])
        self.turn()
        self.assertEqual(self.done, list(range(7)))

    def test_rest(self) -> None:
        """When nothing happens the reactor is left alone, and the next step is done at once again."""
        self.take(*range(7))
        while self.clock.getDelayedCalls():
            self.turn()
        self.assertEqual(self.done, list(range(7)))
        self.take(7, 8, 9)
        self.assertEqual(self.done, list(range(10)))

    def test_step_that_raises(self) -> None:
        """A step that raises does not keep those after it from their turn."""
        self.take(1, 2, 3)
        self.handshakes.take(lambda: 1 // 0)
        self.take(4)
        with self.assertRaises(ZeroDivisionError):
            self.turn()
        self.take(5)
        while self.clock.getDelayedCalls():
            self.turn()
        self.assertEqual(self.done, [1, 2, 3, 4, 5])
