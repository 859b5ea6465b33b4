"""
Pieces of a v3 bootstrap, as plain dicts, to write a scenario's config in a few lines.

Everything listens on port 0 of 127.0.0.1; Proxy asks the admin page where.  A
dict is dumped as JSON, which is YAML too.
"""

from typing import Any, Protocol

Part = dict[str, Any]

NETWORK = "type.googleapis.com/envoy.extensions.filters.network"
LISTENER = "type.googleapis.com/envoy.extensions.filters.listener"
FILE_LOG = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"

OPERATORS = (
    "ACCESS_LOG_TYPE",
    "BYTES_RECEIVED",
    "BYTES_SENT",
    "CONNECTION_TERMINATION_DETAILS",
    "DOWNSTREAM_DETECTED_CLOSE_TYPE",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
    "DOWNSTREAM_LOCAL_ADDRESS",
    "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_LOCAL_CLOSE_REASON",
    "DOWNSTREAM_REMOTE_ADDRESS",
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_TRANSPORT_FAILURE_REASON",
    "DOWNSTREAM_WIRE_BYTES_RECEIVED",
    "DOWNSTREAM_WIRE_BYTES_SENT",
    "FILTER_CHAIN_NAME",
    "PROTOCOL",
    "REQUESTED_SERVER_NAME",
    "RESPONSE_CODE",
    "RESPONSE_CODE_DETAILS",
    "RESPONSE_FLAGS",
    "RESPONSE_FLAGS_LONG",
    "ROUTE_NAME",
    "TLS_JA3_FINGERPRINT",
    "TLS_JA4_FINGERPRINT",
    "UPSTREAM_CLUSTER",
    "UPSTREAM_DETECTED_CLOSE_TYPE",
    "UPSTREAM_HOST",
    "UPSTREAM_HOSTS_ATTEMPTED",
    "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
    "UPSTREAM_LOCAL_CLOSE_REASON",
    "UPSTREAM_REMOTE_ADDRESS",
    "UPSTREAM_REQUEST_ATTEMPT_COUNT",
    "UPSTREAM_TRANSPORT_FAILURE_REASON",
    "UPSTREAM_WIRE_BYTES_RECEIVED",
    "UPSTREAM_WIRE_BYTES_SENT",
)
"""Every operator that means something for TCP and does not tell a time or an id."""


class Port(Protocol):
    """Whatever has a port: a Backend, Nobody, Deaf."""

    port: int


def address(port: int = 0, host: str = "127.0.0.1") -> Part:
    """A socket address."""
    return {"socket_address": {"address": host, "port_value": port}}


def access_log(path: str, log_format: str | None = None) -> list[Part]:
    """A file access log: one JSON object a line with all OPERATORS, or a text format."""
    config: Part = {"@type": FILE_LOG, "path": path}
    if log_format is None:
        config["log_format"] = {"json_format": {name: f"%{name}%" for name in OPERATORS}}
    else:
        config["log_format"] = {"text_format_source": {"inline_string": log_format}}
    return [{"name": "file", "typed_config": config}]


def network(name: str, kind: str, **fields: Any) -> Part:
    """A network filter, e.g. network("echo", "Echo")."""
    return {
        "name": f"envoy.filters.network.{name}",
        "typed_config": {"@type": f"{NETWORK}.{name}.v3.{kind}", **fields},
    }


def tcp_proxy(cluster: str | None = "c", **fields: Any) -> Part:
    """A tcp_proxy filter under the stat prefix t; the log goes to LOG, which Case fills in."""
    fields.setdefault("access_log", access_log("LOG"))
    if cluster:
        fields["cluster"] = cluster
    return network("tcp_proxy", "TcpProxy", stat_prefix="t", **fields)


def says(text: str) -> Part:
    """A direct_response filter: the client reads text, then the end."""
    return network("direct_response", "Config", response={"inline_string": text})


def listener_filter(name: str, kind: str, **fields: Any) -> Part:
    """A listener filter, e.g. listener_filter("http_inspector", "HttpInspector")."""
    return {
        "name": f"envoy.filters.listener.{name}",
        "typed_config": {"@type": f"{LISTENER}.{name}.v3.{kind}", **fields},
    }


def chain(*filters: Part, match: Part | None = None, name: str = "") -> Part:
    """A filter chain."""
    made: Part = {"filters": list(filters)}
    if match is not None:
        made["filter_chain_match"] = match
    if name:
        made["name"] = name
    return made


def listener(*chains: Part, name: str = "front", port: int = 0, **fields: Any) -> Part:
    """A listener with those chains; a chain may be given as its only filter."""
    return {
        "name": name,
        "stat_prefix": name,
        "address": address(port),
        "filter_chains": [c if "filters" in c else chain(c) for c in chains],
        **fields,
    }


def cluster(*hosts: Port, name: str = "c", **fields: Any) -> Part:
    """A STATIC cluster with those hosts in one locality."""
    endpoints = [{"endpoint": {"address": address(host.port)}} for host in hosts]
    assignment = {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]}
    return {"name": name, "type": "STATIC", "load_assignment": assignment, **fields}


def bootstrap(*listeners: Part, clusters: tuple[Part, ...] | list[Part] = (), **fields: Any) -> Part:
    """A whole bootstrap with the admin page on a free port."""
    return {
        "admin": {"address": address()},
        "static_resources": {"listeners": list(listeners), "clusters": list(clusters)},
        **fields,
    }


def relay(*hosts: Port, **fields: Any) -> Part:
    """One listener with a tcp_proxy to one cluster with those hosts."""
    return bootstrap(listener(tcp_proxy(**fields)), clusters=[cluster(*hosts)])
