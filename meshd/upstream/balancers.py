"""
The balancers that do not hash: round robin, least request, random.

Each picks among the hosts of one priority that it was given last, and is asked
only while there are any.  What is random comes from the source that it is
given.  The algorithms are Envoy's; their names are the classes'.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from zope.interface import implementer

from meshd.interfaces import ILoadBalancer
from meshd.upstream.edf import Scheduler
from meshd.upstream.host import Host


def equal_weights(hosts: Sequence[Host]) -> bool:
    """Return whether all hosts weigh the same."""
    return len({host.weight for host in hosts}) <= 1


def _weight(host: Host) -> float:
    return float(host.weight)


@implementer(ILoadBalancer)
class RoundRobin:
    """
    One host after the other, heavier ones more often.

    It begins at a random place, and goes on from there when the hosts change.
    """

    def __init__(self, random: Random) -> None:
        self._seed = random.getrandbits(64)
        self._turn = self._seed - 1
        self._hosts: Sequence[Host] = ()
        self._count = 0
        self._scheduler: Scheduler[Host] | None = None

    def update(self, hosts: Sequence[Host]) -> None:
        self._hosts = hosts
        self._count = len(hosts)
        self._turn %= 1 << 64
        self._scheduler = None
        if not equal_weights(hosts):
            self._scheduler = Scheduler(hosts, _weight, self._seed & 0xFFFFFFFF)

    def pick(self, hash_key: int | None = None) -> Host:
        if self._scheduler is not None:
            return self._scheduler.pick()
        self._turn = turn = self._turn + 1
        return self._hosts[turn % self._count]


@implementer(ILoadBalancer)
class LeastRequest:
    """
    The less busy of a few that are drawn; if weights differ, by weight and business.

    choices is how many are drawn (None: look at all); bias is the power to
    which the number of active requests lessens a host's weight, asked for when
    the hosts change.
    """

    def __init__(self, random: Random, choices: int | None, bias: Callable[[], float]) -> None:
        self._random = random
        self._seed = random.getrandbits(32)
        self._choices = choices
        self._read_bias = bias
        self._bias = 1.0
        self._hosts: Sequence[Host] = ()
        self._scheduler: Scheduler[Host] | None = None

    def update(self, hosts: Sequence[Host]) -> None:
        self._hosts = hosts
        self._bias = self._read_bias()
        self._scheduler = None
        if not equal_weights(hosts):
            self._scheduler = Scheduler(hosts, self._weight, self._seed)

    def pick(self, hash_key: int | None = None) -> Host:
        if self._scheduler is not None:
            return self._scheduler.pick()
        return self._least() if self._choices is None else self._draw(self._choices)

    def _weight(self, host: Host) -> float:
        return float(host.weight / (host.rq_active + 1) ** self._bias)

    def _draw(self, choices: int) -> Host:
        """Return the least busy of choices random hosts; of equals the first."""
        hosts = self._hosts
        count = len(hosts)
        random = self._random.random
        best = hosts[int(random() * count)]
        for _ in range(choices - 1):
            other = hosts[int(random() * count)]
            if other.rq_active < best.rq_active:
                best = other
        return best

    def _least(self) -> Host:
        """Return the least busy host; of equals a random one."""
        least = min(host.rq_active for host in self._hosts)
        return self._random.choice([host for host in self._hosts if host.rq_active == least])


@implementer(ILoadBalancer)
class RandomChoice:
    """Any host, each as likely; weights do not matter (as in Envoy)."""

    def __init__(self, random: Random) -> None:
        self._random = random.random
        self._hosts: Sequence[Host] = ()

    def update(self, hosts: Sequence[Host]) -> None:
        self._hosts = hosts

    def pick(self, hash_key: int | None = None) -> Host:
        hosts = self._hosts
        return hosts[int(self._random() * len(hosts))]
