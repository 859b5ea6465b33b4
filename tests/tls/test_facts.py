"""Tests for meshd.tls.facts."""

import base64
import hashlib
import subprocess
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from twisted.trial.unittest import SynchronousTestCase

from meshd.tls.facts import CertificateFacts, TlsFacts, serial_text
from tests.tls.authority import Authority, public_key_der

ROOT = Authority("the, root")
LEAF = ROOT.issue(
    "leaf",
    dns=["a.example", "*.b.example"],
    uri=["spiffe://td/ns/a"],
    ip=["10.0.0.1", "2001:db8::1:0"],
    email=["a@b.example"],
    other=[("1.2.3", b"\x0c\x02hi"), ("1.2.4", b"\x05\x00")],
    serial=0xAB,
    not_before=datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC),
    not_after=datetime(2120, 1, 1, tzinfo=UTC),
)


class CertificateTests(SynchronousTestCase):
    """The facts of a certificate."""

    def setUp(self) -> None:
        self.facts = CertificateFacts(LEAF.der)

    def test_names(self) -> None:
        """It has an owner, an issuer and alternative names by their types."""
        facts = self.facts
        self.assertEqual((facts.subject, facts.issuer), ("CN=leaf", "CN=the\\, root"))
        self.assertEqual(facts.dns_sans, ("a.example", "*.b.example"))
        self.assertEqual(facts.uri_sans, ("spiffe://td/ns/a",))
        self.assertEqual(facts.ip_sans, ("10.0.0.1", "2001:db8::1:0"))
        self.assertEqual(facts.email_sans, ("a@b.example",))
        self.assertEqual(facts.othername_sans, ("hi", ""))
        self.assertEqual(facts.other_names, (("1.2.3", "hi"), ("1.2.4", "")))

    def test_no_names(self) -> None:
        """One without alternative names has none."""
        facts = CertificateFacts(ROOT.issue("x").der)
        self.assertFalse(facts.has_alternative_names)
        self.assertEqual(
            (facts.dns_sans, facts.uri_sans, facts.ip_sans, facts.email_sans, facts.othername_sans),
            ((), (), (), (), ()),
        )

    def test_dates(self) -> None:
        """It is valid from then to then."""
        self.assertEqual(self.facts.not_before, datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC))
        self.assertEqual(self.facts.not_after, datetime(2120, 1, 1, tzinfo=UTC))

    def test_fingerprints(self) -> None:
        """The fingerprints are those that openssl tells."""
        for kind in ("sha256", "sha1"):
            command = ["openssl", "x509", "-noout", "-fingerprint", f"-{kind}"]
            told = subprocess.run(command, input=LEAF.alone, capture_output=True, check=True).stdout
            digits = told.decode().strip().rpartition("=")[2].replace(":", "").lower()
            self.assertEqual(getattr(self.facts, kind), digits)

    def test_key(self) -> None:
        """The key, and its pin, are those of the certificate."""
        self.assertEqual(self.facts.public_key_der, public_key_der(LEAF))
        pin = base64.b64encode(hashlib.sha256(public_key_der(LEAF)).digest()).decode()
        self.assertEqual(self.facts.spki_sha256, pin)

    def test_pem(self) -> None:
        """The PEM is that of the certificate; encoded it has nothing that a header may not have."""
        self.assertEqual(self.facts.pem, LEAF.alone.decode())
        encoded = self.facts.url_encoded_pem
        self.assertTrue(encoded.startswith("-----BEGIN%20CERTIFICATE-----%0AMII"), encoded)
        self.assertTrue(encoded.endswith("-----END%20CERTIFICATE-----%0A"), encoded)
        self.assertFalse(set(encoded) & set("\n +/="), encoded)

    def test_serial(self) -> None:
        """Serial numbers are lower-case hexadecimal, in whole bytes."""
        self.assertEqual(self.facts.serial, "ab")
        told = {0: "0", 1: "01", 0xABC: "0abc", -0xABC: "-0abc", 2**64: "010000000000000000"}
        self.assertEqual({number: serial_text(number) for number in told}, told)

    def test_of(self) -> None:
        """A certificate that was parsed already is not parsed again."""
        facts = CertificateFacts.of(LEAF.certificate)
        self.assertIs(facts.certificate, LEAF.certificate)
        self.assertEqual(facts, self.facts)
        self.assertEqual(hash(facts), hash(self.facts))
        self.assertNotEqual(facts, CertificateFacts(ROOT.der))

    def test_broken_extensions(self) -> None:
        """One whose alternative names cannot be read has none; the rest is told."""
        names = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, b"\x30\x05rub")
        certificate = (
            x509.CertificateBuilder()
            .subject_name(LEAF.certificate.subject)
            .issuer_name(ROOT.certificate.subject)
            .public_key(LEAF.key.public_key())
            .serial_number(7)
            .not_valid_before(self.facts.not_before)
            .not_valid_after(self.facts.not_after)
            .add_extension(names, critical=False)
            .sign(ROOT.key, certificate_hash())
        )
        facts = CertificateFacts.of(certificate)
        self.assertEqual((facts.dns_sans, facts.subject, facts.serial), ((), "CN=leaf", "07"))

    def test_rubbish(self) -> None:
        """What is no certificate raises ValueError when it is asked."""
        facts = CertificateFacts(b"rubbish")
        for name in ("subject", "issuer", "serial", "not_after", "public_key_der"):
            self.assertRaises(ValueError, getattr, facts, name)


def certificate_hash() -> SHA256:
    """Return what the test's own certificate is signed with."""
    return SHA256()


class HandshakeTests(SynchronousTestCase):
    """The facts of a handshake."""

    def test_unknown(self) -> None:
        """What is not known is empty."""
        facts = TlsFacts()
        self.assertEqual((facts.version, facts.cipher, facts.alpn, facts.session_id), ("", "", "", ""))
        self.assertEqual((facts.peer, facts.peer_chain, facts.local), (None, (), None))
        self.assertFalse(facts.resumed or facts.verified)

    def test_known(self) -> None:
        """What is known is told."""
        peer = CertificateFacts(LEAF.der)
        facts = TlsFacts(version="TLSv1.3", peer=peer, peer_chain=(peer,), verified=True)
        self.assertEqual((facts.version, facts.peer, facts.verified), ("TLSv1.3", peer, True))
