"""Tests for meshd.upstream.dns_cache."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from meshd.interfaces import IDnsCache, Overflow
from meshd.testing import FakeScope
from meshd.testing.context import FakeResolver
from meshd.upstream.discovery import DnsConfig
from meshd.upstream.dns_cache import CacheConfig, CacheTools, DnsCache
from meshd.upstream.resolver import LookupFailed


class Longest(Random):
    """Chance that always has the largest number."""

    def random(self) -> float:
        """Return it."""
        return 1.0


class CacheCase(SynchronousTestCase):
    """A cache, its clock, and a resolver that the test answers for."""

    def make(self, chance: Random | None = None, **config: Any) -> DnsCache:
        """Return a cache that is started."""
        self.clock = Clock()
        self.resolver = FakeResolver()
        self.scope = FakeScope()
        tools = CacheTools(self.clock, chance or Random(1), self.resolver, self.scope)
        cache = DnsCache(CacheConfig(**config), tools)
        cache.start()
        return cache

    def counts(self, *names: str) -> list[int]:
        """Return statistics."""
        return [self.scope[name] for name in names]

    def hold(self, found: Deferred[Any], *addresses: str) -> None:
        """Hold that these addresses were found."""
        self.assertEqual(list(self.successResultOf(found)), list(addresses))


class FindTests(CacheCase):
    """Names that are wanted."""

    def test_interface(self) -> None:
        """It is an IDnsCache."""
        verifyObject(IDnsCache, self.make())

    def test_first(self) -> None:
        """The first who wants a name waits for the lookup, and so do all until it is over."""
        cache = self.make(dns=DnsConfig(family="V4_ONLY"))
        found = [cache.find("a", 1) for _ in range(3)]
        self.assertEqual([lookup[:2] for lookup in self.resolver.lookups], [("a", "V4_ONLY")])
        for each in found:
            self.assertNoResult(each)
        self.resolver.answer("10.0.0.1", "10.0.0.2")
        for each in (*found, cache.find("a", 1)):
            self.hold(each, "10.0.0.1", "10.0.0.2")
        self.assertEqual(self.resolver.lookups, [])
        self.assertEqual(
            self.counts("dns_query_attempt", "dns_query_success", "host_added", "host_address_changed"),
            [1, 1, 1, 1],
        )

    def test_ports(self) -> None:
        """A name at two ports is two, as in Envoy."""
        cache = self.make()
        cache.find("a", 1)
        cache.find("a", 2)
        self.assertEqual(self.counts("num_hosts", "dns_query_attempt"), [2, 2])

    def test_at_once(self) -> None:
        """A resolver may know the answer at once."""
        cache = self.make()
        self.resolver.lookup = lambda name, family: succeed((["10.0.0.1"], 0))  # type: ignore[method-assign]
        self.hold(cache.find("a", 1), "10.0.0.1")

    def test_nothing(self) -> None:
        """That there are no addresses, or that nobody could say, holds until the next lookup."""
        cache = self.make(dns=DnsConfig(refresh=60.0))
        for name, end in (("none", self.resolver.answer), ("fails", self._fail)):
            found = cache.find(name, 1)
            end()
            self.hold(found)
            self.hold(cache.find(name, 1))
        self.assertEqual(self.counts("dns_query_success", "dns_query_failure"), [1, 1])
        self.clock.advance(60)
        self.hold(cache.find("none", 1))
        self.resolver.answer("10.0.0.1")
        self.resolver.answer("10.0.0.2")
        self.hold(cache.find("none", 1), "10.0.0.1")
        self.hold(cache.find("fails", 1), "10.0.0.2")

    def _fail(self) -> None:
        self.resolver.fail(LookupFailed("no server"))

    def test_when_wanted(self) -> None:
        """Without refreshes after failures a name is looked up again when it is wanted."""
        cache = self.make(refresh_failed=False)
        self.hold_failing(cache)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        found = cache.find("a", 1)
        self.resolver.answer("10.0.0.1")
        self.hold(found, "10.0.0.1")
        self.assertEqual(self.counts("host_added", "dns_query_attempt"), [1, 2])

    def hold_failing(self, cache: DnsCache) -> None:
        """Let a lookup of a fail."""
        found = cache.find("a", 1)
        self._fail()
        self.hold(found)

    def test_timeout(self) -> None:
        """A lookup that takes too long has failed, and is given up."""
        cache = self.make(timeout=2.0)
        found = cache.find("a", 1)
        self.clock.advance(1.9)
        self.assertNoResult(found)
        self.clock.advance(0.2)
        self.hold(found)
        self.assertEqual(self.resolver.cancelled, ["a"])
        self.assertEqual(self.counts("dns_query_timeout", "dns_query_failure"), [1, 1])

    def test_no_timeout(self) -> None:
        """A time-out of 0 is none."""
        cache = self.make(timeout=0.0)
        cache.find("a", 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancelled(self) -> None:
        """Who waits may stop waiting; the others do not notice."""
        cache = self.make()
        first, second = cache.find("a", 1), cache.find("a", 1)
        first.cancel()
        self.failureResultOf(first)
        self.resolver.answer("10.0.0.1")
        self.hold(second, "10.0.0.1")
        alone = cache.find("b", 1)
        alone.cancel()
        self.failureResultOf(alone)
        self.assertEqual(cache.pending.count, 0)


class LimitTests(CacheCase):
    """How much there may be."""

    def test_hosts(self) -> None:
        """Beyond max_hosts a new name is refused; those that are known are not."""
        cache = self.make(max_hosts=1)
        known = cache.find("a", 1)
        self.failureResultOf(cache.find("b", 1), Overflow)
        self.assertEqual(self.counts("host_overflow", "num_hosts"), [1, 1])
        self.resolver.answer("10.0.0.1")
        self.hold(known, "10.0.0.1")
        self.hold(cache.find("a", 1), "10.0.0.1")

    def test_pending(self) -> None:
        """Beyond max_pending_requests no further name is looked up; who wants one that is, waits too."""
        cache = self.make(max_pending=1)
        waiting = [cache.find("a", 1), cache.find("a", 1)]
        self.failureResultOf(cache.find("b", 1), Overflow)
        names = ("circuit_breakers.rq_pending_open", "circuit_breakers.rq_pending_remaining")
        self.assertEqual(self.counts("dns_rq_pending_overflow", *names), [1, 1, 0])
        self.resolver.answer("10.0.0.1")
        for each in waiting:
            self.hold(each, "10.0.0.1")
        self.assertEqual(self.counts(*names), [0, 1])
        self.assertNoResult(cache.find("b", 1))


class RefreshTests(CacheCase):
    """Names that are looked up again."""

    def known(self, ttl: int = 0, **config: Any) -> DnsCache:
        """Return a cache that has looked up the name a."""
        cache = self.make(**config)
        cache.find("a", 1)
        self.resolver.answer("10.0.0.1", ttl=ttl)
        return cache

    def test_ttl(self) -> None:
        """An answer holds as long as it says."""
        cache = self.known(ttl=30)
        self.clock.advance(29.9)
        self.assertEqual(self.resolver.lookups, [])
        self.clock.advance(0.2)
        self.hold(cache.find("a", 1), "10.0.0.1")
        self.resolver.answer("10.0.0.2")
        self.hold(cache.find("a", 1), "10.0.0.2")
        self.assertEqual(self.counts("host_address_changed"), [2])

    def test_least(self) -> None:
        """But no shorter than dns_min_refresh_rate."""
        self.known(ttl=1, min_refresh=7.0)
        self.clock.advance(6.9)
        self.assertEqual(self.resolver.lookups, [])
        self.clock.advance(0.2)
        self.assertEqual(len(self.resolver.lookups), 1)

    def test_same(self) -> None:
        """Addresses in another order are no others."""
        self.make().find("a", 1)
        self.resolver.answer("10.0.0.1", "10.0.0.2")
        self.clock.advance(5)
        self.resolver.answer("10.0.0.2", "10.0.0.1")
        self.assertEqual(self.counts("host_address_changed"), [1])

    def test_stays(self) -> None:
        """A failure, or an empty answer, leaves the addresses that were known."""
        cache = self.known()
        self.clock.advance(5)
        self.resolver.fail(LookupFailed("no server"))
        self.hold(cache.find("a", 1), "10.0.0.1")
        self.clock.advance(60)
        self.resolver.answer()
        self.hold(cache.find("a", 1), "10.0.0.1")

    def test_backoff(self) -> None:
        """Failures make the next lookup come later each time, up to a limit."""
        cache = self.make(Longest(), dns=DnsConfig(refresh=60.0, failure=(1.0, 4.0)))
        cache.find("a", 1)
        for wait in (1, 2, 4, 4):
            self.resolver.fail(LookupFailed("no server"))
            self.clock.advance(wait - 0.1)
            self.assertEqual(self.resolver.lookups, [])
            self.clock.advance(0.2)
            self.assertEqual(len(self.resolver.lookups), 1)

    def test_unused(self) -> None:
        """A name that was not wanted for host_ttl is forgotten at the next refresh."""
        cache = self.known(ttl=10, host_ttl=15.0)
        self.clock.advance(10)
        self.resolver.answer("10.0.0.1", ttl=10)
        cache.find("a", 1)
        self.clock.advance(10)
        self.resolver.answer("10.0.0.1", ttl=10)
        self.clock.advance(10)
        self.assertEqual(self.resolver.lookups, [])
        self.assertEqual(self.counts("host_removed", "num_hosts"), [1, 0])
        self.assertNoResult(cache.find("a", 1))
        self.assertEqual(self.counts("host_added"), [2])


class StartTests(CacheCase):
    """The beginning and the end."""

    def test_places(self) -> None:
        """Names of the config are looked up at the start; they can be had at once then."""
        cache = self.make(places=(("a", 1), ("b", 2)))
        self.resolver.answer("10.0.0.1")
        self.hold(cache.find("a", 1), "10.0.0.1")
        self.assertEqual(cache.pending.count, 0)
        self.assertEqual(len(self.resolver.lookups), 1)

    def test_stop(self) -> None:
        """After the end nothing happens by itself; who waits is told of nothing, who asks gets an answer."""
        cache = self.make()
        for name in ("a", "b"):
            cache.find(name, 1)
        self.resolver.answer("10.0.0.1")
        waiting = cache.find("b", 1)
        cache.stop()
        self.hold(waiting)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.counts("num_hosts"), [0])
        found = cache.find("c", 1)
        self.resolver.lookups = self.resolver.lookups[-1:]
        self.resolver.answer("10.0.0.3")
        self.hold(found, "10.0.0.3")
        self.assertEqual(self.counts("num_hosts"), [0])
