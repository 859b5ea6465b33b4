"""
Ring hash: each host has many places on a ring of 64-bit numbers (ketama).

The ring is Envoy's ring_hash_lb.cc to the bit, so that meshd and Envoy send
the same key to the same host.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

from zope.interface import implementer

from meshd.interfaces import ILoadBalancer, IScope
from meshd.upstream.hashing import host_key, xxhash64
from meshd.upstream.host import Host


@dataclass(frozen=True)
class RingConfig:
    """The size of the ring, what its places are computed with and from."""

    minimum: int = 1024
    maximum: int = 8 * 1024 * 1024
    hashed: Callable[[bytes], int] = xxhash64
    by_hostname: bool = False


@implementer(ILoadBalancer)
class Ring:
    """Picks the host whose place is the first at or after the key; round the end, the very first."""

    #: See ICluster.places.
    places = 0

    def __init__(self, config: RingConfig, stats: IScope) -> None:
        self._config = config
        self._size = stats.gauge("ring_hash_lb.size")
        self._least = stats.gauge("ring_hash_lb.min_hashes_per_host")
        self._most = stats.gauge("ring_hash_lb.max_hashes_per_host")
        self._places: list[int] = []
        self._owners: list[Host] = []

    def update(self, hosts: Sequence[Host]) -> None:
        self._places, self._owners = [], []
        if not hosts:
            return
        weights = [host.weight / sum(host.weight for host in hosts) for host in hosts]
        least = min(weights)
        scale = min(ceil(least * self._config.minimum) / least, float(self._config.maximum))
        ring: list[tuple[int, int]] = []
        counts = []
        target = 0.0
        for index, (host, weight) in enumerate(zip(hosts, weights, strict=True)):
            # The sum runs over all hosts: one host's fraction of a place is the next one's gain.
            target += scale * weight
            counts.append(max(0, ceil(target - len(ring))))
            prefix = host_key(host, self._config.by_hostname) + b"_"
            hashed = self._config.hashed
            ring += [(hashed(prefix + b"%d" % place), index) for place in range(counts[-1])]
        ring.sort()
        self._places = [place for place, _ in ring]
        self._owners = [hosts[index] for _, index in ring]
        self._size.set(ceil(scale))
        self._least.set(min(ceil(scale), *counts))
        self._most.set(max(counts))

    def pick(self, hash_key: int | None) -> Host | None:
        if not self._owners:
            return None  # a maximum_ring_size of 0 leaves room for nobody
        place = bisect_left(self._places, hash_key or 0)
        return self._owners[place if place < len(self._owners) else 0]
