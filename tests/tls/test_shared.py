"""Tests for meshd.tls.shared."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from meshd.tls.handshakes import Handshakes
from meshd.tls.shared import Shared


class SharedTests(SynchronousTestCase):
    """What all contexts share."""

    def test_key_logs(self) -> None:
        """Each worker has key logs of its own, and no secrets before somebody gives it some."""
        one, other = Shared(Handshakes(Clock())), Shared(Handshakes(Clock()))
        self.assertIsNot(one.key_logs, other.key_logs)
        self.assertIsNone(one.secrets)
