"""Tests for meshd.upstream.discovery, by a resolver that the tests answer for."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from meshd.interfaces import IDiscovery
from meshd.observe.stats import Store
from meshd.testing import FakeResolver
from meshd.upstream.discovery import Backoff, Dns, DnsConfig, DnsTools, Static
from meshd.upstream.endpoints import Endpoint
from meshd.upstream.host import Host
from meshd.upstream.resolver import LookupFailed
from meshd.upstream.stats import ClusterStats


class Finding:
    """A discovery by DNS; found has what it told of, as texts."""

    def __init__(self, *names: str, **config: Any) -> None:
        self.clock = Clock()
        self.resolver = FakeResolver()
        self.stats = ClusterStats(Store())
        tools = DnsTools(self.clock, Random(1), self.resolver, self.stats)
        endpoints = [Endpoint((name, 80), weight=3) for name in names or ("a.test",)]
        self.discovery = Dns(endpoints, DnsConfig(**config), tools)
        self.found: list[list[str]] = []
        self.hosts: list[Host] = []
        self.discovery.start(self.take)

    def take(self, hosts: Sequence[Host]) -> None:
        """Note what was found."""
        self.hosts = list(hosts)
        self.found.append([host.text for host in hosts])

    def again(self, *addresses: str, after: float = 5.0, ttl: int = 0) -> None:
        """Let the time pass, and answer the question that then comes."""
        self.clock.advance(after)
        self.resolver.answer(*addresses, ttl=ttl)

    def counts(self) -> tuple[int, int, int, int]:
        """Return attempts, successes, failures, and answers that changed nothing."""
        stats = self.stats
        return (
            stats.update_attempt.value,
            stats.update_success.value,
            stats.update_failure.value,
            stats.update_no_rebuild.value,
        )


class TestStatic:
    """Hosts of the config."""

    def test_hosts(self) -> None:
        """They are found at once."""
        found: list[Host] = []
        static = Static([Endpoint(("127.0.0.1", 80)), Endpoint("/run/x.sock")])
        assert verifyObject(IDiscovery, static)
        static.start(found.extend)
        static.stop()
        assert [host.text for host in found] == ["127.0.0.1:80", "/run/x.sock"]


class TestStrict:
    """STRICT_DNS."""

    def test_interface(self) -> None:
        """It is an IDiscovery."""
        assert verifyObject(IDiscovery, Finding().discovery)

    def test_all_addresses(self) -> None:
        """Every address is a host, which is named after the name and weighs what the config says."""
        finding = Finding(family="V4_ONLY")
        assert finding.resolver.lookups[0][:2] == ("a.test", "V4_ONLY")
        finding.resolver.answer("10.0.0.1", "10.0.0.2", "10.0.0.1")
        assert finding.found == [["10.0.0.1:80", "10.0.0.2:80"]]
        assert (finding.hosts[0].hostname, finding.hosts[0].weight) == ("a.test", 3)
        assert finding.stats.max_host_weight.value == 3

    def test_refresh(self) -> None:
        """After the refresh rate it looks again; hosts that stay are the same hosts."""
        finding = Finding()
        finding.resolver.answer("10.0.0.1", "10.0.0.2")
        first = finding.hosts
        finding.clock.advance(4.9)
        assert not finding.resolver.lookups
        finding.again("10.0.0.2", "10.0.0.3", after=0.1)
        assert finding.found[1] == ["10.0.0.2:80", "10.0.0.3:80"]
        assert finding.hosts[0] is first[1]

    def test_same(self) -> None:
        """The same addresses in another order are no change."""
        finding = Finding()
        finding.resolver.answer("10.0.0.1", "10.0.0.2")
        finding.again("10.0.0.2", "10.0.0.1")
        assert len(finding.found) == 1
        assert finding.counts() == (2, 2, 0, 1)

    def test_empty(self) -> None:
        """An empty answer means that there are no hosts."""
        finding = Finding()
        finding.resolver.answer("10.0.0.1")
        finding.again()
        assert finding.found == [["10.0.0.1:80"], []]

    def test_failure(self) -> None:
        """A failure keeps the hosts."""
        finding = Finding()
        finding.resolver.answer("10.0.0.1")
        finding.clock.advance(5)
        finding.resolver.fail(LookupFailed("x"))
        assert len(finding.found) == 1
        assert finding.counts() == (2, 1, 1, 0)
        finding.again("10.0.0.2")
        assert finding.found[1] == ["10.0.0.2:80"]

    def test_first_failure(self) -> None:
        """Whoever waits for a first answer is told of a failure too."""
        finding = Finding()
        finding.resolver.fail(LookupFailed("x"))
        assert finding.found == [[]]
        finding.clock.advance(5)
        finding.resolver.fail(LookupFailed("x"))
        assert finding.found == [[]]

    def test_several_names(self) -> None:
        """The hosts of several names come together, in the config's order."""
        finding = Finding("a.test", "b.test")
        finding.resolver.lookups.reverse()
        finding.resolver.answer("10.0.0.2")
        finding.resolver.answer("10.0.0.1")
        assert finding.found == [["10.0.0.2:80"], ["10.0.0.1:80", "10.0.0.2:80"]]

    def test_no_names(self) -> None:
        """A cluster without endpoints is done at once."""
        finding = Finding()
        found: list[Any] = []
        Dns([], DnsConfig(), finding.discovery.tools).start(found.append)
        assert found == [[]]

    def test_ttl(self) -> None:
        """If it respects the TTL, it looks again when that is over; 0 says nothing."""
        finding = Finding(respect_ttl=True)
        finding.resolver.answer("10.0.0.1", ttl=30)
        finding.clock.advance(29)
        assert not finding.resolver.lookups
        finding.again("10.0.0.1", after=1, ttl=0)
        finding.again("10.0.0.1")
        assert finding.counts()[0] == 3

    def test_ttl_ignored(self) -> None:
        """Else the TTL does not matter."""
        finding = Finding()
        finding.resolver.answer("10.0.0.1", ttl=30)
        finding.again("10.0.0.1")
        assert finding.counts()[0] == 2

    def test_jitter(self) -> None:
        """Jitter makes it wait longer, by less than itself."""
        finding = Finding(jitter=2.0)
        waits = []
        for _ in range(20):
            finding.resolver.answer("10.0.0.1")
            (call,) = finding.clock.getDelayedCalls()
            waits.append(call.getTime() - finding.clock.seconds())
            finding.clock.advance(7)
        assert 5 <= min(waits) < 5.5 < 6.5 < max(waits) < 7

    def test_stop(self) -> None:
        """After stop it neither waits nor asks, and what comes late is not told."""
        finding = Finding("a.test", "b.test")
        finding.resolver.answer("10.0.0.1")
        finding.discovery.stop()
        assert finding.resolver.cancelled == ["b.test"]
        assert not finding.clock.getDelayedCalls()
        assert len(finding.found) == 1


class TestLogical:
    """LOGICAL_DNS."""

    def test_first(self) -> None:
        """The first address is the host."""
        finding = Finding(logical=True)
        finding.resolver.answer("10.0.0.2", "10.0.0.1")
        assert finding.found == [["10.0.0.2:80"]]
        finding.again("10.0.0.1", "10.0.0.2")
        assert finding.found[1] == ["10.0.0.1:80"]

    def test_empty(self) -> None:
        """An empty answer is a failure: the host stays where it was."""
        finding = Finding(logical=True)
        finding.resolver.answer("10.0.0.2")
        finding.again()
        assert len(finding.found) == 1
        assert finding.counts() == (2, 1, 1, 0)


class TestBackoff:
    """Waiting after failures."""

    def test_refresh(self) -> None:
        """Without a rate for failures it is the ordinary one."""
        assert [Backoff(DnsConfig(refresh=3.0), Random(1)).wait() for _ in range(3)] == [3.0, 3.0, 3.0]

    def test_doubles(self) -> None:
        """It is a random part of a time that doubles up to the longest, and begins again after a success."""

        class Ceiling(Random):
            """The largest numbers that there are."""

            def random(self) -> float:
                return 1.0

        backoff = Backoff(DnsConfig(failure=(2.0, 10.0)), Ceiling())
        assert [backoff.wait() for _ in range(5)] == [2.0, 4.0, 8.0, 10.0, 10.0]
        backoff.reset()
        assert backoff.wait() == 2.0
