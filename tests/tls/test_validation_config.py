"""
Tests for meshd.tls.validation_config.

What is refused, and how, was seen with Envoy.
"""

from typing import Any

from envoy.extensions.transport_sockets.tls.v3.common_pb2 import CertificateValidationContext
from google.protobuf.json_format import ParseDict
from twisted.trial.unittest import SynchronousTestCase

from meshd.config.plain import data_source
from meshd.plugin import ConfigError
from meshd.tls.facts import CertificateFacts
from meshd.tls.validation import Settings
from meshd.tls.validation_config import read_validation
from tests.tls.authority import Authority

ROOT = Authority()
LEAF = ROOT.issue(dns=["good.example"])
CA = {"inline_string": ROOT.alone.decode()}


def read(**fields: Any) -> Settings:
    """Read a validation context in JSON's form."""
    return read_validation(ParseDict(fields, CertificateValidationContext()), data_source)


class ReadTests(SynchronousTestCase):
    """What is served."""

    def test_nothing(self) -> None:
        """An empty context asks for nothing."""
        self.assertEqual(read(), Settings())

    def test_all(self) -> None:
        """All fields arrive."""
        crl = ROOT.crl()
        settings = read(
            trusted_ca=CA,
            crl={"inline_string": crl.decode()},
            only_verify_leaf_cert_crl=True,
            allow_expired_certificate=True,
            trust_chain_verification="ACCEPT_UNTRUSTED",
            max_verify_depth=3,
        )
        self.assertEqual((settings.trusted_ca, settings.crl), (ROOT.alone, crl))
        self.assertTrue(settings.only_verify_leaf_cert_crl and settings.allow_expired_certificate)
        self.assertTrue(settings.accept_untrusted)
        self.assertEqual(settings.max_verify_depth, 3)
        self.assertFalse(settings.system_roots)

    def test_system(self) -> None:
        """The system's certificates may be those that are trusted."""
        self.assertTrue(read(system_root_certs={}).system_roots)

    def test_matchers(self) -> None:
        """Matchers of names are read; those of old only if there are no new ones."""
        new = {"san_type": "DNS", "matcher": {"exact": "good.example"}}
        facts = CertificateFacts(LEAF.der)
        (matcher,) = read(trusted_ca=CA, match_typed_subject_alt_names=[new]).san_matchers
        self.assertTrue(matcher.matches(facts))
        old = [{"exact": "other.example"}]
        both = read(trusted_ca=CA, match_typed_subject_alt_names=[new], match_subject_alt_names=old)
        self.assertEqual(len(both.san_matchers), 1)
        found = read(trusted_ca=CA, match_subject_alt_names=[{"suffix": ".example"}]).san_matchers
        self.assertTrue(any(each.matches(facts) for each in found))

    def test_hashes(self) -> None:
        """Hashes of certificates may have colons and capitals."""
        hashes = read(verify_certificate_hash=[":".join(["AB"] * 32), "Cd" * 32]).certificate_hashes
        self.assertEqual(hashes, {"ab" * 32, "cd" * 32})

    def test_pins(self) -> None:
        """Hashes of keys are base64."""
        pin = "A" * 43 + "="
        self.assertEqual(read(verify_certificate_spki=[pin]).spki_hashes, {pin})


class RefusedTests(SynchronousTestCase):
    """What is refused."""

    def assert_refused(self, text: str, path: tuple[str | int, ...], **fields: Any) -> None:
        """These fields are refused, in those words and at that place."""
        error = self.assertRaises(ConfigError, read, **fields)
        self.assertEqual((error.message, error.path), (text, path))

    def test_names_without_trust(self) -> None:
        """Names mean nothing if anybody may write them into a certificate."""
        self.assert_refused(
            "SAN-based verification of peer certificates without trusted CA is insecure and not allowed",
            ("match_typed_subject_alt_names",),
            match_typed_subject_alt_names=[{"san_type": "DNS", "matcher": {"exact": "x"}}],
        )

    def test_dates_without_trust(self) -> None:
        """Dates are not looked at without trust, so there is nothing to allow."""
        self.assert_refused(
            "Certificate validity period is always ignored without trusted CA",
            ("allow_expired_certificate",),
            allow_expired_certificate=True,
        )

    def test_trusted(self) -> None:
        """What is trusted must be certificates."""
        text = "Failed to load trusted CA certificates from <inline>: there is no certificate in it"
        self.assert_refused(text, ("trusted_ca",), trusted_ca={"inline_string": "nonsense"})

    def test_empty(self) -> None:
        """An empty file is not taken for none, which would trust everybody."""
        path = self.mktemp()
        open(path, "w").close()
        self.assert_refused(f"file {path} is empty", ("trusted_ca",), trusted_ca={"filename": path})

    def test_no_file(self) -> None:
        """A file that cannot be read is named, and its place."""
        text = "cannot read /no/such: No such file or directory"
        self.assert_refused(text, ("trusted_ca", "filename"), trusted_ca={"filename": "/no/such"})

    def test_crl(self) -> None:
        """A list must be one, and needs somebody who is trusted."""
        list_ = {"inline_string": ROOT.crl().decode()}
        self.assert_refused("Failed to load CRL from <inline> without trusted CA", ("crl",), crl=list_)
        text = "Failed to load CRL from <inline>: there is none in it"
        self.assert_refused(text, ("crl",), trusted_ca=CA, crl={"inline_string": "nonsense"})

    def test_hashes(self) -> None:
        """Hashes must be SHA-256."""
        for text in ("z" * 64, "-".join(["AB"] * 32), "ab" * 33, "ab:" * 31 + "a"):
            self.assert_refused(
                f"Invalid hex-encoded SHA-256 {text}",
                ("verify_certificate_hash", 1),
                verify_certificate_hash=["ab" * 32, text],
            )
        for text in ("z" * 44, "!" * 44, "A" * 44 + "===="):
            self.assert_refused(
                f"Invalid base64-encoded SHA-256 {text}",
                ("verify_certificate_spki", 0),
                verify_certificate_spki=[text],
            )

    def test_matcher(self) -> None:
        """A matcher that cannot be read is named by its place."""
        bad = {"san_type": "DNS", "matcher": {"safe_regex": {"regex": "("}}}
        error = self.assertRaises(ConfigError, read, trusted_ca=CA, match_typed_subject_alt_names=[bad])
        self.assertEqual(error.path[:3], ("match_typed_subject_alt_names", 0, "matcher"))
