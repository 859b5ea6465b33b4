"""
How load spreads over the priorities of a cluster, and when it panics.

This is the arithmetic of Envoy's load_balancer_impl.cc, integers and roundings
included.  Loads are per cent, and come to 100 over all priorities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from meshd.upstream.host import Host

#: A priority keeps all its load while this many per cent of what it needs is there.
OVERPROVISIONING = 140


class Level:
    """The hosts of one priority, sorted by health."""

    __slots__ = ("all", "degraded", "excluded", "healthy")

    def __init__(self, hosts: Sequence[Host]) -> None:
        self.all = list(hosts)
        self.healthy: list[Host] = []
        self.degraded: list[Host] = []
        self.excluded: list[Host] = []
        for host in hosts:
            if host.excluded:
                self.excluded.append(host)
            health = host.health
            if health == "healthy":
                self.healthy.append(host)
            elif health == "degraded":
                self.degraded.append(host)

    def available(self, hosts: Sequence[Host], factor: int, weighted: bool) -> int:
        """Return how much of the load (0 to 100) these hosts of the level can take."""
        total = _size(self.all, weighted) - _size(self.excluded, weighted)
        if len(self.all) == len(self.excluded):
            return 0
        return min(100, factor * _size(hosts, weighted) // total)

    def in_panic(self, threshold: float) -> bool:
        """Return whether fewer than threshold per cent of the hosts may be used."""
        count = len(self.all) - len(self.excluded)
        usable = 100.0 * (len(self.healthy) + len(self.degraded)) / count if count else 0.0
        return usable < threshold


@dataclass
class Loads:
    """Per priority: the per cent for healthy hosts, for degraded ones, and whether it panics."""

    healthy: list[int]
    degraded: list[int]
    panic: list[bool]

    def __post_init__(self) -> None:
        self._bounds = list(accumulate(self.healthy + self.degraded))

    def choose(self, number: int) -> tuple[int, bool]:
        """Return the priority for a random number or hash, and whether degraded hosts are meant."""
        place = number % 100 + 1
        for index, bound in enumerate(self._bounds):
            if place <= bound:
                return index % len(self.healthy), index >= len(self.healthy)
        return 0, False


def spread(
    levels: Sequence[Level],
    threshold: int = 50,
    factor: int = OVERPROVISIONING,
    weighted: bool = False,
) -> Loads:
    """
    Return how the load spreads over levels (there is at least one).

    threshold is healthy_panic_threshold in per cent; weighted counts the
    weights of the hosts instead of the hosts.
    """
    healthy = [level.available(level.healthy, factor, weighted) for level in levels]
    degraded = [level.available(level.degraded, factor, weighted) for level in levels]
    available = min(100, sum(healthy) + sum(degraded))
    panic = [available != 100 and level.in_panic(threshold) for level in levels]
    nothing = [0] * len(levels)
    if available == 0 and threshold == 0:
        return Loads([100, *nothing[1:]], nothing, [False] * len(levels))
    if all(panic):
        return Loads(_by_size(levels), nothing, panic)
    return Loads(*_by_availability(healthy, degraded, available), panic)


def _size(hosts: Sequence[Host], weighted: bool) -> int:
    return sum(host.weight for host in hosts) if weighted else len(hosts)


def _by_availability(healthy: list[int], degraded: list[int], available: int) -> tuple[list[int], list[int]]:
    """Give as much as possible to the first priorities; what rounding leaves to the first of all."""
    left = 100
    loads: list[int] = []
    for availability in healthy + degraded:
        loads.append(min(left, availability * 100 // available))
        left -= loads[-1]
    if left:
        first = next(index for index, value in enumerate(healthy + degraded) if value > 0)
        loads[first] += left
    return loads[: len(healthy)], loads[len(healthy) :]


def _by_size(levels: Sequence[Level]) -> list[int]:
    """Spread by the number of hosts, well or not: when every priority panics."""
    total = sum(len(level.all) for level in levels)
    if total == 0:
        return [100] + [0] * (len(levels) - 1)
    loads = [100 * len(level.all) // total for level in levels]
    first = next(index for index, level in enumerate(levels) if level.all)
    loads[first] += 100 - sum(loads)
    return loads
