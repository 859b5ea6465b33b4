"""
Reading /proc.
"""

from __future__ import annotations

import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.measure import cpu_seconds, descendants, memory_bytes, parse_rollup, parse_stat, percentile

STAT = "41 (a (b) c) S 7 41 41 0 -1 4194560 9 8 0 0 10 20 3 4 20 0 1 0 55 1000 200"


class TestStat:
    """/proc/PID/stat."""

    def test_parent_and_ticks(self) -> None:
        """The name's brackets do not disturb, and the time of reaped children counts."""
        assert parse_stat(STAT) == (7, 37)

    @given(st.text())
    def test_rubbish(self, text: str) -> None:
        """What is no stat raises ValueError and nothing else."""
        try:
            parse_stat(text)
        except ValueError:
            pass

    def test_own_time(self) -> None:
        """What this process uses shows in its CPU time."""
        before, end = cpu_seconds(os.getpid()), time.process_time() + 0.05
        while time.process_time() < end:
            pass
        assert cpu_seconds(os.getpid()) - before >= 0.03


class TestMemory:
    """/proc/PID/smaps_rollup."""

    def test_pss(self) -> None:
        """Pss is taken, in bytes, and not those that begin alike."""
        assert parse_rollup("Rss:  9 kB\nPss:   3 kB\nPss_Anon: 2 kB\n") == 3072

    def test_none(self) -> None:
        """Without it there is an error."""
        with pytest.raises(ValueError, match="no Pss"):
            parse_rollup("Rss: 9 kB\n")

    def test_own(self) -> None:
        """A running Python has more than a megabyte."""
        assert memory_bytes(os.getpid()) > 1 << 20


def test_descendants() -> None:
    """Children's children belong to the tree, others do not."""
    assert sorted(descendants(1, {1: 0, 2: 1, 3: 2, 4: 0, 5: 4})) == [1, 2, 3]


class TestPercentile:
    """The nearest rank."""

    @given(st.lists(st.integers(0, 99), min_size=1), st.floats(0.01, 1.0))
    def test_is_exceeded_by_the_rest_only(self, values: list[int], fraction: float) -> None:
        """At least that fraction is not above it, and it is one of them."""
        found = percentile(sorted(values), fraction)
        assert found in values
        assert sum(value <= found for value in values) >= fraction * len(values) - 1e-9

    def test_thousand(self) -> None:
        """Of 1 to 1000, P99.9 is 999."""
        assert percentile(range(1, 1001), 0.999) == 999
