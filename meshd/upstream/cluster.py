"""
A cluster: a named group of hosts, one of which is picked for each connection.

Reads a Cluster message once into plain attributes, and puts the parts
together: discovery, priorities and balancer, limits, statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from envoy.config.cluster.v3.cluster_pb2 import Cluster as ClusterMessage
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from zope.interface import implementer

from meshd.interfaces import (
    ICluster,
    IConnecting,
    IDiscovery,
    IRuntime,
    IScope,
    IStreamInfo,
    ITimers,
    IUpstream,
    SocketAddress,
)
from meshd.plugin import ConfigError
from meshd.upstream.bind import Bind, read_bind
from meshd.upstream.dial import ClusterEndpoint
from meshd.upstream.discovery import Dns, DnsTools, Static
from meshd.upstream.dns_config import check_endpoints, read_dns, read_resolver, seconds
from meshd.upstream.endpoints import Assignment, check_weights, read_assignment
from meshd.upstream.host import Host
from meshd.upstream.http2_options import read_http2
from meshd.upstream.limits import read_limits
from meshd.upstream.picker import Pick, Picker
from meshd.upstream.policy import Surroundings, read_balancing
from meshd.upstream.priorities import Level
from meshd.upstream.protocol_options import read_redis_logins
from meshd.upstream.stats import ClusterStats

#: What makes a connection to a host that was picked.
Connector = Callable[["Cluster", Host, IUpstream, IStreamInfo], IConnecting]

CONNECT_TIMEOUT = 5.0
BUFFER_LIMIT = 1024 * 1024
PANIC_THRESHOLD = 50


@dataclass
class ClusterContext:
    """What clusters use of the process they are in."""

    clock: IReactorTime
    reactor: Any
    timers: ITimers
    #: The root of the statistics.
    stats: IScope
    runtime: IRuntime
    connector: Connector
    #: Looks names up (meshd.upstream.resolver).
    resolver: Any
    random: Random = field(default_factory=Random)
    #: cluster_manager.upstream_bind_config of the bootstrap, for clusters that have none.
    bind: Bind | None = None
    #: In which zone we are: node.locality.zone, or --service-zone.
    zone: str = ""


@implementer(ICluster)
class Cluster:
    """
    A cluster of the config.

    transport is for whoever builds transport sockets: what makes the outermost
    link of a connection, or None.  Raises ConfigError, its path seen from the
    Cluster message.
    """

    #: Whether its host is a program, and not somewhere to connect to.
    runs_programs = False
    #: Picks a host for a hash key (or None); raises NoHost.  It changes as the hosts do.
    pick: Pick
    #: See ICluster.places.
    places: int | None
    #: Whether hash_key is the slot of a Redis Cluster.
    redis_slots = False
    #: Whether the host depends on hash_key.
    hashing: bool

    def __init__(self, config: Any, context: ClusterContext) -> None:
        self.name: str = config.name
        self.config = config
        self.context = context
        #: How statistics call it: alt_stat_name, else its name.
        self.stat_name: str = config.alt_stat_name or config.name
        self.metadata = config.metadata
        self.connect_timeout = CONNECT_TIMEOUT
        if config.HasField("connect_timeout"):
            self.connect_timeout = seconds(config.connect_timeout)
        self.buffer_limit = BUFFER_LIMIT
        if config.HasField("per_connection_buffer_limit_bytes"):
            self.buffer_limit = config.per_connection_buffer_limit_bytes.value
        self.transport: Any = None
        self.hosts: list[Host] = []
        self.warmed = False
        scope = context.stats.scope(f"cluster.{self.stat_name}")
        self.stats = ClusterStats(scope)
        #: The circuit breakers of the routing priorities DEFAULT and HIGH.
        with within("circuit_breakers"):
            self.limits, self.high_limits = read_limits(config.circuit_breakers, scope)
        self.bind = _read_bind(config, context.bind)
        self._connector = context.connector
        self._when_warm: list[Callable[[], object]] = []
        self._on_removed: list[Callable[[Sequence[Host]], object]] = []
        with within("load_assignment"):
            self._assignment = read_assignment(config.load_assignment)
        around = Surroundings(scope, self.stats.upstream_rq_active, context.random, context.runtime)
        self._threshold = _read_threshold(config)
        #: How to log on to its hosts, if they are Redis servers.
        self.redis_logins = read_redis_logins(config, context.clock, context.reactor)
        self.redis_auth = self.redis_logins.default
        self.http2 = read_http2(config)
        self._failover: Any = None
        self._picker: Any = self._make_picker(around)
        self._discovery = self._find()
        self.refresh()

    def start(self) -> None:
        """Find the hosts; a STATIC cluster is warm when this returns, unless it waits for AWS credentials."""
        if self.redis_logins.iam is None:
            self._begin()
        else:
            self.redis_logins.iam.chain.start(self._begin)

    def _begin(self) -> None:
        self._discovery.start(self._found)
        if self.config.HasField("wait_for_warm_on_init") and not self.config.wait_for_warm_on_init.value:
            self._warm()

    def stop(self) -> None:
        """Look for hosts no more; those that there are can still be picked."""
        if self.redis_logins.iam is not None:
            self.redis_logins.iam.chain.stop()
        self._discovery.stop()

    def when_warm(self, callback: Callable[[], object]) -> None:
        """Call back once: when the hosts are found, or were looked for in vain; maybe at once."""
        if self.warmed:
            callback()
        else:
            self._when_warm.append(callback)

    def on_removed(self, callback: Callable[[Sequence[Host]], object]) -> None:
        """Call back with the hosts that are gone, each time that some are."""
        self._on_removed.append(callback)

    def connect_to(self, host: Any, upstream: IUpstream, info: IStreamInfo) -> IConnecting:
        return self._connector(self, host, upstream, info)

    def host_at(self, address: SocketAddress) -> Host:
        for host in self.hosts:
            if host.address == address:
                return host
        return Host(address)

    def connect(self, upstream: IUpstream, info: IStreamInfo, hash_key: int | None = None) -> IConnecting:
        failover = self._failover
        host = self.pick(hash_key) if failover is None else failover.next(self.hosts, info, self.name)
        return self._connector(self, host, upstream, info)

    def endpoint(self, hash_key: int | None = None) -> IStreamClientEndpoint:
        return ClusterEndpoint(self, hash_key)

    def refresh(self) -> None:
        """Take note that hosts changed their health flags or weights."""
        top = max((host.priority for host in self.hosts), default=0)
        levels = [
            Level([host for host in self.hosts if host.priority == priority]) for priority in range(top + 1)
        ]
        self._picker.update(levels, self._assignment.overprovisioning, self._assignment.weighted_health)
        self.pick = self._picker.pick
        self.places = self._picker.places
        stats = self.stats
        stats.membership_total.set(len(self.hosts))
        stats.membership_healthy.set(sum(len(level.healthy) for level in levels))
        stats.membership_degraded.set(sum(len(level.degraded) for level in levels))
        stats.membership_excluded.set(sum(len(level.excluded) for level in levels))

    def _found(self, hosts: Sequence[Host]) -> None:
        before, after = set(self.hosts), set(hosts)
        added, removed = after - before, [host for host in self.hosts if host not in after]
        if added or removed:
            self.hosts = list(hosts)
            self.stats.match_count.inc(len(added))
            self.stats.membership_change.inc(len({host.priority for host in (*added, *removed)}))
            self.refresh()
        if removed:
            for tell in self._on_removed:
                tell(removed)
        self._warm()

    def _warm(self) -> None:
        if not self.warmed:
            self.warmed = True
            waiting, self._when_warm = self._when_warm, []
            for callback in waiting:
                callback()

    def _panic_threshold(self) -> int:
        """Return healthy_panic_threshold in per cent; the runtime's value goes first."""
        value = self.context.runtime.get("upstream.healthy_panic_threshold")
        return min(100, int(value) if value and value.isdigit() else self._threshold)

    def _make_picker(self, around: Surroundings) -> Any:
        """Return what picks among the hosts: a Picker, or what has its pick and update."""
        balancing = read_balancing(self.config)
        self.hashing = balancing.hashing
        self._failover = balancing.failover
        if balancing.hashing:
            with within("load_assignment"):
                check_weights(self._assignment.endpoints)
        return Picker(self.name, balancing, self.stats, around, self._panic_threshold)

    def _find(self) -> IDiscovery:
        """Return what finds the hosts."""
        kind = ClusterMessage.DiscoveryType.Name(self.config.type)
        if kind == "STATIC":
            _check_static(self._assignment)
            return Static(self._assignment.endpoints)
        if kind in ("STRICT_DNS", "LOGICAL_DNS"):
            tools = DnsTools(
                self.context.clock, self.context.random, read_resolver(self.config, self.context), self.stats
            )
            config = read_dns(self.config)
            return Dns(check_endpoints(self._assignment, config, kind), config, tools)
        raise ConfigError(f"meshd does not serve clusters of the type {kind}", "type")


@contextmanager
def within(*path: str | int) -> Iterator[None]:
    """Put path before that of a ConfigError raised inside."""
    try:
        yield
    except ConfigError as error:
        raise error.under(*path) from None


def _read_bind(config: Any, default: Bind | None) -> Bind | None:
    if not config.HasField("upstream_bind_config"):
        return default
    with within("upstream_bind_config"):
        return read_bind(config.upstream_bind_config, f"Cluster {config.name}")


def _read_threshold(config: Any) -> int:
    """Return healthy_panic_threshold in per cent, rounded half up as Envoy does."""
    window = config.common_lb_config.update_merge_window
    if window.seconds or window.nanos:
        path = ("common_lb_config", "update_merge_window")
        raise ConfigError("meshd applies updates at once: only 0s is served", *path)
    if not config.common_lb_config.HasField("healthy_panic_threshold"):
        return PANIC_THRESHOLD
    return int(config.common_lb_config.healthy_panic_threshold.value + 0.5)


def _check_static(assignment: Assignment) -> None:
    for endpoint in assignment.endpoints:
        if not endpoint.is_literal:
            raise ConfigError(
                f"malformed IP address: {endpoint.address[0]}. Consider setting resolver_name or setting"
                " cluster type to 'STRICT_DNS' or 'LOGICAL_DNS'",
                "load_assignment",
                *endpoint.path,
                "endpoint",
                "address",
                "socket_address",
                "address",
            )
