"""Tests for meshd.upstream.redis_slots."""

import itertools
from random import Random

import pytest

from meshd.interfaces import NoHost
from meshd.observe.stats import Store
from meshd.upstream.host import Host, Locality
from meshd.upstream.redis_slots import ReadPolicy, ShardHosts, SlotPicker
from meshd.upstream.stats import ClusterStats
from tests.upstream.support import hosts

POLICIES: tuple[ReadPolicy, ...] = ("MASTER", "PREFER_MASTER", "REPLICA", "PREFER_REPLICA", "ANY")


class Picked:
    """A picker with two shards: slots 0 to 99 at hosts 1 (2 and 3 are replicas), 100 and 200 at host 4."""

    def __init__(self) -> None:
        self.store = Store()
        self.picker = SlotPicker("c", ClusterStats(self.store.scope("cluster.c")), Random(1))
        self.hosts = hosts(1, 1, 1, 1)
        one, two, three, four = self.hosts
        self.picker.use(
            [ShardHosts([(0, 99)], one, [two, three]), ShardHosts([(100, 100), (200, 200)], four, [])]
        )

    def flag(self, flag: str, *ports: int) -> None:
        """Put a health flag on the hosts at these ports."""
        for port in ports:
            self.hosts[port - 1].health_flags.add(flag)
        self.picker.update([])

    def reads(self, policy: ReadPolicy, slot: int = 5) -> set[int]:
        """Return the ports of all hosts that many reads go to."""
        return {port_of(self.picker.pick_read(slot, policy)) for _ in range(60)}


def port_of(host: Host) -> int:
    """Return the port of a host."""
    assert isinstance(host.address, tuple)
    return host.address[1]


class TestPick:
    """Picking by slot."""

    def setup_method(self) -> None:
        """Make the picker."""
        self.picked = Picked()

    def test_slot(self) -> None:
        """A slot's primary is picked, healthy or not."""
        pick = self.picked.picker.pick
        assert [port_of(pick(slot)) for slot in (0, 99, 100, 200)] == [1, 1, 4, 4]
        self.picked.flag("failed_active_hc", 1)
        assert port_of(pick(0)) == 1

    def test_large(self) -> None:
        """A hash is taken modulo the number of slots."""
        assert port_of(self.picked.picker.pick(16384 + 100)) == 4

    @pytest.mark.parametrize("slot", [101, 16383])
    def test_unserved(self, slot: int) -> None:
        """A slot that nobody serves has no host, which is counted."""
        picker = self.picked.picker
        for pick in (lambda: picker.pick(slot), lambda: picker.pick_read(slot, "ANY")):
            with pytest.raises(NoHost, match=f"no host for slot {slot}"):
                pick()
        assert self.picked.store.counters["cluster.c.upstream_cx_none_healthy"].value == 2

    def test_any(self) -> None:
        """Without a slot any primary is picked."""
        assert {port_of(self.picked.picker.pick(None)) for _ in range(60)} == {1, 4}

    def test_nothing(self) -> None:
        """Before there is a topology there are no hosts."""
        picker = SlotPicker("c", ClusterStats(Store()), Random(1))
        for slot in (None, 0):
            with pytest.raises(NoHost):
                picker.pick(slot)

    def test_nobody_claims(self) -> None:
        """A slot that nobody has any more stays with who had it, but not with a host that is gone."""
        one, two, _, four = self.picked.hosts
        self.picked.picker.use([ShardHosts([(0, 49)], two, [one])])
        pick = self.picked.picker.pick
        assert [port_of(pick(slot)) for slot in (49, 50, 99)] == [2, 1, 1]
        with pytest.raises(NoHost):
            pick(100)
        assert port_of(four) == 4

    def test_replaced(self) -> None:
        """A new topology replaces the old one."""
        self.picked.picker.use([ShardHosts([(0, 0)], self.picked.hosts[1], [])])
        assert port_of(self.picked.picker.pick(0)) == 2
        with pytest.raises(NoHost):
            self.picked.picker.pick(1)


class TestReads:
    """Which hosts serve reads."""

    def setup_method(self) -> None:
        """Make the picker."""
        self.picked = Picked()

    def test_healthy(self) -> None:
        """With all healthy a policy does what its name says."""
        assert [self.picked.reads(policy) for policy in POLICIES] == [{1}, {1}, {2, 3}, {2, 3}, {1, 2, 3}]

    def test_failed(self) -> None:
        """After a failure another host is picked, as far as the policy allows it."""
        picker, first, second = self.picked.picker, self.picked.hosts[0], self.picked.hosts[1]
        seen = [
            [{port_of(picker.pick_read(0, policy, failed)) for _ in range(60)} for policy in POLICIES]
            for failed in (first, second)
        ]
        assert seen[0] == [{1}, {2, 3}, {2, 3}, {2, 3}, {2, 3}]
        assert seen[1] == [{1}, {1}, {3}, {3}, {1, 3}]

    def test_primary_ill(self) -> None:
        """An ill primary is still MASTER's; others leave it."""
        self.picked.flag("failed_active_hc", 1)
        assert [self.picked.reads(policy) for policy in POLICIES] == [{1}, {2, 3}, {2, 3}, {2, 3}, {2, 3}]

    def test_replicas_ill(self) -> None:
        """Only REPLICA insists on ill replicas."""
        self.picked.flag("failed_active_hc", 2, 3)
        assert [self.picked.reads(policy) for policy in POLICIES] == [{1}, {1}, {2, 3}, {1}, {1}]

    def test_degraded(self) -> None:
        """Degraded hosts are used where there is no healthy one."""
        self.picked.flag("degraded_active_hc", 2)
        assert self.picked.reads("REPLICA") == {3}
        self.picked.flag("failed_active_hc", 1, 3)
        assert [self.picked.reads(policy) for policy in POLICIES] == [{1}, {2}, {2}, {2}, {2}]

    def test_all_ill(self) -> None:
        """If all are ill, all are tried."""
        self.picked.flag("failed_active_hc", 1, 2, 3)
        assert [self.picked.reads(policy) for policy in POLICIES] == [
            {1}, {1, 2, 3}, {2, 3}, {1, 2, 3}, {1, 2, 3},
        ]  # fmt: skip

    def test_no_replicas(self) -> None:
        """Without replicas REPLICA has no host, and the others have the primary."""
        others = (policy for policy in POLICIES if policy != "REPLICA")
        assert set(itertools.chain(*(self.picked.reads(policy, 100) for policy in others))) == {4}
        with pytest.raises(NoHost):
            self.picked.picker.pick_read(100, "REPLICA")


class TestZones:
    """Policies by zone: the primary 1 and the replicas 2 and 3 of a shard."""

    def reads(
        self, policy: ReadPolicy, zones: str, flagged: tuple[int, ...] = (), ours: str = "a"
    ) -> set[int]:
        """Return the ports that reads go to from our zone, the hosts being in these zones; . is none."""
        picker = SlotPicker("c", ClusterStats(Store()), Random(1), ours)
        one, two, three = found = hosts(1, 1, 1)
        for host, zone in zip(found, zones, strict=True):
            host.locality = Locality("r", zone.strip("."))
        picker.use([ShardHosts([(0, 99)], one, [two, three])])
        for port in flagged:
            found[port - 1].health_flags.add("failed_active_hc")
        picker.update([])
        return {port_of(picker.pick_read(5, policy)) for _ in range(60)}

    @pytest.mark.parametrize(
        ("zones", "flagged", "replicas_only", "primary_too"),
        [
            # Replicas that are near go first.
            ("aaa", (), {2, 3}, {2, 3}),
            ("aab", (), {2}, {2}),
            # If there is none, the primary that is near, or any replica.
            ("abb", (), {2, 3}, {1}),
            ("aab", (2,), {3}, {1}),
            # Nobody is near, or nobody knows.
            ("bbb", (), {2, 3}, {2, 3}),
            ("...", (), {2, 3}, {2, 3}),
            # What is ill is not near.
            ("abb", (1,), {2, 3}, {2, 3}),
            ("bab", (2,), {3}, {3}),
            # No replica is healthy.
            ("bbb", (2, 3), {1}, {1}),
            ("abb", (2, 3), {1}, {1}),
            ("abb", (1, 2, 3), {1, 2, 3}, {1, 2, 3}),
        ],
    )
    def test_order(
        self, zones: str, flagged: tuple[int, ...], replicas_only: set[int], primary_too: set[int]
    ) -> None:
        """A read goes to the first of Envoy's groups that has a healthy host."""
        assert self.reads("LOCAL_ZONE_AFFINITY", zones, flagged) == replicas_only
        assert self.reads("LOCAL_ZONE_AFFINITY_REPLICAS_AND_PRIMARY", zones, flagged) == primary_too

    def test_nowhere(self) -> None:
        """Who knows no zone of its own reads as with PREFER_REPLICA, hosts without one included."""
        for zones in ("a.b", "...", "aab"):
            assert self.reads("LOCAL_ZONE_AFFINITY", zones, ours="") == {2, 3}

    def test_failed(self) -> None:
        """After a failure the next group is drawn from, so that a read leaves the zone rather than fail."""
        picker = SlotPicker("c", ClusterStats(Store()), Random(1), "a")
        one, two, three = hosts(1, 1, 1)
        one.locality = two.locality = Locality("", "a")
        picker.use([ShardHosts([(0, 99)], one, [two, three])])
        for policy, expected in (
            ("LOCAL_ZONE_AFFINITY", {3}),
            ("LOCAL_ZONE_AFFINITY_REPLICAS_AND_PRIMARY", {1}),
        ):
            assert {port_of(picker.pick_read(0, policy, two)) for _ in range(60)} == expected  # type: ignore[arg-type]
        picker.use([ShardHosts([(0, 99)], one, [two])])
        assert port_of(picker.pick_read(0, "LOCAL_ZONE_AFFINITY", two)) == 1
        picker.use([ShardHosts([(0, 99)], one, [])])
        assert port_of(picker.pick_read(0, "LOCAL_ZONE_AFFINITY", one)) == 1
