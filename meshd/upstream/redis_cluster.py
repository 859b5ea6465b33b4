"""
A Redis Cluster: hosts and slots as its nodes tell, picked by slot.

The hash key of a pick is the slot (meshd.codec.redis_slot).  What a proxy sees
of redirects and failures it tells, so that the topology is asked for again.

Serves envoy.extensions.clusters.redis.v3.RedisClusterConfig.
"""

from __future__ import annotations

from typing import Any, TypeVar

from envoy.extensions.clusters.redis.v3.redis_cluster_pb2 import RedisClusterConfig
from twisted.internet.defer import Deferred, maybeDeferred

from meshd.config.plain import optional_seconds, wrapped
from meshd.interfaces import IDiscovery
from meshd.observe.info import ConnectionInfo
from meshd.plugin import ConfigError
from meshd.upstream.cluster import Cluster, within
from meshd.upstream.discovery import DnsTools
from meshd.upstream.dns_config import check_endpoints, read_dns, read_resolver
from meshd.upstream.endpoints import Assignment
from meshd.upstream.host import Host
from meshd.upstream.policy import Surroundings
from meshd.upstream.redis_asking import Asking, Exchange, IsSaid
from meshd.upstream.redis_discovery import RedisConfig, RedisDiscovery, Triggers
from meshd.upstream.redis_slots import ReadPolicy, ShardHosts, SlotPicker
from meshd.upstream.redis_topology import Topology
from meshd.upstream.redis_zones import ZoneExchange, Zones

T = TypeVar("T")

NAME = "envoy.clusters.redis"

#: Fields of a Cluster message that mean nothing to a Redis Cluster.
MEANINGLESS = (
    "dns_refresh_rate",
    "dns_jitter",
    "dns_failure_refresh_rate",
    "respect_dns_ttl",
    "ring_hash_lb_config",
    "maglev_lb_config",
    "least_request_lb_config",
    "round_robin_lb_config",
    "load_balancing_policy",
)


class RedisCluster(Cluster):
    """A cluster of type envoy.clusters.redis."""

    redis_slots = True
    _picker: SlotPicker
    _triggers: Triggers
    _zones: Zones

    @property
    def shards(self) -> list[ShardHosts]:
        """The shards in the order of their slots; each has its primary and its replicas."""
        return list(self._picker.shards)

    def pick_read(self, slot: int, policy: ReadPolicy, failed: Host | None = None) -> Host:
        """Return the host that a read of the slot goes to by that policy, rather not failed; raise NoHost."""
        return self._picker.pick_read(slot, policy, failed)

    def note_redirect(self) -> None:
        """Take note that a node answered MOVED or ASK."""
        self._triggers.note("redirect")

    def note_failure(self, host: Any = None) -> None:
        """Take note that a request to a host failed."""
        self._triggers.note("failure")

    def find_zones(self) -> None:
        """Find out in which zone the hosts are, as far as nothing else tells: a read policy wants to know."""
        self._zones.start()

    def stop(self) -> None:
        super().stop()
        self._zones.stop()

    def refresh(self) -> None:
        """Take note that hosts changed their health flags; those that got worse may call for asking again."""
        super().refresh()
        before, self._unhealthy = self._unhealthy, frozenset(host for host in self.hosts if not host.healthy)
        for _ in self._unhealthy - before:
            self._triggers.note("degraded")

    _unhealthy: frozenset[Host] = frozenset()

    def _found(self, hosts: Any) -> None:
        # Slots and roles may have changed while the hosts are the same.
        same = set(self.hosts) == set(hosts)
        super()._found(hosts)
        if same and hosts:
            self.refresh()
        self._zones.use(self.hosts)

    def _make_picker(self, around: Surroundings) -> SlotPicker:
        _check_meaningless(self.config, self._assignment)
        self.hashing = True
        return SlotPicker(self.name, self.stats, self.context.random, self.context.zone)

    def _find(self) -> IDiscovery:
        self._redis = read_redis_config(self.config)
        context = self.context
        tools = DnsTools(context.clock, context.random, read_resolver(self.config, context), self.stats)
        endpoints = check_endpoints(self._assignment, read_dns(self.config), "redis")
        discovery = RedisDiscovery(endpoints, self._redis, tools, self._ask, self._picker.use)
        self._triggers = Triggers(self._redis, context.clock, discovery.refresh)
        self._zones = Zones(self._ask_zone, self.refresh, context.clock, self._redis.refresh)
        return discovery

    def _ask(self, host: Host) -> Deferred[Topology]:
        """Ask a host for the topology."""
        asked = host.address if isinstance(host.address, str) else host.address[0]
        return self._say(Exchange(asked, self.redis_logins.of(host.address), tls=bool(self.transport)), host)

    def _ask_zone(self, host: Host) -> Deferred[str]:
        # There may be no password.
        return maybeDeferred(self._ask_zone_now, host)

    def _ask_zone_now(self, host: Host) -> Deferred[str]:
        return self._say(ZoneExchange(self.redis_logins.of(host.address)), host)

    def _say(self, exchange: IsSaid[T], host: Host) -> Deferred[T]:
        asking = Asking(exchange, self.context.clock, self._redis.timeout)
        return asking.ask(lambda upstream: self.connect_to(host, upstream, ConnectionInfo("", "")))


def read_redis_config(cluster: Any) -> RedisConfig:
    """Read the RedisClusterConfig of a Cluster message; raise ConfigError, its path seen from there."""
    if cluster.cluster_type.name != NAME:
        raise ConfigError(f"meshd serves the cluster type {NAME} only", "cluster_type", "name")
    typed = cluster.cluster_type.typed_config
    message = RedisClusterConfig()
    if typed.type_url and not typed.Is(message.DESCRIPTOR):
        raise ConfigError(f"{NAME} wants a RedisClusterConfig", "cluster_type", "typed_config")
    typed.Unpack(message)
    default = RedisConfig()
    return RedisConfig(
        refresh=optional_seconds(message, "cluster_refresh_rate") or default.refresh,
        timeout=optional_seconds(message, "cluster_refresh_timeout") or default.timeout,
        interval=optional_seconds(message, "redirect_refresh_interval", default.interval),  # type: ignore[arg-type]
        redirects=wrapped(message, "redirect_refresh_threshold", default.redirects),
        failures=message.failure_refresh_threshold,
        degraded=message.host_degraded_refresh_threshold,
        family=read_dns(cluster).family,
    )


def _check_meaningless(cluster: Any, assignment: Assignment) -> None:
    """Refuse what would be ignored."""
    if cluster.lb_policy != cluster.CLUSTER_PROVIDED:
        raise ConfigError(f"a cluster of type {NAME} has the policy CLUSTER_PROVIDED", "lb_policy")
    for field in MEANINGLESS:
        if any(each.name == field for each, _ in cluster.ListFields()):
            raise ConfigError(f"a cluster of type {NAME} has no use for {field}", field)
    for each, _ in cluster.common_lb_config.ListFields():
        if each.name != "update_merge_window":
            raise ConfigError(
                f"a cluster of type {NAME} has no use for {each.name}", "common_lb_config", each.name
            )
    with within("load_assignment"):
        if cluster.load_assignment.policy.ListFields():
            raise ConfigError(f"a cluster of type {NAME} has no use for policy", "policy")
        if not assignment.endpoints:
            raise ConfigError(f"a cluster of type {NAME} needs an endpoint to ask", "endpoints")
        for endpoint in assignment.endpoints:
            if endpoint.priority:
                raise ConfigError(
                    f"a cluster of type {NAME} has no priorities", *endpoint.path[:2], "priority"
                )
            if endpoint.weight != 1:
                raise ConfigError(
                    f"a cluster of type {NAME} has no weights", *endpoint.path, "load_balancing_weight"
                )
