"""
Takes the client's address from the PROXY header that a proxy in front sends.

Both versions are understood, told apart connection by connection.  A header
that is missing or malformed is answered with a reset, unless connections
without one are allowed.  TLVs of version 2 go where rules say: to dynamic
metadata, or to the filter state envoy.network.proxy_protocol.tlv.  The header,
with the TLVs of pass_through_tlvs, is kept in the filter state
envoy.network.proxy_protocol_options for the header that may be sent upstream.

As in Envoy, version 2's families unspec and unix are errors, unless the header
is local.  Unlike Envoy, a CRC32C that is wrong is an error, and bytes that
cannot become a header are refused before there are 16 of them.

Serves envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import replace
from typing import Any

from envoy.config.core.v3.proxy_protocol_pb2 import ProxyProtocolPassThroughTLVs
from envoy.extensions.filters.listener.proxy_protocol.v3.proxy_protocol_pb2 import ProxyProtocol
from zope.interface import implementer

from meshd.codec import proxy_protocol as codec
from meshd.interfaces import IFactoryContext, IListenerFilter, IStreamInfo, Refused
from meshd.plugin import ConfigError, ListenerFilterPlugin

NAME = "envoy.filters.listener.proxy_protocol"
#: Filter state: a codec.Header with the addresses of the connection, and the TLVs to pass on.
OPTIONS_KEY = "envoy.network.proxy_protocol_options"
#: Filter state: the TLVs of the rules by their keys, as text.
TLV_KEY = "envoy.network.proxy_protocol.tlv"


class _Counts:
    """The counters of one version."""

    def __init__(self, stats: Any) -> None:
        self.found = stats.counter("found")
        self.disallowed = stats.counter("disallowed")
        self.error = stats.counter("error")


@implementer(IListenerFilter)
class ProxyHeader:
    """Reads the header; keeps nothing of a connection, so one serves all."""

    limit = codec.LIMIT

    def __init__(self, config: Any, context: IFactoryContext) -> None:
        forbidden = {version + 1 for version in config.disallowed_versions}
        if forbidden >= {1, 2}:
            raise ConfigError("all versions of the PROXY protocol are disallowed", "disallowed_versions")
        self.allowed = {1, 2} - forbidden
        self.optional = config.allow_requests_without_proxy_protocol
        self.rules = {
            rule.tlv_type & 0xFF: (rule.on_tlv_present.metadata_namespace or NAME, rule.on_tlv_present.key)
            for rule in config.rules
        }
        self.to_filter_state = config.tlv_location == ProxyProtocol.FILTER_STATE
        passed = config.pass_through_tlvs
        self.pass_all = (
            config.HasField("pass_through_tlvs")
            and passed.match_type == ProxyProtocolPassThroughTLVs.INCLUDE_ALL
        )
        self.passed = {kind & 0xFF for kind in passed.tlv_type}
        self._count(config.stat_prefix, context)

    def _count(self, prefix: str, context: IFactoryContext) -> None:
        stats = context.stats.scope(f"proxy_proto.{prefix}" if prefix else "proxy_proto")
        self.errors = context.stats.counter("downstream_cx_proxy_proto_error")
        self.not_found_allowed = stats.counter("not_found_allowed")
        self.not_found_disallowed = stats.counter("not_found_disallowed")
        self.counts = {version: _Counts(stats.scope(f"versions.v{version}")) for version in (1, 2)}

    def inspect(self, data: bytes, info: IStreamInfo) -> int | None:
        if not data:
            return None
        version = codec.version_of(data)
        if self.optional and not self._may_be_header(version, data):
            self.not_found_allowed.inc()
            return 0
        if version in (1, 2) and version not in self.allowed and self._is_whole(version, data):
            self.counts[version].found.inc()
            self.counts[version].disallowed.inc()
            raise Refused(f"PROXY protocol version {version} is disallowed")
        try:
            found = codec.decode(data)
            if found is None:
                return None
            self._check(found[0])
        except codec.ProtocolError as error:
            self.errors.inc()
            failed = self.counts[error.version].error if error.version else self.not_found_disallowed
            failed.inc()
            raise Refused(str(error)) from None
        header, size = found
        self.counts[header.version].found.inc()
        self._note(header, info)
        return size

    def _may_be_header(self, version: int | None, data: bytes) -> bool:
        """Whether data is, or may yet be, a header of a version that is allowed."""
        if version == 0:
            signatures = {1: codec.V1_SIGNATURE, 2: codec.V2_SIGNATURE}
            return any(signatures[each].startswith(data) for each in self.allowed)
        return version in self.allowed

    def _is_whole(self, version: int, data: bytes) -> bool:
        """Whether there is enough of the header to say that its version is the wrong one."""
        return len(data) >= codec.V2_HEAD if version == 2 else b"\r\n" in data

    def _check(self, header: codec.Header) -> None:
        """Refuse what only Envoy's rules forbid: other families than IP, addresses of more than one."""
        if header.local or (header.version == 1 and header.source is None):
            return
        for address in (header.source, header.destination):
            if not isinstance(address, tuple):
                raise codec.ProtocolError("the header has no IP addresses", header.version)
            ip = ipaddress.ip_address(address[0])
            if ip.is_multicast or ip.is_unspecified or address[0] == "255.255.255.255":
                raise codec.ProtocolError(f"{ip} is not the address of a host", header.version)

    def _note(self, header: codec.Header, info: IStreamInfo) -> None:
        if header.source is not None and header.destination is not None:
            info.remote, info.local = header.source, header.destination
        for kind, value in header.tlvs:
            if kind in self.rules:
                namespace, key = self.rules[kind]
                place = (
                    info.filter_state.setdefault(TLV_KEY, {})
                    if self.to_filter_state
                    else info.metadata.setdefault(namespace, {})
                )
                place.setdefault(key, _text(value))
        passed = tuple(tlv for tlv in header.tlvs if self.pass_all or tlv[0] in self.passed)
        kept = replace(header, source=info.remote, destination=info.local, tlvs=passed, local=False)
        info.filter_state.setdefault(OPTIONS_KEY, kept)


def _text(value: bytes) -> str:
    """Return bytes as text, with a ! for each that is not UTF-8, as Envoy does."""
    return re.sub("[\udc80-\udcff]", "!", value.decode("utf-8", "surrogateescape"))


def configure(config: Any, context: IFactoryContext) -> Any:
    """Return what gives every connection the one reader of headers."""
    reader = ProxyHeader(config, context)
    return lambda: reader


proxy_protocol = ListenerFilterPlugin(
    NAME,
    ProxyProtocol,
    configure,
    serves=(
        "rules",
        "allow_requests_without_proxy_protocol",
        "pass_through_tlvs",
        "disallowed_versions",
        "stat_prefix",
        "tlv_location",
    ),
)
