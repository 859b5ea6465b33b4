"""Tests for meshd.upstream.picker; with hashing, test_observed.py has more."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from meshd.interfaces import NoHost
from meshd.observe.stats import Store
from meshd.upstream.host import Host
from meshd.upstream.picker import Picker
from meshd.upstream.policy import read_balancing
from meshd.upstream.priorities import Level
from meshd.upstream.stats import ClusterStats
from tests.upstream.support import message, ports, surroundings


def host(port: int, *flags: str) -> Host:
    """Return a host with health flags."""
    return Host(("127.0.0.1", port), health_flags=set(flags))


def sick(port: int) -> Host:
    """Return a host that is unhealthy."""
    return host(port, "failed_active_hc")


def degraded(port: int) -> Host:
    """Return a host that is degraded."""
    return host(port, "degraded_active_hc")


class TestPicker:
    """A round robin cluster."""

    def setup_method(self) -> None:
        """Make it."""
        self.stats = ClusterStats(Store().scope("cluster.c"))
        self.threshold = 50
        self.picker = Picker(
            "c", read_balancing(message()), self.stats, surroundings(), lambda: self.threshold
        )

    def counts(self, *levels: list[Host], picks: int = 1000) -> dict[str, int]:
        """Return how often each host is picked."""
        self.picker.update([Level(level) for level in levels])
        return dict(Counter(ports([self.picker.pick(None) for _ in range(picks)])))

    def test_before(self) -> None:
        """Before there are hosts there is none."""
        with pytest.raises(NoHost):
            self.picker.pick(None)

    def test_healthy(self) -> None:
        """Only healthy hosts are picked, in turn."""
        assert self.counts([host(1), sick(2), host(3)], picks=10) == {"1": 5, "3": 5}
        assert self.stats.lb_healthy_panic.value == 0

    def test_spill(self) -> None:
        """What a priority cannot take goes to the next."""
        counts = self.counts([host(1), sick(2)], [host(3)])
        assert abs(counts["1"] - 700) < 50
        assert set(counts) == {"1", "3"}

    def test_failover(self) -> None:
        """If a priority has no healthy host, the next has it all."""
        assert self.counts([sick(1)], [host(2)], picks=4) == {"2": 4}

    def test_degraded(self) -> None:
        """Degraded hosts have what healthy ones cannot take."""
        counts = self.counts([host(1), degraded(2)])
        assert abs(counts["1"] - 700) < 50
        assert set(counts) == {"1", "2"}

    def test_only_degraded(self) -> None:
        """If there are degraded hosts only, they have it all."""
        assert self.counts([degraded(1), sick(2)], picks=6) == {"1": 6}

    def test_panic(self) -> None:
        """In panic every host is picked, and every pick counts."""
        assert self.counts([host(1), sick(2), sick(3)], picks=6) == {"1": 2, "2": 2, "3": 2}
        assert self.stats.lb_healthy_panic.value == 6

    def test_no_panic(self) -> None:
        """Without panic and without a healthy host there is none."""
        self.threshold = 0
        self.picker.update([Level([sick(1)])])
        with pytest.raises(NoHost):
            self.picker.pick(None)
        assert self.stats.upstream_cx_none_healthy.value == 1
        assert self.stats.lb_healthy_panic.value == 0

    def test_empty(self) -> None:
        """A cluster without hosts panics in vain, as in Envoy."""
        self.picker.update([Level([])])
        with pytest.raises(NoHost, match="cluster c has no host"):
            self.picker.pick(None)
        assert self.stats.upstream_cx_none_healthy.value == 1
        assert self.stats.lb_healthy_panic.value == 1

    def test_goes_on(self) -> None:
        """Round robin goes on where it was when health changes and comes back."""
        three = [host(1), host(2), host(3)]
        first = self.counts(three, picks=2)
        second = self.counts(three, picks=1)
        assert Counter(first) + Counter(second) == {"1": 1, "2": 1, "3": 1}


class TestHashing:
    """A ring hash cluster."""

    def test_no_key(self) -> None:
        """Without a key the host is random."""
        picker = Picker(
            "c",
            read_balancing(message(lb_policy="RING_HASH")),
            ClusterStats(Store()),
            surroundings(),
            lambda: 50,
        )
        picker.update([Level([host(1), host(2)])])
        assert set(ports([picker.pick(None) for _ in range(50)])) == {"1", "2"}
        assert len(set(ports([picker.pick(7) for _ in range(50)]))) == 1


class TestPlaces:
    """What is promised of hosts that depend on the key."""

    def picker(self, *levels: list[Host], **config: Any) -> Picker:
        """Return one that picks among these hosts."""
        picker = Picker(
            "c", read_balancing(message(**config)), ClusterStats(Store()), surroundings(), lambda: 50
        )
        picker.update([Level(level) for level in levels])
        return picker

    def test_table(self) -> None:
        """With Maglev keys of the same place in the table have the same host until the next update."""
        picker = self.picker([host(1), host(2), host(3)], lb_policy="MAGLEV")
        size, pick = picker.places, picker.pick
        assert size == 65537
        for key in range(0, 1 << 40, 12345678901):
            assert pick(key) is pick(key % size)
        picker.update([Level([host(1), host(2)])])
        assert picker.pick is not pick

    def test_no_table(self) -> None:
        """With a ring a key has its host, but there are no places."""
        assert self.picker([host(1), host(2)], lb_policy="RING_HASH").places == 0

    def test_one(self) -> None:
        """With one host there is one place, however it is picked."""
        assert self.picker([host(1)]).places == 1
        assert self.picker([host(1), host(2)]).places is None

    def test_none(self) -> None:
        """Bounded load, panic, and loads that spill make a host depend on more than the key."""
        bounded = {"consistent_hashing_lb_config": {"hash_balance_factor": 150}}
        assert self.picker([host(1), host(2)], lb_policy="MAGLEV", common_lb_config=bounded).places is None
        assert self.picker([sick(1), sick(2)], lb_policy="MAGLEV").places is None
        assert self.picker([host(1), sick(2)], [host(3)], lb_policy="MAGLEV").places is None
        assert self.picker([]).places is None
