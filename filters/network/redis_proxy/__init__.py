"""
A proxy for Redis: one place to connect to, in front of many servers.

A ``Client`` (client) reads commands; a ``Table`` (table, commands) knows what kind each is
of, and ``actions`` what does it: keyed (by the host of the key, or cut up by host), fan_out
(every host: everywhere, with merge and glob), local, transaction (with watching), session,
tracking (with tracked), pubsub (with channels), dedicated (what blocks); silence and
tracked look at what comes into a client's queue by a ledger.
Commands travel as a ``Request`` (request) over the ``Link`` (link) that a ``Pool`` (pool)
has to the host; ``names`` looks up where redirections lead, ``renewal`` logs on again.
``settings`` has Envoy's config, ``options`` what only meshd has.

Serves envoy.extensions.filters.network.redis_proxy.v3.RedisProxy.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from envoy.extensions.filters.network.redis_proxy.v3.redis_proxy_pb2 import RedisProxy

from meshd.filters.network.redis_proxy.client import Client
from meshd.filters.network.redis_proxy.options import redis_options
from meshd.filters.network.redis_proxy.settings import SERVES, Settings
from meshd.interfaces import IFactoryContext
from meshd.plugin import NetworkFilterPlugin

__all__ = ["redis_options", "redis_proxy"]


def configure(config: RedisProxy, context: IFactoryContext) -> Callable[[], Client]:
    """Read the config; return what makes the filter of a connection."""
    return partial(Client, Settings(config, context))


redis_proxy = NetworkFilterPlugin(
    "envoy.filters.network.redis_proxy", RedisProxy, configure, serves=SERVES, terminal=True
)
