"""
Certificates for tests: authorities that issue what a test wants, made on the spot.

An Authority is a root or, with a parent, an intermediate; issue() gives a Leaf
with any names, dates and kind of key.  Both write themselves as PEM and PKCS#12;
an authority also makes CRLs and OCSP responses.  Everything is valid from
yesterday to in a year unless told otherwise.  ECDSA keys are the default, since
they are made a hundred times faster than RSA keys.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    pkcs12,
)
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

DAY = dt.timedelta(days=1)
_CURVES: dict[str, Any] = {
    "ecdsa": ec.SECP256R1,
    "p256": ec.SECP256R1,
    "p384": ec.SECP384R1,
    "p521": ec.SECP521R1,
}
_STATUS = {
    "good": ocsp.OCSPCertStatus.GOOD,
    "revoked": ocsp.OCSPCertStatus.REVOKED,
    "unknown": ocsp.OCSPCertStatus.UNKNOWN,
}


def now() -> dt.datetime:
    """Return the time, to the second, as certificates have it."""
    return dt.datetime.now(dt.UTC).replace(microsecond=0)


@cache
def rsa_key(bits: int, name: object) -> rsa.RSAPrivateKey:
    """Return the RSA key of that name: they take long to make, so few are made."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def make_key(kind: str, name: object = 0) -> Any:
    """Return a private key: ecdsa (P-256), p384, p521, rsa (2048), rsa1024, rsa4096, ed25519, ed448."""
    if kind.startswith("rsa"):
        return rsa_key(int(kind[3:] or 2048), name)
    if kind in _CURVES:
        return ec.generate_private_key(_CURVES[kind]())
    return (ed25519.Ed25519PrivateKey if kind == "ed25519" else ed448.Ed448PrivateKey).generate()


def digest_for(key: Any) -> hashes.SHA256 | None:
    """Return the hash that a key signs with; Edwards curves have their own."""
    return None if isinstance(key, (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)) else hashes.SHA256()


def key_pem(key: Any, password: str = "", form: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    """Return a private key as PEM, encrypted if there is a password."""
    lock = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    return bytes(key.private_bytes(Encoding.PEM, form, lock))


def certificate_pem(*certificates: x509.Certificate) -> bytes:
    """Return certificates as PEM, in that order."""
    return b"".join(each.public_bytes(Encoding.PEM) for each in certificates)


def subject_of(common_name: str, organization: str = "") -> x509.Name:
    """Return a distinguished name; without a common name it may be empty."""
    parts = [(NameOID.ORGANIZATION_NAME, organization), (NameOID.COMMON_NAME, common_name)]
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in parts if text])


def general_names(
    dns: Sequence[str] = (),
    uri: Sequence[str] = (),
    ip: Sequence[str] = (),
    email: Sequence[str] = (),
    other: Sequence[tuple[str, bytes]] = (),
) -> list[x509.GeneralName]:
    """Return subject alternative names; other has pairs of OID and DER value."""
    return [
        *map(x509.DNSName, dns),
        *map(x509.UniformResourceIdentifier, uri),
        *(x509.IPAddress(ipaddress.ip_address(each)) for each in ip),
        *map(x509.RFC822Name, email),
        *(x509.OtherName(x509.ObjectIdentifier(oid), der) for oid, der in other),
    ]


class Owner:
    """A certificate and its private key, and those that vouch for it."""

    def __init__(self, certificate: x509.Certificate, key: Any, parent: Authority | None) -> None:
        self.certificate = certificate
        self.key = key
        self.parent = parent

    @property
    def der(self) -> bytes:
        """The certificate as DER."""
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def alone(self) -> bytes:
        """The certificate alone, as PEM."""
        return certificate_pem(self.certificate)

    @property
    def between(self) -> list[x509.Certificate]:
        """The certificates between this one and the root."""
        found: list[x509.Certificate] = []
        above = self.parent
        while above is not None and above.parent is not None:
            found.append(above.certificate)
            above = above.parent
        return found

    @property
    def pem(self) -> bytes:
        """The chain as a server sends it: this one, then the intermediates, as PEM."""
        return certificate_pem(self.certificate, *self.between)

    @property
    def key_pem(self) -> bytes:
        """The private key as PEM, not encrypted."""
        return key_pem(self.key)

    def locked_key(self, password: str) -> bytes:
        """Return the private key as PEM, encrypted."""
        return key_pem(self.key, password)

    def pkcs12(self, password: str = "") -> bytes:
        """Return certificate, key and intermediates as PKCS#12."""
        lock = BestAvailableEncryption(password.encode()) if password else NoEncryption()
        return pkcs12.serialize_key_and_certificates(b"it", self.key, self.certificate, self.between, lock)

    def write(self, directory: Path | str, name: str) -> tuple[str, str]:
        """Write NAME.pem (the chain) and NAME.key below directory; return both paths."""
        chain, key = Path(directory, f"{name}.pem"), Path(directory, f"{name}.key")
        chain.write_bytes(self.pem)
        key.write_bytes(self.key_pem)
        return str(chain), str(key)

    def inline(self) -> dict[str, dict[str, str]]:
        """Return a TlsCertificate in JSON's form, all of it inline."""
        return {
            "certificate_chain": {"inline_string": self.pem.decode()},
            "private_key": {"inline_string": self.key_pem.decode()},
        }


class Leaf(Owner):
    """What an authority issued."""

    parent: Authority


class Authority(Owner):
    """Issues certificates; a root, or an intermediate below parent."""

    def __init__(
        self,
        name: str = "meshd test root",
        parent: Authority | None = None,
        kind: str = "ecdsa",
        path_length: int | None = None,
        expired: bool = False,
    ) -> None:
        key, subject = make_key(kind, name), subject_of(name)
        builder = (
            _builder(subject, key, *dates(expired))
            .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
            .add_extension(usage(key_cert_sign=True, crl_sign=True), critical=True)
        )
        signer, issuer = (parent.key, parent.certificate.subject) if parent else (key, subject)
        super().__init__(_signed(builder, signer, issuer), key, parent)
        self.issued = 0

    def intermediate(self, name: str = "meshd test intermediate", **options: Any) -> Authority:
        """Return an authority below this one."""
        return Authority(name, self, **options)

    def issue(
        self,
        common_name: str = "leaf",
        *,
        dns: Sequence[str] = (),
        uri: Sequence[str] = (),
        ip: Sequence[str] = (),
        email: Sequence[str] = (),
        other: Sequence[tuple[str, bytes]] = (),
        first: Sequence[x509.GeneralName] = (),
        kind: str = "ecdsa",
        key: Any = None,
        subject: x509.Name | None = None,
        serial: int | None = None,
        expired: bool = False,
        not_before: dt.datetime | None = None,
        not_after: dt.datetime | None = None,
        uses: Sequence[str] = ("server", "client"),
        ocsp_url: str = "",
        must_staple: bool = False,
    ) -> Leaf:
        """Return a certificate for a server or client, whatever is asked."""
        self.issued += 1
        key = key or make_key(kind, self.issued)
        begin, end = dates(expired)
        subject = subject_of(common_name) if subject is None else subject
        builder = _builder(subject, key, not_before or begin, not_after or end, serial)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        names = [*first, *general_names(dns, uri, ip, email, other)]
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if uses:
            of = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}
            of["ocsp"] = ExtendedKeyUsageOID.OCSP_SIGNING
            builder = builder.add_extension(x509.ExtendedKeyUsage([of[use] for use in uses]), critical=False)
        if ocsp_url:
            place = x509.AccessDescription(
                AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(ocsp_url)
            )
            builder = builder.add_extension(x509.AuthorityInformationAccess([place]), critical=False)
        if must_staple:
            feature = x509.TLSFeature([x509.TLSFeatureType.status_request])
            builder = builder.add_extension(feature, critical=False)
        return Leaf(_signed(builder, self.key, self.certificate.subject), key, self)

    def crl(self, *revoked: Owner, expired: bool = False) -> bytes:
        """Return a list of what this authority takes back, as PEM."""
        begin, end = dates(expired)
        builder = x509.CertificateRevocationListBuilder(self.certificate.subject, begin, end)
        for each in revoked:
            entry = x509.RevokedCertificateBuilder(each.certificate.serial_number, begin).build()
            builder = builder.add_revoked_certificate(entry)
        return builder.sign(self.key, digest_for(self.key)).public_bytes(Encoding.PEM)

    def ocsp(
        self,
        leaf: Owner,
        status: str = "good",
        *,
        this_update: dt.datetime | None = None,
        next_update: dt.datetime | None = None,
        nonce: bytes = b"",
        responder: Owner | None = None,
    ) -> bytes:
        """
        Return an OCSP response about leaf as DER: good, revoked or unknown.

        It is good from an hour ago for a day.  responder signs it in our place.
        """
        begin = this_update or now() - DAY / 24
        signer = responder or self
        builder = ocsp.OCSPResponseBuilder().add_response(
            cert=leaf.certificate,
            issuer=self.certificate,
            algorithm=hashes.SHA1(),
            cert_status=_STATUS[status],
            this_update=begin,
            next_update=next_update or begin + DAY,
            revocation_time=begin if status == "revoked" else None,
            revocation_reason=x509.ReasonFlags.key_compromise if status == "revoked" else None,
        )
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, signer.certificate)
        if responder is not None:
            builder = builder.certificates([responder.certificate])
        if nonce:
            builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
        return builder.sign(signer.key, digest_for(signer.key)).public_bytes(Encoding.DER)


def dates(expired: bool) -> tuple[dt.datetime, dt.datetime]:
    """Return from when to when something is valid: for a year, or no more since an hour ago."""
    return (now() - 30 * DAY, now() - DAY / 24) if expired else (now() - DAY, now() + 365 * DAY)


def usage(**allowed: bool) -> x509.KeyUsage:
    """Return a key usage extension of what is allowed."""
    names = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement "
        "key_cert_sign crl_sign encipher_only decipher_only"
    )
    return x509.KeyUsage(**{name: allowed.get(name, False) for name in names.split()})


def _builder(
    subject: x509.Name, key: Any, begin: dt.datetime, end: dt.datetime, serial: int | None = None
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _signed(builder: x509.CertificateBuilder, signer: Any, issuer: x509.Name) -> x509.Certificate:
    identity = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    builder = builder.issuer_name(issuer).add_extension(identity, critical=False)
    return builder.sign(signer, digest_for(signer))


def public_key_der(owner: Owner) -> bytes:
    """Return the SubjectPublicKeyInfo of a certificate."""
    return owner.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
