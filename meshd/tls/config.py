"""
Reads Envoy's TLS messages into plain settings.

Every function raises ConfigError, its path from the message on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from meshd.config.plain import cidr_matcher, data_source, source_name
from meshd.config.unpack import open_record
from meshd.plugin import ConfigError
from meshd.tls.certificates import Credential, CredentialError, read_credential, read_pkcs12
from meshd.tls.options import NAME, TlsOptions
from meshd.tls.parameters import CIPHERS, CIPHERSUITES, GROUPS, VERSIONS, Parameters
from meshd.tls.psk import BadSecrets, Secrets, read_lines, read_secret
from meshd.tls.validation import ValidationError

#: TlsParameters.TlsProtocol by number; TLS_AUTO is the side's default.
_PROTOCOLS = ("", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")


@contextmanager
def at(*path: str | int) -> Iterator[None]:
    """Let what is wrong with files and keys be a ConfigError of this path."""
    try:
        yield
    except ConfigError as error:
        raise error.under(*path) from None
    except (CredentialError, ValidationError, BadSecrets) as error:
        raise ConfigError(str(error), *path) from None
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}", *path) from None


def read_options(tls_context: Any) -> TlsOptions:
    """Return the TlsOptions of a CommonTlsContext."""
    if not tls_context.HasField("custom_handshaker"):
        return TlsOptions()
    with at("custom_handshaker", "typed_config"):
        options: TlsOptions = open_record(tls_context.custom_handshaker.typed_config, NAME, TlsOptions)
        return options


def read_parameters(
    tls_context: Any, options: TlsOptions, default_max: str, key_log: Callable[[str], Any]
) -> Parameters:
    """Return what a CommonTlsContext says of versions, ciphers, groups, ALPN and key log."""
    params = tls_context.tls_params
    for place, each in enumerate(tls_context.alpn_protocols):
        if not 0 < len(each.encode()) < 256:
            raise ConfigError("a protocol of ALPN has 1 to 255 bytes", "alpn_protocols", place)
    return Parameters(
        min_version=_version(options.min_version, params.tls_minimum_protocol_version, "TLSv1.2"),
        max_version=_version(options.max_version, params.tls_maximum_protocol_version, default_max),
        ciphers=options.ciphers or ":".join(_flat(params.cipher_suites)) or CIPHERS,
        ciphersuites=options.ciphersuites or CIPHERSUITES,
        prefer_chacha=not options.ciphers and _has_equals(params.cipher_suites),
        groups=options.groups or ":".join(params.ecdh_curves) or GROUPS,
        signature_algorithms=":".join(map(_algorithm, params.signature_algorithms)),
        alpn=_alpn(tls_context.alpn_protocols),
        options=options,
        key_log=_key_log(tls_context, key_log),
    )


def _version(option: str, protocol: int, default: str) -> int:
    if option == "all":
        return 0
    return int(VERSIONS[option or _PROTOCOLS[protocol] or default])


def _flat(suites: Any) -> Iterator[str]:
    """Yield ciphers one by one: OpenSSL has no groups of equal preference, [A|B] of BoringSSL."""
    for each in suites:
        yield from each.replace("[", "").replace("]", "").replace("|", ":").split(":")


def _has_equals(suites: Any) -> bool:
    """Whether ChaCha20 is as good as AES, which OpenSSL can be told: so it is by default, or in [A|B]."""
    return not suites or any("[" in each and "CHACHA20" in each for each in suites)


def _alpn(protocols: Any) -> tuple[bytes, ...]:
    # Envoy takes "h2,http/1.1" for two, as old configs have it.
    return tuple(each.encode() for field in protocols for each in field.split(",") if each)


def _algorithm(name: str) -> str:
    """Return OpenSSL's name of a signature algorithm: that of RFC 8446, 4.2.3, but for two."""
    return {"rsa_pkcs1_sha1": "RSA+SHA1", "ecdsa_sha1": "ECDSA+SHA1"}.get(name, name)


def _key_log(tls_context: Any, open_log: Callable[[str], Any]) -> Any:
    log = tls_context.key_log
    if not tls_context.HasField("key_log") or not log.path:
        return None
    with at("key_log", "path"):
        write = open_log(log.path)
    with at("key_log", "local_address_range"):
        local = cidr_matcher(log.local_address_range) if log.local_address_range else None
    with at("key_log", "remote_address_range"):
        remote = cidr_matcher(log.remote_address_range) if log.remote_address_range else None

    def line(connection: Any, text: bytes) -> None:
        ssl = connection.get_app_data()
        ends = ssl.app.ends if ssl is not None else (None, None)
        if (local is None or _inside(local, ends[0])) and (remote is None or _inside(remote, ends[1])):
            write(text)

    return line


def _inside(matches: Callable[[str], bool], address: Any) -> bool:
    return not isinstance(address, str) and address is not None and matches(address[0])


def read_certificate(message: Any, read_source: Callable[[Any], bytes] = data_source) -> Credential:
    """Return the credential of a TlsCertificate message; read_source reads its data sources."""
    with at("password"):
        password = read_source(message.password) if message.HasField("password") else None
    read = _read_pkcs12 if message.HasField("pkcs12") else _read_pem
    credential = read(message, password, read_source)
    if message.HasField("ocsp_staple"):
        with at("ocsp_staple"):
            credential.staple = read_source(message.ocsp_staple) or None
    return credential


def _read_pkcs12(message: Any, password: bytes | None, read_source: Callable[[Any], bytes]) -> Credential:
    for field in ("certificate_chain", "private_key"):
        if message.HasField(field):
            raise ConfigError(f"Certificate configuration can't have both pkcs12 and {field}", field)
    with at("pkcs12"):
        return read_pkcs12(read_source(message.pkcs12), password, source_name(message.pkcs12))


def _read_pem(message: Any, password: bytes | None, read_source: Callable[[Any], bytes]) -> Credential:
    name, key_name = source_name(message.certificate_chain), source_name(message.private_key)
    with at("certificate_chain"):
        chain = read_source(message.certificate_chain)
        if not chain:
            raise ConfigError(f"Failed to load incomplete certificate from {name}: certificate chain not set")
    with at("private_key"):
        key = read_source(message.private_key)
        if not key:
            raise ConfigError(f"Failed to load incomplete private key from path: {key_name}")
    try:
        return read_credential(chain, key, password, name, key_name=key_name)
    except CredentialError as error:
        raise ConfigError(str(error), "private_key" if error.of_key else "certificate_chain") from None


def read_psk(options: TlsOptions) -> Secrets | None:
    """Return the pre-shared keys of a context, None if it has none."""
    secrets = {name.encode(): read_secret(text) for name, text in options.psk.items()}
    path = ("custom_handshaker", "typed_config")
    if options.psk_file:
        with at(*path, "psk_file"), open(options.psk_file, encoding="utf-8") as file:
            secrets.update(read_lines(file.read()))
    if not secrets:
        if options.psk_identity:
            raise ConfigError("there are no pre-shared keys", *path, "psk_identity")
        return None
    with at(*path, "psk"):
        return Secrets(secrets, options.psk_identity.encode())
