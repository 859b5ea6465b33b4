"""
Tests for meshd.tls.validation.

What Envoy does, and its words, were seen with the same certificates.
"""

import base64
import hashlib
from typing import Any

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from meshd.tls.facts import CertificateFacts
from meshd.tls.san import SanMatcher
from meshd.tls.validation import Rejection, Settings, Validation, ValidationError
from tests.tls.authority import DAY, Authority, Owner, now, public_key_der
from tests.tls.shake import Outcome, context_of, verify

ROOT = Authority()
BETWEEN = ROOT.intermediate()
OTHER = Authority("other root")
SERVER = BETWEEN.issue("server")
CLIENT = BETWEEN.issue("client", dns=["good.example"], uri=["spiffe://td/ns"], email=["Me@B.example"])
FACTS = CertificateFacts(CLIENT.der)

# X509_V_ERR_*.
NO_CRL, NOT_YET, EXPIRED, CRL_EXPIRED, NO_ISSUER, TOO_LONG, REVOKED, PURPOSE = 3, 9, 10, 12, 20, 22, 23, 26


def verified(client: Owner, **settings: Any) -> Outcome:
    """Let a server with these settings verify a client."""
    validation = Validation(Settings(**{"trusted_ca": ROOT.alone, **settings}))
    context = context_of()
    validation.install(context)
    return verify(context, client, SERVER, validation.overlooks)


class ChainTests(SynchronousTestCase):
    """Chains, as OpenSSL finds them with what is installed."""

    def test_good(self) -> None:
        """A chain that leads to a trusted certificate is good."""
        self.assertEqual(verified(CLIENT), ([], True))

    def test_unknown(self) -> None:
        """One that leads nowhere is not."""
        outcome = verified(OTHER.issue())
        self.assertEqual((outcome.found[0], outcome.done), ((NO_ISSUER, 0), False))

    def test_partial(self) -> None:
        """An intermediate, or the leaf itself, may be trusted."""
        for trusted in (BETWEEN, CLIENT):
            self.assertEqual(verified(CLIENT, trusted_ca=trusted.alone), ([], True))

    def test_several(self) -> None:
        """Several may be trusted."""
        self.assertEqual(verified(OTHER.issue(), trusted_ca=ROOT.alone + OTHER.alone), ([], True))

    def test_dates(self) -> None:
        """A certificate must be valid now, unless the config says otherwise."""
        for client, error in (
            (BETWEEN.issue(expired=True), EXPIRED),
            (BETWEEN.issue(not_before=now() + DAY), NOT_YET),
        ):
            self.assertEqual(verified(client), ([(error, 0)], False))
            self.assertEqual(verified(client, allow_expired_certificate=True), ([], True))

    def test_purpose(self) -> None:
        """A certificate that is for servers only is none for a client."""
        self.assertEqual(verified(BETWEEN.issue(uses=["server"])), ([(PURPOSE, 0)], False))

    def test_accept_untrusted(self) -> None:
        """Any error is overlooked where the config says so."""
        outcome = verified(OTHER.issue(), accept_untrusted=True)
        self.assertTrue(outcome.done)
        self.assertEqual(outcome.found[0], (NO_ISSUER, 0))

    def test_nothing_trusted(self) -> None:
        """Where nothing is trusted chains do not count."""
        validation = Validation(Settings(certificate_hashes=frozenset({FACTS.sha256})))
        self.assertFalse(validation.checks_chain)
        self.assertTrue(validation.requests_certificate)
        self.assertIsNone(validation.chain_rejection(NO_ISSUER, 0, "no issuer"))
        context = context_of()
        validation.install(context)
        self.assertTrue(verify(context, CLIENT, SERVER, validation.overlooks).done)

    def test_nothing_at_all(self) -> None:
        """Where nothing is asked for, a server does not ask."""
        self.assertFalse(Validation(Settings()).requests_certificate)
        self.assertTrue(Validation(Settings(trusted_ca=ROOT.alone)).requests_certificate)

    def test_demands(self) -> None:
        """Names or pins demand a certificate, which trust alone does not."""
        pins = frozenset({FACTS.sha256})
        self.assertFalse(Validation(Settings(trusted_ca=ROOT.alone)).demands_certificate)
        self.assertTrue(Validation(Settings(certificate_hashes=pins)).demands_certificate)
        lenient = Settings(certificate_hashes=pins, accept_untrusted=True)
        self.assertFalse(Validation(lenient).demands_certificate)

    def test_depth(self) -> None:
        """The depth is how many certificates may follow the leaf, the trusted one included."""
        self.assertEqual(verified(CLIENT, max_verify_depth=2), ([], True))
        outcome = verified(CLIENT, max_verify_depth=1)
        self.assertEqual((outcome.found[0], outcome.done), ((TOO_LONG, 1), False))
        self.assertEqual(verified(ROOT.issue(), max_verify_depth=1), ([], True))

    def test_no_depth(self) -> None:
        """At depth 0 there may be nothing between the leaf and the trusted one."""
        self.assertEqual(verified(ROOT.issue(), max_verify_depth=0), ([], True))
        self.assertEqual(verified(CLIENT, trusted_ca=BETWEEN.alone, max_verify_depth=0), ([], True))
        self.assertEqual(verified(CLIENT, max_verify_depth=0).found[0], (TOO_LONG, 1))

    def test_system(self) -> None:
        """The system's certificates may be those trusted; they know nobody of ours."""
        outcome = verified(CLIENT, trusted_ca=b"", system_roots=True)
        self.assertEqual((outcome.found[0], outcome.done), ((NO_ISSUER, 1), False))

    def test_names_for_the_client(self) -> None:
        """A server tells which authorities it trusts."""
        context = SSL.Context(SSL.TLS_METHOD)
        Validation(Settings(trusted_ca=ROOT.alone + OTHER.alone)).install(context)
        names = SSL.Connection(context, None).get_client_ca_list(as_cryptography=True)
        self.assertEqual(names, [ROOT.certificate.subject, OTHER.certificate.subject])


class RevocationTests(SynchronousTestCase):
    """Lists of what was revoked."""

    def test_revoked(self) -> None:
        """A certificate that is on the list of its authority is bad, at any depth."""
        self.assertEqual(verified(CLIENT, crl=BETWEEN.crl(CLIENT) + ROOT.crl()), ([(REVOKED, 0)], False))
        self.assertEqual(verified(CLIENT, crl=BETWEEN.crl() + ROOT.crl(BETWEEN)), ([(REVOKED, 1)], False))
        self.assertEqual(verified(CLIENT, crl=BETWEEN.crl() + ROOT.crl()), ([], True))

    def test_missing(self) -> None:
        """Each authority must have a list."""
        self.assertEqual(verified(CLIENT, crl=BETWEEN.crl()), ([(NO_CRL, 1)], False))
        self.assertEqual(verified(CLIENT, crl=ROOT.crl()), ([(NO_CRL, 0)], False))

    def test_leaf_only(self) -> None:
        """The leaf alone is looked up where the config says so."""
        for crl in (BETWEEN.crl(), BETWEEN.crl() + ROOT.crl(BETWEEN)):
            self.assertEqual(verified(CLIENT, crl=crl, only_verify_leaf_cert_crl=True), ([], True))

    def test_expired(self) -> None:
        """A list must be new, unless dates do not count."""
        old = BETWEEN.crl(expired=True) + ROOT.crl()
        self.assertEqual(verified(CLIENT, crl=old), ([(CRL_EXPIRED, 0)], False))
        self.assertEqual(verified(CLIENT, crl=old, allow_expired_certificate=True), ([], True))

    def test_among_the_trusted(self) -> None:
        """Lists may be in the file of those that are trusted."""
        trusted = ROOT.alone + ROOT.crl() + BETWEEN.crl(CLIENT)
        self.assertEqual(verified(CLIENT, trusted_ca=trusted), ([(REVOKED, 0)], False))


class UnreadableTests(SynchronousTestCase):
    """What cannot be read."""

    def assert_refused(self, text: str, **settings: Any) -> None:
        """These settings are refused, with a text that begins so."""
        error = self.assertRaises(ValidationError, Validation, Settings(**settings))
        self.assertEqual(str(error)[: len(text)], text)

    def test_trusted(self) -> None:
        """What is trusted must be certificates, all of them."""
        begin = "Failed to load trusted CA certificates from ca.pem: "
        broken = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
        self.assert_refused(f"{begin}there is no certificate in it", trusted_ca=b"nonsense", source="ca.pem")
        self.assert_refused(begin, trusted_ca=ROOT.alone + broken, source="ca.pem")

    def test_lists(self) -> None:
        """Lists must be lists, and need somebody who is trusted."""
        broken = b"-----BEGIN X509 CRL-----\nMIIB\n-----END X509 CRL-----\n"
        self.assert_refused(
            "Failed to load CRL from c: there is none", trusted_ca=ROOT.alone, crl=b"x", crl_source="c"
        )
        self.assert_refused("Failed to load CRL from <inline>: ", trusted_ca=ROOT.alone, crl=broken)
        self.assert_refused("Failed to load CRL from <inline> without trusted CA", crl=ROOT.crl())


class JudgeTests(SynchronousTestCase):
    """Certificates whose chain is good."""

    def judged(self, server_name: Any = "", leaf: Any = FACTS, **settings: Any) -> Any:
        """Return what these settings say of a certificate."""
        return Validation(Settings(trusted_ca=ROOT.alone, **settings)).judge(leaf, server_name)

    def test_nothing_asked(self) -> None:
        """Any is accepted where nothing is asked for."""
        self.assertIsNone(self.judged())

    def test_names(self) -> None:
        """One of the matchers must like one of its names."""
        like = SanMatcher(lambda facts: facts.dns_sans, lambda name: True)
        dislike = SanMatcher(lambda facts: facts.dns_sans, lambda name: False)
        self.assertIsNone(self.judged(san_matchers=[dislike, like]))
        rejection = self.judged(san_matchers=[dislike])
        names = "good.example, spiffe://td/ns, Me@B.example"
        text = f"verify cert failed: SAN matcher, certificate SANs are [{names}]"
        self.assertEqual(rejection, ("fail_verify_san", text, True))

    def test_no_names(self) -> None:
        """One without names is rejected by any matcher."""
        facts = CertificateFacts(ROOT.issue().der)
        matcher = SanMatcher(lambda facts: facts.dns_sans, lambda name: True)
        rejection = self.judged(leaf=facts, san_matchers=[matcher])
        self.assertEqual(rejection.detail, "verify cert failed: SAN matcher, certificate SANs are []")

    def test_host(self) -> None:
        """A host's name, where there is one, counts instead of the matchers."""
        dislike = SanMatcher(lambda facts: facts.dns_sans, lambda name: False)
        self.assertIsNone(self.judged("good.example", san_matchers=[dislike]))
        rejection = self.judged("bad.example")
        self.assertEqual(rejection.counter, "fail_verify_san")
        self.assertTrue(
            rejection.detail.startswith("verify cert failed: SAN matcher, certificate SANs are [good")
        )

    def test_pins(self) -> None:
        """One of the pins, of certificates and keys, must be right."""
        spki = base64.b64encode(hashlib.sha256(public_key_der(CLIENT)).digest()).decode()
        wrong, no_key = frozenset({"0" * 64}), frozenset({"A" * 43 + "="})
        self.assertIsNone(self.judged(certificate_hashes=frozenset({FACTS.sha256}), spki_hashes=no_key))
        self.assertIsNone(self.judged(certificate_hashes=wrong, spki_hashes=frozenset({spki})))
        rejection = Rejection("fail_verify_cert_hash", "verify cert failed: cert hash and spki")
        self.assertEqual(self.judged(certificate_hashes=wrong), rejection)
        self.assertEqual(self.judged(spki_hashes=no_key), rejection)

    def test_accept_untrusted(self) -> None:
        """A rejection is only to be counted where the config says so."""
        rejection = self.judged(certificate_hashes=frozenset({"0" * 64}), accept_untrusted=True)
        self.assertEqual((rejection.counter, rejection.fatal), ("fail_verify_cert_hash", False))

    def test_pinned_leaves(self) -> None:
        """The certificate itself must be among those trusted where that is asked for."""
        trusting = Validation(Settings(trusted_ca=ROOT.alone + CLIENT.alone, pinned_leaves=True))
        self.assertIsNone(trusting.judge(FACTS))
        rejection = trusting.judge(CertificateFacts(BETWEEN.issue().der))
        self.assertEqual(rejection and rejection.counter, "fail_verify_cert_hash")

    def test_subject_checks(self) -> None:
        """One of the hosts, addresses and mail addresses must be the certificate's."""
        for settings in (
            {"check_hosts": ["no.example", "good.example"]},
            {"check_hosts": ["no.example"], "check_emails": ["Me@b.EXAMPLE"]},
        ):
            self.assertIsNone(self.judged(**settings), settings)
        for settings in (
            {"check_hosts": ["no.example"]},
            {"check_ips": ["10.0.0.1"]},
            {"check_emails": ["me@b.example"]},
        ):
            rejection = self.judged(**settings)
            self.assertEqual(rejection.counter, "fail_verify_san", settings)
            self.assertIn("subject checks failed", rejection.detail)

    def test_common_name(self) -> None:
        """Among the hosts the common name counts for one without DNS names, as in OpenSSL."""
        facts = CertificateFacts(ROOT.issue("old.example", ip=["10.0.0.7"]).der)
        self.assertIsNone(self.judged(leaf=facts, check_hosts=["old.example"]))
        self.assertIsNone(self.judged(leaf=facts, check_ips=["10.0.0.7"]))
        self.assertIsNotNone(self.judged("old.example", leaf=facts))


class WordsTests(SynchronousTestCase):
    """What is said of a chain."""

    def said(self, error: int, reason: str, depth: int = 0, **settings: Any) -> str:
        """Return what is said of an error."""
        rejection = Validation(Settings(trusted_ca=ROOT.alone, **settings)).chain_rejection(
            error, depth, reason
        )
        assert rejection is not None
        self.assertEqual(rejection.counter, "fail_verify_error")
        prefix = "verify cert failed: X509_verify_cert: certificate verification error at depth "
        self.assertEqual(rejection.detail[: len(prefix)], prefix)
        return rejection.detail[len(prefix) :]

    def test_reason(self) -> None:
        """OpenSSL's reason is told, with the depth."""
        self.assertEqual(self.said(EXPIRED, "certificate has expired", 1), "1: certificate has expired")

    def test_other_words(self) -> None:
        """Where BoringSSL has other words they are taken."""
        self.assertEqual(
            self.said(PURPOSE, "unsuitable certificate purpose"), "0: unsupported certificate purpose"
        )
        self.assertEqual(self.said(18, "self-signed certificate"), "0: self signed certificate")
        long = "certificate chain too long"
        self.assertEqual(self.said(TOO_LONG, long, 1), "1: unable to get local issuer certificate")

    def test_revocation(self) -> None:
        """Errors of revocation lists are said to be that."""
        self.assertEqual(
            self.said(REVOKED, "certificate revoked"),
            "0: certificate revocation check against provided CRLs failed: certificate revoked",
        )

    def test_overlooked(self) -> None:
        """An error that is overlooked is not fatal, but told."""
        validation = Validation(Settings(trusted_ca=ROOT.alone, accept_untrusted=True))
        rejection = validation.chain_rejection(EXPIRED, 0, "certificate has expired")
        self.assertEqual(rejection and rejection.fatal, False)
