"""
Supplies a context with its certificates and with what it demands of its peers, now and as they change.

Certificates are in the message itself, or are secrets by name (SDS), which
files bring and may bring anew while connections go on.
"""

from __future__ import annotations

from typing import Any

import attrs
from twisted.logger import Logger

from meshd.config.plain import data_source
from meshd.interfaces import IFactoryContext
from meshd.plugin import ConfigError
from meshd.tls.certificates import Credential, CredentialError
from meshd.tls.config import at, read_certificate
from meshd.tls.parameters import BadParameter
from meshd.tls.sources import is_watched
from meshd.tls.validation import Settings, Validation, ValidationError
from meshd.tls.validation_config import read_validation

log = Logger(namespace="meshd.tls")


class Fixed:
    """A secret that is in the message, and stays."""

    name = ""
    dynamic = False

    def __init__(self, value: Any) -> None:
        self.value = value

    def on_change(self, callback: Any) -> None:
        """Never call back."""


class Supply:
    """What one CommonTlsContext asks for, and who is told of it: terms."""

    def __init__(
        self, tls_context: Any, context: IFactoryContext, terms: Any, needs_certificate: bool
    ) -> None:
        """Raise ConfigError, its path from the CommonTlsContext on."""
        self._terms = terms
        self._needs_certificate = needs_certificate
        self._name = context.around.name
        registry = context.tls.registry
        self._entry = None if registry is None else registry.enter(context.around.scope)
        self._options = terms.settings.parameters.options
        self._certificates = list(self._read_certificates(tls_context, context))
        if needs_certificate and not self._certificates:
            raise ConfigError("No TLS certificates found for server context")
        self._validation = self._read_validation(tls_context, context)

    def start(self) -> None:
        """Hand over what there is, and from now on what changes.  Raise BadParameter or ConfigError."""
        with at("tls_certificates", 0):
            self._hand_over()
        for each in (*self._certificates, *([self._validation] if self._validation else [])):
            each.on_change(self._changed)
            if each.dynamic and each.value is not None:
                # Envoy counts the first one that comes, too.
                self._terms.stats.context_updated.inc()

    def _changed(self) -> None:
        try:
            self._hand_over()
        except (BadParameter, CredentialError, ValidationError) as error:
            log.error("{name}: {error}; the certificates from before stay", name=self._name, error=error)
            return
        self._terms.stats.context_updated.inc()

    def _hand_over(self) -> None:
        """Raise BadParameter, CredentialError or ValidationError."""
        credentials: list[Credential] = [each.value for each in self._certificates if each.value is not None]
        missing = len(credentials) < len(self._certificates)
        settings = self._validation.value if self._validation is not None else None
        if (missing and not credentials) or (self._validation is not None and settings is None):
            self._terms.withdraw()
            return
        validation = Validation(self._settings(settings)) if settings is not None else None
        self._terms.use(credentials, validation)
        if self._entry is not None:
            self._entry.show(credentials, validation, self._validation.name if self._validation else "")

    def _read_certificates(self, tls_context: Any, context: IFactoryContext) -> Any:
        for place, each in enumerate(tls_context.tls_certificates):
            with at("tls_certificates", place):
                if is_watched(each):
                    yield context.tls.secrets.watched_certificate(each, context.around.scope)
                else:
                    yield Fixed(read_certificate(each))
        for place, each in enumerate(tls_context.tls_certificate_sds_secret_configs):
            with at("tls_certificate_sds_secret_configs", place):
                yield context.tls.secrets.certificate(each, context.around.scope)

    def _read_validation(self, tls_context: Any, context: IFactoryContext) -> Any:
        kind = tls_context.WhichOneof("validation_context_type")
        secrets, scope = context.tls.secrets, context.around.scope
        if kind == "validation_context":
            with at(kind):
                if is_watched(tls_context.validation_context):
                    return secrets.watched_validation(tls_context.validation_context, scope)
                return Fixed(read_validation(tls_context.validation_context, data_source))
        if kind == "validation_context_sds_secret_config":
            with at(kind):
                return secrets.validation(tls_context.validation_context_sds_secret_config, scope)
        if kind == "combined_validation_context":
            with at(kind):
                return secrets.combined_validation(tls_context.combined_validation_context, scope)
        if self._options.verify_peer or self._options.check_hosts:
            raise ConfigError("verify_peer and check_hosts need a validation_context", "custom_handshaker")
        return None

    def _settings(self, settings: Settings) -> Settings:
        """Return what is demanded, with stunnel's part of it."""
        options = self._options
        return attrs.evolve(
            settings,
            pinned_leaves=options.verify_peer,
            check_hosts=tuple(options.check_hosts),
            check_ips=tuple(options.check_ips),
            check_emails=tuple(options.check_emails),
        )
