"""Tests for meshd.grpc.keepalive."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from meshd.grpc.keepalive import Keepalive
from meshd.testing import FakeTimers
from meshd.upstream.http2_options import Pings


class KeepaliveTests(SynchronousTestCase):
    """A ping 10 to 15 s after the last answer, which may take 2 s."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.heard: list[str] = []
        self.keepalive = Keepalive(
            Pings(10.0, 2.0, 0.5),
            FakeTimers(self.clock),
            lambda: self.heard.append("ping"),
            lambda: self.heard.append("lost"),
        )

    def test_answered(self) -> None:
        """With answers it goes on and on."""
        for _ in range(3):
            self.clock.advance(9.9)
            self.assertEqual(self.heard, [])
            self.clock.advance(5.2)
            self.assertEqual(self.heard, ["ping"])
            self.heard.clear()
            self.keepalive.answered()

    def test_lost(self) -> None:
        """Without one the host is lost, once."""
        self.clock.advance(15.1)
        self.clock.advance(1.9)
        self.assertEqual(self.heard, ["ping"])
        self.clock.advance(0.2)
        self.clock.advance(100)
        self.assertEqual(self.heard, ["ping", "lost"])

    def test_stop(self) -> None:
        """It can be stopped, before a ping or after."""
        self.clock.advance(15.1)
        self.keepalive.stop()
        self.keepalive.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
