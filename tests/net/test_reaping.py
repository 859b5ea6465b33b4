"""Tests for tests.net.reaping: a test's program does not take the reactor from the next test."""

from __future__ import annotations

import os
import unittest
from typing import Any

from twisted.internet import reactor  # noqa: TID251 - the programs are real, and this one reaps them
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from meshd.net.program import Exec, Program, run
from tests.net.reaping import ReapingCase


class Ending(ReapingCase):
    """Starts a program, and waits for its end."""

    timeout = 10

    async def dead_at_once(self) -> None:
        """Wait, when it is dead already but has not been reaped."""
        ended, program = self.start("sleep 0.1")
        transport: Any = program.transport
        os.waitid(os.P_PID, transport.pid, os.WEXITED | os.WNOWAIT)
        await ended

    async def dead_later(self) -> None:
        """Wait, and it ends."""
        ended, _ = self.start("sleep 0.1")
        await ended

    def start(self, script: str) -> tuple[Deferred[Program], Program]:
        """Run it; the Deferred fires when it has been reaped."""
        ended: Deferred[Program] = Deferred()
        sock, program = run(reactor, Exec("/bin/sh", ("sh", "-c", script)), {}, ended.callback)
        self.addCleanup(sock.close)
        return ended, program


class ReapingTests(SynchronousTestCase):
    """Two tests with programs."""

    def test_one_after_another(self) -> None:
        """The end of a program is seen, however soon that of the last test's was."""
        for name in ("dead_at_once", "dead_later"):
            result = unittest.TestResult()
            Ending(name).run(result)
            self.assertEqual((result.errors, result.failures), ([], []))
