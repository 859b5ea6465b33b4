"""Tests for meshd.upstream.balancers."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest
from zope.interface.verify import verifyObject

from meshd.interfaces import ILoadBalancer
from meshd.upstream.balancers import LeastRequest, RandomChoice, RoundRobin, equal_weights
from tests.upstream.support import hosts, ports


def least(seed: int = 1, choices: int | None = 2, bias: float = 1.0) -> LeastRequest:
    """Return a least request balancer."""
    return LeastRequest(Random(seed), choices, lambda: bias)


class TestRoundRobin:
    """Hosts in turn."""

    def test_turns(self) -> None:
        """Each host has its turn, beginning anywhere."""
        balancer = RoundRobin(Random(1))
        balancer.update(hosts(1, 1, 1))
        assert ports([balancer.pick() for _ in range(7)]) in ("1231231", "2312312", "3123123")

    def test_start(self) -> None:
        """Not every proxy begins with the same host."""
        firsts = set()
        for seed in range(20):
            balancer = RoundRobin(Random(seed))
            balancer.update(hosts(1, 1, 1))
            firsts.add(ports([balancer.pick()]))
        assert firsts == {"1", "2", "3"}

    def test_goes_on(self) -> None:
        """After an update it goes on where it was."""
        balancer = RoundRobin(Random(1))
        three = hosts(1, 1, 1)
        balancer.update(three)
        before = ports([balancer.pick() for _ in range(4)])
        balancer.update(list(three))
        assert before + ports([balancer.pick(), balancer.pick()]) in ("123123", "231231", "312312")

    def test_weights(self) -> None:
        """Heavier hosts have more turns: exactly their share."""
        balancer = RoundRobin(Random(1))
        balancer.update(hosts(1, 2, 5))
        assert Counter(ports([balancer.pick() for _ in range(80)])) == {"1": 10, "2": 20, "3": 50}


class TestLeastRequest:
    """The less busy host."""

    def test_busy(self) -> None:
        """Of two that are drawn, the busier one is never taken."""
        two = hosts(1, 1)
        two[0].rq_active = 1
        balancer = least(choices=30)
        balancer.update(two)
        assert ports([balancer.pick() for _ in range(10)]) == "2" * 10

    def test_draws(self) -> None:
        """With two choices, the busiest is taken only if it is drawn twice."""
        three = hosts(1, 1, 1)
        three[0].rq_active = 9
        balancer = least()
        balancer.update(three)
        counts = Counter(ports([balancer.pick() for _ in range(900)]))
        assert 50 < counts["1"] < 150

    def test_full_scan(self) -> None:
        """A full scan always finds the least busy, and any of equals."""
        three = hosts(1, 1, 1)
        three[1].rq_active = 1
        balancer = least(choices=None)
        balancer.update(three)
        assert set(ports([balancer.pick() for _ in range(40)])) == {"1", "3"}

    def test_weights(self) -> None:
        """If weights differ, activity lessens a host's weight."""
        balancer = least()
        two = hosts(1, 4)
        balancer.update(two)
        two[1].rq_active = 3
        counts = Counter(ports([balancer.pick() for _ in range(100)]))
        assert abs(counts["1"] - 50) <= 2

    def test_no_bias(self) -> None:
        """With a bias of 0 activity does not matter."""
        balancer = least(bias=0.0)
        two = hosts(1, 4)
        balancer.update(two)
        two[1].rq_active = 3
        counts = Counter(ports([balancer.pick() for _ in range(100)]))
        assert abs(counts["1"] - 20) <= 1


class TestRandom:
    """Any host."""

    def test_all(self) -> None:
        """Each is as likely, whatever its weight."""
        balancer = RandomChoice(Random(1))
        balancer.update(hosts(1, 100))
        counts = Counter(ports([balancer.pick() for _ in range(1000)]))
        assert abs(counts["1"] - 500) < 60


def test_equal_weights() -> None:
    """One host, or none, weighs the same as all others."""
    assert equal_weights([]) and equal_weights(hosts(7)) and equal_weights(hosts(2, 2))
    assert not equal_weights(hosts(1, 2))


@pytest.mark.parametrize("balancer", [RoundRobin(Random(1)), least(), RandomChoice(Random(1))])
def test_interface(balancer: Any) -> None:
    """All are ILoadBalancers."""
    assert verifyObject(ILoadBalancer, balancer)
