"""Tests for meshd.tls.ocsp."""

import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from meshd.tls.ocsp import NOINTERN, NOSIGS, NOVERIFY, OcspError, Response, request, responders
from tests.tls.authority import DAY, Authority, now

ROOT = Authority()
LEAF = ROOT.issue(ocsp_url="http://ocsp.example/")
OTHER = Authority("other root")


class ResponseTests(SynchronousTestCase):
    """What a response says."""

    def test_status(self) -> None:
        """A certificate is good, revoked or unknown."""
        for status in ("good", "revoked", "unknown"):
            self.assertEqual(Response(ROOT.ocsp(LEAF, status)).status, status)

    def test_dates(self) -> None:
        """It says from when to when it holds."""
        begin = now()
        response = Response(ROOT.ocsp(LEAF, this_update=begin, next_update=begin + DAY))
        self.assertEqual((response.this_update, response.next_update), (begin, begin + DAY))
        self.assertFalse(response.is_expired(begin + DAY))
        self.assertTrue(response.is_expired(begin + DAY + timedelta(seconds=1)))

    def test_of(self) -> None:
        """It is about one certificate."""
        response = Response(ROOT.ocsp(LEAF))
        self.assertTrue(response.is_of(LEAF.certificate))
        self.assertFalse(response.is_of(ROOT.issue().certificate))

    def test_unsuccessful(self) -> None:
        """A responder that could not answer said nothing."""
        refused = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER)
        error = self.assertRaises(OcspError, Response, refused.public_bytes(Encoding.DER))
        self.assertEqual(str(error), "OCSP response was unsuccessful: try_later")

    @given(st.binary(max_size=60))
    def test_rubbish(self, data: bytes) -> None:
        """What is no response says nothing."""
        self.assertRaises(OcspError, Response, data)


class CheckTests(SynchronousTestCase):
    """Whether a response is to be believed."""

    def check(self, data: bytes, nonce: bytes = b"", leaf: Any = LEAF, issuer: Any = ROOT) -> None:
        """Check a response."""
        Response(data).check(leaf.certificate, issuer.certificate, nonce)

    def assert_refused(self, text: str, data: bytes, **others: Any) -> None:
        """A response is not believed, for that reason."""
        error = self.assertRaises(OcspError, self.check, data, **others)
        self.assertEqual(str(error), text)

    def test_issuer(self) -> None:
        """One that the issuer signed is, whatever kind of key it has."""
        for kind in ("ecdsa", "p384", "rsa", "ed25519"):
            issuer = Authority(f"root {kind}", kind=kind)
            leaf = issuer.issue()
            self.check(issuer.ocsp(leaf), leaf=leaf, issuer=issuer)

    def test_forged(self) -> None:
        """One that somebody else signed in the issuer's name is not."""
        forger = Authority("meshd test root")
        data = ROOT.ocsp(LEAF, responder=forger)
        self.assertRaises(OcspError, self.check, data)

    def test_damaged(self) -> None:
        """One whose content was changed is not."""
        good = ROOT.ocsp(LEAF, "revoked", this_update=now() - DAY / 24)
        serial = LEAF.certificate.serial_number.to_bytes(20, "big").lstrip(b"\0")
        other = ROOT.issue(serial=LEAF.certificate.serial_number ^ 1)
        changed = good.replace(serial, other.certificate.serial_number.to_bytes(20, "big").lstrip(b"\0"))
        self.assert_refused("the signature of the response is wrong", changed, leaf=other)

    def test_delegate(self) -> None:
        """A responder that the issuer authorized may sign."""
        delegate = ROOT.issue("responder", uses=["ocsp"])
        self.check(ROOT.ocsp(LEAF, responder=delegate))

    def test_no_delegate(self) -> None:
        """One that nobody, or somebody else, authorized may not; nor one that has expired."""
        text = "the issuer has not authorized the responder"
        self.assert_refused(text, ROOT.ocsp(LEAF, responder=ROOT.issue("a server")))
        self.assert_refused(text, ROOT.ocsp(LEAF, responder=OTHER.issue("stranger", uses=["ocsp"])))
        expired = ROOT.issue("responder", uses=["ocsp"], expired=True)
        self.assert_refused("the responder's certificate has expired", ROOT.ocsp(LEAF, responder=expired))

    def test_flags(self) -> None:
        """Who wants it can do without the certificates in it, or their authority, or the signature."""
        stranger = ROOT.ocsp(LEAF, responder=OTHER.issue("stranger"))
        delegated = ROOT.ocsp(LEAF, responder=ROOT.issue("responder", uses=["ocsp"]))
        whole = Response(delegated).whole
        broken = delegated.replace(whole.signature, bytes(len(whole.signature)))
        for data, flags, believed in (
            (stranger, (NOSIGS,), False),
            (stranger, (NOVERIFY,), True),
            (broken, (NOVERIFY,), False),
            (broken, (NOSIGS,), True),
            (delegated, (NOINTERN,), False),
            (stranger, (NOINTERN, NOSIGS, NOVERIFY), False),
            (ROOT.ocsp(LEAF), (NOINTERN,), True),
        ):
            response = Response(data)
            if believed:
                response.check(LEAF.certificate, ROOT.certificate, flags=flags)
            else:
                self.assertRaises(OcspError, response.check, LEAF.certificate, ROOT.certificate, flags=flags)

    def test_another(self) -> None:
        """One about another certificate, or another issuer's, is not."""
        text = "the response is about another certificate"
        self.assert_refused(text, ROOT.ocsp(ROOT.issue()))
        twin = OTHER.issue(serial=LEAF.certificate.serial_number)
        self.assert_refused(text, OTHER.ocsp(twin))

    def test_dates(self) -> None:
        """One that has expired, or is of the future, is not; clocks may differ a little."""
        self.assert_refused("the response has expired", ROOT.ocsp(LEAF, this_update=now() - 2 * DAY))
        self.assert_refused("the response is not yet valid", ROOT.ocsp(LEAF, this_update=now() + DAY))
        self.check(ROOT.ocsp(LEAF, this_update=now() + timedelta(minutes=4)))

    def test_nonce(self) -> None:
        """A nonce that comes back must be ours; it need not come back."""
        self.check(ROOT.ocsp(LEAF, nonce=b"12345678"), nonce=b"12345678")
        self.check(ROOT.ocsp(LEAF), nonce=b"12345678")
        text = "the response has another nonce"
        self.assert_refused(text, ROOT.ocsp(LEAF, nonce=b"87654321"), nonce=b"12345678")


class RequestTests(SynchronousTestCase):
    """What is asked."""

    def test_certificate(self) -> None:
        """It is about a certificate by its number, and may have a nonce."""
        asked = ocsp.load_der_ocsp_request(request(LEAF.certificate, ROOT.certificate, b"n" * 8))
        self.assertEqual(asked.serial_number, LEAF.certificate.serial_number)
        self.assertEqual(len(list(asked.extensions)), 1)

    def test_openssl(self) -> None:
        """openssl ocsp reads it, and answers what we believe."""
        directory = Path(self.mktemp())
        directory.mkdir()
        chain, key = ROOT.write(directory, "root")
        number = f"{LEAF.certificate.serial_number:X}"
        number = "0" * (len(number) % 2) + number
        (directory / "index").write_text(f"V\t350101000000Z\t\t{number}\tunknown\t/CN=leaf\n")
        (directory / "request").write_bytes(request(LEAF.certificate, ROOT.certificate, b"n" * 16))
        command = ["openssl", "ocsp", "-index", "index", "-CA", chain, "-rsigner", chain, "-rkey", key]
        command += ["-reqin", "request", "-respout", "response", "-ndays", "1"]
        subprocess.run(command, cwd=directory, check=True, capture_output=True)
        response = Response((directory / "response").read_bytes())
        response.check(LEAF.certificate, ROOT.certificate, b"n" * 16)
        self.assertEqual(response.status, "good")

    def test_responders(self) -> None:
        """A certificate may name responders."""
        self.assertEqual(responders(LEAF.certificate), ("http://ocsp.example/",))
        self.assertEqual(responders(ROOT.certificate), ())
