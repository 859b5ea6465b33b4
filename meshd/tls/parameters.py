"""
What the contexts of one filter chain or cluster are made with: plain settings, no protobuf.

Names are OpenSSL's.  The defaults are Envoy's: TLS 1.2 and 1.3 for servers, only
1.2 for clients, ciphers with forward secrecy and authenticated encryption.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from OpenSSL import SSL

from meshd.tls import openssl
from meshd.tls.flags import OPTIONS
from meshd.tls.options import TlsOptions

CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305"
    ":ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-CHACHA20-POLY1305"
    ":ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"
)
#: Suites of TLS 1.3; a server prefers them in this order.
CIPHERSUITES = "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256"
GROUPS = "X25519:P-256"

#: Versions by the names of Envoy and of stunnel.
VERSIONS = {
    "SSLv3": SSL.SSL3_VERSION,
    "TLSv1": SSL.TLS1_VERSION,
    "TLSv1.0": SSL.TLS1_VERSION,
    "TLSv1.1": SSL.TLS1_1_VERSION,
    "TLSv1.2": SSL.TLS1_2_VERSION,
    "TLSv1.3": SSL.TLS1_3_VERSION,
}


class BadParameter(Exception):
    """A setting that OpenSSL will not have; field says which."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


@attrs.frozen
class Parameters:
    """Versions, ciphers, groups, signature algorithms (colons between them) and ALPN of one side."""

    min_version: int = SSL.TLS1_2_VERSION
    max_version: int = SSL.TLS1_3_VERSION
    ciphers: str = CIPHERS
    ciphersuites: str = CIPHERSUITES
    #: Clients that would rather have ChaCha20 than AES, for want of hardware, get it.
    prefer_chacha: bool = False
    groups: str = GROUPS
    signature_algorithms: str = ""
    alpn: tuple[bytes, ...] = ()
    options: TlsOptions = attrs.field(factory=TlsOptions)
    #: Is called with each connection (OpenSSL.SSL.Connection) and line of key material (key_log).
    key_log: Callable[[Any, bytes], None] | None = None


def apply(context: SSL.Context, settings: Parameters, server: bool) -> None:
    """Set context as settings say.  Raise BadParameter."""
    options = settings.options
    context.set_min_proto_version(settings.min_version)
    context.set_max_proto_version(settings.max_version)
    if settings.max_version and settings.min_version > settings.max_version:
        raise BadParameter("tls_minimum_protocol_version", "the minimum version is above the maximum")
    _set_ciphers(context, settings)
    strictly = server and not options.groups
    if settings.groups and not openssl.set_groups(context, settings.groups, strictly):
        raise BadParameter("ecdh_curves", f"Failed to initialize ECDH curves {settings.groups}")
    algorithms = settings.signature_algorithms
    if algorithms and not openssl.set_signature_algorithms(context, algorithms):
        raise BadParameter(
            "signature_algorithms", f"Failed to initialize TLS signature algorithms {algorithms}"
        )
    openssl.set_options(context, options.bits | OPTIONS["NO_COMPRESSION"])
    if server and settings.prefer_chacha:
        openssl.set_options(context, OPTIONS["PRIORITIZE_CHACHA"])
    if not options.renegotiation:
        openssl.set_options(context, OPTIONS["NO_RENEGOTIATION"])
    if settings.key_log is not None:
        context.set_keylog_callback(settings.key_log)


def _set_ciphers(context: SSL.Context, settings: Parameters) -> None:
    level = settings.options.security_level
    if level is None and settings.min_version < SSL.TLS1_2_VERSION:
        level = 0  # OpenSSL allows the signatures of TLS 1.0 and 1.1 at level 0 only
    ciphers = settings.ciphers if level is None else f"{settings.ciphers}:@SECLEVEL={level}"
    try:
        context.set_cipher_list(ciphers.encode())
    except SSL.Error:
        rejected = ", ".join(each for each in settings.ciphers.split(":") if not _known(each))
        raise BadParameter(
            "cipher_suites",
            f"Failed to initialize cipher suites {settings.ciphers}. The following ciphers were rejected when"
            f" tried individually: {rejected}",
        ) from None
    unknown = [each for each in settings.ciphers.split(":") if each and not _known(each)]
    if unknown and not settings.options.ciphers:
        # OpenSSL passes over what it does not know; Envoy does not.
        raise BadParameter(
            "cipher_suites",
            f"Failed to initialize cipher suites {settings.ciphers}. The following ciphers were rejected when"
            f" tried individually: {', '.join(unknown)}",
        )
    if settings.ciphersuites and not openssl.set_ciphersuites(context, settings.ciphersuites):
        raise BadParameter("cipher_suites", f"OpenSSL does not know the suites {settings.ciphersuites}")


def _known(cipher: str) -> bool:
    try:
        SSL.Context(SSL.TLS_METHOD).set_cipher_list(cipher.encode())
    except SSL.Error:
        return False
    return True
