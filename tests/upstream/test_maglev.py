"""Tests for meshd.upstream.maglev; test_observed.py compares it with Envoy's."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from zope.interface.verify import verifyObject

from meshd.interfaces import ILoadBalancer
from meshd.observe.stats import Store
from meshd.upstream.maglev import Maglev, MaglevConfig, fill, is_prime
from tests.upstream.support import hosts

PRIMES = (2, 3, 5, 7, 11, 101, 1009)


class TestTable:
    """The table alone."""

    @given(st.sampled_from(PRIMES), st.lists(st.integers(1, 9), min_size=1, max_size=5))
    def test_full(self, size: int, weights: list[int]) -> None:
        """Every place has an owner, and the counts say how many each has."""
        keys = [b"host%d" % index for index in range(len(weights))]
        table, counts = fill(size, keys, [weight / sum(weights) for weight in weights])
        assert len(table) == size == sum(counts)
        assert Counter(table) == +Counter(dict(enumerate(counts)))

    @given(st.lists(st.integers(1, 9), min_size=1, max_size=5))
    def test_shares(self, weights: list[int]) -> None:
        """The shares are those of the weights, within a place or so for each round."""
        keys = [b"host%d" % index for index in range(len(weights))]
        _, counts = fill(1009, keys, [weight / sum(weights) for weight in weights])
        for count, weight in zip(counts, weights, strict=True):
            assert abs(count - 1009 * weight / sum(weights)) <= len(weights) + 9

    def test_order(self) -> None:
        """The order of the keys matters, hence they are sorted."""
        store = Store()
        one, other = (Maglev(MaglevConfig(101), store) for _ in range(2))
        three = hosts(1, 1, 1)
        one.update(three)
        other.update(three[::-1])
        assert [one.pick(key) for key in range(101)] == [other.pick(key) for key in range(101)]


class TestMaglev:
    """The balancer."""

    def test_interface(self) -> None:
        """It is an ILoadBalancer."""
        assert verifyObject(ILoadBalancer, Maglev(MaglevConfig(), Store()))

    def test_stable(self) -> None:
        """A host that goes moves few keys of the others."""
        store = Store()
        balancer = Maglev(MaglevConfig(1009), store)
        four = hosts(1, 1, 1, 1)
        balancer.update(four)
        before = [balancer.pick(key) for key in range(1009)]
        balancer.update(four[:3])
        moved = sum(
            1 for key in range(1009) if before[key] is not four[3] and balancer.pick(key) is not before[key]
        )
        assert moved < 150

    def test_empty(self) -> None:
        """A table that lost its hosts can be filled again."""
        two = hosts(1, 1)
        balancer = Maglev(MaglevConfig(101), Store())
        balancer.update([])
        balancer.update(two)
        assert balancer.pick(2**64 - 1) in two


def test_is_prime() -> None:
    """Primes are told from other numbers."""
    assert [number for number in range(-2, 30) if is_prime(number)] == [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]
    assert is_prime(65537) and is_prime(5000011) and not is_prime(65539 * 3)
