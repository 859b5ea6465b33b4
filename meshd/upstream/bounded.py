"""
Bounded load for the balancers that hash: a host that is too busy is passed over.

This is hash_balance_factor, as in Envoy: a host may have that many per cent of
its share of the active requests.  Which host is asked next depends on the key
only, through the same random numbers that Envoy draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from random import Random

from zope.interface import implementer

from meshd.interfaces import IGauge, ILoadBalancer
from meshd.upstream.host import Host

_WORDS = 624


def twister(seed: int) -> Random:
    """Return the generator that std::mt19937(seed) is: getrandbits(32) is its next number."""
    state = [seed & 0xFFFFFFFF]
    for index in range(1, _WORDS):
        before = state[-1]
        state.append((1812433253 * (before ^ before >> 30) + index) & 0xFFFFFFFF)
    random = Random()
    random.setstate((3, (*state, _WORDS), None))
    return random


@implementer(ILoadBalancer)
class BoundedLoad:
    """
    Picks what the balancer inside picks, or else a host with room.

    factor is in per cent (>= 100); active is the number of the cluster's
    active requests.
    """

    def __init__(self, inner: ILoadBalancer, factor: int, active: IGauge) -> None:
        self._inner = inner
        self._factor = factor
        self._active = active
        self._hosts: Sequence[Host] = ()
        self._total = 0

    def update(self, hosts: Sequence[Host]) -> None:
        self._inner.update(hosts)
        self._hosts = hosts
        self._total = sum(host.weight for host in hosts)

    def pick(self, hash_key: int | None) -> Host | None:
        host: Host | None = self._inner.pick(hash_key)
        if host is None:
            return None
        overload = self._overload(host)
        if overload <= 1.0:
            return host
        best, least = host, overload
        for other in self._shuffled(hash_key or 0):
            if other is host:
                continue
            overload = self._overload(other)
            if overload <= 1.0:
                return other
            if overload < least:
                best, least = other, overload
        return best

    def _overload(self, host: Host) -> float:
        """Return the active requests of host over how many it may have."""
        slots = ((self._active.value + 1) * self._factor + 99) // 100
        return host.rq_active / max(ceil(slots * (host.weight / self._total)), 1)

    def _shuffled(self, seed: int) -> Sequence[Host]:
        """Return the hosts in the order of the seed."""
        random = twister(seed)
        hosts = list(self._hosts)
        for index in range(len(hosts)):
            other = index + _below(random, len(hosts) - index)
            hosts[index], hosts[other] = hosts[other], hosts[index]
        return hosts


def _below(random: Random, bound: int) -> int:
    """Return a number from 0 to bound - 1, as Envoy draws it."""
    while True:
        number = random.getrandbits(32) // ((1 << 32) // bound)
        if number < bound:
            return number
