"""Tests for meshd.upstream.ring; test_observed.py compares it with Envoy's."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from zope.interface.verify import verifyObject

from meshd.interfaces import ILoadBalancer
from meshd.observe.stats import Store
from meshd.upstream.hashing import xxhash64
from meshd.upstream.host import Host
from meshd.upstream.ring import Ring, RingConfig
from tests.upstream.support import hosts

KEYS = st.integers(0, 2**64 - 1)


def ring(of: list[Host], **config: int) -> Ring:
    """Return a ring of hosts."""
    made = Ring(RingConfig(**config), Store())  # type: ignore[arg-type]
    made.update(of)
    return made


class TestRing:
    """A ring of three hosts."""

    def test_interface(self) -> None:
        """It is an ILoadBalancer."""
        assert verifyObject(ILoadBalancer, ring(hosts(1)))

    @given(KEYS)
    def test_first_after(self, key: int) -> None:
        """The host is the one whose place is the first at or after the key, or the very first."""
        three = hosts(1, 1, 1)
        places = sorted(
            (xxhash64(f"{host.text}_{index}".encode()), host) for host in three for index in range(2)
        )
        expected = next((host for place, host in places if place >= key), places[0][1])
        assert ring(three, minimum=6).pick(key) is expected

    def test_on_the_place(self) -> None:
        """A key that is a place belongs to the host of the place."""
        three = hosts(1, 1, 1)
        assert ring(three).pick(xxhash64(b"127.0.0.1:2_0")) is three[1]

    @given(KEYS)
    def test_stable(self, key: int) -> None:
        """A host that goes takes only its own keys along."""
        four = hosts(1, 1, 1, 1)
        before = ring(four, minimum=40, maximum=40).pick(key)
        after = ring(four[:3], minimum=30, maximum=30).pick(key)
        assert after is before or before is four[3]

    def test_no_room(self) -> None:
        """A ring without a place has nobody to pick, as in Envoy."""
        assert ring(hosts(1, 1), minimum=0, maximum=0).pick(5) is None

    def test_empty(self) -> None:
        """A ring that lost its hosts is empty, and can be filled again."""
        two = hosts(1, 1)
        made = ring(two)
        made.update([])
        made.update(two)
        assert made.pick(5) in two
