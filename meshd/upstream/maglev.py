"""
Maglev: a table of hosts that a key is looked up in.

The table is that of Envoy's maglev_lb.cc, so that meshd and Envoy send the
same key to the same host.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from zope.interface import implementer

from meshd.interfaces import ILoadBalancer, IScope
from meshd.upstream.hashing import host_key, xxhash64
from meshd.upstream.host import Host

#: The largest table that Envoy's rules of validation allow.
LARGEST = 5000011


@dataclass(frozen=True)
class MaglevConfig:
    """The size of the table (a prime number), and whether names stand for the hosts."""

    size: int = 65537
    by_hostname: bool = False


@implementer(ILoadBalancer)
class Maglev:
    """Picks the host at the key's place of the table."""

    def __init__(self, config: MaglevConfig, stats: IScope) -> None:
        self._config = config
        self._size = config.size
        self._least = stats.gauge("maglev_lb.min_entries_per_host")
        self._most = stats.gauge("maglev_lb.max_entries_per_host")
        self._hosts: list[Host] = []
        self._table = array("I")
        #: See ICluster.places.
        self.places = config.size

    def update(self, hosts: Sequence[Host]) -> None:
        self._hosts = []
        if not hosts:
            return
        by_hostname = self._config.by_hostname
        keyed = sorted(((host_key(host, by_hostname), host) for host in hosts), key=lambda pair: pair[0])
        self._hosts = [host for _, host in keyed]
        total = sum(host.weight for host in hosts)
        weights = [host.weight / total for host in self._hosts]
        self._table, counts = fill(self._size, [key for key, _ in keyed], weights)
        self._least.set(min(counts))
        self._most.set(max(counts))

    def pick(self, hash_key: int | None) -> Host:
        return self._hosts[self._table[(hash_key or 0) % self._size]]


def fill(size: int, keys: Sequence[bytes], weights: Sequence[float]) -> tuple[array[int], list[int]]:
    """
    Return the table (indexes of keys) and how many places each key has in it.

    In each round every key takes the next free place of its own permutation of
    the table; a lighter one sits rounds out, until its weight has added up.
    """
    table = array("I", bytes(4 * size))
    taken = bytearray(size)
    next_place = [xxhash64(key) % size for key in keys]
    skips = [xxhash64(key, 1) % (size - 1) + 1 for key in keys]
    targets = [0.0] * len(keys)
    counts = [0] * len(keys)
    heaviest = max(weights)
    left, turn = size, 0
    while True:
        turn += 1
        for index, weight in enumerate(weights):
            if turn * weight < targets[index]:
                continue
            targets[index] += heaviest
            place, skip = next_place[index], skips[index]
            while taken[place]:
                place = (place + skip) % size
            taken[place] = 1
            table[place] = index
            next_place[index] = (place + skip) % size
            counts[index] += 1
            left -= 1
            if not left:
                return table, counts


def is_prime(number: int) -> bool:
    """Return whether number is prime, by trial: for table sizes."""
    if number < 4:
        return number > 1
    return all(number % divisor for divisor in (2, *range(3, int(number**0.5) + 1, 2)))
