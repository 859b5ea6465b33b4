"""
A section's TLS options as Envoy's TLS contexts.

What Envoy has no field for is in TlsOptions (meshd.tls.options), which the
contexts carry as their custom_handshaker.
"""

from __future__ import annotations

import os
import sys
from getpass import getpass
from pathlib import Path
from typing import Any

import attrs
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

from meshd.stunnel import extras, psk
from meshd.stunnel.model import Service, Tls
from meshd.stunnel.syntax import Failure

TYPES = "type.googleapis.com"
_TLS = f"{TYPES}/envoy.extensions.transport_sockets.tls.v3"
STRUCT = f"{TYPES}/xds.type.v3.TypedStruct"

#: What marks a file as PEM; another is PKCS#12.
_PEM = b"-----BEGIN "
#: The SSL_CONF_cmd commands that are options of our own, and those.
_COMMANDS = {
    "ciphersuites": "ciphersuites",
    "cipherstring": "ciphers",
    "curves": "curves",
    "groups": "curves",
    "minprotocol": "min_version",
    "maxprotocol": "max_version",
}


def struct(name: str, **fields: Any) -> dict[str, Any]:
    """Return a TypedStruct of one of meshd's own configs."""
    return {"@type": STRUCT, "type_url": f"{TYPES}/{name}", "value": fields}


def extension(name: str, **fields: Any) -> dict[str, Any]:
    """Return an extension whose config is one of meshd's own."""
    return {"name": name, "typed_config": struct(name, **fields)}


def downstream(service: Service) -> dict[str, Any]:
    """Return the context towards clients."""
    tls = service.tls
    context: dict[str, Any] = {
        "@type": f"{_TLS}.DownstreamTlsContext",
        "common_tls_context": _shared(service),
    }
    if tls.require_cert and not service.redirect:
        context["require_client_certificate"] = True
    if not tls.session_resume:
        context["disable_stateless_session_resumption"] = True
        context["disable_stateful_session_resumption"] = True
    context["session_timeout"] = f"{tls.session_timeout}s"
    return context


def upstream(service: Service) -> dict[str, Any]:
    """Return the context towards the server."""
    context: dict[str, Any] = {
        "@type": f"{_TLS}.UpstreamTlsContext",
        "common_tls_context": _shared(service),
        "max_session_keys": service.tls.session_cache_size if service.tls.session_resume else 0,
    }
    if name := server_name(service):
        context["sni"] = name
    return context


def server_name(service: Service) -> str:
    """Return the name that a client sends: sni, else the host that it wants, were it an IP address."""
    if service.sni is not None:
        return service.sni
    for text in (service.protocol.host, *(each.text for each in service.connect if not each.path)):
        host, colon, _ = text.rpartition(":")
        if colon or text:
            return host or "localhost"
    return ""


def _shared(service: Service) -> dict[str, Any]:
    tls = _with_commands(service)
    context: dict[str, Any] = {}
    watch = service.extras.get("watch", "no").lower() == "yes"
    if tls.cert:
        context["tls_certificates"] = [_certificate(tls, watch)]
    validation = _validation(tls)
    if validation:
        context["validation_context"] = validation
    if "alpn" in service.extras:
        context["alpn_protocols"] = extras.protocols(service.extras["alpn"])
    context["custom_handshaker"] = extension("meshd.tls.options", **_options(service, tls))
    return context


def _with_commands(service: Service) -> Tls:
    """Return the options with what ``config =`` adds."""
    changes: dict[str, Any] = {}
    for name, value in service.tls.commands:
        field = _COMMANDS.get(name.lower())
        if field is None:
            raise Failure(
                f"Service [{service.name}]: Failed to initialize TLS context",
                (f'OpenSSL config command "{name}" was not recognised',),
            )
        if not value:
            raise Failure(
                f"Service [{service.name}]: Failed to initialize TLS context",
                (f'OpenSSL config command "{name}" requires a parameter',),
            )
        changes[field] = value
    if not changes:
        return service.tls
    return attrs.evolve(service.tls, **changes)


def _certificate(tls: Tls, watch: bool) -> dict[str, Any]:
    try:
        data = Path(tls.cert).read_bytes()
    except OSError:
        data = _PEM  # what reads it for use says what is wrong
    if _PEM not in data:
        certificate: dict[str, Any] = {"pkcs12": {"filename": tls.cert}}
    else:
        certificate = {
            "certificate_chain": {"filename": tls.cert},
            "private_key": {"filename": tls.key or tls.cert},
        }
    if password := _passphrase(tls, data):
        certificate["password"] = {"inline_string": password}
    if watch:
        certificate["watched_directory"] = {"path": os.path.dirname(tls.cert) or "."}
    return certificate


def _has_issuer(tls: Tls) -> bool:
    """Whether the file has the certificate of who issued the first one, too."""
    try:
        return Path(tls.cert).read_bytes().count(b"-----BEGIN CERTIFICATE-----") > 1
    except OSError:
        return False


def _passphrase(tls: Tls, data: bytes) -> str:
    """Ask for the passphrase of a key, as OpenSSL would: on the terminal, if there is one."""
    path = tls.key or tls.cert
    if _PEM in data and path != tls.cert:
        try:
            data = Path(path).read_bytes()
        except OSError:
            return ""
    locked = b"ENCRYPTED" in data if _PEM in data else _is_locked(data)
    return getpass(f"Enter {path} pass phrase:") if locked and sys.stdin.isatty() else ""


def _is_locked(data: bytes) -> bool:
    """Whether PKCS#12 needs a passphrase."""
    try:
        load_pkcs12(data, None)
    except ValueError:
        return True
    return False


def _validation(tls: Tls) -> dict[str, Any]:
    """Return the validation context; empty if nobody looks at the peer's certificate."""
    if not tls.verifies:
        return {}
    context: dict[str, Any] = {}
    if authorities := _file_and_directory(tls.ca_file, tls.ca_path):
        context["trusted_ca"] = authorities
    if revoked := _file_and_directory(tls.crl_file, tls.crl_path):
        context["crl"] = revoked
        context["only_verify_leaf_cert_crl"] = True
    if not tls.verify_chain and not tls.verify_peer:
        context["trust_chain_verification"] = "ACCEPT_UNTRUSTED"
    return context


def _file_and_directory(file: str, directory: str) -> dict[str, Any]:
    """Return a data source of a file, of all files of a directory of hashed names, or of both."""
    if not directory:
        return {"filename": file} if file else {}
    paths = [Path(file)] if file else []
    try:
        paths += sorted(each for each in Path(directory).iterdir() if each.is_file())
        texts = [path.read_text(errors="replace") for path in paths]
    except OSError as error:
        raise Failure(f"{directory}: {error.strerror} ({error.errno})") from None
    text = "\n".join(text for text in texts if "-----BEGIN " in text)
    return {"inline_string": text} if text else {}


def _options(service: Service, tls: Tls) -> dict[str, Any]:
    """Return the fields of TlsOptions."""
    fields: dict[str, Any] = {
        "ciphers": tls.ciphers,
        "ciphersuites": tls.ciphersuites,
        "groups": tls.curves,
        "min_version": tls.min_version or "all",
        "max_version": tls.max_version or "all",
        "openssl_options": ["NO_SSLv2", "NO_SSLv3", *tls.options],
        "renegotiation": tls.renegotiation,
        "session_timeout": tls.session_timeout,
        "session_cache_size": tls.session_cache_size,
        "session_resume": tls.session_resume,
        "fetch_staples": not service.client and _has_issuer(tls),
        "request_certificate": "request" if service.redirect else _request(tls),
        "verify_peer": tls.verify_peer,
        "check_hosts": tls.check_hosts,
        "check_ips": tls.check_ips,
        "check_emails": tls.check_emails,
        "security_level": tls.security_level,
        "verify_chain": tls.verify_chain,
        "late_verdict": bool(service.redirect),
        "handshake_timeout": max(0, service.timeout_busy),
        "reset": service.reset,
    }
    if tls.psk_secrets:
        fields["psk"] = {
            identity: key.hex()
            for identity, key in psk.read_secrets(tls.psk_secrets, lambda level, text: None).items()
        }
        if service.client:
            fields["psk_identity"] = tls.psk_identity or next(iter(fields["psk"]), "")
    if tls.ocsp_url or tls.ocsp_aia:
        fields["ocsp"] = _ocsp(tls)
    return {name: value for name, value in fields.items() if value not in (None, "", [], {})}


def _request(tls: Tls) -> str:
    if tls.require_cert:
        return "require"
    return "request" if tls.request_cert else "no"


def _ocsp(tls: Tls) -> dict[str, Any]:
    return {
        "url": tls.ocsp_url,
        "aia": tls.ocsp_aia,
        "nonce": tls.ocsp_nonce,
        "require": tls.ocsp_require,
        "timeout": tls.ocsp_timeout,
        "flags": tls.ocsp_flags,
    }
