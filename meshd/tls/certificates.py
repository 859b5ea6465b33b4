"""
Certificates with their private keys, read and checked once.

What cannot be used is a CredentialError at load, in Envoy's words where it has
some; the cause is told in plain English.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    pkcs12,
)

from meshd.tls import pem
from meshd.tls.facts import CertificateFacts

#: The shortest RSA key, in bits, that Envoy serves with.
SHORTEST_RSA = 2048

_CURVES = {"secp256r1": "ecdsa-p256", "secp384r1": "ecdsa-p384", "secp521r1": "ecdsa-p521"}


class CredentialError(ValueError):
    """A certificate, or if of_key its private key, that cannot be used, and why."""

    def __init__(self, text: str, of_key: bool = False) -> None:
        super().__init__(text)
        self.of_key = of_key


class Credential:
    """
    One certificate with its key.

    chain has the intermediates as they were given, without the certificate
    itself.  name says where it came from; kind is rsa, ecdsa-p256, ecdsa-p384,
    ecdsa-p521, ed25519, ed448, or another name that no signature scheme of TLS has.
    staple may be exchanged while it is used.
    """

    def __init__(
        self,
        certificate: x509.Certificate,
        chain: Sequence[x509.Certificate] = (),
        key: Any = None,
        name: str = "",
        staple: bytes | None = None,
    ) -> None:
        self.certificate = certificate
        self.chain = tuple(chain)
        #: The private key, as cryptography has it; None if it is elsewhere.
        self.key = key
        self.name = name
        #: What SDS or static_resources call it; empty if it is in the context itself.
        self.secret = ""
        #: An OCSP response, DER; and the same, parsed, for whoever staples it (meshd.tls.stapling).
        self.staple = staple
        self.parsed_staple: Any = None
        self.facts = CertificateFacts.of(certificate)
        self.kind = kind_of(certificate)
        self.must_staple = wants_staple(certificate)

    @property
    def server_names(self) -> tuple[str, ...]:
        """
        The names that a client may ask for to get it: its DNS names.

        Its common name counts if it has no alternative names at all, as in Envoy.
        """
        if self.facts.has_alternative_names:
            return self.facts.dns_sans
        return self.facts.subject_cns


def kind_of(certificate: x509.Certificate) -> str:
    """Return what a certificate's key signs with: rsa, ecdsa-p256, ed25519, ..."""
    try:
        key = certificate.public_key()
    except (UnsupportedAlgorithm, ValueError):
        return "unknown"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return _CURVES.get(key.curve.name, f"ecdsa-{key.curve.name}")
    kinds = {
        rsa.RSAPublicKey: "rsa",
        ed25519.Ed25519PublicKey: "ed25519",
        ed448.Ed448PublicKey: "ed448",
        dsa.DSAPublicKey: "dsa",
    }
    return next((kind for each, kind in kinds.items() if isinstance(key, each)), "unknown")


def wants_staple(certificate: x509.Certificate) -> bool:
    """Whether a certificate says that a server must staple an OCSP response (RFC 7633)."""
    try:
        feature = certificate.extensions.get_extension_for_class(x509.TLSFeature)
    except (x509.ExtensionNotFound, ValueError):
        return False
    return x509.TLSFeatureType.status_request in feature.value


def read_credential(
    chain: bytes,
    key: bytes,
    password: bytes | None,
    name: str,
    shortest_rsa: int = SHORTEST_RSA,
    key_name: str = "",
) -> Credential:
    """
    Read a certificate, its intermediates and its private key, all PEM.

    Both may be the same bytes: what is not asked for is passed over.  A password
    that is not needed is, too.  key_name is what messages call the key, name if
    not given.  Raise CredentialError.
    """
    first, *rest = read_certificates(chain, name)
    key_name = key_name or name
    credential = Credential(first, rest, read_key(key, password, key_name), name)
    _check(credential, shortest_rsa, key_name)
    return credential


def read_pkcs12(
    data: bytes, password: bytes | None, name: str, shortest_rsa: int = SHORTEST_RSA
) -> Credential:
    """Read a certificate, its intermediates and its private key from PKCS#12.  Raise CredentialError."""
    try:
        found = pkcs12.load_pkcs12(data, password or None)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CredentialError(f"Failed to load pkcs12 from {name}: {_sentence(error)}") from None
    if found.cert is None:
        raise CredentialError(f"Failed to load pkcs12 from {name}: there is no certificate in it")
    if found.key is None:
        raise CredentialError(f"Failed to load pkcs12 from {name}: there is no private key in it")
    rest = [each.certificate for each in found.additional_certs]
    credential = Credential(found.cert.certificate, rest, found.key, name)
    _check(credential, shortest_rsa, name)
    return credential


def read_certificates(data: bytes, name: str) -> list[x509.Certificate]:
    """Read one certificate or more from PEM.  Raise CredentialError."""
    failed = f"Failed to load certificate chain from {name}: "
    try:
        found = [
            x509.load_der_x509_certificate(each.der)
            for each in pem.blocks(data)
            if each.label in pem.CERTIFICATES
        ]
    except ValueError as error:
        raise CredentialError(failed + _sentence(error)) from None
    if not found:
        raise CredentialError(f"{failed}there is no certificate in it")
    return found


def read_key(data: bytes, password: bytes | None, name: str) -> Any:
    """Read the first private key among PEM.  Raise CredentialError."""
    failed = f"Failed to load private key from {name}, Cause: "
    block = next((each.encoded for each in pem.blocks(data) if each.label.endswith("PRIVATE KEY")), None)
    if block is None:
        raise CredentialError(f"{failed}there is no private key in it", of_key=True)
    locked = b"ENCRYPTED" in block
    if locked and not password:
        raise CredentialError(f"{failed}it is encrypted, and there is no password", of_key=True)
    try:
        return load_pem_private_key(block, password if locked else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        text = "the password is wrong, or the key is damaged" if locked else _sentence(error)
        raise CredentialError(failed + text, of_key=True) from None


def _check(credential: Credential, shortest_rsa: int, key_name: str) -> None:
    """Raise CredentialError if key and certificate do not belong together, or the key is too short."""
    name, certificate = credential.name, credential.certificate
    if credential.kind == "unknown":
        raise CredentialError(f"Failed to load certificate chain from {name}: its kind of key is not known")
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < shortest_rsa:
        raise CredentialError(
            f"Failed to load certificate chain from {name}, only RSA certificates with "
            f"{shortest_rsa}-bit or larger keys are supported"
        )
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if credential.key.public_key().public_bytes(*form) != key.public_bytes(*form):
        raise CredentialError(
            f"Failed to load private key from {key_name}, Cause: KEY_VALUES_MISMATCH: it is not the key of "
            f"the certificate {credential.facts.subject}",
            of_key=True,
        )


def _sentence(error: Exception) -> str:
    """Return the first sentence of an error: cryptography adds advice and lists of OpenSSL's errors."""
    text = str(error.args[0]) if error.args else str(error)
    first = text.partition("\n")[0].partition(". ")[0].strip()
    return first[:1].lower() + first[1:].rstrip(".") if first else "it cannot be read"
