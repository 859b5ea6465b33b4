"""
The transport sockets without TLS: raw_buffer, and one that sends a PROXY header first.

The header says who the client is and where it wanted to go; the TLVs that the
proxy_protocol listener filter kept for passing on go with it, and those that
the config adds.  Its format is HAProxy's document "The PROXY protocol".

Serves envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer and
envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from envoy.extensions.transport_sockets.proxy_protocol.v3.upstream_proxy_protocol_pb2 import (
    ProxyProtocolUpstreamTransport,
)
from envoy.extensions.transport_sockets.raw_buffer.v3.raw_buffer_pb2 import RawBuffer

from meshd.codec.proxy_protocol import Header, encode
from meshd.filter import NetworkFilter
from meshd.interfaces import IFactoryContext, INetworkFilter
from meshd.plugin import ConfigError, TransportSocketPlugin

#: Filter state: the Header that the client's own proxy sent.
OPTIONS_KEY = "envoy.network.proxy_protocol_options"
#: ProxyProtocolPassThroughTLVs.PassTLVsMatchType
INCLUDE_ALL = 0

Builders = Sequence[Callable[[], INetworkFilter]]


def _raw(config: Any, context: IFactoryContext) -> Builders:
    return ()


class HeaderConfig:
    """What the connections of one cluster share."""

    def __init__(self, config: Any, context: IFactoryContext) -> None:
        settings = config.config
        self.version = 2 if settings.version == 1 else 1
        passing = settings.pass_through_tlvs
        self.passes = settings.HasField("pass_through_tlvs")
        self.types = None if passing.match_type == INCLUDE_ALL else frozenset(passing.tlv_type)
        self.added: list[tuple[int, bytes]] = []
        for index, each in enumerate(settings.added_tlvs):
            if each.HasField("format_string"):
                raise ConfigError(
                    "meshd adds TLVs with a fixed value only", "config", "added_tlvs", index, "format_string"
                )
            self.added.append((each.type, each.value))

    def __call__(self) -> HeaderLink:
        return HeaderLink(self)

    def header(self, info: Any) -> bytes:
        """Return the header for a connection from what is known of the client's."""
        kept: Header | None = info.filter_state.get(OPTIONS_KEY) if info.has_filter_state else None
        source, destination = info.remote, info.local
        if kept is not None and kept.source is not None:
            source, destination = kept.source, kept.destination
        if isinstance(source, str) or isinstance(destination, str):
            source = destination = None  # a unix socket says nothing of who the client is
        tlvs = list(self.added)
        if kept is not None and self.passes:
            mine = {kind for kind, _ in tlvs}
            tlvs += [
                (kind, value)
                for kind, value in kept.tlvs
                if (self.types is None or kind in self.types) and kind not in mine
            ]
        local = source is None
        if self.version == 1:
            return encode(Header(1, source, destination))
        return encode(Header(2, source, destination, tuple(tlvs), local))


class HeaderLink(NetworkFilter):
    """Sends the header, and leaves."""

    def __init__(self, shared: HeaderConfig) -> None:
        self.shared = shared

    def connectionMade(self) -> None:
        connecting: Any = self.connection
        header = self.shared.header(connecting.info)
        self.transport.write(header)
        connecting.preamble += len(header)
        connecting.cluster.stats.upstream_cx_tx_bytes_total.inc(len(header))
        self.leave()
        self.inner.connectionMade()


def _upstream(config: Any, context: IFactoryContext) -> Builders:
    try:
        inside = context.transport_socket(config.transport_socket)
    except ConfigError as error:
        raise error.under("transport_socket") from None
    return (HeaderConfig(config, context), *inside)


raw_buffer = TransportSocketPlugin("envoy.transport_sockets.raw_buffer", RawBuffer, _raw, serves=())

upstream_proxy_protocol = TransportSocketPlugin(
    "envoy.transport_sockets.upstream_proxy_protocol",
    ProxyProtocolUpstreamTransport,
    _upstream,
    serves=(
        "config.version",
        "config.pass_through_tlvs",
        "config.added_tlvs.type",
        "config.added_tlvs.value",
        "transport_socket",
    ),
)
