"""Tests for meshd.upstream.edf."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshd.upstream.edf import Scheduler

WEIGHTS = st.lists(st.integers(1, 20), min_size=1, max_size=6)


def turns(weights: list[int], count: int, skipped: int = 0) -> list[int]:
    """Return whose turn (by index) it is, count times."""
    scheduler = Scheduler(range(len(weights)), lambda entry: weights[entry], skipped)
    return [scheduler.pick() for _ in range(count)]


class TestScheduler:
    """Entries of given weights."""

    def test_order(self) -> None:
        """The heavier come more often, spread out, the first of equals first."""
        assert turns([1, 2, 5], 8) == [2, 2, 1, 2, 2, 0, 1, 2]

    @given(WEIGHTS)
    def test_shares(self, weights: list[int]) -> None:
        """In as many turns as the weights sum to, each has about as many as it weighs."""
        counts = Counter(turns(weights, sum(weights)))
        for entry, weight in enumerate(weights):
            assert abs(counts[entry] - weight) <= 1

    @given(WEIGHTS, st.integers(0, 200))
    def test_skipped(self, weights: list[int], skipped: int) -> None:
        """Skipping turns is the same as taking them, but for the order among equals."""
        taken = Counter(turns(weights, skipped + sum(weights)))
        rest = Counter(turns(weights, sum(weights), skipped))
        before = Counter(turns(weights, skipped))
        for entry in range(len(weights)):
            # One for equals where the skipped turns end, and one where those that are counted do.
            assert abs(taken[entry] - before[entry] - rest[entry]) <= 2

    def test_weight_changes(self) -> None:
        """A weight is asked for anew after each turn."""
        weights = {"a": 1.0, "b": 1.0}
        scheduler = Scheduler(["a", "b"], lambda entry: weights[entry])
        weights["a"] = 100.0
        assert [scheduler.pick() for _ in range(6)] == ["a", "b", *"aaaa"]

    def test_empty(self) -> None:
        """Without entries there is no turn."""
        with pytest.raises(IndexError):
            turns([], 1)
