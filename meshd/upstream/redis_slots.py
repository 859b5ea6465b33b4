"""
Picks the host that serves a slot of a Redis Cluster.

What can be worked out when the topology or a host's health changes is; a pick
is a look into a table.  Which host serves reads is Envoy's
redis_cluster_lb.cc: of those that a policy allows a random one, healthy ones
before degraded ones before all others.
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

#: The values of ReadPolicy of Envoy's RedisProxy message.
ReadPolicy = Literal["MASTER", "PREFER_MASTER", "REPLICA", "PREFER_REPLICA", "ANY"]


class ShardHosts:
    """The hosts of one shard; reads holds by policy those among which a read is drawn."""

    __slots__ = ("primary", "reads", "replicas", "slots")

    def __init__(self, slots: Sequence[Range], primary: Host, replicas: Sequence[Host]) -> None:
        self.slots = slots
        self.primary = primary
        self.replicas = replicas
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


def _best(hosts: Sequence[Host]) -> Sequence[Host]:
    for health in ("healthy", "degraded"):
        found = [host for host in hosts if host.health == health]
        if found:
            return found
    return hosts


class SlotPicker:
    """Picks by slot among the shards that it was given last."""

    def __init__(self, name: str, stats: ClusterStats, random: Random) -> None:
        self._name = name
        self._stats = stats
        self._random = random.random
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
        hosts = shard.reads[policy]
        if failed is not None:
            others = [each for each in hosts if each is not failed]
            if not others and policy in ("PREFER_MASTER", "PREFER_REPLICA"):
                others = [each for each in shard.reads["ANY"] if each is not failed]
            hosts = others or hosts
        return self._draw(hosts)

    def _draw(self, hosts: Sequence[Host]) -> Host:
        return hosts[int(self._random() * len(hosts))] if hosts else self._nothing(None)

    def _nothing(self, slot: int | None) -> Host:
        self._stats.upstream_cx_none_healthy.value += 1
        which = "" if slot is None else f" for slot {slot % SLOTS}"
        raise NoHost(f"cluster {self._name} has no host{which} that may be used")
