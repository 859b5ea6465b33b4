"""
Recognises TLS, so that a filter chain can be chosen by what the client asks for.

The ClientHello is read before any handshake.  Found are the server name (SNI),
the application protocols (ALPN), and if wanted the JA3 and JA4 fingerprints;
the transport protocol is tls, or raw_buffer for anything else.  Anything else
passes, unless close_connection_on_client_hello_parsing_errors is set; always
reset are a ClientHello above max_client_hello_size, one whose version is none
of TLS 1.0 to 1.3, and a client that says goodbye first.  Why is noted in the
dynamic metadata, as failure_reason, and in the transport failure reason.

Serves envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from envoy.extensions.filters.listener.tls_inspector.v3.tls_inspector_pb2 import TlsInspector
from zope.interface import implementer

from meshd.codec import tls_fingerprint
from meshd.codec.client_hello import LIMIT, ClientHello, Closed, Parser, ProtocolError, TooLarge
from meshd.interfaces import IFactoryContext, IListenerFilter, IStreamInfo, Refused
from meshd.plugin import ListenerFilterPlugin

NAME = "envoy.filters.listener.tls_inspector"
_OLDEST, _NEWEST = 0x0301, 0x0304
_REJECTED = ProtocolError("CONNECTION_REJECTED", 133)


class Settings:
    """The config of the filter, and what it counts."""

    def __init__(self, config: Any, context: IFactoryContext) -> None:
        self.ja3 = config.enable_ja3_fingerprinting.value
        self.ja4 = config.enable_ja4_fingerprinting.value
        self.close_on_error = config.close_connection_on_client_hello_parsing_errors
        #: How much may be looked at, in bytes: all in all, and at first.
        self.limit = config.max_client_hello_size.value or LIMIT
        self.first_look = min(config.initial_read_buffer_size.value or self.limit, self.limit)
        stats = context.stats.scope("tls_inspector")
        self.tls_found = stats.counter("tls_found")
        self.tls_not_found = stats.counter("tls_not_found")
        self.sni_found = stats.counter("sni_found")
        self.sni_not_found = stats.counter("sni_not_found")
        self.alpn_found = stats.counter("alpn_found")
        self.alpn_not_found = stats.counter("alpn_not_found")
        self.too_large = stats.counter("client_hello_too_large")
        self.bytes_processed = stats.histogram("bytes_processed")


@implementer(IListenerFilter)
class Inspector:
    """Looks at the first bytes of one connection."""

    __slots__ = ("limit", "look", "parser", "settings")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.limit = settings.limit
        self.look = settings.first_look
        self.parser = Parser(self.limit)

    def inspect(self, data: bytes, info: IStreamInfo) -> int | None:
        try:
            hello = self._read(data)
        except ProtocolError as error:
            self.settings.bytes_processed.record(self.parser.consumed)
            self._failed(error, len(data), info)
            return 0
        if hello is None:
            return None
        self.settings.bytes_processed.record(self.parser.consumed)
        self._found(hello, info)
        return 0

    def _read(self, data: bytes) -> ClientHello | None:
        """Look at data as far as Envoy would read it: twice as far each time that it is not enough."""
        while True:
            hello = self.parser.feed(data[: self.look])
            if hello is not None or len(data) < self.look or self.look == self.limit:
                return hello
            self.look = min(2 * self.look, self.limit)

    def _found(self, hello: ClientHello, info: IStreamInfo) -> None:
        settings = self.settings
        if settings.ja3:
            info.ja3 = tls_fingerprint.ja3(hello)
        if settings.ja4:
            info.ja4 = tls_fingerprint.ja4(hello)
        protocols = hello.alpn
        if protocols:
            info.application_protocols = protocols
        name = hello.server_name
        if name:
            info.server_name = name
        (settings.sni_found if name else settings.sni_not_found).inc()
        if not _OLDEST <= hello.legacy_version <= _NEWEST:
            settings.tls_not_found.inc()
            _note(info, "ClientHelloInvalidTlsVersion", _REJECTED)
            raise Refused("tls_inspector: the client's version of TLS is too old or unknown")
        settings.tls_found.inc()
        (settings.alpn_found if protocols else settings.alpn_not_found).inc()
        info.transport_protocol = "tls"

    def _failed(self, error: ProtocolError, size: int, info: IStreamInfo) -> None:
        """Note why it is not TLS; raise Refused if that ends the connection."""
        settings = self.settings
        if isinstance(error, Closed):
            raise Refused("tls_inspector: the client closed the TLS session before it began")
        if isinstance(error, TooLarge):
            settings.too_large.inc()
            _note(info, "ClientHelloTooLarge")
            raise Refused("tls_inspector: the ClientHello is too large")
        if settings.close_on_error and min(size, self.look) >= self.limit:
            settings.too_large.inc()
            _note(info, "ClientHelloTooLarge", error)
        else:
            settings.tls_not_found.inc()
            _note(info, "ClientHelloNotDetected", error)
        if settings.close_on_error:
            raise Refused(f"tls_inspector: no ClientHello: {error}")
        info.transport_protocol = "raw_buffer"


def _note(info: IStreamInfo, reason: str, error: ProtocolError | None = None) -> None:
    info.metadata.setdefault(NAME, {})["failure_reason"] = reason
    if error is not None:
        info.transport_failure_reason = (
            f"TLS_error|error:{0x10000000 + error.number:x}:SSL routines:OPENSSL_internal:"
            f"{error.reason}:TLS_error_end"
        )


def configure(config: Any, context: IFactoryContext) -> Callable[[], IListenerFilter]:
    """Return what makes an inspector for a connection."""
    settings = Settings(config, context)
    return lambda: Inspector(settings)


tls_inspector = ListenerFilterPlugin(
    NAME,
    TlsInspector,
    configure,
    serves=(
        "enable_ja3_fingerprinting",
        "enable_ja4_fingerprinting",
        "initial_read_buffer_size",
        "close_connection_on_client_hello_parsing_errors",
        "max_client_hello_size",
    ),
)
