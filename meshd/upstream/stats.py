"""
The statistics of a cluster, with Envoy's names.

Those that the data plane adds to are attributes, made once.  The others are
registered so that a /stats of meshd has the same names as one of Envoy.
"""

from __future__ import annotations

from meshd.interfaces import ICounter, IGauge, IHistogram, IScope

COUNTERS = """
    assignment_stale assignment_timeout_received assignment_use_cached
    lb_local_cluster_not_ok lb_recalculate_zone_structures lb_subsets_created lb_subsets_fallback
    lb_subsets_fallback_panic lb_subsets_removed lb_subsets_selected lb_zone_cluster_too_small
    lb_zone_no_capacity_left lb_zone_routing_all_directly lb_zone_routing_cross_zone
    lb_zone_routing_sampled original_dst_host_invalid retry_or_shadow_abandoned
    upstream_cx_close_notify upstream_cx_connect_with_0_rtt upstream_cx_http1_total
    upstream_cx_http2_total upstream_cx_http3_total upstream_cx_idle_timeout
    upstream_cx_max_duration_reached upstream_cx_max_requests upstream_cx_pool_overflow
    upstream_cx_preconnect_skipped upstream_cx_protocol_error upstream_http3_broken
    upstream_internal_redirect_failed_total upstream_internal_redirect_succeeded_total
    upstream_rq_0rtt upstream_rq_active_overflow upstream_rq_cancelled upstream_rq_completed
    upstream_rq_maintenance_mode upstream_rq_max_duration_reached upstream_rq_per_try_idle_timeout
    upstream_rq_per_try_timeout upstream_rq_retry upstream_rq_retry_backoff_exponential
    upstream_rq_retry_backoff_ratelimited upstream_rq_retry_limit_exceeded
    upstream_rq_retry_overflow upstream_rq_retry_success upstream_rq_rx_reset
    upstream_rq_rx_reset_no_error upstream_rq_timeout upstream_rq_tx_reset
"""

RENAMED = {"match_count": "default.total_match_count"}

GAUGES = "lb_subsets_active upstream_queue_overloaded version warming_state"


class ClusterStats:
    """
    The counters, gauges and histograms of one cluster.

    Each attribute is the statistic cluster.<name>.<attribute>; match_count is
    default.total_match_count, which counts hosts as they come.
    """

    bind_errors: ICounter
    lb_healthy_panic: ICounter
    match_count: ICounter
    max_host_weight: IGauge
    membership_change: ICounter
    membership_degraded: IGauge
    membership_excluded: IGauge
    membership_healthy: IGauge
    membership_total: IGauge
    update_attempt: ICounter
    update_empty: ICounter
    update_failure: ICounter
    update_no_rebuild: ICounter
    update_success: ICounter
    upstream_cx_active: IGauge
    upstream_cx_connect_attempts_exceeded: ICounter
    upstream_cx_connect_fail: ICounter
    upstream_cx_connect_ms: IHistogram
    upstream_cx_connect_timeout: ICounter
    upstream_cx_destroy: ICounter
    upstream_cx_destroy_local: ICounter
    upstream_cx_destroy_local_with_active_rq: ICounter
    upstream_cx_destroy_remote: ICounter
    upstream_cx_destroy_remote_with_active_rq: ICounter
    upstream_cx_destroy_with_active_rq: ICounter
    upstream_cx_length_ms: IHistogram
    upstream_cx_none_healthy: ICounter
    upstream_cx_overflow: ICounter
    upstream_cx_rx_bytes_buffered: IGauge
    upstream_cx_rx_bytes_total: ICounter
    upstream_cx_total: ICounter
    upstream_cx_tx_bytes_buffered: IGauge
    upstream_cx_tx_bytes_total: ICounter
    upstream_flow_control_backed_up_total: ICounter
    upstream_flow_control_drained_total: ICounter
    upstream_flow_control_paused_reading_total: ICounter
    upstream_flow_control_resumed_reading_total: ICounter
    upstream_rq_active: IGauge
    upstream_rq_pending_active: IGauge
    upstream_rq_pending_failure_eject: ICounter
    upstream_rq_pending_overflow: ICounter
    upstream_rq_pending_total: ICounter
    upstream_rq_per_cx: IHistogram
    upstream_rq_total: ICounter

    __slots__ = tuple(__annotations__)

    def __init__(self, scope: IScope) -> None:
        kinds = {"ICounter": scope.counter, "IGauge": scope.gauge, "IHistogram": scope.histogram}
        for name, kind in type(self).__annotations__.items():
            setattr(self, name, kinds[kind](RENAMED.get(name, name)))
        for name in COUNTERS.split():
            scope.counter(name)
        for name in GAUGES.split():
            scope.gauge(name)
