"""
Relays a connection to a host of a cluster.

Once both sides are sockets that nothing else looks at, the bytes go straight
from one to the other (meshd.net.relay) and this filter only sees ends.
``settings`` is what the connections share; ``proxy`` is one connection.

Serves envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, but for tunnelling
over HTTP, subsets and on-demand discovery.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy

from meshd.filters.network.tcp_proxy.proxy import Proxy
from meshd.filters.network.tcp_proxy.settings import Settings
from meshd.interfaces import IFactoryContext
from meshd.plugin import NetworkFilterPlugin


def configure(config: TcpProxy, context: IFactoryContext) -> Callable[[], Proxy]:
    """Read the config; return what makes the filter of a connection."""
    return partial(Proxy, Settings(config, context))


tcp_proxy = NetworkFilterPlugin(
    "envoy.filters.network.tcp_proxy",
    TcpProxy,
    configure,
    serves=(
        "stat_prefix",
        "cluster",
        "weighted_clusters.clusters.name",
        "weighted_clusters.clusters.weight",
        "idle_timeout",
        "access_log",
        "max_connect_attempts",
        "backoff_options",
        "hash_policy",
        "max_downstream_connection_duration",
        "max_downstream_connection_duration_jitter_percentage",
        "access_log_flush_interval",
        "flush_access_log_on_connected",
        "access_log_options",
        "upstream_connect_mode",
        "max_early_data_bytes",
        "proxy_protocol_tlvs.type",
        "proxy_protocol_tlvs.value",
    ),
    terminal=True,
)
