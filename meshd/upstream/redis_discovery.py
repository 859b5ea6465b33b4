"""
The hosts of a Redis Cluster: as the cluster itself tells, again and again.

The endpoints of the config are asked first; then any of the hosts that are
known, and the endpoints again if none of those answers.  What calls for asking
sooner is counted by Triggers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from meshd.interfaces import IDiscovery, SocketAddress
from meshd.upstream.discovery import DnsTools, Found
from meshd.upstream.endpoints import Endpoint, is_ip
from meshd.upstream.host import Host
from meshd.upstream.redis_slots import ShardHosts
from meshd.upstream.redis_topology import BadTopology, Node, Topology
from meshd.upstream.redis_zones import put_zone
from meshd.upstream.resolver import Family, LookupFailed

Event = Literal["redirect", "failure", "degraded"]

#: How many of the hosts that are known are asked in one refresh, one after the other.
TRIES = 3


@dataclass(frozen=True)
class RedisConfig:
    """When the topology is asked for; times in seconds."""

    refresh: float = 5.0
    timeout: float = 3.0
    #: The shortest time between two refreshes that events called for.
    interval: float = 5.0
    #: How many events of a kind call for a refresh; 0: never.
    redirects: int = 5
    failures: int = 0
    degraded: int = 0
    family: Family = "AUTO"


class Triggers:
    """Counts events until there are enough to ask again (Envoy: ClusterRefreshManager)."""

    def __init__(self, config: RedisConfig, clock: IReactorTime, refresh: Callable[[], object]) -> None:
        self._thresholds = {
            "redirect": config.redirects,
            "failure": config.failures,
            "degraded": config.degraded,
        }
        self._counts = dict.fromkeys(self._thresholds, 0)
        self._interval = config.interval
        self._clock = clock
        self._refresh = refresh
        self._last: float | None = None

    def note(self, event: Event) -> None:
        """Take note of one event; those within the interval after a refresh they called for do not count."""
        threshold = self._thresholds[event]
        if not threshold:
            return
        now = self._clock.seconds()
        if self._last is not None and now < self._last + self._interval:
            return
        self._counts[event] += 1
        if self._counts[event] >= threshold:
            self._counts[event] = 0
            self._last = now
            self._refresh()


@implementer(IDiscovery)
class RedisDiscovery:
    """
    Finds the hosts of a Redis Cluster.

    ask asks a host for the topology; use is given the shards, before found is
    given their hosts.  found is called when the cluster was asked for the first
    time, whatever came of it, and whenever the topology is another one.
    """

    _log = Logger(namespace="meshd.upstream.redis_discovery")
    _found: Found | None = None
    _running: Deferred[None] | None = None
    _timer: IDelayedCall | None = None
    _again = False
    _told = False

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        config: RedisConfig,
        tools: DnsTools,
        ask: Callable[[Host], Awaitable[Topology]],
        use: Callable[[Sequence[ShardHosts]], object],
    ) -> None:
        self._endpoints = endpoints
        self._config = config
        self._tools = tools
        self._ask = ask
        self._use = use
        #: The topology that is served, and where its nodes are.
        self._topology: Topology | None = None
        self._addresses_of: dict[Node, SocketAddress | None] = {}
        self._hosts: dict[SocketAddress, Host] = {}
        #: The endpoints of the config by the addresses that they were found to have.
        self._seeds: dict[SocketAddress, Host] = {}
        #: What the names of the endpoints resolved to last.
        self._found_at: dict[str, Sequence[str]] = {}

    def start(self, found: Found) -> None:
        self._found = found
        self.refresh()

    def stop(self) -> None:
        self._found = None
        self._unschedule()
        running, self._running = self._running, None
        if running is not None:
            running.cancel()

    def refresh(self) -> None:
        """Ask for the topology now; if that is being done, then once more afterwards."""
        if self._found is None:
            return
        self._tools.stats.update_attempt.inc()
        if self._running is not None:
            self._again = True
            return
        self._unschedule()
        running = self._running = Deferred.fromCoroutine(self._refresh())
        running.addBoth(self._refreshed)

    def _unschedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refreshed(self, result: object) -> None:
        self._running = None
        if isinstance(result, Failure) and not result.check(CancelledError):
            self._log.failure("what came of asking for a topology could not be used", result)
        if self._found is None:
            return
        if not self._told:
            self._told = True
            self._found(list(self._hosts.values()))
        if self._again:
            self._again = False
            self.refresh()
        else:
            self._timer = self._tools.clock.callLater(self._config.refresh, self._due)

    def _due(self) -> None:
        self._timer = None
        self.refresh()

    async def _refresh(self) -> None:
        """Ask one host after the other until one tells: those that are known, then those of the config."""
        asked = self._some(self._hosts.values())
        if await self._ask_any(asked):
            return
        await self._look_up_seeds()
        await self._ask_any(self._some(each for each in self._seeds.values() if each not in asked))

    def _some(self, hosts: Iterable[Host]) -> list[Host]:
        found = list(hosts)
        return self._tools.random.sample(found, min(len(found), TRIES))

    async def _ask_any(self, hosts: Sequence[Host]) -> bool:
        """Ask one after the other; return whether one told."""
        for host in hosts:
            try:
                await self._take(await self._ask(host))
                return True
            except CancelledError:
                raise
            except Exception as error:
                self._failed(f"{host.text}: {error or type(error).__name__}")
        return False

    async def _look_up_seeds(self) -> None:
        """Find where the endpoints of the config are, as STRICT_DNS does; if that fails keep the old."""
        seeds: dict[SocketAddress, Host] = {}
        for endpoint in self._endpoints:
            assert not isinstance(endpoint.address, str)
            name, port = endpoint.address
            found = await self._addresses(name)
            if found is not None:
                self._found_at[name] = found
            for address in ((ip, port) for ip in self._found_at.get(name, ())):
                known = self._seeds.get(address) or self._hosts.get(address)
                seeds.setdefault(address, known or endpoint.host(address, name))
        self._seeds = seeds

    async def _addresses(self, name: str) -> Sequence[str] | None:
        """Look a name up; None if nobody could say."""
        try:
            addresses, _ = await self._tools.resolver.lookup(name, self._config.family)
        except LookupFailed as error:
            self._failed(str(error))
            return None
        if not addresses:
            self._tools.stats.update_empty.inc()
        return addresses

    def _failed(self, reason: str) -> None:
        self._log.debug("no topology: {reason}", reason=reason)
        self._tools.stats.update_failure.inc()

    async def _take(self, topology: Topology) -> None:
        """Find the addresses of all nodes, then serve by this topology."""
        addresses: dict[Node, SocketAddress | None] = {}
        for shard in topology:
            for node in (shard.primary, *shard.replicas):
                if node not in addresses:
                    addresses[node] = await self._address(node)
            if addresses[shard.primary] is None:
                raise BadTopology(f"the primary {shard.primary.host} has no address")
        if self._found is None:
            return
        hosts = {address: self._host(address, node.host) for node, address in addresses.items() if address}
        for node, address in addresses.items():
            if node.zone and address:
                put_zone(hosts[address], node.zone)
        if topology == self._topology and addresses == self._addresses_of:
            self._tools.stats.update_no_rebuild.inc()
            return
        self._topology, self._addresses_of, self._hosts = topology, addresses, hosts
        self._told = True
        self._tools.stats.max_host_weight.set(1)
        shards = []
        for shard in topology:
            replicas = [addresses[node] for node in shard.replicas]
            primary = hosts[addresses[shard.primary]]  # type: ignore[index]
            shards.append(ShardHosts(shard.slots, primary, [hosts[each] for each in replicas if each]))
        self._use(shards)
        self._found(list(hosts.values()))

    async def _address(self, node: Node) -> SocketAddress | None:
        if is_ip(node.host):
            return (node.host, node.port)
        addresses = await self._addresses(node.host)
        return (addresses[0], node.port) if addresses else None

    def _host(self, address: SocketAddress, name: str) -> Host:
        """Return the host at an address: the one that there is, or that of an endpoint of the config."""
        known = self._hosts.get(address) or self._seeds.get(address)
        return known or Host(address, hostname="" if is_ip(name) else name)
