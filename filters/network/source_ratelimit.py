"""
Limits how many connections come from one source in a time, in each worker.

Each source address has a token bucket of its own; v4_prefix_len and
v6_prefix_len let the addresses of a network share one.  Memory is bounded: the
buckets of the max_sources sources that were seen last are kept.  A connection
for which there is no token is closed at once, as local_ratelimit does; the
counters are source_rate_limit.<stat_prefix>.rate_limited and, a gauge, .sources.

Serves SourceRateLimit, below; Envoy has no such filter.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import attrs
from attrs import validators
from envoy.config.core.v3.base_pb2 import RuntimeFeatureFlag

from meshd.filter import NetworkFilter
from meshd.interfaces import IFactoryContext
from meshd.plugin import NetworkFilterPlugin
from meshd.policy.token_bucket import SourceBuckets, TokenBucket


@attrs.frozen
class Bucket:
    """How many connections at once, and how many more in each fill_interval."""

    max_tokens: int = attrs.field(validator=validators.ge(1))
    fill_interval: timedelta = attrs.field(validator=validators.ge(timedelta(milliseconds=50)))
    tokens_per_fill: int = attrs.field(default=1, validator=validators.ge(1))


@attrs.frozen
class RuntimeFlag:
    """A runtime key that turns the limit on and off, and what holds without it."""

    runtime_key: str = attrs.field(validator=validators.min_len(1))
    default_value: bool = True


@attrs.frozen
class SourceRateLimit:
    """The config of meshd.filters.network.source_ratelimit."""

    stat_prefix: str = attrs.field(validator=validators.min_len(1))
    token_bucket: Bucket
    max_sources: int = attrs.field(default=65536, validator=validators.ge(1))
    v4_prefix_len: int = attrs.field(default=32, validator=[validators.ge(0), validators.le(32)])
    v6_prefix_len: int = attrs.field(default=64, validator=[validators.ge(0), validators.le(128)])
    runtime_enabled: RuntimeFlag | None = None


class RateLimit:
    """The buckets that the connections of one filter chain share."""

    def __init__(self, config: SourceRateLimit, context: IFactoryContext) -> None:
        bucket = config.token_bucket
        make = partial(
            TokenBucket, bucket.max_tokens, bucket.tokens_per_fill, bucket.fill_interval.total_seconds()
        )
        self.now = context.clock.seconds
        self.buckets = SourceBuckets(make, config.max_sources, config.v4_prefix_len, config.v6_prefix_len)
        self.enabled = lambda: True
        if config.runtime_enabled is not None:
            flag = RuntimeFeatureFlag(runtime_key=config.runtime_enabled.runtime_key)
            flag.default_value.value = config.runtime_enabled.default_value
            self.enabled = partial(context.runtime.enabled, flag)
        stats = context.stats.scope(f"source_rate_limit.{config.stat_prefix}")
        self.limited = stats.counter("rate_limited")
        self.sources = stats.gauge("sources")

    def __call__(self) -> Gate:
        return Gate(self)


class Gate(NetworkFilter):
    """Lets its connection through, and leaves the chain; or closes it."""

    def __init__(self, limit: RateLimit) -> None:
        self.limit = limit

    def connectionMade(self) -> None:
        limit, info = self.limit, self.connection.info
        if limit.enabled():
            has_token = limit.buckets.take(info.remote, limit.now())
            limit.sources.set(len(limit.buckets))
            if not has_token:
                limit.limited.inc()
                info.flags.add("URX")
                self.refuse("source_ratelimit_close_over_limit")
                return
        self.leave()
        self.inner.connectionMade()


source_ratelimit = NetworkFilterPlugin(
    "meshd.filters.network.source_ratelimit",
    SourceRateLimit,
    RateLimit,
    serves=tuple(field.name for field in attrs.fields(SourceRateLimit)),
)
