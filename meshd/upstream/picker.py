"""
The pick: priority, then panic, then host.

All that can be worked out when the hosts change is; the common case, one
priority that takes all the load, is the balancer's own method and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from meshd.interfaces import ILoadBalancer, NoHost
from meshd.upstream.host import Host
from meshd.upstream.policy import Balancing, Surroundings
from meshd.upstream.priorities import OVERPROVISIONING, Level, spread
from meshd.upstream.stats import ClusterStats

Pick = Callable[[int | None], Host]


class Picker:
    """
    Picks a host for each connection or request.

    threshold is healthy_panic_threshold (per cent, asked for when the hosts change).
    """

    def __init__(
        self,
        name: str,
        balancing: Balancing,
        stats: ClusterStats,
        around: Surroundings,
        threshold: Callable[[], int],
    ) -> None:
        self._name = name
        self._balancing = balancing
        self._stats = stats
        self._around = around
        self._random: Random = around.random
        self._threshold = threshold
        self._balancers: dict[tuple[int, str], ILoadBalancer] = {}
        self._pick: Pick = self._nothing
        #: See ICluster.places.
        self.places: int | None = None

    @property
    def pick(self) -> Pick:
        """The function that picks, until the next update; it raises NoHost, which it counts."""
        return self._pick

    def update(
        self,
        levels: Sequence[Level],
        overprovisioning: int = OVERPROVISIONING,
        weighted: bool = False,
    ) -> None:
        """Pick among the hosts of these priorities from now on."""
        self._loads = spread(levels, self._threshold(), overprovisioning, weighted)
        states = list(zip(levels, self._loads.panic, strict=True))
        healthy = [self._target(priority, state) for priority, state in enumerate(states)]
        degraded = healthy
        if not self._balancing.hashing:
            degraded = [self._degraded(priority, state) for priority, state in enumerate(states)]
        self._targets = (healthy, degraded)
        # Envoy's hashing balancers know of no degraded hosts.
        if 100 in self._loads.healthy:
            pick = healthy[self._loads.healthy.index(100)]
            self._pick = self._hashed(pick) if self._balancing.hashing else pick
        else:
            self._pick = self._choose
        self.places = self._places(states)

    def _places(self, states: Sequence[tuple[Level, bool]]) -> int | None:
        if 100 not in self._loads.healthy:
            return None
        priority = self._loads.healthy.index(100)
        level, panic = states[priority]
        if panic or not level.healthy:
            return None
        if len(level.healthy) == 1:
            return 1
        places: int | None = getattr(self._balancers[priority, "healthy"], "places", None)
        return places

    def _choose(self, hash_key: int | None = None) -> Host:
        if hash_key is None or not self._balancing.hashing:
            hash_key = self._random.getrandbits(64)
        priority, degraded = self._loads.choose(hash_key)
        host: Host | None = self._targets[degraded][priority](hash_key)
        return self._nothing() if host is None else host

    def _hashed(self, pick: Pick) -> Pick:
        """Return pick, which gets a random number where there is no hash."""
        random, nothing = self._random.getrandbits, self._nothing

        def pick_hashed(hash_key: int | None = None) -> Host:
            return pick(random(64) if hash_key is None else hash_key) or nothing()

        return pick_hashed

    def _nothing(self, hash_key: int | None = None) -> Host:
        self._stats.upstream_cx_none_healthy.value += 1
        raise NoHost(f"cluster {self._name} has no host that may be used")

    def _target(self, priority: int, state: tuple[Level, bool]) -> Pick:
        """Return what picks in a priority: among the healthy, or in panic among all."""
        level, panic = state
        if not panic:
            return self._among(priority, "healthy", level.healthy)
        return self._panicking(self._among(priority, "all", level.all))

    def _degraded(self, priority: int, state: tuple[Level, bool]) -> Pick:
        level, panic = state
        return self._target(priority, state) if panic else self._among(priority, "degraded", level.degraded)

    def _among(self, priority: int, source: str, hosts: Sequence[Host]) -> Pick:
        balancer = self._balancers.get((priority, source))
        if balancer is None:
            balancer = self._balancers[priority, source] = self._balancing.make(self._around)
        balancer.update(hosts)
        return balancer.pick if hosts else self._nothing

    def _panicking(self, pick: Pick) -> Pick:
        count = self._stats.lb_healthy_panic

        def pick_in_panic(hash_key: int | None = None) -> Host:
            count.value += 1
            return pick(hash_key)

        return pick_in_panic
