"""
Limits how many connections come in a time, in each worker.

A connection for which there is no token is closed at once.  Filters with the
same share_key and the same token_bucket take from one bucket.

Serves envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit.  For
a bucket per source address there is meshd.filters.network.source_ratelimit.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from envoy.extensions.filters.network.local_ratelimit.v3.local_rate_limit_pb2 import LocalRateLimit

from meshd.config.plain import seconds, wrapped
from meshd.filter import NetworkFilter
from meshd.interfaces import IFactoryContext
from meshd.plugin import ConfigError, NetworkFilterPlugin
from meshd.policy.token_bucket import Shared, TokenBucket

_shared: Shared[TokenBucket] = Shared()


class RateLimit:
    """The bucket that the connections of one filter chain share."""

    def __init__(self, config: Any, context: IFactoryContext) -> None:
        bucket = config.token_bucket
        size, per_fill = bucket.max_tokens, wrapped(bucket, "tokens_per_fill", 1)
        interval = seconds(bucket.fill_interval)
        if interval < 0.05:
            raise ConfigError(
                "the token bucket must not be filled more often than every 50 ms",
                "token_bucket",
                "fill_interval",
            )
        self.now = context.clock.seconds
        make = partial(TokenBucket, size, per_fill, interval, self.now())
        key = (config.share_key, size, per_fill, interval)
        self.bucket = _shared.get(context.stats, key, make) if config.share_key else make()
        self.enabled = (
            partial(context.runtime.enabled, config.runtime_enabled)
            if config.HasField("runtime_enabled")
            else lambda: True
        )
        self.limited = context.stats.counter(f"local_rate_limit.{config.stat_prefix}.rate_limited")

    def __call__(self) -> Gate:
        return Gate(self)


class Gate(NetworkFilter):
    """Lets its connection through, and leaves the chain; or closes it."""

    def __init__(self, limit: RateLimit) -> None:
        self.limit = limit

    def connectionMade(self) -> None:
        limit = self.limit
        if limit.enabled() and not limit.bucket.take(limit.now()):
            limit.limited.inc()
            self.connection.info.flags.add("URX")
            self.refuse("local_ratelimit_close_over_limit")
            return
        self.leave()
        self.inner.connectionMade()


local_ratelimit = NetworkFilterPlugin(
    "envoy.filters.network.local_ratelimit",
    LocalRateLimit,
    RateLimit,
    serves=("stat_prefix", "token_bucket", "runtime_enabled", "share_key"),
)
