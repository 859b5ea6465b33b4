"""
The transport sockets of TLS: envoy.transport_sockets.tls for both sides, and starttls.

Serves envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext and
UpstreamTlsContext, envoy.extensions.transport_sockets.starttls.v3.StartTlsConfig
and UpstreamStartTlsConfig.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from envoy.extensions.transport_sockets.starttls.v3.starttls_pb2 import (
    StartTlsConfig,
    UpstreamStartTlsConfig,
)
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import DownstreamTlsContext, UpstreamTlsContext

from meshd.config.plain import optional_seconds, wrapped
from meshd.interfaces import IFactoryContext, INetworkFilter
from meshd.plugin import ConfigError, TransportSocketPlugin
from meshd.tls.client import ClientSettings, ClientTerms
from meshd.tls.config import at, read_options, read_parameters, read_psk
from meshd.tls.link import TLSLink
from meshd.tls.ocsp_client import OcspClient
from meshd.tls.options import TlsOptions
from meshd.tls.parameters import BadParameter
from meshd.tls.provider import read_provider
from meshd.tls.review import Review
from meshd.tls.server import ServerSettings, ServerTerms
from meshd.tls.staple_fetcher import StapleFetcher
from meshd.tls.stapling import Stapling
from meshd.tls.starttls import StartTLSLink
from meshd.tls.supply import Supply

Builders = Sequence[Callable[[], INetworkFilter]]

#: Seconds for a handshake where the filter chain does not say: a peer that dawdles is no use to anybody.
HANDSHAKE_TIMEOUT = 15.0

BOTH = (
    "tls_params.tls_minimum_protocol_version",
    "tls_params.tls_maximum_protocol_version",
    "tls_params.cipher_suites",
    "tls_params.ecdh_curves",
    "tls_params.signature_algorithms",
    "tls_certificates.certificate_chain",
    "tls_certificates.private_key",
    "tls_certificates.pkcs12",
    "tls_certificates.password",
    "tls_certificates.ocsp_staple",
    "tls_certificates.watched_directory",
    "tls_certificate_sds_secret_configs",
    "validation_context",
    "validation_context_sds_secret_config",
    "combined_validation_context",
    "alpn_protocols",
    "custom_handshaker",
    "key_log",
)
DOWNSTREAM = (
    *(f"common_tls_context.{each}" for each in BOTH),
    "common_tls_context.custom_tls_certificate_selector",
    "require_client_certificate",
    "disable_stateless_session_resumption",
    "disable_stateful_session_resumption",
    "session_timeout",
    "ocsp_staple_policy",
    "full_scan_certs_on_sni_mismatch",
    "prefer_client_ciphers",
)
UPSTREAM = (
    *(f"common_tls_context.{each}" for each in BOTH),
    "sni",
    "auto_host_sni",
    "auto_sni_san_validation",
    "max_session_keys",
)


def downstream_terms(config: DownstreamTlsContext, context: IFactoryContext) -> ServerTerms:
    """Return what the connections of a filter chain share."""
    tls_context, shared, around = config.common_tls_context, context.tls, context.around
    with at("common_tls_context"):
        options = read_options(tls_context)
        parameters = read_parameters(tls_context, options, "TLSv1.3", shared.key_logs.open)
        psk = read_psk(options)
        provider = read_provider(tls_context)
    session = optional_seconds(config, "session_timeout")
    settings = ServerSettings(
        parameters=parameters,
        require_certificate=wrapped(config, "require_client_certificate", False),
        stateless=not config.disable_stateless_session_resumption,
        stateful=not config.disable_stateful_session_resumption,
        session_timeout=options.session_timeout if session is None else int(session),
        full_scan=wrapped(config, "full_scan_certs_on_sni_mismatch", False),
        client_preference=config.prefer_client_ciphers,
        psk=psk,
        provider=provider,
        name=around.name,
    )
    terms = ServerTerms(settings, around.scope, context.timers, shared.handshakes, _timeout(options, around))
    fetcher = None
    if options.fetch_staples:
        fetcher = StapleFetcher(OcspClient(context.reactor), context.clock)
    terms.stapling = Stapling(config.ocsp_staple_policy, terms.stats, fetcher)
    terms.reviewer = _reviewer(options, context)
    with at("common_tls_context"):
        Supply(tls_context, context, terms, needs_certificate=psk is None and provider is None).start()
    return terms


def _reviewer(options: TlsOptions, context: IFactoryContext) -> Review | None:
    return None if options.ocsp is None else Review(options.ocsp, OcspClient(context.reactor))


def _timeout(options: Any, around: Any) -> float:
    for each in (options.handshake_timeout, around.timeout):
        if each is not None:
            return float(each)
    return HANDSHAKE_TIMEOUT


def upstream_terms(config: UpstreamTlsContext, context: IFactoryContext) -> ClientTerms:
    """Return what the connections of a cluster share."""
    tls_context, shared, around = config.common_tls_context, context.tls, context.around
    if len(tls_context.tls_certificates) + len(tls_context.tls_certificate_sds_secret_configs) > 1:
        raise ConfigError(
            "Multiple TLS certificates are not supported for client contexts", "common_tls_context"
        )
    with at("common_tls_context"):
        options = read_options(tls_context)
        # Envoy's clients go to TLS 1.2 unless they are told otherwise.
        parameters = read_parameters(tls_context, options, "TLSv1.2", shared.key_logs.open)
        psk = read_psk(options)
    keep = wrapped(config, "max_session_keys", options.session_cache_size or 1)
    settings = ClientSettings(
        parameters=parameters,
        sni=config.sni,
        auto_sni=config.auto_host_sni,
        auto_san=config.auto_sni_san_validation,
        sessions=keep if options.session_resume else 0,
        psk=psk,
        name=around.name,
    )
    if config.auto_sni_san_validation and tls_context.WhichOneof("validation_context_type") is None:
        raise ConfigError(
            "'auto_sni_san_validation' was configured without a validation context", "auto_sni_san_validation"
        )
    if len(config.sni) > 255:
        raise ConfigError("SNI names longer than 255 characters are not allowed", "sni")
    terms = ClientTerms(settings, around.scope, context.timers, shared.handshakes)
    terms.reviewer = _reviewer(options, context)
    with at("common_tls_context"):
        Supply(tls_context, context, terms, needs_certificate=False).start()
    return terms


def _configure(make: Callable[[Any, Any], Any], config: Any, context: IFactoryContext) -> Builders:
    try:
        terms = make(config, context)
    except BadParameter as error:
        raise ConfigError(str(error), *_path(error.field)) from None
    return (partial(TLSLink, terms),)


def _path(field: str) -> tuple[str, ...]:
    return ("common_tls_context", "tls_params", field)


def _configure_starttls(make: Callable[[Any, Any], Any], config: Any, context: IFactoryContext) -> Builders:
    try:
        terms = make(config.tls_socket_config, context)
    except BadParameter as error:
        raise ConfigError(str(error), "tls_socket_config", *_path(error.field)) from None
    except ConfigError as error:
        raise error.under("tls_socket_config") from None
    return (partial(StartTLSLink, terms),)


downstream_tls = TransportSocketPlugin(
    "envoy.transport_sockets.tls",
    DownstreamTlsContext,
    partial(_configure, downstream_terms),
    serves=DOWNSTREAM,
    side="downstream",
)

upstream_tls = TransportSocketPlugin(
    "envoy.transport_sockets.tls",
    UpstreamTlsContext,
    partial(_configure, upstream_terms),
    serves=UPSTREAM,
    side="upstream",
)

downstream_starttls = TransportSocketPlugin(
    "envoy.transport_sockets.starttls",
    StartTlsConfig,
    partial(_configure_starttls, downstream_terms),
    serves=("cleartext_socket_config", *(f"tls_socket_config.{each}" for each in DOWNSTREAM)),
    side="downstream",
)

upstream_starttls = TransportSocketPlugin(
    "envoy.transport_sockets.starttls",
    UpstreamStartTlsConfig,
    partial(_configure_starttls, upstream_terms),
    serves=("cleartext_socket_config", *(f"tls_socket_config.{each}" for each in UPSTREAM)),
    side="upstream",
)
