"""Tests with programs, which Twisted's reactor reaps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet import reactor  # noqa: TID251 - the programs are real, and this one reaps them
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase


class ReapingCase(TestCase):
    """
    A test whose reactor runs before it begins.

    Trial begins a test, and only then runs the reactor until the test is over.
    A program of such a test may be dead before the reactor runs, which then
    reaps it while it starts up; if that is the end of the test, too, trial
    calls reactor.crash() in the midst of the start-up.  That spoils the next
    run: it starts without a handler of SIGCHLD, and sees no program end
    (Twisted's issue 11779).
    """

    def setUp(self) -> Any:
        """Let the reactor run, then prepare the test."""
        return deferLater(reactor, 0, self.prepare)

    def prepare(self) -> None:
        """Prepare the test: what is a setUp elsewhere."""

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until it holds."""
        for _ in range(1000):
            if condition():
                return
            await deferLater(reactor, 0.01, lambda: None)
        self.fail("it never happened")
