"""
OCSP (RFC 6960): requests and responses, and whether a response is to be believed.

Nothing here does I/O: ocsp_client asks responders.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from meshd.tls import der

#: How far the clocks of a responder and ours may differ.
SKEW = timedelta(minutes=5)

#: OpenSSL's names (OCSP_basic_verify(3)) of what can be left out of the checks: certificates in the response
#: are not looked at; its signature is not checked; any of its certificates may sign, whoever issued it.
NOINTERN, NOSIGS, NOVERIFY = FLAGS = "NOINTERN", "NOSIGS", "NOVERIFY"

GOOD, REVOKED, UNKNOWN = "good", "revoked", "unknown"
_STATUS = {
    ocsp.OCSPCertStatus.GOOD: GOOD,
    ocsp.OCSPCertStatus.REVOKED: REVOKED,
    ocsp.OCSPCertStatus.UNKNOWN: UNKNOWN,
}


class OcspError(ValueError):
    """A response that says nothing, or is not to be believed, and why."""


def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


class Response:
    """What a successful response, DER, says of one certificate."""

    def __init__(self, data: bytes) -> None:
        """Raise OcspError if it says nothing, or of several certificates."""
        self.data = data
        try:
            whole = ocsp.load_der_ocsp_response(data)
            if whole.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
                raise OcspError(f"OCSP response was unsuccessful: {whole.response_status.name.lower()}")
            singles = list(whole.responses)
        except OcspError:
            raise
        except (ValueError, UnsupportedAlgorithm) as error:
            raise OcspError(f"not an OCSP response: {error}") from None
        if len(singles) != 1:
            raise OcspError("OCSP Response must be for one certificate only")
        self.whole: Any = whole
        self.single: Any = singles[0]
        self.status = _STATUS[self.single.certificate_status]
        self.serial: int = self.single.serial_number
        self.this_update: datetime = self.single.this_update_utc
        self.next_update: datetime | None = self.single.next_update_utc

    def is_expired(self, at: datetime) -> bool:
        """Whether there should be a newer one; so it is for one that does not say until when it holds."""
        return self.next_update is None or self.next_update < at

    def is_of(self, certificate: x509.Certificate) -> bool:
        """Whether it is about a certificate with that serial number."""
        return self.serial == certificate.serial_number

    def check(
        self,
        certificate: x509.Certificate,
        issuer: x509.Certificate,
        nonce: bytes = b"",
        at: datetime | None = None,
        flags: Collection[str] = (),
    ) -> None:
        """
        Raise OcspError unless it may be believed: that it is about certificate, fresh, and signed by
        the issuer or whom that has authorized (RFC 6960, 3.2 and 4.2.2.2).

        A nonce that was sent must come back, if any does.  flags, of FLAGS, leave checks out.
        """
        at = at or now()
        if not self.is_of(certificate) or not self._names(issuer):
            raise OcspError("the response is about another certificate")
        if self.this_update > at + SKEW:
            raise OcspError("the response is not yet valid")
        if self.next_update is not None and self.next_update < at - SKEW:
            raise OcspError("the response has expired")
        if nonce and self._nonce() not in (None, nonce):
            raise OcspError("the response has another nonce")
        signer = self._signer(issuer, at, flags)
        if NOSIGS in flags:
            return
        try:
            _verify(self.whole, signer)
        except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
            raise OcspError("the signature of the response is wrong") from None

    def _names(self, issuer: x509.Certificate) -> bool:
        """Whether it is about a certificate of that issuer."""
        algorithm = self.single.hash_algorithm
        name = _digest(algorithm, issuer.subject.public_bytes())
        return bool(
            self.single.issuer_name_hash == name
            and self.single.issuer_key_hash == _key_hash(algorithm, issuer)
        )

    def _nonce(self) -> bytes | None:
        try:
            found = self.whole.extensions.get_extension_for_class(x509.OCSPNonce)
        except (x509.ExtensionNotFound, ValueError):
            return None
        return bytes(found.value.nonce)

    def _signer(self, issuer: x509.Certificate, at: datetime, flags: Collection[str]) -> x509.Certificate:
        """Return whose signature counts: the issuer's own, or a responder's that the issuer authorized."""
        if self._is_by(issuer):
            return issuer
        for each in () if NOINTERN in flags else self.whole.certificates:
            if self._is_by(each):
                if NOVERIFY not in flags:
                    _check_delegate(each, issuer, at)
                return each  # type: ignore[no-any-return]
        raise OcspError("the response is signed by somebody unknown")

    def _is_by(self, certificate: x509.Certificate) -> bool:
        if self.whole.responder_name is not None:
            return bool(self.whole.responder_name == certificate.subject)
        return bool(self.whole.responder_key_hash == _key_hash(hashes.SHA1(), certificate))


def _check_delegate(delegate: x509.Certificate, issuer: x509.Certificate, at: datetime) -> None:
    try:
        delegate.verify_directly_issued_by(issuer)
        usage = delegate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError, x509.ExtensionNotFound):
        raise OcspError("the issuer has not authorized the responder") from None
    if ExtendedKeyUsageOID.OCSP_SIGNING not in usage:
        raise OcspError("the issuer has not authorized the responder")
    if not delegate.not_valid_before_utc - SKEW <= at <= delegate.not_valid_after_utc + SKEW:
        raise OcspError("the responder's certificate has expired")


def _verify(whole: Any, signer: x509.Certificate) -> None:
    key: Any = signer.public_key()
    data, signature, algorithm = whole.tbs_response_bytes, whole.signature, whole.signature_hash_algorithm
    if isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, data, padding.PKCS1v15(), algorithm)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, data, ec.ECDSA(algorithm))
    else:
        key.verify(signature, data)


def _digest(algorithm: hashes.HashAlgorithm, data: bytes) -> bytes:
    digest = hashes.Hash(algorithm)
    digest.update(data)
    return digest.finalize()


def _key_hash(algorithm: hashes.HashAlgorithm, certificate: x509.Certificate) -> bytes:
    """Return the hash of the public key alone, without its algorithm (RFC 6960, 4.1.1)."""
    info = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    _, bits = der.elements(der.read(info).content)
    return _digest(algorithm, bits.content[1:])


def request(certificate: x509.Certificate, issuer: x509.Certificate, nonce: bytes = b"") -> bytes:
    """Return a request, DER, about a certificate; its ids are SHA-1, which all responders know."""
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA1())
    if nonce:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


def responders(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the URLs of the responders that a certificate names (authority information access)."""
    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    return tuple(
        each.access_location.value
        for each in access
        if each.access_method == AuthorityInformationAccessOID.OCSP
        and isinstance(each.access_location, x509.UniformResourceIdentifier)
    )
