"""
What meshd's core serves of Envoy's messages.

CORE has the fields, by message; of a message that is not here all is served.
VALUES has the enum values, and TYPES the messages, that a field may hold where
that is not all.  Whatever is set and not served is an error, so these tables
are what a user may rely on; docs/supported.rst is made of them.  The plugins
say themselves what they serve of their configs.
"""

from __future__ import annotations

_CORE = "envoy.config.core.v3."
_LB = "envoy.extensions.load_balancing_policies."
_CARES = "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"
_LOGGERS = "envoy.extensions.access_loggers."

CORE: dict[str, tuple[str, ...]] = {
    "envoy.config.bootstrap.v3.Bootstrap": (
        "node",
        "static_resources",
        "cluster_manager",
        "stats_config",
        "stats_flush_interval",
        "layered_runtime",
        "overload_manager",
        "admin",
    ),
    "envoy.config.bootstrap.v3.Bootstrap.StaticResources": ("listeners", "clusters"),
    "envoy.config.bootstrap.v3.ClusterManager": ("upstream_bind_config",),
    "envoy.config.bootstrap.v3.Admin": (
        "access_log",
        "access_log_path",
        "address",
        "socket_options",
        "ignore_global_conn_limit",
    ),
    "envoy.config.bootstrap.v3.RuntimeLayer": ("name", "static_layer", "disk_layer", "admin_layer"),
    f"{_CORE}Node": (
        "id",
        "cluster",
        "metadata",
        "dynamic_parameters",
        "locality",
        "user_agent_name",
        "user_agent_version",
        "user_agent_build_version",
        "client_features",
    ),
    "envoy.config.metrics.v3.StatsConfig": (
        "stats_tags",
        "use_all_default_tags",
        "stats_matcher",
        "histogram_bucket_settings",
    ),
    f"{_CORE}SocketAddress": ("protocol", "address", "port_value", "ipv4_compat"),
    f"{_CORE}Address": ("socket_address", "pipe"),
    f"{_CORE}SocketOption": ("description", "level", "name", "int_value", "buf_value", "state", "type"),
    f"{_CORE}BindConfig": (
        "source_address",
        "freebind",
        "socket_options",
        "extra_source_addresses",
        "additional_source_addresses",
    ),
    "envoy.config.listener.v3.Listener": (
        "name",
        "address",
        "additional_addresses",
        "stat_prefix",
        "filter_chains",
        "default_filter_chain",
        "per_connection_buffer_limit_bytes",
        "metadata",
        "listener_filters",
        "listener_filters_timeout",
        "continue_on_listener_filters_timeout",
        "transparent",
        "freebind",
        "socket_options",
        "traffic_direction",
        "enable_reuse_port",
        "access_log",
        "tcp_backlog_size",
        "tcp_fast_open_queue_length",
        "max_connections_to_accept_per_socket_event",
        "bind_to_port",
        "ignore_global_conn_limit",
    ),
    "envoy.config.listener.v3.FilterChain": (
        "filter_chain_match",
        "filters",
        "metadata",
        "transport_socket",
        "name",
    ),
    "envoy.config.listener.v3.FilterChainMatch": (
        "destination_port",
        "prefix_ranges",
        "direct_source_prefix_ranges",
        "source_type",
        "source_prefix_ranges",
        "source_ports",
        "server_names",
        "transport_protocol",
        "application_protocols",
    ),
    "envoy.config.listener.v3.Filter": ("name", "typed_config"),
    "envoy.config.listener.v3.ListenerFilter": ("name", "typed_config"),
    "envoy.config.accesslog.v3.AccessLog": ("name", "filter", "typed_config"),
    "envoy.config.accesslog.v3.AccessLogFilter": (
        "status_code_filter",
        "duration_filter",
        "not_health_check_filter",
        "traceable_filter",
        "runtime_filter",
        "and_filter",
        "or_filter",
        "header_filter",
        "response_flag_filter",
        "grpc_status_filter",
        "metadata_filter",
        "log_type_filter",
    ),
    f"{_CORE}SubstitutionFormatString": (
        "text_format",
        "json_format",
        "text_format_source",
        "omit_empty_values",
        "content_type",
        "json_format_options",
    ),
    f"{_CORE}DataSource": ("filename", "inline_bytes", "inline_string", "environment_variable"),
    "envoy.config.cluster.v3.Cluster": (
        "name",
        "alt_stat_name",
        "type",
        "connect_timeout",
        "per_connection_buffer_limit_bytes",
        "lb_policy",
        "load_assignment",
        "circuit_breakers",
        "dns_refresh_rate",
        "dns_jitter",
        "dns_failure_refresh_rate",
        "respect_dns_ttl",
        "dns_lookup_family",
        "dns_resolution_config",
        "typed_dns_resolver_config",
        "wait_for_warm_on_init",
        "upstream_bind_config",
        "ring_hash_lb_config",
        "maglev_lb_config",
        "least_request_lb_config",
        "round_robin_lb_config",
        "common_lb_config",
        "transport_socket",
        "metadata",
        "load_balancing_policy",
    ),
    "envoy.config.cluster.v3.Cluster.CommonLbConfig": (
        "healthy_panic_threshold",
        "update_merge_window",
        "consistent_hashing_lb_config",
    ),
    "envoy.config.cluster.v3.Cluster.LeastRequestLbConfig": ("choice_count", "active_request_bias"),
    "envoy.config.cluster.v3.Cluster.RoundRobinLbConfig": (),
    f"{_LB}least_request.v3.LeastRequest": (
        "choice_count",
        "active_request_bias",
        "enable_full_scan",
        "selection_method",
    ),
    f"{_LB}round_robin.v3.RoundRobin": (),
    f"{_LB}random.v3.Random": (),
    f"{_LB}ring_hash.v3.RingHash": (
        "hash_function",
        "minimum_ring_size",
        "maximum_ring_size",
        "use_hostname_for_hashing",
        "hash_balance_factor",
        "consistent_hashing_lb_config",
    ),
    f"{_LB}maglev.v3.Maglev": ("table_size", "consistent_hashing_lb_config"),
    f"{_LB}common.v3.ConsistentHashingLbConfig": ("use_hostname_for_hashing", "hash_balance_factor"),
    "envoy.config.cluster.v3.CircuitBreakers": ("thresholds", "per_host_thresholds"),
    "envoy.config.cluster.v3.CircuitBreakers.Thresholds": (
        "priority",
        "max_connections",
        "max_pending_requests",
        "max_requests",
        "max_retries",
        "track_remaining",
        "max_connection_pools",
    ),
    "envoy.config.endpoint.v3.ClusterLoadAssignment": ("cluster_name", "endpoints", "policy"),
    "envoy.config.endpoint.v3.ClusterLoadAssignment.Policy": (
        "overprovisioning_factor",
        "weighted_priority_health",
    ),
    "envoy.config.endpoint.v3.LocalityLbEndpoints": (
        "locality",
        "lb_endpoints",
        "priority",
    ),
    "envoy.config.endpoint.v3.LbEndpoint": (
        "endpoint",
        "health_status",
        "metadata",
        "load_balancing_weight",
    ),
    "envoy.config.endpoint.v3.Endpoint": ("address", "hostname"),
    f"{_CORE}TransportSocket": ("name", "typed_config"),
    _CARES: ("resolvers", "dns_resolver_options", "query_timeout_seconds", "query_tries"),
    "envoy.config.overload.v3.OverloadManager": ("resource_monitors",),
}

VALUES: dict[tuple[str, str], tuple[str, ...]] = {
    ("envoy.config.cluster.v3.Cluster", "type"): ("STATIC", "STRICT_DNS", "LOGICAL_DNS"),
    ("envoy.config.cluster.v3.Cluster", "lb_policy"): (
        "ROUND_ROBIN",
        "LEAST_REQUEST",
        "RING_HASH",
        "RANDOM",
        "MAGLEV",
    ),
    (f"{_CORE}SocketAddress", "protocol"): ("TCP",),
}

TYPES: dict[tuple[str, str], tuple[str, ...]] = {
    ("envoy.config.accesslog.v3.AccessLog", "typed_config"): (
        f"{_LOGGERS}file.v3.FileAccessLog",
        f"{_LOGGERS}stream.v3.StdoutAccessLog",
        f"{_LOGGERS}stream.v3.StderrAccessLog",
    ),
    ("envoy.config.cluster.v3.Cluster", "typed_dns_resolver_config"): (_CARES,),
    ("envoy.config.overload.v3.ResourceMonitor", "typed_config"): (
        "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
    ),
    ("envoy.config.cluster.v3.LoadBalancingPolicy.Policy", "typed_extension_config"): (
        f"{_LB}round_robin.v3.RoundRobin",
        f"{_LB}least_request.v3.LeastRequest",
        f"{_LB}random.v3.Random",
        f"{_LB}ring_hash.v3.RingHash",
        f"{_LB}maglev.v3.Maglev",
    ),
}

#: The messages whose typed_config is a plugin's, and the kind of the plugin.
EXTENSIONS: dict[str, str] = {
    "envoy.config.listener.v3.Filter": "network",
    "envoy.config.listener.v3.ListenerFilter": "listener",
    f"{_CORE}TransportSocket": "transport_socket",
}
