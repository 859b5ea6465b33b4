"""What the connections of one tcp_proxy share: its config, read once, and its statistics."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import xxhash
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy as Config

from meshd.interfaces import IFactoryContext, IStreamInfo
from meshd.plugin import ConfigError

#: Seconds.
DEFAULT_IDLE = 3600.0
ON_DATA = 1  # upstream_connect_mode ON_DOWNSTREAM_DATA


class Stats:
    """tcp.<stat_prefix>.*, made once."""

    def __init__(self, context: IFactoryContext, prefix: str) -> None:
        scope = context.stats.scope(f"tcp.{prefix}")
        self.cx_total = scope.counter("downstream_cx_total")
        self.no_route = scope.counter("downstream_cx_no_route")
        self.rx_bytes = scope.counter("downstream_cx_rx_bytes_total")
        self.tx_bytes = scope.counter("downstream_cx_tx_bytes_total")
        self.tx_buffered = scope.gauge("downstream_cx_tx_bytes_buffered")
        self.paused = scope.counter("downstream_flow_control_paused_reading_total")
        self.resumed = scope.counter("downstream_flow_control_resumed_reading_total")
        self.early_data = scope.counter("early_data_received_count_total")
        self.idle_timeout = scope.counter("idle_timeout")
        self.max_duration = scope.counter("max_downstream_connection_duration")
        self.flush_active = scope.gauge("upstream_flush_active")
        self.flush_total = scope.counter("upstream_flush_total")
        for name in ("downstream_cx_drain_close", "downstream_cx_overload_close", "route_delayed_total"):
            scope.counter(name)
        scope.gauge("downstream_cx_rx_bytes_buffered")


def _seconds(config: Any, field: str) -> float | None:
    """Return a Duration field in seconds; None if it is not set."""
    if not config.HasField(field):
        return None
    duration = getattr(config, field)
    return float(duration.seconds + duration.nanos / 1e9)


def source_ip_hash(info: IStreamInfo) -> int | None:
    """Return Envoy's hash of the client's IP address; None for a unix socket."""
    remote = info.remote
    return None if isinstance(remote, str) else xxhash.xxh64_intdigest(remote[0].encode())


def filter_state_hash(key: str) -> Callable[[IStreamInfo], int | None]:
    """Return what hashes the filter state of that key."""

    def hash_it(info: IStreamInfo) -> int | None:
        value = info.filter_state.get(key)
        return None if value is None else xxhash.xxh64_intdigest(str(value).encode())

    return hash_it


class Settings:
    """The config, read once, and the statistics."""

    def __init__(self, config: Config, context: IFactoryContext) -> None:
        self.context = context
        self.clusters = context.clusters
        self.timers = context.timers
        self.stats = Stats(context, config.stat_prefix)
        self._read_clusters(config)
        self._read_times(config)
        self.max_attempts = (
            config.max_connect_attempts.value if config.HasField("max_connect_attempts") else 1
        )
        self.hash: Callable[[IStreamInfo], int | None] | None = None
        for policy in config.hash_policy:
            self.hash = (
                filter_state_hash(policy.filter_state.key)
                if policy.HasField("filter_state")
                else source_ip_hash
            )
        self.on_data = config.upstream_connect_mode == ON_DATA
        # ON_DOWNSTREAM_TLS_HANDSHAKE needs nothing: filters are only told of connections that are through it.
        #: Whether the client is read before there is a host to send its bytes to, and up to how many of them.
        self.reads_early = config.HasField("max_early_data_bytes")
        self.early_limit = config.max_early_data_bytes.value
        if config.upstream_connect_mode and not config.HasField("max_early_data_bytes"):
            raise ConfigError(
                "max_early_data_bytes must be set when upstream_connect_mode is not IMMEDIATE",
                "upstream_connect_mode",
            )
        self.tlvs = self._read_tlvs(config)
        try:
            self.loggers = context.access_loggers(config.access_log)
        except ConfigError as error:
            raise error.under("access_log") from None
        options = config.access_log_options
        self.log_on_connected = config.flush_access_log_on_connected or options.flush_access_log_on_connected
        self.log_interval = _seconds(options, "access_log_flush_interval") or _seconds(
            config, "access_log_flush_interval"
        )

    def _read_clusters(self, config: Config) -> None:
        self.cluster: str = config.cluster
        self.weighted: list[tuple[str, int]] = [
            (each.name, each.weight) for each in config.weighted_clusters.clusters
        ]
        self.total_weight = sum(weight for _, weight in self.weighted)

    def _read_times(self, config: Config) -> None:
        idle = _seconds(config, "idle_timeout")
        self.idle = DEFAULT_IDLE if idle is None else idle
        self.max_duration = _seconds(config, "max_downstream_connection_duration")
        jitter = config.max_downstream_connection_duration_jitter_percentage
        self.jitter = jitter.value / 100
        self.backoff: tuple[float, float] | None = None
        if config.HasField("backoff_options"):
            first = _seconds(config.backoff_options, "base_interval") or 0.0
            last = _seconds(config.backoff_options, "max_interval") or first * 10
            self.backoff = (first, last)

    def _read_tlvs(self, config: Config) -> tuple[tuple[int, bytes], ...]:
        for index, each in enumerate(config.proxy_protocol_tlvs):
            if each.HasField("format_string"):
                where = ("proxy_protocol_tlvs", index, "format_string")
                raise ConfigError("meshd adds TLVs with a fixed value only", *where)
        return tuple((each.type, each.value) for each in config.proxy_protocol_tlvs)

    def choose(self) -> str:
        """Return the name of the cluster for a new connection."""
        if not self.weighted:
            return self.cluster
        dice = random.randrange(self.total_weight)
        for name, weight in self.weighted:
            dice -= weight
            if dice < 0:
                return name
        raise AssertionError("the weights do not add up")
