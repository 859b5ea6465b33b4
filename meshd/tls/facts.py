"""
What is known of a finished handshake, and of the certificates in it.

CertificateFacts reads a certificate as Envoy tells it to access logs, filters
and the x-forwarded-client-cert header; TlsFacts has what was negotiated and with
whom.  Nothing is parsed before somebody asks.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cached_property
from ssl import DER_cert_to_PEM_cert
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from meshd.tls.der import Parts, certificate_parts
from meshd.tls.names import name_text, other_name_text

# What urlEncodedPem replaces in Envoy, and nothing else.
_URL_ENCODED = str.maketrans({"\n": "%0A", " ": "%20", "+": "%2B", "/": "%2F", "=": "%3D"})


class CertificateFacts:
    """
    What a certificate says; der is its DER.

    An attribute of a certificate that cannot be read raises ValueError; the
    alternative names of one whose extensions are broken are none.
    """

    def __init__(self, der: bytes) -> None:
        self.der = der

    @classmethod
    def of(cls, certificate: x509.Certificate) -> CertificateFacts:
        """Return the facts of a certificate that was parsed already."""
        facts = cls(certificate.public_bytes(Encoding.DER))
        facts.__dict__["certificate"] = certificate
        return facts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CertificateFacts) and self.der == other.der

    def __hash__(self) -> int:
        return hash(self.der)

    @cached_property
    def certificate(self) -> x509.Certificate:
        """The certificate, parsed."""
        return x509.load_der_x509_certificate(self.der)

    @cached_property
    def _parts(self) -> Parts:
        return certificate_parts(self.der)

    @cached_property
    def pem(self) -> str:
        """The certificate as PEM."""
        return DER_cert_to_PEM_cert(self.der)

    @property
    def url_encoded_pem(self) -> str:
        """The PEM as %DOWNSTREAM_PEER_CERT% and XFCC have it."""
        return self.pem.translate(_URL_ENCODED)

    @cached_property
    def subject(self) -> str:
        """Its owner, by RFC 2253."""
        return name_text(self._parts.subject)

    @cached_property
    def issuer(self) -> str:
        """Who signed it, by RFC 2253."""
        return name_text(self._parts.issuer)

    @cached_property
    def serial(self) -> str:
        """The serial number: lower-case hexadecimal digits, an even number of them, but 0 is "0"."""
        return serial_text(self._parts.serial)

    @property
    def not_before(self) -> datetime:
        """From when on it is valid, UTC."""
        return self.certificate.not_valid_before_utc

    @property
    def not_after(self) -> datetime:
        """Until when it is valid, UTC."""
        return self.certificate.not_valid_after_utc

    @cached_property
    def _san(self) -> Sequence[x509.GeneralName] | None:
        try:
            found = self.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        except (x509.ExtensionNotFound, ValueError):
            return None
        return tuple(found.value)

    @property
    def has_alternative_names(self) -> bool:
        """Whether it has alternative names of any kind."""
        return self._san is not None

    @property
    def _alternative_names(self) -> Sequence[x509.GeneralName]:
        return self._san or ()

    def _names(self, kind: type[Any]) -> Iterator[Any]:
        return (each.value for each in self._alternative_names if isinstance(each, kind))

    @cached_property
    def dns_sans(self) -> tuple[str, ...]:
        """Its DNS names."""
        return tuple(self._names(x509.DNSName))

    @cached_property
    def uri_sans(self) -> tuple[str, ...]:
        """Its URIs, such as SPIFFE identities."""
        return tuple(self._names(x509.UniformResourceIdentifier))

    @cached_property
    def ip_sans(self) -> tuple[str, ...]:
        """Its IP addresses."""
        return tuple(map(str, self._names(x509.IPAddress)))

    @cached_property
    def email_sans(self) -> tuple[str, ...]:
        """Its mail addresses."""
        return tuple(self._names(x509.RFC822Name))

    @cached_property
    def othername_sans(self) -> tuple[str, ...]:
        """The values of its names of other types, as text."""
        return tuple(text for _, text in self.other_names)

    @cached_property
    def other_names(self) -> tuple[tuple[str, str], ...]:
        """Its names of other types: pairs of OID (dotted) and value."""
        return tuple(
            (each.type_id.dotted_string, other_name_text(each.value))
            for each in self._alternative_names
            if isinstance(each, x509.OtherName)
        )

    @cached_property
    def sans(self) -> tuple[str, ...]:
        """All its alternative names in their order, as text; types that Envoy does not tell are empty."""
        return tuple(map(_san_text, self._alternative_names))

    @cached_property
    def subject_cns(self) -> tuple[str, ...]:
        """The common names of its subject; there should be one."""
        found = self.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return tuple(each.value for each in found if isinstance(each.value, str))

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of the DER, lower-case hexadecimal."""
        return hashlib.sha256(self.der).hexdigest()

    @cached_property
    def sha1(self) -> str:
        """The SHA-1 of the DER, lower-case hexadecimal."""
        return hashlib.sha1(self.der).hexdigest()

    @cached_property
    def public_key_der(self) -> bytes:
        """The SubjectPublicKeyInfo, as DER."""
        return self._parts.public_key_info

    @cached_property
    def spki_sha256(self) -> str:
        """The SHA-256 of public_key_der, base64: what verify_certificate_spki pins."""
        return b64encode(hashlib.sha256(self.public_key_der).digest()).decode("ascii")


def _san_text(name: x509.GeneralName) -> str:
    if isinstance(name, x509.OtherName):
        return other_name_text(name.value)
    if isinstance(name, (x509.DNSName, x509.UniformResourceIdentifier, x509.RFC822Name, x509.IPAddress)):
        return str(name.value)
    return ""


def serial_text(number: int) -> str:
    """Return a serial number as BoringSSL's BN_bn2hex writes it, which Envoy uses."""
    if number == 0:
        return "0"
    digits = f"{abs(number):x}"
    return ("-" if number < 0 else "") + "0" * (len(digits) % 2) + digits


class TlsFacts:
    """
    What came of a handshake, of either side.

    Texts that are not known are empty; ja3 and ja4 are on the connection's info.
    """

    __slots__ = (
        "version",
        "cipher",
        "alpn",
        "server_name",
        "resumed",
        "session_id",
        "curve",
        "psk_identity",
        "peer",
        "peer_chain",
        "local",
        "verified",
        "verify_error",
    )

    def __init__(
        self,
        version: str = "",
        cipher: str = "",
        alpn: str = "",
        server_name: str = "",
        resumed: bool = False,
        session_id: str = "",
        curve: str = "",
        psk_identity: str = "",
        peer: CertificateFacts | None = None,
        peer_chain: tuple[CertificateFacts, ...] = (),
        local: CertificateFacts | None = None,
        verified: bool = False,
        verify_error: str = "",
    ) -> None:
        #: TLSv1.3, TLSv1.2, ...
        self.version = version
        #: OpenSSL's name of the cipher suite.
        self.cipher = cipher
        #: The protocol that was agreed upon.
        self.alpn = alpn
        #: The SNI that the client sent.
        self.server_name = server_name
        self.resumed = resumed
        #: Lower-case hexadecimal.
        self.session_id = session_id
        #: OpenSSL's name of the key-exchange group.
        self.curve = curve
        self.psk_identity = psk_identity
        #: The certificate that the peer showed, and all that it sent, its own first.
        self.peer = peer
        self.peer_chain = peer_chain
        #: The certificate that we showed.
        self.local = local
        #: Whether the peer's certificate was checked, and is good.
        self.verified = verified
        #: Why it is not.
        self.verify_error = verify_error
