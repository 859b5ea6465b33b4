"""Tests for meshd.upstream.bounded; test_observed.py compares it with Envoy's."""

from __future__ import annotations

from zope.interface.verify import verifyObject

from meshd.interfaces import ILoadBalancer
from meshd.observe.stats import Gauge, Store
from meshd.upstream.bounded import BoundedLoad, twister
from meshd.upstream.ring import Ring, RingConfig
from tests.upstream.support import hosts


class TestBoundedLoad:
    """A ring of four hosts, none of which may have more than its share."""

    def setup_method(self) -> None:
        """Make it."""
        self.hosts = hosts(1, 1, 1, 1)
        self.active = Gauge("active")
        self.balancer = BoundedLoad(Ring(RingConfig(), Store()), 100, self.active)
        self.balancer.update(self.hosts)

    def load(self, host: int, active: int) -> None:
        """Let a host have that many active requests."""
        self.hosts[host].rq_active = active
        self.active.set(sum(each.rq_active for each in self.hosts))

    def test_interface(self) -> None:
        """It is an ILoadBalancer."""
        assert verifyObject(ILoadBalancer, self.balancer)

    def test_room(self) -> None:
        """While there is room, the ring decides."""
        assert len({self.balancer.pick(12345) for _ in range(5)}) == 1

    def test_busy(self) -> None:
        """A busy host is passed over, always for the same one."""
        first = self.balancer.pick(12345)
        assert first is not None
        self.load(self.hosts.index(first), 3)
        second = self.balancer.pick(12345)
        assert second is not first
        assert self.balancer.pick(12345) is second

    def test_all_busy(self) -> None:
        """If all are too busy, the least overloaded one has it."""
        for host, active in enumerate((9, 7, 8, 9)):
            self.load(host, active)
        # Between requests the cluster's number may be behind those of the hosts.
        self.active.set(0)
        assert {self.balancer.pick(key) for key in (1, 2**63, 2**64 - 1)} == {self.hosts[1]}


def test_twister() -> None:
    """The random numbers are those of std::mt19937: its 10,000th is in the C++ standard."""
    random = twister(5489)
    assert [random.getrandbits(32) for _ in range(10000)][-1] == 4123659995
