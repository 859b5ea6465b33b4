"""A read whose host failed is sent again, rather to another host: read_retries of redis_options."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from meshd.filters.network.redis_proxy.request import NO_HOST, Request
from meshd.interfaces import IHost, NoHost

if TYPE_CHECKING:
    from meshd.filters.network.redis_proxy.pool import Pool

#: How often a host is picked, in the hope for another than that which failed.
_PICKS = 10


def retry(pool: Pool, request: Request) -> bool:
    """Send a request that only reads again, if it may be; return whether it will be."""
    client = request.client
    if request.attempts >= client.options.retries or client.gone:
        return False
    if pool.seconds() - request.start >= pool.op_timeout:
        return False
    request.attempts += 1
    pool.settings.stats.retry.inc()
    pool.soon(partial(_send_again, pool, request))
    return True


def _send_again(pool: Pool, request: Request) -> None:
    host = request.host if request.fixed else other_host(pool, request.key, request.host)
    if host is None:
        request.failed(None, NO_HOST)
    else:
        pool.send_to(host, request)


def other_host(pool: Pool, key: bytes | None, failed: IHost | None) -> IHost | None:
    """Return a host for a read of key, another than that which failed if another has the key; None: none."""
    cluster = pool.current()
    if cluster is None:
        return None
    hashed, policy = pool.hash(key), pool.settings.read_policy
    try:
        if hashed is not None and cluster.redis_slots and policy != "MASTER":
            return cluster.pick_read(hashed, policy, failed)  # type: ignore[attr-defined,no-any-return]
        host = cluster.pick(hashed)
        for _ in range(_PICKS if hashed is None else 0):
            if host is not failed:
                break
            host = cluster.pick(None)
        return host
    except NoHost:
        return None
