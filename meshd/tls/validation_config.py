"""Reads Envoy's CertificateValidationContext to the settings of a Validation."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Iterator
from typing import Any

import attrs

from meshd.config.plain import source_name, wrapped
from meshd.plugin import ConfigError
from meshd.tls.san import SanMatcher, matcher, untyped_matchers
from meshd.tls.validation import Settings, Validation, ValidationError

#: CertificateValidationContext.TrustChainVerification.
ACCEPT_UNTRUSTED = 1


def read_validation(message: Any, read_source: Callable[[Any], bytes]) -> Settings:
    """
    Read a CertificateValidationContext; read_source returns the bytes of a DataSource.

    Raise ConfigError, with a path from message, for what Envoy refuses too, and for a CRL that is none.
    """
    settings = Settings(
        trusted_ca=_source(message, "trusted_ca", read_source),
        source=source_name(message.trusted_ca),
        system_roots=message.HasField("system_root_certs"),
        crl=_source(message, "crl", read_source),
        crl_source=source_name(message.crl),
        only_verify_leaf_cert_crl=message.only_verify_leaf_cert_crl,
        allow_expired_certificate=message.allow_expired_certificate,
        accept_untrusted=message.trust_chain_verification == ACCEPT_UNTRUSTED,
        san_matchers=tuple(_matchers(message)),
        certificate_hashes=frozenset(
            _hash(text, "verify_certificate_hash", index)
            for index, text in enumerate(message.verify_certificate_hash)
        ),
        spki_hashes=frozenset(
            _pin(text, "verify_certificate_spki", index)
            for index, text in enumerate(message.verify_certificate_spki)
        ),
        max_verify_depth=wrapped(message, "max_verify_depth"),
    )
    _check(settings)
    return settings


def _check(settings: Settings) -> None:
    """Raise ConfigError for settings that have no sense, or that nothing can be made of."""
    if not settings.trusted_ca and not settings.system_roots:
        if settings.san_matchers:
            raise ConfigError(
                "SAN-based verification of peer certificates without trusted CA is insecure and not allowed",
                "match_typed_subject_alt_names",
            )
        if settings.allow_expired_certificate:
            raise ConfigError(
                "Certificate validity period is always ignored without trusted CA",
                "allow_expired_certificate",
            )
    try:
        Validation(attrs.evolve(settings, crl=b""))
    except ValidationError as error:
        raise ConfigError(str(error), "trusted_ca") from None
    try:
        Validation(settings)
    except ValidationError as error:
        raise ConfigError(str(error), "crl") from None


def _source(message: Any, field: str, read_source: Callable[[Any], bytes]) -> bytes:
    if not message.HasField(field):
        return b""
    try:
        found = read_source(getattr(message, field))
    except ConfigError as error:
        raise error.under(field) from None
    if not found:
        # Nothing that is trusted would trust everybody; Envoy takes an empty list of revocations for none.
        raise ConfigError(f"file {source_name(getattr(message, field))} is empty", field)
    return found


def _matchers(message: Any) -> Iterator[SanMatcher]:
    # As in Envoy the field of old counts only without the new one.
    field = "match_typed_subject_alt_names"
    if not getattr(message, field):
        field = "match_subject_alt_names"
    for index, each in enumerate(getattr(message, field)):
        try:
            yield from [matcher(each)] if field == "match_typed_subject_alt_names" else untyped_matchers(each)
        except ConfigError as error:
            raise error.under(field, index) from None


def _hash(text: str, *path: str | int) -> str:
    """Return a SHA-256, with or without colons, in lower case without."""
    digits = text.replace(":", "") if re.fullmatch("(..:){31}..", text) else text
    if not re.fullmatch("[0-9a-fA-F]{64}", digits):
        raise ConfigError(f"Invalid hex-encoded SHA-256 {text}", *path)
    return digits.lower()


def _pin(text: str, *path: str | int) -> str:
    try:
        if len(b64decode(text, validate=True)) == 32:
            return text
    except ValueError:
        pass
    raise ConfigError(f"Invalid base64-encoded SHA-256 {text}", *path)
