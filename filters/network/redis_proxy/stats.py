"""redis.<stat_prefix>.*: Envoy's names, and some of our own."""

from __future__ import annotations

from meshd.interfaces import IScope


class Stats:
    """The statistics of one redis_proxy."""

    def __init__(self, scope: IScope) -> None:
        self.cx_total = scope.counter("downstream_cx_total")
        self.cx_active = scope.gauge("downstream_cx_active")
        self.cx_protocol_error = scope.counter("downstream_cx_protocol_error")
        self.rx_bytes = scope.counter("downstream_cx_rx_bytes_total")
        self.tx_bytes = scope.counter("downstream_cx_tx_bytes_total")
        self.tx_buffered = scope.gauge("downstream_cx_tx_bytes_buffered")
        self.rq_total = scope.counter("downstream_rq_total")
        self.rq_active = scope.gauge("downstream_rq_active")
        self.rq_noproto = scope.counter("downstream_rq_noproto")
        self.invalid = scope.counter("splitter.invalid_request")
        self.unsupported = scope.counter("splitter.unsupported_command")
        scope.counter("downstream_cx_drain_close")
        scope.gauge("downstream_cx_rx_bytes_buffered")
        # Not Envoy's.
        self.slow_client = scope.counter("downstream_cx_slow_client")
        self.refused = scope.counter("downstream_rq_refused")
        self.crossslot = scope.counter("splitter.crossslot")
        self.retry = scope.counter("upstream_rq_retry")
        self.retry_success = scope.counter("upstream_rq_retry_success")
        self.subscribers = scope.gauge("subscribers")


class CommandStats:
    """redis.<stat_prefix>.command.<name>.*"""

    __slots__ = ("delay_fault", "error", "error_fault", "latency", "success", "total")

    def __init__(self, scope: IScope) -> None:
        self.total = scope.counter("total")
        self.success = scope.counter("success")
        self.error = scope.counter("error")
        self.error_fault = scope.counter("error_fault")
        self.delay_fault = scope.counter("delay_fault")
        self.latency = scope.histogram("latency")


class ClusterStats:
    """cluster.<name>.redis_cluster.*"""

    def __init__(self, scope: IScope, per_command: bool) -> None:
        self.rate_limited = scope.counter("connection_rate_limited")
        self.max_unknown = scope.counter("max_upstream_unknown_connections_reached")
        self.drained = scope.counter("upstream_cx_drained")
        self.hello_failure = scope.counter("upstream_resp3_hello_failure")
        self._scope = scope.scope("upstream_commands")
        self._per_command = per_command
        self._commands: dict[str, UpstreamCommand] = {}
        self.time = self._scope.histogram("upstream_rq_time") if per_command else None

    def command(self, name: str) -> UpstreamCommand:
        """Return the statistics of a command; asked for if enable_command_stats says so only."""
        found = self._commands.get(name)
        if found is None:
            found = self._commands[name] = UpstreamCommand(self._scope.scope(name))
        return found


class UpstreamCommand:
    """cluster.<name>.redis_cluster.upstream_commands.<command>.*"""

    def __init__(self, scope: IScope) -> None:
        self.total = scope.counter("total")
        self.success = scope.counter("success")
        self.failure = scope.counter("failure")
        self.latency = scope.histogram("latency")
