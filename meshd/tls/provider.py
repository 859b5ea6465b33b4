"""
Certificates from a Twisted object: CertificateOptions, or whatever makes connections as that does.

A config names it in common_tls_context.custom_tls_certificate_selector, so that
what obtains certificates by itself (ACME) fits.  It is an
IOpenSSLServerConnectionCreator, or has getContext(), or is a callable that
returns such an object.  Versions, ciphers and what is demanded of clients are
its own affair then: of a TLS context only the rest is heeded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator

from meshd.config.unpack import open_record
from meshd.plugin import ConfigError, named_object

#: The name of the extension, and of the type in its TypedStruct.
NAME = "meshd.tls.provider"

#: What says more than a provider leaves to the context.
_ITS_OWN = (
    "tls_params",
    "tls_certificates",
    "tls_certificate_sds_secret_configs",
    "alpn_protocols",
    "key_log",
)


@attrs.frozen
class Config:
    """The config of meshd.tls.provider: "package.module:object", and the arguments of one that is called."""

    factory: str = attrs.field(validator=attrs.validators.matches_re(r"[\w.]+:[\w.]+"))
    args: list[Any] = attrs.field(factory=list)
    kwargs: dict[str, Any] = attrs.field(factory=dict)


def read_provider(tls_context: Any) -> Callable[[Any], SSL.Connection] | None:
    """
    Return what makes a connection for a link, None if a CommonTlsContext names no provider.

    Raise ConfigError, its path from the CommonTlsContext on.
    """
    field = "custom_tls_certificate_selector"
    if not tls_context.HasField(field):
        return None
    for set_field, _ in tls_context.ListFields():
        if set_field.name in _ITS_OWN or set_field.name.startswith(("validation_", "combined_")):
            raise ConfigError(f"{field} provides this: give one of them", set_field.name)
    try:
        config = open_record(tls_context.custom_tls_certificate_selector.typed_config, NAME, Config)
        return _creator(config)
    except ConfigError as error:
        raise error.under(field, "typed_config") from None


def _creator(config: Config) -> Callable[[Any], SSL.Connection]:
    found = named_object(config.factory)
    if not _is_provider(found) and callable(found):
        try:
            found = found(*config.args, **config.kwargs)
        except Exception as error:
            raise ConfigError(
                f"{config.factory} raised {type(error).__name__}: {error}", "factory"
            ) from error
    if not _is_provider(found):
        raise ConfigError(
            f"{config.factory} is, or makes, nothing that provides certificates: {found!r}", "factory"
        )

    def connect(link: Any) -> SSL.Connection:
        if IOpenSSLServerConnectionCreator.providedBy(found):
            shown: Any = _AsTwisted(link)
            connection: SSL.Connection = found.serverConnectionForTLS(shown)
        else:
            connection = SSL.Connection(found.getContext(), None)
        connection.set_accept_state()
        return connection

    return connect


class _AsTwisted:
    """A link as CertificateOptions knows a TLSMemoryBIOProtocol, whose factory it asks about ALPN."""

    wrappedFactory = None

    def __init__(self, link: Any) -> None:
        self.link = link
        self.factory = self


def _is_provider(found: Any) -> bool:
    if isinstance(found, type):
        return False
    return IOpenSSLServerConnectionCreator.providedBy(found) or hasattr(found, "getContext")
