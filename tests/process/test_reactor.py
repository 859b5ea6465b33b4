"""Tests for meshd.process.reactor."""

from twisted.internet import reactor  # noqa: TID251 - it is what the module is about
from twisted.trial.unittest import SynchronousTestCase

from meshd.process.reactor import the_reactor


class ReactorTests(SynchronousTestCase):
    """The reactor."""

    def test_it(self) -> None:
        """There is one, and it is Twisted's."""
        self.assertIs(the_reactor(), reactor)
