"""The GrpcService message, read once: which cluster is asked, and what goes with each call."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import Any

from attrs import frozen

from meshd.config.plain import optional_seconds, wrapped
from meshd.plugin import ConfigError

#: What a message of the server's may have if the config does not say, in bytes.
MAX_MESSAGE = 64 << 20

#: Headers that are not the operator's to set.
_OURS = frozenset({"te", "content-type", "grpc-timeout", "grpc-encoding", "host", "connection"})


@frozen
class Service:
    """How to ask a service."""

    cluster: str
    authority: bytes
    #: Seconds that a call has; 0: for ever.
    timeout: float = 0.0
    metadata: tuple[tuple[bytes, bytes], ...] = ()
    #: What a message of the server's may have, in bytes.
    max_message: int = MAX_MESSAGE


def read_service(config: Any, timeout: float = 0.0) -> Service:
    """
    Read a GrpcService message; timeout (s) holds if it has none.

    Raise ConfigError, its path seen from the message.
    """
    if config.WhichOneof("target_specifier") != "envoy_grpc":
        raise ConfigError("meshd asks gRPC services by envoy_grpc only")
    target = config.envoy_grpc
    return Service(
        cluster=target.cluster_name,
        authority=(target.authority or target.cluster_name).encode(),
        timeout=optional_seconds(config, "timeout", timeout) or 0.0,
        metadata=_read_metadata(config.initial_metadata),
        max_message=wrapped(target, "max_receive_message_length", 0) or MAX_MESSAGE,
    )


def _read_metadata(values: Any) -> tuple[tuple[bytes, bytes], ...]:
    """Return the pairs of HeaderValue messages; of a name that comes again the last counts, as in Envoy."""
    found: dict[str, bytes] = {}
    for index, each in enumerate(values):
        name = each.key.lower()
        if name.startswith(":") or name in _OURS:
            raise ConfigError(
                f"the header {name} is not for initial_metadata", "initial_metadata", index, "key"
            )
        found[name] = _value(name, each, index)
    return tuple((name.encode(), value) for name, value in found.items())


def _value(name: str, header: Any, index: int) -> bytes:
    text = re.sub("%%", "", header.value)
    if "%" in text:
        what = "meshd does not serve command operators in initial_metadata"
        raise ConfigError(what, "initial_metadata", index, "value")
    value: bytes = header.raw_value or header.value.replace("%%", "%").encode()
    # What need not be text goes in base64 (PROTOCOL-HTTP2.md, Custom-Metadata).
    return b64encode(value).rstrip(b"=") if name.endswith("-bin") else value
