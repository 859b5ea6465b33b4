"""
Connections whose password is a token of AWS's IAM log on again before the server closes them.

ElastiCache does so 12 hours after the last AUTH
(https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html, "Limitations").
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from meshd.codec.resp import encode
from meshd.interfaces import Result, UpstreamError

if TYPE_CHECKING:
    from meshd.filters.network.redis_proxy.link import Link
    from meshd.filters.network.redis_proxy.pool import Pool

#: Seconds after which a connection logs on again.
RENEWAL = 11 * 3600.0
#: Seconds between two looks at the connections.
LOOK = 600.0

log = Logger(namespace="meshd.redis")


class Renewals:
    """The connections of a pool that log on again."""

    _timer: IDelayedCall | None = None

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._due: WeakKeyDictionary[Link, float] = WeakKeyDictionary()

    def add(self, link: Link) -> None:
        """Let a connection that is new log on again in time, for as long as it stands."""
        self._due[link] = self._pool.seconds() + RENEWAL
        self._schedule()

    def _schedule(self) -> None:
        if self._timer is None and self._due:
            self._timer = self._pool.clock.callLater(LOOK, self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._pool.seconds()
        for link, due in list(self._due.items()):
            if link.over:
                del self._due[link]
            elif due <= now and self._renew(link):
                self._due[link] = now + RENEWAL
        self._schedule()

    def _renew(self, link: Link) -> bool:
        """Log on again; return whether that is being done.  In a subscription of RESP2 it cannot be."""
        if link.pushes_only or link.transport is None:
            return False
        try:
            login = self._pool.cluster.redis_logins.of(link.host.address)
        except UpstreamError:
            return False  # there will be credentials, before it is too late
        if login is not None:
            link.send(Renewal(link), encode([b"AUTH", *login]))
        return True


class Renewal:
    """An AUTH on its way."""

    __slots__ = ("link", "start")

    def __init__(self, link: Link) -> None:
        self.link = link
        self.start = link.pool.seconds()

    def answered(self, reply: bytes) -> None:
        """Note a refusal: the connection is good for a while all the same."""
        if reply[0] == 45:
            log.warn(
                "{host} did not accept AUTH again: {reply}", host=self.link.host.address, reply=reply[1:-2]
            )

    def failed(self, result: Result | None) -> None:
        """The connection is over, which others are told of."""
