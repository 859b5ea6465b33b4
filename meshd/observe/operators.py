"""
The operators of access logs, compiled one by one at configure time.

Each is a function of a connection's info (meshd.observe.info) that returns a
value: None for what is not known, which is ``-`` in text and null in JSON.  Here
are those that a TCP connection has; see tls_operators.py for those of TLS,
foreign_operators.py for the others.
"""

from __future__ import annotations

import json
import os
import re
import socket
import time
import uuid
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from meshd.observe import times
from meshd.observe.flags import long_flags, short_flags
from meshd.observe.foreign_operators import FOREIGN
from meshd.observe.operator import (
    ALONE,
    FREE,
    NEEDED,
    OPTIONAL,
    REQUIRED,
    Maker,
    Operator,
    Table,
    alone,
    constant,
    upstream,
)
from meshd.observe.tls_operators import TLS
from meshd.observe.values import (
    Getter,
    address_host,
    address_port,
    address_text,
    cut,
    filter_state,
    masked,
    metadata_at,
    metadata_path,
    without_port,
)
from meshd.plugin import ConfigError

_TABLE: Table = {**FOREIGN, **TLS}

# Times.


def _start_time(local: bool) -> Maker:
    def make(parameter: str, length: int | None) -> Operator:
        write = times.time_format(parameter or (times.LOCAL if local else times.UTC), local)
        return Operator(lambda info: write(info.start))

    return make


def _emit_time(local: bool) -> Maker:
    def make(parameter: str, length: int | None) -> Operator:
        write = times.time_format(parameter or (times.LOCAL if local else times.UTC), local)
        return Operator(lambda info: write(time.time()))

    return make


_TABLE["START_TIME"] = (OPTIONAL, _start_time(False))
_TABLE["START_TIME_LOCAL"] = (OPTIONAL, _start_time(True))
_TABLE["EMIT_TIME"] = (OPTIONAL, _emit_time(False))
_TABLE["EMIT_TIME_LOCAL"] = (OPTIONAL, _emit_time(True))


def _steps(seconds: float, per_second: int) -> int:
    # Rounded to microseconds first: 0.029 s is 29 ms, though a float makes it 28.999...
    return max(0, round(seconds * 1_000_000) * per_second // 1_000_000)


_TABLE["DURATION"] = alone(lambda info: _steps(info.duration, 1000))


def _pool_ready(info: Any) -> int | None:
    up = info.upstream
    if up is None or up.connect_start is None:
        return None
    # As in Envoy: how long it took until there was a connection, or none to be had.
    ready = up.connected if up.connected is not None else info.end
    return None if ready is None else _steps(ready - up.connect_start, 1000)


_TABLE["UPSTREAM_CONNECTION_POOL_READY_DURATION"] = alone(_pool_ready)
_TABLE["DOWNSTREAM_HANDSHAKE_DURATION"] = alone(
    lambda info: getattr(info, "downstream_handshake_duration", None)
)


def _when_connected(attribute: str) -> Getter:
    def point(info: Any) -> Any:
        up = info.upstream
        # As in Envoy, an attempt that failed has no times.
        return None if up is None or up.connected is None else getattr(up, attribute, None)

    return point


_POINTS: dict[str, Getter] = {
    "DS_RX_BEG": lambda info: info.start,
    "DS_CX_BEG": lambda info: info.start,
    "DS_CX_END": lambda info: info.end,
    "US_CX_BEG": _when_connected("connect_start"),
    "US_CX_END": _when_connected("connected"),
    "US_HS_END": _when_connected("handshake_end"),
}
_PRECISIONS = {"ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def _between(parameter: str, length: int | None) -> Operator:
    parts = parameter.split(":")
    if len(parts) not in (2, 3):
        raise ConfigError(f"Invalid common duration configuration: {parameter}.")
    precision = parts[2] if len(parts) == 3 else "ms"
    if precision not in _PRECISIONS:
        raise ConfigError(f"Invalid common duration precision: {precision}.")
    if parts[0] not in _POINTS or parts[1] not in _POINTS:
        # Points of HTTP, and such as Envoy's filters name themselves.
        return constant(None)
    begin, end, per_second = _POINTS[parts[0]], _POINTS[parts[1]], _PRECISIONS[precision]

    def value(info: Any) -> int | None:
        first, last = begin(info), end(info)
        return None if first is None or last is None or last < first else _steps(last - first, per_second)

    return Operator(value)


_TABLE["COMMON_DURATION"] = (REQUIRED, _between)


# What came of it.

_TABLE["BYTES_RECEIVED"] = alone(lambda info: info.bytes_received)
_TABLE["BYTES_SENT"] = alone(lambda info: info.bytes_sent)
_TABLE["DOWNSTREAM_WIRE_BYTES_RECEIVED"] = alone(lambda info: info.wire_bytes_received)
_TABLE["DOWNSTREAM_WIRE_BYTES_SENT"] = alone(lambda info: info.wire_bytes_sent)
_TABLE["UPSTREAM_WIRE_BYTES_RECEIVED"] = alone(upstream(lambda up: up.wire_bytes_received, 0))
_TABLE["UPSTREAM_WIRE_BYTES_SENT"] = alone(upstream(lambda up: up.wire_bytes_sent, 0))
_TABLE["RESPONSE_FLAGS"] = alone(lambda info: short_flags(info.flags))
_TABLE["RESPONSE_FLAGS_LONG"] = alone(lambda info: long_flags(info.flags))
_TABLE["CONNECTION_TERMINATION_DETAILS"] = alone(lambda info: info.termination_details or None)
_TABLE["DOWNSTREAM_LOCAL_CLOSE_REASON"] = alone(lambda info: info.local_close_reason or None)
_TABLE["DOWNSTREAM_DETECTED_CLOSE_TYPE"] = alone(lambda info: info.detected_close_type)
_TABLE["UPSTREAM_LOCAL_CLOSE_REASON"] = alone(upstream(lambda up: up.local_close_reason or None))
_TABLE["UPSTREAM_DETECTED_CLOSE_TYPE"] = alone(upstream(lambda up: up.detected_close_type))
_TABLE["DOWNSTREAM_TRANSPORT_FAILURE_REASON"] = alone(
    lambda info: info.transport_failure_reason.replace(" ", "_") or None,
)
_TABLE["UPSTREAM_TRANSPORT_FAILURE_REASON"] = alone(
    upstream(lambda up: up.transport_failure_reason.replace(" ", "_") or None),
)


def _details(parameter: str, length: int | None) -> Operator:
    if parameter == "ALLOW_WHITESPACES":
        return Operator(lambda info: info.response_code_details or None)
    return Operator(lambda info: "_".join(info.response_code_details.split()) or None)


_TABLE["RESPONSE_CODE_DETAILS"] = (OPTIONAL, _details)


# Who it was.


def _addresses(prefix: str, address: Getter) -> None:
    """Add the operators of one address."""
    _TABLE[f"{prefix}_ADDRESS"] = alone(lambda info: address_text(address(info)))
    _TABLE[f"{prefix}_PORT"] = alone(lambda info: address_port(address(info)))

    def make(parameter: str, length: int | None) -> Operator:
        shown = masked(parameter) if parameter else address_host
        return Operator(lambda info: shown(address(info)))

    _TABLE[f"{prefix}_ADDRESS_WITHOUT_PORT"] = (OPTIONAL, make)


_addresses("DOWNSTREAM_REMOTE", lambda info: info.remote)
_addresses("DOWNSTREAM_DIRECT_REMOTE", lambda info: info.direct_remote)
_addresses("DOWNSTREAM_LOCAL", lambda info: info.local)
_addresses("DOWNSTREAM_DIRECT_LOCAL", lambda info: info.direct_local)
_addresses("UPSTREAM_REMOTE", upstream(lambda up: up.remote))
_addresses("UPSTREAM_LOCAL", upstream(lambda up: up.local))


def _of_host(value: Getter) -> Getter:
    return lambda info: (
        None if info.upstream is None or info.upstream.host is None else value(info.upstream.host)
    )


_TABLE["UPSTREAM_HOST"] = alone(_of_host(lambda host: address_text(host.address)))
_TABLE["UPSTREAM_HOST_NAME"] = alone(_of_host(lambda host: host.hostname or address_text(host.address)))
_TABLE["UPSTREAM_HOST_NAME_WITHOUT_PORT"] = alone(
    _of_host(lambda host: without_port(host.hostname) or address_host(host.address)),
)
_TABLE["UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID"] = alone(upstream(lambda up: None if up.remote is None else ""))
_TABLE["UPSTREAM_CLUSTER"] = alone(
    upstream(lambda up: getattr(up, "cluster_stat_name", "") or up.cluster or None)
)
_TABLE["UPSTREAM_CLUSTER_RAW"] = alone(upstream(lambda up: up.cluster or None))
_TABLE["UPSTREAM_CONNECTION_ID"] = alone(upstream(lambda up: up.id or 0, 0))
_TABLE["UPSTREAM_REQUEST_ATTEMPT_COUNT"] = alone(upstream(lambda up: up.attempts, 0))


def _joined(attribute: str, shown: Callable[[Any], str] = str) -> Getter:
    return upstream(lambda up: ",".join(map(shown, getattr(up, attribute))) or None)


_TABLE["UPSTREAM_HOSTS_ATTEMPTED"] = alone(_joined("hosts_attempted"))
_TABLE["UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT"] = alone(
    _joined("hosts_attempted", lambda text: without_port(text).strip("[]")),
)
_TABLE["UPSTREAM_HOST_NAMES_ATTEMPTED"] = alone(_joined("host_names_attempted"))
_TABLE["UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT"] = alone(_joined("host_names_attempted", without_port))
# As in Envoy only connections that stood have a number; for TCP that is one.
_TABLE["UPSTREAM_CONNECTION_IDS_ATTEMPTED"] = alone(
    upstream(lambda up: None if up.connected is None or not up.id else str(up.id))
)

# Of a command log of redis_proxy.
_TABLE["REDIS_COMMAND"] = alone(lambda info: getattr(info, "redis_command", None))
_TABLE["REDIS_KEY"] = alone(lambda info: getattr(info, "redis_key", None))

_TABLE["CONNECTION_ID"] = alone(lambda info: info.id)
_TABLE["UNIQUE_ID"] = alone(lambda info: str(uuid.uuid4()))
_TABLE["FILTER_CHAIN_NAME"] = alone(lambda info: info.filter_chain_name or None)
_TABLE["ROUTE_NAME"] = alone(lambda info: info.route_name or None)
_TABLE["ACCESS_LOG_TYPE"] = alone(lambda info: info.log_type)


def _stream_id(info: Any) -> str:
    # The same in all lines of a connection, and made for those only that log it.
    found = getattr(info, "stream_id", None)
    if found is None:
        found = info.stream_id = str(uuid.uuid4())
    return str(found)


_TABLE["STREAM_ID"] = alone(_stream_id)


_NO_HOST_NAME = re.compile(r"[^A-Za-z0-9._-]")


def _host_name(name: str) -> str:
    """Return a name as Envoy logs one that strangers chose: each byte that is of no host name is a _."""
    if not _NO_HOST_NAME.search(name):
        return name
    octets = name.encode("utf-8", "surrogateescape").decode("latin-1")
    return "invalid:" + _NO_HOST_NAME.sub("_", octets)


def _server_name(parameter: str, length: int | None) -> Operator:
    where, _, form = parameter.partition(":")
    if where not in ("", "SNI_ONLY", "SNI_FIRST", "HOST_FIRST"):
        raise ConfigError(
            f"Invalid REQUESTED_SERVER_NAME option: '{where}', "
            "only 'SNI_ONLY'/'SNI_FIRST'/'HOST_FIRST' are allowed"
        )
    if form not in ("", "ORIG_OR_HOST", "HOST", "ORIG"):
        raise ConfigError(
            f"Invalid REQUESTED_SERVER_NAME option: '{form}', only 'ORIG_OR_HOST'/'HOST'/'ORIG' are allowed"
        )
    return Operator(lambda info: _host_name(info.server_name) or None)


_TABLE["REQUESTED_SERVER_NAME"] = (OPTIONAL, _server_name)
_TABLE["HOSTNAME"] = (ALONE, lambda parameter, length: constant(socket.gethostname() or None))
_TABLE["ENVIRONMENT"] = (
    NEEDED,
    lambda parameter, length: constant(os.environ.get(parameter, "-")[:length]),
)


# Metadata and filter state.

_SOURCES: dict[str, Getter] = {
    "DYNAMIC": lambda info: info.metadata,
    "CLUSTER": upstream(lambda up: getattr(up, "cluster_metadata", None)),
    "UPSTREAM_HOST": _of_host(lambda host: getattr(host, "metadata", None)),
    "LISTENER": lambda info: getattr(info, "listener_metadata", None),
    "LISTENER_FILTER_CHAIN": lambda info: getattr(info, "filter_chain_metadata", None),
    "ROUTE": lambda info: None,
    "VIRTUAL_HOST": lambda info: None,
}


def _metadata(source: str) -> Maker:
    get = _SOURCES[source]

    def make(parameter: str, length: int | None) -> Operator:
        path, shorten = metadata_path(parameter), cut(length)
        return Operator(lambda info: shorten(metadata_at(get(info), path)))

    return make


def _any_metadata(parameter: str, length: int | None) -> Operator:
    source, _, path = parameter.partition(":")
    if source not in _SOURCES:
        raise ConfigError(f"{source} is not supported type of metadata")
    return _metadata(source)(path, length)


_TABLE["DYNAMIC_METADATA"] = (NEEDED, _metadata("DYNAMIC"))
_TABLE["CLUSTER_METADATA"] = (REQUIRED, _metadata("CLUSTER"))
_TABLE["UPSTREAM_METADATA"] = (REQUIRED, _metadata("UPSTREAM_HOST"))
_TABLE["METADATA"] = (FREE, _any_metadata)


def _filter_state(states: Getter) -> Maker:
    def make(parameter: str, length: int | None) -> Operator:
        key, value, quoted = filter_state(parameter)
        shorten = cut(length)

        def get(info: Any) -> Any:
            found = states(info).get(key)
            return None if found is None else shorten(value(found))

        return Operator(get, quoted=quoted)

    return make


_TABLE["FILTER_STATE"] = (FREE, _filter_state(lambda info: info.filter_state))
_TABLE["UPSTREAM_FILTER_STATE"] = (
    FREE,
    _filter_state(upstream(lambda up: getattr(up, "filter_state", None) or {}, {})),
)


# The first that is known.


def _coalesce(parameter: str, length: int | None) -> Operator:
    try:
        config = json.loads(parameter)
    except ValueError as error:
        raise ConfigError(f"COALESCE: failed to parse JSON configuration: {error}") from None
    wanted = config.get("operators") if isinstance(config, dict) else None
    if not isinstance(wanted, list):
        raise ConfigError("COALESCE: 'operators' must be an array")
    if not wanted:
        raise ConfigError("COALESCE: 'operators' array must not be empty")
    operators = [_coalesced(entry) for entry in wanted]
    shorten = cut(length)

    def value(info: Any) -> Any:
        for operator in operators:
            found = operator.value(info)
            if found is not None:
                return shorten(found)
        return None

    return Operator(value, constant=all(operator.constant for operator in operators))


def _coalesced(entry: Any) -> Operator:
    if isinstance(entry, str):
        return compile_operator(entry, None, None)
    if not isinstance(entry, dict) or not isinstance(entry.get("command"), str):
        raise ConfigError("COALESCE: each operator is a string, or an object with a 'command'")
    parameter, length = entry.get("param"), entry.get("max_length")
    if not isinstance(parameter, str | None) or not isinstance(length, int | None):
        raise ConfigError("COALESCE: 'param' is a string, and 'max_length' a number")
    return compile_operator(entry["command"], parameter, length)


_TABLE["COALESCE"] = (NEEDED, _coalesce)


def compile_operator(name: str, parameter: str | None, length: int | None) -> Operator:
    """Return the operator ``%name(parameter):length%``; raise ConfigError if there is none such."""
    if name not in _TABLE:
        close = get_close_matches(name, _TABLE, 1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ConfigError(f"Not supported field in StreamInfo: {name}{hint}")
    syntax, make = _TABLE[name]
    syntax.check(name, parameter or "", length)
    return make(parameter or "", length)
