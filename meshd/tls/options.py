"""
What stunnel has and Envoy's TLS messages have not.

A config gives it in common_tls_context.custom_handshaker, the place that
Envoy's API keeps for extensions of the handshake.
"""

from __future__ import annotations

from typing import Literal

import attrs

from meshd.tls.flags import OPTIONS
from meshd.tls.ocsp import FLAGS

#: The name of the extension, and of the type in its TypedStruct.
NAME = "meshd.tls.options"

#: What OpenSSL sets by itself, and its binding cannot clear.
ALWAYS = ("NO_COMPRESSION", "ENABLE_MIDDLEBOX_COMPAT")


def _known_options(instance: object, attribute: object, value: list[str]) -> None:
    for each in value:
        name = each.removeprefix("-")
        if name not in OPTIONS:
            raise ValueError(f"OpenSSL has no option {name!r}")
        if each.startswith("-") and name in ALWAYS:
            raise ValueError(f"the option {name!r} cannot be cleared")


def _known_version(instance: object, attribute: object, value: str) -> None:
    if value not in ("", "all", "SSLv3", "TLSv1", "TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3"):
        raise ValueError(f"{value!r} is no version of TLS")


@attrs.frozen
class Ocsp:
    """Whether a responder is asked about the peer's certificate, and how."""

    #: The responder; empty: only those that certificates name, if aia says so.
    url: str = ""
    aia: bool = False
    nonce: bool = False
    #: Whether a certificate is refused if nobody can say that it is good.
    require: bool = True
    #: Seconds.
    timeout: float = 5.0
    #: What is left out of the checks of responses: NOINTERN, NOSIGS, NOVERIFY (OpenSSL's names).
    flags: list[str] = attrs.field(factory=list)

    @flags.validator
    def _known_flags(self, attribute: object, value: list[str]) -> None:
        for each in value:
            if each not in FLAGS:
                raise ValueError(f"{each!r} is none of {', '.join(FLAGS)}")


@attrs.frozen
class TlsOptions:
    """The config of meshd.tls.options; each field's default changes nothing."""

    #: Pre-shared keys: secrets as text or, if all digits, as hex, by identity.
    psk: dict[str, str] = attrs.field(factory=dict, repr=False)
    #: A file of lines identity:secret, read at load.
    psk_file: str = ""
    #: Which of them a client offers; empty: the first.
    psk_identity: str = ""
    #: Names of SSL_OP_* without the prefix; with - before it an earlier one is taken back.
    openssl_options: list[str] = attrs.field(factory=list, validator=_known_options)
    security_level: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.in_(range(6)))
    )
    #: OpenSSL's list for TLS 1.2 and below, in place of tls_params.cipher_suites.
    ciphers: str = ""
    #: Those of TLS 1.3.
    ciphersuites: str = ""
    groups: str = ""
    min_version: str = attrs.field(default="", validator=_known_version)
    max_version: str = attrs.field(default="", validator=_known_version)
    renegotiation: bool = False
    #: Seconds that a session may be resumed; for the client's side too.
    session_timeout: int | None = None
    #: Sessions that a client keeps.
    session_cache_size: int | None = None
    session_resume: bool = True
    #: Whether the peer is asked for a certificate where validation_context does not say.
    request_certificate: Literal["", "no", "request", "require"] = ""
    #: The peer's own certificate must be among the trusted ones.
    verify_peer: bool = False
    #: With verify_peer: the chain is not looked at.
    verify_chain: bool = True
    #: Any one of these must be in the certificate.
    check_hosts: list[str] = attrs.field(factory=list)
    check_ips: list[str] = attrs.field(factory=list)
    check_emails: list[str] = attrs.field(factory=list)
    #: A certificate that is not accepted does not end the handshake: filters read the verdict.
    late_verdict: bool = False
    ocsp: Ocsp | None = None
    #: Whether a certificate's OCSP response is fetched from its responder, and kept fresh.
    fetch_staples: bool = False
    #: Seconds for the handshake; 0 is for ever, none: what the filter chain says.
    handshake_timeout: float | None = None

    #: A failure that no alert told the peer of ends with a RST, as does a handshake that takes too long.
    reset: bool = False

    @property
    def bits(self) -> int:
        """openssl_options as OpenSSL has them."""
        bits = 0
        for each in self.openssl_options:
            if each.startswith("-"):
                bits &= ~OPTIONS[each[1:]]
            else:
                bits |= OPTIONS[each]
        return bits
