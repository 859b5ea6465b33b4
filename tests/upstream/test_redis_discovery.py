"""Tests for meshd.upstream.redis_discovery."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from meshd.interfaces import NoHost
from meshd.upstream.redis_discovery import RedisConfig, Triggers
from meshd.upstream.resolver import LookupFailed
from tests.upstream.redis_nodes import Nodes, entry, ports_of
from tests.upstream.support import assignment, endpoint

ALL = entry(0, 16383, 1)


class TestStart:
    """Asking for the first time."""

    def setup_method(self) -> None:
        """Make the surroundings."""
        self.nodes = Nodes()

    def test_found(self) -> None:
        """The endpoint tells who there is; then the cluster is warm."""
        cluster = self.nodes.redis(5)
        assert not cluster.warmed
        assert self.nodes.tell(entry(0, 8000, 1, 2), entry(8001, 16383, 3)) == 5
        assert cluster.warmed
        assert ports_of(cluster.hosts) == [1, 2, 3]
        assert ports_of([cluster.pick(0), cluster.pick(8001)]) == [1, 3]
        assert [self.nodes.value(f"update_{name}") for name in ("attempt", "failure", "no_rebuild")] == [
            1,
            0,
            0,
        ]

    def test_refused(self) -> None:
        """If nobody tells, the cluster is warm with no hosts, and asks again later."""
        cluster = self.nodes.redis(5)
        self.nodes.fail()
        assert cluster.warmed
        with pytest.raises(NoHost):
            cluster.pick(0)
        assert self.nodes.value("update_failure") == 1
        self.nodes.pass_time(5)
        self.nodes.look_up()
        self.nodes.tell(ALL)
        assert ports_of(cluster.hosts) == [1]

    def test_next(self) -> None:
        """If one endpoint does not tell, another is asked at once."""
        cluster = self.nodes.redis(5, 6)
        asked = {self.nodes.fail(), self.nodes.tell(ALL)}
        assert asked == {5, 6}
        assert ports_of(cluster.hosts) == [1]

    def test_hung(self) -> None:
        """A node that does not answer in time is given up."""
        cluster = self.nodes.redis(5, redis={"cluster_refresh_timeout": "1s"})
        self.nodes.asked[0][1].accept()
        self.nodes.pass_time(0.9)
        assert not cluster.warmed
        self.nodes.pass_time(0.1)
        assert cluster.warmed
        assert self.nodes.value("update_failure") == 1

    def test_names(self) -> None:
        """Every address of every name can be asked."""
        cluster = self.nodes.redis("redis.test", "other.test", start=False)
        cluster.start()
        self.nodes.resolver.answer("10.0.0.1", "10.0.0.2")
        self.nodes.resolver.answer("10.0.0.3")
        for _ in range(3):
            self.nodes.fail()
        assert {host.address for host, _ in self.nodes.asked} == {(f"10.0.0.{n}", 80) for n in (1, 2, 3)}

    def test_family(self) -> None:
        """dns_lookup_family says which addresses are wanted."""
        self.nodes.redis("redis.test", start=False, dns_lookup_family="V6_ONLY").start()
        assert self.nodes.resolver.lookups[0][:2] == ("redis.test", "V6_ONLY")

    def test_no_such_name(self) -> None:
        """A name that is not there is looked up again; the failure and the empty answer are counted."""
        cluster = self.nodes.redis("redis.test", start=False)
        cluster.start()
        self.nodes.resolver.fail(LookupFailed("no server"))
        assert cluster.warmed
        self.nodes.pass_time(5)
        self.nodes.resolver.answer()
        assert [self.nodes.value(f"update_{name}") for name in ("attempt", "failure", "empty")] == [2, 1, 1]
        self.nodes.pass_time(5)
        self.nodes.resolver.answer("10.0.0.1")
        self.nodes.tell(ALL)
        assert ports_of(cluster.hosts) == [1]

    def test_stop(self) -> None:
        """When it is stopped, it lets go of its question and asks no more."""
        cluster = self.nodes.redis(5)
        cluster.stop()
        assert self.nodes.asked[0][1].cancelled
        cluster.note_redirect()
        self.nodes.pass_time(60)
        assert len(self.nodes.asked) == 1
        assert self.nodes.reactor.getDelayedCalls() == []

    def test_stop_later(self) -> None:
        """When it is stopped between two questions, it asks no more."""
        cluster = self.nodes.redis(5)
        self.nodes.tell(ALL)
        cluster.stop()
        assert self.nodes.reactor.getDelayedCalls() == []


class TestRefresh:
    """Asking again."""

    def setup_method(self) -> None:
        """Have a cluster with two shards, of which one has a replica."""
        self.nodes = Nodes()
        self.cluster = self.nodes.redis(5, redis={"cluster_refresh_rate": "10s"})
        self.nodes.tell(entry(0, 99, 1, 2), entry(100, 199, 3))

    def again(self) -> None:
        """Let the time pass until the next question."""
        before = len(self.nodes.asked)
        self.nodes.pass_time(9.9)
        assert len(self.nodes.asked) == before
        self.nodes.pass_time(0.1)
        assert len(self.nodes.asked) == before + 1

    def test_same(self) -> None:
        """A host is asked, not the endpoint; if nothing changed nothing is done."""
        before = list(self.cluster.hosts)
        self.again()
        assert self.nodes.tell(entry(0, 99, 1, 2), entry(100, 199, 3)) in (1, 2, 3)
        assert self.nodes.value("update_no_rebuild") == 1
        assert self.cluster.hosts == before
        self.again()

    def test_moved(self) -> None:
        """A slot that moves has another primary from then on; the hosts are the same ones."""
        before = list(self.cluster.hosts)
        self.again()
        self.nodes.tell(entry(0, 98, 1, 2), entry(99, 199, 3))
        assert ports_of([self.cluster.pick(98), self.cluster.pick(99)]) == [1, 3]
        assert self.cluster.hosts == before
        assert self.nodes.told == []

    def test_failover(self) -> None:
        """A replica that takes over is the primary; the old one, gone, is reported."""
        two = self.cluster.hosts[1]
        self.again()
        self.nodes.tell(entry(0, 99, 2), entry(100, 199, 3))
        assert self.cluster.pick(0) is two
        assert self.cluster.pick_read(0, "ANY") is two
        assert self.nodes.told == [[1]]
        assert self.nodes.value("membership_total") == 2

    def test_swapped(self) -> None:
        """Where primary and replica change places, reads and writes do."""
        self.again()
        self.nodes.tell(entry(0, 99, 2, 1), entry(100, 199, 3))
        assert ports_of([self.cluster.pick(0), self.cluster.pick_read(0, "REPLICA")]) == [2, 1]
        assert self.nodes.told == []

    def test_joined(self) -> None:
        """A node that joins is a host."""
        self.again()
        self.nodes.tell(entry(0, 49, 1, 2), entry(50, 99, 4), entry(100, 199, 3))
        assert ports_of(self.cluster.hosts) == [1, 2, 4, 3]
        assert ports_of([self.cluster.pick(50)]) == [4]

    def test_others(self) -> None:
        """If a host does not tell, others are asked, and in the end the endpoints; what was known stays."""
        self.again()
        asked = [self.nodes.fail() for _ in range(3)]
        self.nodes.look_up()
        assert sorted(asked) == [1, 2, 3]
        assert self.nodes.fail() == 5
        assert ports_of(self.cluster.hosts) == [1, 2, 3]
        assert self.nodes.value("update_failure") == 4
        self.again()

    def test_elsewhere(self) -> None:
        """A cluster that is rebuilt elsewhere is found by its endpoints."""
        self.again()
        for _ in range(3):
            self.nodes.fail()
        self.nodes.look_up()
        self.nodes.tell(entry(0, 16383, 9))
        assert ports_of(self.cluster.hosts) == [9]
        assert self.nodes.told == [[1, 2, 3]]

    def test_lookup_fails(self) -> None:
        """If the endpoints' names cannot be looked up, the addresses that they had are asked."""
        self.again()
        for _ in range(3):
            self.nodes.fail()
        self.nodes.resolver.fail(LookupFailed("no server"))
        assert self.nodes.tell(entry(0, 16383, 9)) == 5

    def test_nonsense(self) -> None:
        """A nonsense answer is a failure of that host only."""
        self.again()
        host, connecting = self.nodes.asked[-1]
        connecting.accept().send(b"+OK\r\n")
        self.nodes.tell(entry(0, 16383, 9))
        assert self.nodes.asked[-1][0] is not host
        assert ports_of(self.cluster.hosts) == [9]


class TestNodes:
    """Where the nodes are."""

    def setup_method(self) -> None:
        """Have a cluster that nothing is known of."""
        self.nodes = Nodes()
        self.cluster = self.nodes.redis(5)

    def test_names(self) -> None:
        """Nodes that have names are looked up; the first address is taken."""
        self.nodes.tell(entry(0, 16383, "one.test", "two.test"))
        self.nodes.resolver.answer("10.0.0.1", "10.0.0.2")
        self.nodes.resolver.answer("10.0.0.3")
        assert [host.text for host in self.cluster.hosts] == ["10.0.0.1:7", "10.0.0.3:7"]
        assert [host.hostname for host in self.cluster.hosts] == ["one.test", "two.test"]

    def test_name_moves(self) -> None:
        """A name that has another address is another host, though the topology is the same."""
        for address in ("10.0.0.1", "10.0.0.2"):
            self.nodes.tell(entry(0, 16383, "one.test"))
            self.nodes.resolver.answer(address)
            self.nodes.pass_time(5)
        assert self.cluster.pick(0).text == "10.0.0.2:7"

    def test_primary_unknown(self) -> None:
        """A primary with no address makes the answer worthless."""
        self.nodes.tell(entry(0, 16383, "one.test"))
        self.nodes.resolver.fail(LookupFailed("no server"))
        assert self.cluster.warmed
        assert self.cluster.hosts == []

    def test_replica_unknown(self) -> None:
        """A replica with no address is left out."""
        self.nodes.tell(entry(0, 16383, 1, "two.test"))
        self.nodes.resolver.answer()
        assert ports_of(self.cluster.hosts) == [1]

    def test_endpoint(self) -> None:
        """A node at the address of an endpoint has the locality and metadata that the config gives it."""
        known = endpoint(1, metadata={"filter_metadata": {"a": {"b": 1}}}, hostname="one")
        seeds = assignment([known])
        seeds["endpoints"][0]["locality"] = {"zone": "z"}
        cluster = self.nodes.redis(load_assignment=seeds)
        self.nodes.tell(entry(0, 16383, 1, 2))
        one, two = cluster.hosts
        assert (one.hostname, one.locality.zone, one.metadata) == ("one", "z", {"a": {"b": 1}})
        assert (two.hostname, two.locality.zone, two.metadata) == ("", "", {})


class TestTriggers:
    """Events that call for asking."""

    def setup_method(self) -> None:
        """Count the refreshes."""
        self.clock = Clock()
        self.refreshes = 0
        self.config = RedisConfig(interval=5, redirects=3, failures=2, degraded=0)
        self.triggers = Triggers(self.config, self.clock, self.refreshed)

    def refreshed(self) -> None:
        """Count one."""
        self.refreshes += 1

    def test_threshold(self) -> None:
        """So many events of a kind call for a refresh."""
        for _ in range(2):
            self.triggers.note("redirect")
        self.triggers.note("failure")
        assert self.refreshes == 0
        self.triggers.note("redirect")
        assert self.refreshes == 1

    def test_interval(self) -> None:
        """Events within the interval after a refresh do not count."""
        for _ in range(2):
            self.triggers.note("failure")
        self.clock.advance(4.9)
        for _ in range(9):
            self.triggers.note("failure")
        assert self.refreshes == 1
        self.clock.advance(0.1)
        self.triggers.note("failure")
        assert self.refreshes == 1
        self.triggers.note("failure")
        assert self.refreshes == 2

    def test_disabled(self) -> None:
        """With a threshold of 0 there is no refresh."""
        for _ in range(99):
            self.triggers.note("degraded")
        assert self.refreshes == 0
