"""Tests for meshd.upstream.priorities; the numbers are those of Envoy's documentation and tests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshd.upstream.host import Host
from meshd.upstream.priorities import Level, spread


def level(healthy: int, total: int, degraded: int = 0, excluded: int = 0) -> Level:
    """Return a level with so many hosts of each health."""
    made = [Host(("127.0.0.1", port)) for port in range(total)]
    for host in made[healthy:]:
        host.health_flags.add("failed_active_hc")
    for host in made[healthy : healthy + degraded]:
        host.health_flags = {"degraded_eds_health"}
    for host in made[total - excluded :]:
        host.health_flags = {"eds_status_draining"}
    return Level(made)


class TestSpread:
    """Healthy hosts of several priorities."""

    @pytest.mark.parametrize(
        ("first", "loads"),
        [(100, [100, 0]), (72, [100, 0]), (71, [99, 1]), (50, [70, 30]), (25, [35, 65]), (0, [0, 100])],
    )
    def test_two(self, first: int, loads: list[int]) -> None:
        """What the first priority cannot take goes to the second."""
        assert spread([level(first, 100), level(100, 100)]).healthy == loads

    def test_three(self) -> None:
        """Loads go down the priorities."""
        assert spread([level(1, 4), level(2, 4), level(4, 4)]).healthy == [35, 65, 0]

    def test_too_few(self) -> None:
        """If all together are too few, the loads are scaled to 100; rounding goes to the first."""
        assert spread([level(20, 100), level(10, 100)], threshold=0).healthy == [67, 33]

    def test_factor(self) -> None:
        """The factor of overprovisioning can be another."""
        assert spread([level(1, 2), level(2, 2)], factor=100).healthy == [50, 50]

    def test_weighted(self) -> None:
        """Availability may go by weight."""
        first = level(1, 2)
        first.healthy[0].weight = 3
        assert spread([first, level(2, 2)]).healthy == [70, 30]
        assert spread([first, level(2, 2)], weighted=True).healthy == [100, 0]

    def test_degraded(self) -> None:
        """Degraded hosts take what the healthy ones of all priorities cannot."""
        loads = spread([level(1, 4, degraded=1), level(1, 4, degraded=1)])
        assert (loads.healthy, loads.degraded) == ([35, 35], [30, 0])

    def test_excluded(self) -> None:
        """Hosts that are excluded do not count."""
        assert spread([level(1, 3, excluded=2), level(1, 1)]).healthy == [100, 0]

    @given(
        st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=5)
    )
    def test_whole(self, sizes: list[tuple[int, int, int]]) -> None:
        """Whatever the health, the loads come to 100, and every number has its priority."""
        levels = [level(healthy, healthy + degraded + bad, degraded) for healthy, degraded, bad in sizes]
        loads = spread(levels)
        assert sum(loads.healthy) + sum(loads.degraded) == 100
        chosen = [loads.choose(number) for number in range(100)]
        assert [chosen.count((index, False)) for index in range(len(levels))] == loads.healthy
        assert [chosen.count((index, True)) for index in range(len(levels))] == loads.degraded


class TestPanic:
    """Too few hosts."""

    def test_threshold(self) -> None:
        """It panics below the threshold, not at it."""
        assert spread([level(2, 4)]).panic == [False]
        assert spread([level(1, 4)]).panic == [True]

    def test_enough_elsewhere(self) -> None:
        """No priority panics while all together can take the load."""
        assert spread([level(1, 10), level(10, 10)]).panic == [False, False]

    def test_one_of_two(self) -> None:
        """A priority can panic alone."""
        assert spread([level(1, 10), level(5, 10)]).panic == [True, False]

    def test_degraded(self) -> None:
        """Degraded hosts may be used, so they keep from panic."""
        assert spread([level(1, 4, degraded=1)]).panic == [False]

    def test_total(self) -> None:
        """If every priority panics, the load goes by the number of hosts."""
        loads = spread([level(0, 1), level(0, 2)])
        assert (loads.healthy, loads.panic) == ([34, 66], [True, True])

    def test_disabled(self) -> None:
        """With a threshold of 0 there is no panic; the load goes to the first, in vain."""
        loads = spread([level(0, 1), level(0, 2)], threshold=0)
        assert (loads.healthy, loads.panic) == ([100, 0], [False, False])

    def test_no_host(self) -> None:
        """A cluster without hosts panics."""
        loads = spread([level(0, 0)])
        assert (loads.healthy, loads.panic) == ([100], [True])
