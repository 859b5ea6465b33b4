"""
Recognises HTTP on plain connections, so that a filter chain can be chosen by it.

What it found is matched as application_protocols: http/1.0, http/1.1 or h2c.
It waits for a whole request line, up to 64 KiB; a connection that sends more
without a line end is reset.

Serves envoy.extensions.filters.listener.http_inspector.v3.HttpInspector.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from envoy.extensions.filters.listener.http_inspector.v3.http_inspector_pb2 import HttpInspector
from zope.interface import implementer

from meshd.codec import http_sniff
from meshd.interfaces import IFactoryContext, IListenerFilter, IStreamInfo, Refused
from meshd.plugin import ListenerFilterPlugin


@implementer(IListenerFilter)
class Inspector:
    """Notes the protocol; keeps nothing of a connection, so one serves all."""

    limit = http_sniff.LIMIT

    def __init__(self, context: IFactoryContext) -> None:
        stats = context.stats.scope("http_inspector")
        self.found = {
            http_sniff.HTTP10: stats.counter("http10_found"),
            http_sniff.HTTP11: stats.counter("http11_found"),
            http_sniff.H2C: stats.counter("http2_found"),
            "": stats.counter("http_not_found"),
        }
        self.read_error = stats.counter("read_error")

    def inspect(self, data: bytes, info: IStreamInfo) -> int | None:
        if info.transport_protocol not in ("", "raw_buffer"):
            return 0
        protocol = http_sniff.sniff(data)
        if protocol is None:
            if len(data) >= self.limit:
                self.read_error.inc()
                raise Refused("http_inspector: no request line within 64 KiB")
            return None
        self.found[protocol].inc()
        if protocol:
            info.application_protocols = [protocol]
        return 0


def configure(config: Any, context: IFactoryContext) -> Callable[[], IListenerFilter]:
    """Return what gives every connection the one inspector."""
    inspector = Inspector(context)
    return lambda: inspector


http_inspector = ListenerFilterPlugin(
    "envoy.filters.listener.http_inspector", HttpInspector, configure, serves=()
)
