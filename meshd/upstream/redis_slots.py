"""
Picks the host that serves a slot of a Redis Cluster.

What can be worked out when the topology or a host's health changes is; a pick
is a look into a table.  Which host serves reads is Envoy's
redis_cluster_lb.cc: of those that a policy allows a random one, healthy ones
before degraded ones before all others.

The policies by zone are Envoy's too: first the healthy replicas in our own zone, then
(LOCAL_ZONE_AFFINITY_REPLICAS_AND_PRIMARY) the primary if it is healthy and in our
zone, then what PREFER_REPLICA does.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Literal

from meshd.codec.redis_slot import SLOTS
from meshd.interfaces import NoHost
from meshd.upstream.host import Host
from meshd.upstream.picker import Pick
from meshd.upstream.priorities import Level
from meshd.upstream.redis_topology import Range
from meshd.upstream.stats import ClusterStats

#: The values of ReadPolicy of Envoy's RedisProxy message, some of which the message that we read lacks.
ReadPolicy = Literal[
    "MASTER",
    "PREFER_MASTER",
    "REPLICA",
    "PREFER_REPLICA",
    "ANY",
    "LOCAL_ZONE_AFFINITY",
    "LOCAL_ZONE_AFFINITY_REPLICAS_AND_PRIMARY",
]

#: By policy, what it comes to when a host failed and it allows no other.
_INSTEAD: dict[str, Sequence[str]] = {
    "PREFER_MASTER": ("ANY",),
    "PREFER_REPLICA": ("ANY",),
    "LOCAL_ZONE_AFFINITY": ("PREFER_REPLICA", "ANY"),
    "LOCAL_ZONE_AFFINITY_REPLICAS_AND_PRIMARY": ("local primary", "PREFER_REPLICA", "ANY"),
}


class ShardHosts:
    """The hosts of one shard; reads holds by policy those among which a read is drawn."""

    __slots__ = ("primary", "reads", "replicas", "slots", "zone")

    def __init__(self, slots: Sequence[Range], primary: Host, replicas: Sequence[Host]) -> None:
        self.slots = slots
        self.primary = primary
        self.replicas = replicas
        #: Our own; empty if it is not known.
        self.zone = ""
        self.reads: dict[str, Sequence[Host]] = {}
        self.refresh()

    def refresh(self) -> None:
        """Take note that hosts changed their health flags."""
        primary, replicas = self.primary, self.replicas
        anyone = _best((primary, *replicas))
        self.reads = {
            "MASTER": (primary,),
            "PREFER_MASTER": (primary,) if primary.healthy else anyone,
            "REPLICA": _best(replicas),
            "PREFER_REPLICA": _best(replicas) if any(each.healthy for each in replicas) else anyone,
            "ANY": anyone,
        }
        self._refresh_zone()

    def _refresh_zone(self) -> None:
        reads = self.reads
        near = [host for host in (self.primary, *self.replicas) if host.healthy and self._is_near(host)]
        replicas = [host for host in near if host is not self.primary]
        primary = near[:1] if self.primary in near else []
        reads["local primary"] = primary
        reads["LOCAL_ZONE_AFFINITY"] = replicas or reads["PREFER_REPLICA"]
        reads["LOCAL_ZONE_AFFINITY_REPLICAS_AND_PRIMARY"] = replicas or primary or reads["PREFER_REPLICA"]

    def _is_near(self, host: Host) -> bool:
        return bool(self.zone) and host.locality.zone == self.zone

    def reads_without(self, policy: str, failed: Host) -> Sequence[Host]:
        """Return the hosts for a read that failed at one: others, if the policy lets there be any."""
        for name in (policy, *_INSTEAD.get(policy, ())):
            others = [each for each in self.reads[name] if each is not failed]
            if others:
                return others
        return self.reads[policy]


def _best(hosts: Sequence[Host]) -> Sequence[Host]:
    for health in ("healthy", "degraded"):
        found = [host for host in hosts if host.health == health]
        if found:
            return found
    return hosts


class SlotPicker:
    """Picks by slot among the shards that it was given last; zone is our own."""

    #: See ICluster.places.
    places = SLOTS

    def __init__(self, name: str, stats: ClusterStats, random: Random, zone: str = "") -> None:
        self._name = name
        self._stats = stats
        self._random = random.random
        self._zone = zone
        self.shards: Sequence[ShardHosts] = ()
        self._by_slot: list[ShardHosts | None] = [None] * SLOTS

    def use(self, shards: Sequence[ShardHosts]) -> None:
        """
        Pick among these from now on.

        A slot that none of them has stays with who had it, if that is still there: a
        node that is told late of a failover knows no owner for a while, and Redis
        itself says what is wrong better than we could.
        """
        by_slot: list[ShardHosts | None] = [None] * SLOTS
        for shard in shards:
            if self._zone:
                shard.zone = self._zone
                shard.refresh()
            for first, last in shard.slots:
                by_slot[first : last + 1] = [shard] * (last + 1 - first)
        if None in by_slot:
            there = {host for shard in shards for host in (shard.primary, *shard.replicas)}
            for slot, before in enumerate(self._by_slot):
                if by_slot[slot] is None and before is not None and before.primary in there:
                    by_slot[slot] = before
        self.shards = shards
        self._by_slot = by_slot

    def update(self, levels: Sequence[Level], overprovisioning: int = 0, weighted: bool = False) -> None:
        """Take note that hosts changed their health flags; there are no priorities among them."""
        for shard in self.shards:
            shard.refresh()

    @property
    def pick(self) -> Pick:
        """The function that picks the primary of a slot, or any primary if it is None; it raises NoHost."""
        return self._pick

    def _pick(self, hash_key: int | None = None) -> Host:
        if hash_key is None:
            return self._draw([shard.primary for shard in self.shards])
        shard = self._by_slot[hash_key % SLOTS]
        return self._nothing(hash_key) if shard is None else shard.primary

    def pick_read(self, slot: int, policy: ReadPolicy, failed: Host | None = None) -> Host:
        """
        Return the host that a read of the slot goes to by that policy; raise NoHost, which is counted.

        It is another than failed, if the policy lets there be another.
        """
        shard = self._by_slot[slot % SLOTS]
        if shard is None:
            return self._nothing(slot)
        return self._draw(shard.reads[policy] if failed is None else shard.reads_without(policy, failed))

    def _draw(self, hosts: Sequence[Host]) -> Host:
        return hosts[int(self._random() * len(hosts))] if hosts else self._nothing(None)

    def _nothing(self, slot: int | None) -> Host:
        self._stats.upstream_cx_none_healthy.value += 1
        which = "" if slot is None else f" for slot {slot % SLOTS}"
        raise NoHost(f"cluster {self._name} has no host{which} that may be used")
