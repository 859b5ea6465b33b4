"""Tests for meshd.net.reasons."""

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.trial.unittest import SynchronousTestCase

from meshd.net.reasons import ABORTED, DONE, RESET, ConnectionReset


class ReasonsTests(SynchronousTestCase):
    """The reasons that protocols are told."""

    def test_types(self) -> None:
        """They are Twisted's, so that any protocol can tell them apart."""
        self.assertTrue(DONE.check(ConnectionDone))
        self.assertTrue(ABORTED.check(ConnectionAborted))
        self.assertTrue(RESET.check(ConnectionReset))

    def test_reset_is_lost(self) -> None:
        """A reset is a lost connection, and not a clean end."""
        self.assertTrue(RESET.check(ConnectionLost))
        self.assertFalse(RESET.check(ConnectionDone))
