"""
Discovery: which hosts a cluster has.

Static ones are what the config says.  Those found by DNS are looked up again
and again; what an answer means is Envoy's dns_cluster.cc: every address of
every name is a host (STRICT_DNS), or the first address is where the one
logical host is at the moment (LOGICAL_DNS).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from meshd.interfaces import IDiscovery
from meshd.upstream.endpoints import Endpoint
from meshd.upstream.host import Host
from meshd.upstream.resolver import Answer, Family, INameResolver
from meshd.upstream.stats import ClusterStats

Found = Callable[[Sequence[Host]], None]


@implementer(IDiscovery)
class Static:
    """The hosts of the config, at once and for good."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._endpoints = endpoints

    def start(self, found: Found) -> None:
        found([endpoint.host() for endpoint in self._endpoints])

    def stop(self) -> None:
        pass


@dataclass(frozen=True)
class DnsConfig:
    """How a cluster uses DNS; times in seconds."""

    family: Family = "AUTO"
    refresh: float = 5.0
    jitter: float = 0.0
    respect_ttl: bool = False
    #: The shortest and the longest wait after failures; None: refresh.
    failure: tuple[float, float] | None = None
    #: LOGICAL_DNS: the first address is the host.
    logical: bool = False


@dataclass(frozen=True)
class DnsTools:
    """What looking up takes: time, chance, a resolver, and where to count."""

    clock: IReactorTime
    random: Random
    resolver: INameResolver
    stats: ClusterStats


class Backoff:
    """How long to wait after failures: a random part of a time that doubles each time."""

    def __init__(self, config: DnsConfig, random: Random) -> None:
        self._config = config
        self._random = random
        self.reset()

    def reset(self) -> None:
        """Begin with the shortest wait again."""
        self._next = self._config.failure[0] if self._config.failure else 0.0

    def wait(self) -> float:
        """Return how many seconds to wait now."""
        if self._config.failure is None:
            return self._config.refresh
        now, longest = self._next, self._config.failure[1]
        self._next = now * 2 if now < longest / 2 else longest
        return min(self._random.random() * now, longest)


@implementer(IDiscovery)
class Dns:
    """
    The hosts that the names of the config resolve to.

    found is called when a lookup is over for the first time, whatever came of
    it, and then whenever hosts came or went.
    """

    def __init__(self, endpoints: Sequence[Endpoint], config: DnsConfig, tools: DnsTools) -> None:
        self.config = config
        self.tools = tools
        self.backoff = Backoff(config, tools.random)
        self._names = [_Name(endpoint, self) for endpoint in endpoints]
        self._found: Found | None = None
        self._told = False

    def start(self, found: Found) -> None:
        self._found = found
        for name in self._names:
            name.look_up()
        if not self._names:
            self.looked_up(False)

    def stop(self) -> None:
        self._found = None
        for name in self._names:
            name.stop()

    def looked_up(self, changed: bool) -> None:
        """Take note that a lookup is over."""
        if self._found is not None and (changed or not self._told):
            self._told = True
            self._found([host for name in self._names for host in name.hosts])


class _Name:
    """One name of the config: its lookups, and the hosts that came of them."""

    _log = Logger(namespace="meshd.upstream.discovery")
    _lookup: Deferred[Answer] | None = None
    _timer: IDelayedCall | None = None

    def __init__(self, endpoint: Endpoint, owner: Dns) -> None:
        self.hosts: list[Host] = []
        self._endpoint = endpoint
        self._owner = owner
        assert not isinstance(endpoint.address, str)
        self._name, self._port = endpoint.address

    def look_up(self) -> None:
        """Look the name up, now and again later."""
        self._timer = None
        tools, config = self._owner.tools, self._owner.config
        tools.stats.update_attempt.inc()
        lookup = self._lookup = tools.resolver.lookup(self._name, config.family)
        lookup.addCallbacks(self._answered, self._failed)
        lookup.addErrback(self._broken)

    def stop(self) -> None:
        """Look up no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lookup, self._lookup = self._lookup, None
        if lookup is not None:
            lookup.cancel()

    def _answered(self, answer: Answer) -> None:
        addresses, ttl = answer
        config, tools = self._owner.config, self._owner.tools
        if config.logical and not addresses:
            # An empty answer says nothing of where the one host is.
            self._fail(f"{self._name} has no address")
            return
        tools.stats.update_success.inc()
        changed = self._use(addresses[:1] if config.logical else addresses)
        if not config.logical:
            tools.stats.max_host_weight.set(self._endpoint.weight if addresses else 1)
        if not changed:
            tools.stats.update_no_rebuild.inc()
        self._owner.backoff.reset()
        wait = float(ttl) if addresses and config.respect_ttl and ttl else config.refresh
        self._again(wait + tools.random.random() * config.jitter, changed)

    def _failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._fail(failure.getErrorMessage())

    def _fail(self, reason: str) -> None:
        """Keep the hosts that there are, and try again soon."""
        self._log.debug("DNS lookup failed: {reason}", reason=reason)
        self._owner.tools.stats.update_failure.inc()
        self._again(self._owner.backoff.wait(), changed=False)

    def _broken(self, failure: Failure) -> None:
        self._log.failure("what came of a DNS lookup could not be used", failure)

    def _again(self, wait: float, changed: bool) -> None:
        self._lookup = None
        self._timer = self._owner.tools.clock.callLater(wait, self.look_up)
        self._owner.looked_up(changed)

    def _use(self, addresses: Sequence[str]) -> bool:
        """Have hosts at these addresses only; return whether that is a change."""
        before = {host.address: host for host in self.hosts}
        wanted = [(address, self._port) for address in addresses]
        if before.keys() == set(wanted):
            return False
        new = [before.get(address) or self._endpoint.host(address, self._name) for address in wanted]
        self.hosts = list({host.address: host for host in new}.values())
        return True
