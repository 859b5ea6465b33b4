"""Tests for meshd.filters.network.mongo_proxy.names."""

from twisted.trial.unittest import SynchronousTestCase

from meshd.filters.network.mongo_proxy.names import OFTEN, OTHER, BoundedNames


class BoundedNamesTests(SynchronousTestCase):
    """Ten places."""

    def setUp(self) -> None:
        self.names = BoundedNames(10)

    def test_first(self) -> None:
        """Who comes first has a place, and keeps it."""
        self.assertEqual([self.names.get(name) for name in ("a", "b", "a")], ["a", "b", "a"])

    def test_flood(self) -> None:
        """A flood of names that come once takes half of the places only."""
        for number in range(10_000):
            self.names.get(f"n{number}")
        self.assertEqual(len(self.names), 5)
        self.assertEqual(self.names.get("late"), OTHER)

    def test_often(self) -> None:
        """A name that is seen often gets one of the other places, even amid a flood."""
        for number in range(OFTEN * 40):
            self.names.get(f"n{number}")
            self.names.get("often")
        self.assertEqual(self.names.get("often"), "often")

    def test_full(self) -> None:
        """When there is no place left, all others count together."""
        for number in range(100):
            for _ in range(OFTEN):
                self.names.get(f"n{number}")
        self.assertEqual((len(self.names), self.names.get("late")), (10, OTHER))

    def test_none(self) -> None:
        """Without places all count together."""
        self.assertEqual(BoundedNames(0).get("a"), OTHER)

    def test_what_can_be_read(self) -> None:
        """What cannot stand in a statistic's name is replaced, and endless names are cut."""
        self.assertEqual(self.names.get("a b\n\x00c"), "a_b__c")
        self.assertEqual(self.names.get(""), "_")
        self.assertEqual(len(self.names.get("x" * 1000)), 128)
