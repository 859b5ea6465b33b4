"""
What a cluster says of HTTP/2 with its hosts: HttpProtocolOptions among its typed_extension_protocol_options.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions

from meshd.codec.http2 import Options
from meshd.config.plain import fraction, optional_seconds, seconds, wrapped
from meshd.plugin import ConfigError

HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

#: Seconds; as in Envoy.
IDLE_TIMEOUT = 3600.0
#: The share of the interval between pings that is added by chance, as in Envoy.
JITTER = 0.15

_FIELD = "typed_extension_protocol_options"


@dataclass(frozen=True)
class Pings:
    """How a connection finds out that its host is not there any more."""

    #: Seconds between a ping's answer and the next one, to which a share of it is added by chance.
    interval: float
    #: Seconds for the answer.
    timeout: float
    jitter: float


@dataclass(frozen=True)
class Http2:
    """How to speak HTTP/2 with the hosts of a cluster."""

    options: Options = field(default_factory=Options)
    #: Seconds that a connection is kept which nobody uses; 0: for ever.
    idle_timeout: float = IDLE_TIMEOUT
    pings: Pings | None = None


def read_http2(cluster: Any) -> Http2:
    """Read the HttpProtocolOptions of a Cluster message; raise ConfigError."""
    options = cluster.typed_extension_protocol_options
    if HTTP not in options:
        return Http2()
    message = HttpProtocolOptions()
    if not options[HTTP].Unpack(message):
        raise ConfigError(f"{HTTP} wants HttpProtocolOptions", _FIELD, HTTP)
    http2 = message.explicit_http_config.http2_protocol_options
    default = Options()
    return Http2(
        Options(
            wrapped(http2, "max_concurrent_streams", default.max_streams),
            wrapped(http2, "initial_stream_window_size", default.stream_window),
            wrapped(http2, "initial_connection_window_size", default.connection_window),
        ),
        optional_seconds(message.common_http_protocol_options, "idle_timeout", IDLE_TIMEOUT) or 0.0,
        _read_pings(http2.connection_keepalive),
    )


def _read_pings(keepalive: Any) -> Pings | None:
    interval = optional_seconds(keepalive, "interval")
    if not interval:
        return None
    jitter = fraction(keepalive.interval_jitter) if keepalive.HasField("interval_jitter") else JITTER
    return Pings(interval, seconds(keepalive.timeout), jitter)
