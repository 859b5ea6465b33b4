"""Tests for meshd.admin.gradual."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from meshd.admin import gradual
from meshd.admin.gradual import make


class Turns:
    """A reactor of which each turn is asked for."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def callLater(self, delay: float, call: Any, *arguments: Any) -> None:
        self.calls.append((call, arguments))

    def turn(self) -> None:
        """Call what was put off till now."""
        calls, self.calls = self.calls, []
        for call, arguments in calls:
            call(*arguments)


class MakeTests(SynchronousTestCase):
    """A text of which each part takes a slice."""

    def setUp(self) -> None:
        self.reactor = Turns()
        self.asked = 0
        self.patch(gradual, "SLICE", 0.0)

    def parts(self) -> Iterator[str]:
        for part in ("one ", "", "two ", "drei é"):
            self.asked += 1
            yield part

    def made(self) -> Deferred[bytes]:
        made = make(self.parts(), self.reactor)
        assert isinstance(made, Deferred)
        return made

    def test_all_in_turns(self) -> None:
        """A part is made in each turn of the reactor, and the whole is there at the end."""
        made = self.made()
        for turn in range(4):
            self.assertEqual(self.asked, turn + 1)
            self.assertNoResult(made)
            self.reactor.turn()
        self.assertEqual(self.successResultOf(made), "one two drei é".encode())
        self.assertEqual(self.reactor.calls, [])

    def test_short(self) -> None:
        """What takes less than a slice is there at once."""
        self.patch(gradual, "SLICE", 60.0)
        self.assertEqual(make(self.parts(), self.reactor), "one two drei é".encode())

    def test_no_reactor(self) -> None:
        """Without a reactor it is made in one go."""
        self.assertEqual(make(self.parts(), None), "one two drei é".encode())

    def test_cancelled(self) -> None:
        """No more is made of what nobody waits for."""
        made = self.made()
        made.addErrback(lambda failure: None)
        made.cancel()
        self.reactor.turn()
        self.assertEqual(self.asked, 1)
        self.assertEqual(self.reactor.calls, [])

    def test_raises(self) -> None:
        """What a part raises is the result."""

        def wrong() -> Iterator[str]:
            yield "one"
            raise ValueError("no more")

        made = make(wrong(), self.reactor)
        assert isinstance(made, Deferred)
        self.reactor.turn()
        self.failureResultOf(made, ValueError)
