"""
What a peer's certificate is held against.

OpenSSL checks the chain; Validation tells it by what (install), what to overlook,
and judges what only a proxy asks: alternative names, pins, host names.  What a
rejection says is what Envoy says.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import attrs
from cryptography import x509
from OpenSSL import SSL, crypto

from meshd.tls import pem
from meshd.tls.facts import CertificateFacts
from meshd.tls.san import SanMatcher, host_matches

# OpenSSL's X509_V_FLAG_*, not all of which pyOpenSSL names (x509_vfy.h).
CRL_CHECK, CRL_CHECK_ALL = 0x4, 0x8
PARTIAL_CHAIN = 0x80000
NO_CHECK_TIME = 0x200000

#: X509_V_ERR_* that are about revocation, which Envoy says.
_OF_CRLS = frozenset((3, 5, 8, 11, 12, 15, 16, 23, 33, 35, 36, 44, 54))
#: Reasons that BoringSSL, and so Envoy, tells in other words than OpenSSL.
_REASONS = {
    9: "certificate is not yet valid",
    18: "self signed certificate",
    19: "self signed certificate in certificate chain",
    22: "unable to get local issuer certificate",  # a chain that is too long
    26: "unsupported certificate purpose",
}


class ValidationError(ValueError):
    """A validation that cannot be used, and why."""


@attrs.frozen
class Settings:
    """
    What a certificate must be.

    trusted_ca and crl are PEM, b"" if there are none; source and crl_source say
    in messages where they came from.  Hashes are lower-case hexadecimal SHA-256
    of the certificate, spki_hashes base64 SHA-256 of its public key; one that is
    right is enough.  check_hosts, check_ips and check_emails are stunnel's: one
    that matches is enough.  pinned_leaves: the peer's certificate must itself be
    among those trusted.
    """

    trusted_ca: bytes = b""
    source: str = "<inline>"
    system_roots: bool = False
    crl: bytes = b""
    crl_source: str = "<inline>"
    only_verify_leaf_cert_crl: bool = False
    allow_expired_certificate: bool = False
    #: A certificate that is rejected is counted, and let through (ACCEPT_UNTRUSTED).
    accept_untrusted: bool = False
    #: Any one that matches is enough; none at all asks nothing.
    san_matchers: Sequence[SanMatcher] = ()
    certificate_hashes: Collection[str] = frozenset()
    spki_hashes: Collection[str] = frozenset()
    #: How many certificates may come after the leaf, the trusted one included (1 is as 0); None is no limit.
    max_verify_depth: int | None = None
    pinned_leaves: bool = False
    check_hosts: Sequence[str] = ()
    check_ips: Sequence[str] = ()
    check_emails: Sequence[str] = ()


class Rejection(NamedTuple):
    """
    Why a certificate is not accepted: which ssl.* counter counts it, and the words for the log.

    One that is not fatal is counted only.
    """

    counter: str
    detail: str
    fatal: bool = True


class Validation:
    """Holds certificates against settings.  Raise ValidationError if what is trusted cannot be read."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        failed = f"Failed to load trusted CA certificates from {settings.source}"
        #: The certificates that are trusted, but for the system's.
        self.trusted = list(_certificates(settings.trusted_ca, failed))
        if settings.trusted_ca and not self.trusted:
            raise ValidationError(f"{failed}: there is no certificate in it")
        self.crls = [*_crls(settings.trusted_ca, failed), *self._own_crls()]
        self.trusted_facts = [CertificateFacts.of(each) for each in self.trusted]
        #: Whether chains must lead to a trusted certificate; without, any certificate is as good as its pins.
        self.checks_chain = bool(self.trusted or settings.system_roots)
        #: Whether a server is to ask its clients for a certificate.
        self.requests_certificate = self.checks_chain or self._asks_more()
        #: Whether a client without a certificate is refused even where the server does not require one.
        self.demands_certificate = bool(
            (settings.san_matchers or settings.certificate_hashes or settings.spki_hashes)
            and not settings.accept_untrusted
        )
        self._fatal = not settings.accept_untrusted

    def _own_crls(self) -> list[x509.CertificateRevocationList]:
        settings = self.settings
        if not settings.crl:
            return []
        if not settings.trusted_ca and not settings.system_roots:
            raise ValidationError(f"Failed to load CRL from {settings.crl_source} without trusted CA")
        failed = f"Failed to load CRL from {settings.crl_source}"
        found = list(_crls(settings.crl, failed))
        if not found:
            raise ValidationError(f"{failed}: there is none in it")
        return found

    def _asks_more(self) -> bool:
        settings = self.settings
        return bool(
            settings.certificate_hashes
            or settings.spki_hashes
            or settings.san_matchers
            or settings.pinned_leaves
            or self._subject_checks()
        )

    def install(self, context: SSL.Context) -> None:
        """
        Let context verify chains: what is trusted, CRLs, flags, depth.

        The names of those trusted are what a server tells its clients to choose
        their certificate by.  Whether it asks is not said here.
        """
        settings = self.settings
        if not self.checks_chain:
            return
        store = context.get_cert_store()
        if store is None:
            raise ValueError("the context has no store")
        if not self.trusted:
            context.set_default_verify_paths()
        for certificate in self.trusted:
            store.add_cert(crypto.X509.from_cryptography(certificate))
            context.add_client_ca(certificate)
        for crl in self.crls:
            store.add_crl(crl)
        store.set_flags(self.flags)
        if settings.max_verify_depth is not None:
            # BoringSSL counts the trusted one, but for the first, OpenSSL those between.
            context.set_verify_depth(max(0, settings.max_verify_depth - 1))

    @property
    def flags(self) -> int:
        """The X509_V_FLAG_* of a verification: any trusted certificate may end a chain, not only roots."""
        found = PARTIAL_CHAIN
        if self.crls:
            found |= CRL_CHECK if self.settings.only_verify_leaf_cert_crl else CRL_CHECK | CRL_CHECK_ALL
        if self.settings.allow_expired_certificate:
            found |= NO_CHECK_TIME
        return found

    def overlooks(self, error: int, depth: int) -> bool:
        """Whether an error (X509_V_ERR_*) of the chain, at that depth, lets the handshake go on."""
        return not self.checks_chain or not self._fatal

    def chain_rejection(self, error: int, depth: int, reason: str) -> Rejection | None:
        """
        Return the rejection that an error of the chain is; None if chains are not checked.

        reason is OpenSSL's text for it (X509_verify_cert_error_string).
        """
        if not self.checks_chain:
            return None
        reason = _REASONS.get(error, reason)
        if error in _OF_CRLS:
            reason = f"certificate revocation check against provided CRLs failed: {reason}"
        return self._reject(
            "fail_verify_error",
            f"X509_verify_cert: certificate verification error at depth {depth}: {reason}",
        )

    def judge(self, leaf: CertificateFacts, server_name: str = "") -> Rejection | None:
        """
        Return why a certificate whose chain is good is not accepted, None if it is.

        With server_name the certificate must be one of that host, whatever the
        matchers say (auto_sni_san_validation).  Ask only if the chain is good.
        """
        settings = self.settings
        if server_name:
            if not host_matches(leaf, server_name):
                return self._reject("fail_verify_san", f"SAN matcher{_those_of(leaf)}")
        elif settings.san_matchers and not any(each.matches(leaf) for each in settings.san_matchers):
            return self._reject("fail_verify_san", f"SAN matcher{_those_of(leaf)}")
        if not self._is_pinned(leaf):
            return self._reject("fail_verify_cert_hash", "cert hash and spki")
        if settings.pinned_leaves and leaf not in self.trusted_facts:
            return self._reject("fail_verify_cert_hash", "certificate not found among those trusted")
        if not self._subject_matches(leaf):
            return self._reject("fail_verify_san", f"subject checks failed{_those_of(leaf)}")
        return None

    def _is_pinned(self, leaf: CertificateFacts) -> bool:
        settings = self.settings
        if not settings.certificate_hashes and not settings.spki_hashes:
            return True
        return leaf.sha256 in settings.certificate_hashes or leaf.spki_sha256 in settings.spki_hashes

    def _subject_checks(self) -> bool:
        settings = self.settings
        return bool(settings.check_hosts or settings.check_ips or settings.check_emails)

    def _subject_matches(self, leaf: CertificateFacts) -> bool:
        if not self._subject_checks():
            return True
        settings = self.settings
        emails = {_folded(each) for each in leaf.email_sans}
        return (
            any(host_matches(leaf, host, by_cn=True) for host in settings.check_hosts)
            or any(host_matches(leaf, ip) for ip in settings.check_ips)
            or any(_folded(email) in emails for email in settings.check_emails)
        )

    def _reject(self, counter: str, detail: str) -> Rejection:
        return Rejection(counter, f"verify cert failed: {detail}", self._fatal)


def _those_of(leaf: CertificateFacts) -> str:
    return f", certificate SANs are [{', '.join(leaf.sans)}]"


def _folded(email: str) -> str:
    """Return an address as it is compared: case does not count after the @ (RFC 5280, 7.5)."""
    local, at, domain = email.rpartition("@")
    return local + at + domain.lower()


def _certificates(data: bytes, failed: str) -> Iterator[x509.Certificate]:
    for block in pem.blocks(data):
        if block.label in pem.CERTIFICATES:
            try:
                yield x509.load_der_x509_certificate(block.der)
            except ValueError as error:
                raise ValidationError(f"{failed}: {error}") from None


def _crls(data: bytes, failed: str) -> Iterator[x509.CertificateRevocationList]:
    for block in pem.blocks(data):
        if block.label == pem.CRL:
            try:
                yield x509.load_der_x509_crl(block.der)
            except ValueError as error:
                raise ValidationError(f"{failed}: {error}") from None
