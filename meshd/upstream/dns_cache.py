"""
A cache of looked up names, shared by all configs that name it.

Serves envoy.extensions.common.dynamic_forward_proxy.v3.DnsCacheConfig.  What it does is
Envoy's dns_cache_impl.cc: a name is looked up when it is first wanted, and from then on
again and again until it was not wanted for host_ttl; its addresses stay when a lookup
fails or finds nothing.  That there are none holds until the next lookup, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from meshd.interfaces import IDnsCache, IScope, Overflow
from meshd.upstream.discovery import Backoff, DnsConfig
from meshd.upstream.limits import Breaker
from meshd.upstream.resolver import Answer, INameResolver

#: A name and a port; Envoy's hosts are such, too.
Place = tuple[str, int]


@dataclass(frozen=True)
class CacheConfig:
    """What one cache is told; times in seconds."""

    #: Which addresses, and how long to wait where no answer says.
    dns: DnsConfig = field(default_factory=lambda: DnsConfig(refresh=60.0))
    #: The shortest time for which addresses are taken to hold.
    min_refresh: float = 5.0
    #: Whether a name whose lookup failed is looked up again by and by, and not when it is wanted.
    refresh_failed: bool = True
    host_ttl: float = 300.0
    max_hosts: int = 1024
    #: How long a lookup may take; 0: as long as the resolver likes.
    timeout: float = 5.0
    #: How many names may be looked up at once while somebody waits.
    max_pending: int = 1024
    #: Looked up at the start.
    places: tuple[Place, ...] = ()


@dataclass(frozen=True)
class CacheTools:
    """What a cache uses; scope is that of its statistics."""

    clock: IReactorTime
    random: Random
    resolver: INameResolver
    scope: IScope


@implementer(IDnsCache)
class DnsCache:
    """The names of one cache."""

    _stopped = False

    def __init__(self, config: CacheConfig, tools: CacheTools) -> None:
        self.config = config
        self.tools = tools
        self.stats = CacheStats(tools.scope)
        scope = tools.scope.scope("circuit_breakers")
        self.pending = Breaker(
            config.max_pending, scope.gauge("rq_pending_open"), scope.gauge("rq_pending_remaining")
        )
        self._hosts: dict[Place, _Host] = {}

    def start(self) -> None:
        """Look up what the config names."""
        for place in self.config.places:
            if place not in self._hosts:
                self._add(place).look_up()

    def stop(self) -> None:
        """Look up nothing by ourselves any more, and forget what is known."""
        self._stopped = True
        for place in list(self._hosts):
            self.remove(place)

    def find(self, name: str, port: int) -> Deferred[Sequence[str]]:
        if self._stopped:
            return self.tools.resolver.lookup(name, self.config.dns.family).addCallback(_addresses)
        host = self._hosts.get((name, port))
        if host is not None and host.is_known:
            host.used = self.tools.clock.seconds()
            return succeed(host.addresses)
        if host is None and len(self._hosts) >= self.config.max_hosts:
            self.stats.host_overflow.inc()
            return fail(Overflow(f"{name} is one name too many for the DNS cache"))
        if not self.pending.may_add and (host is None or not host.is_awaited):
            self.stats.rq_pending_overflow.inc()
            return fail(Overflow("too many lookups wait in the DNS cache"))
        return (host or self._add((name, port))).wait()

    def _add(self, place: Place) -> _Host:
        host = self._hosts[place] = _Host(place, self)
        self.stats.host_added.inc()
        self.stats.num_hosts.inc()
        return host

    def remove(self, place: Place) -> None:
        """Forget a name."""
        self._hosts.pop(place).stop()
        self.stats.host_removed.inc()
        self.stats.num_hosts.dec()


class CacheStats:
    """The statistics dns_cache.<name>.*, by Envoy's names."""

    def __init__(self, scope: IScope) -> None:
        self.query_attempt = scope.counter("dns_query_attempt")
        self.query_failure = scope.counter("dns_query_failure")
        self.query_success = scope.counter("dns_query_success")
        self.query_timeout = scope.counter("dns_query_timeout")
        self.rq_pending_overflow = scope.counter("dns_rq_pending_overflow")
        self.host_added = scope.counter("host_added")
        self.host_address_changed = scope.counter("host_address_changed")
        self.host_overflow = scope.counter("host_overflow")
        self.host_removed = scope.counter("host_removed")
        self.num_hosts = scope.gauge("num_hosts")
        # Of what is not served.
        for name in ("cache_load", "dns_address_filter_out"):
            scope.counter(name)


def _addresses(answer: Answer) -> Sequence[str]:
    return answer[0]


class _Host:
    """One name: its addresses, its lookups, and who waits for them."""

    _log = Logger(namespace="meshd.upstream.dns_cache")
    _lookup: Deferred[Any] | None = None
    _timeout: IDelayedCall | None = None
    _refresh: IDelayedCall | None = None
    #: Whether there was a lookup whose outcome holds.
    is_known = False

    def __init__(self, place: Place, cache: DnsCache) -> None:
        self._place = place
        self._cache = cache
        self.addresses: list[str] = []
        self.used = cache.tools.clock.seconds()
        self._backoff = Backoff(cache.config.dns, cache.tools.random)
        self._waiting: list[Deferred[Sequence[str]]] = []

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits for it."""
        return bool(self._waiting)

    def wait(self) -> Deferred[Sequence[str]]:
        """Return what will be found."""
        self.used = self._cache.tools.clock.seconds()
        waiting: Deferred[Sequence[str]] = Deferred(self._give_up)
        if not self._waiting:
            self._cache.pending.add()
        self._waiting.append(waiting)
        if self._lookup is None:
            self.look_up()
        return waiting

    def _give_up(self, waiting: Deferred[Sequence[str]]) -> None:
        self._waiting.remove(waiting)
        if not self._waiting:
            self._cache.pending.done()

    def look_up(self) -> None:
        """Look the name up now."""
        self._unschedule()
        cache = self._cache
        tools, config = cache.tools, cache.config
        cache.stats.query_attempt.inc()
        if config.timeout:
            self._timeout = tools.clock.callLater(config.timeout, self._too_long)
        # Set first: the resolver may have the answer at once.
        lookup = self._lookup = tools.resolver.lookup(self._place[0], config.dns.family)
        lookup.addCallbacks(self._answered, self._failed)
        lookup.addErrback(self._broken)

    def _answered(self, answer: Answer) -> None:
        addresses, ttl = answer
        cache = self._cache
        cache.stats.query_success.inc()
        self._backoff.reset()
        refresh = cache.config.dns.refresh
        if addresses:
            refresh = max(cache.config.min_refresh, float(ttl))
            if set(addresses) != set(self.addresses):
                self.addresses = list(addresses)
                cache.stats.host_address_changed.inc()
        self.is_known = True
        self._over(refresh)

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            return
        self._log.debug("{name}: {why}", name=self._place[0], why=failure.getErrorMessage())
        self._fail()

    def _too_long(self) -> None:
        self._timeout = None
        self._cache.stats.query_timeout.inc()
        lookup, self._lookup = self._lookup, None
        if lookup is not None:
            lookup.cancel()
        self._fail()

    def _fail(self) -> None:
        cache = self._cache
        cache.stats.query_failure.inc()
        self.is_known = cache.config.refresh_failed or bool(self.addresses)
        self._over(self._backoff.wait() if cache.config.refresh_failed else None)

    def _broken(self, failure: Failure) -> None:
        self._log.failure("what came of a lookup could not be used", failure)

    def _over(self, refresh: float | None) -> None:
        """Tell who waits, and look up again after refresh seconds."""
        self._unschedule()
        self._lookup = None
        if refresh is not None:
            self._refresh = self._cache.tools.clock.callLater(refresh, self._again)
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._cache.pending.done()
        for each in waiting:
            each.callback(self.addresses)

    def _again(self) -> None:
        cache = self._cache
        if cache.tools.clock.seconds() - self.used > cache.config.host_ttl:
            cache.remove(self._place)
        else:
            self.look_up()

    def _unschedule(self) -> None:
        for call in (self._timeout, self._refresh):
            if call is not None and call.active():
                call.cancel()
        self._timeout = self._refresh = None

    def stop(self) -> None:
        """Look up no more; who waits is told that nothing was found."""
        lookup, self._lookup = self._lookup, None
        if lookup is not None:
            lookup.cancel()
        self.addresses = []
        self._over(None)
