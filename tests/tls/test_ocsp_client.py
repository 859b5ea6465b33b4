"""Tests for meshd.tls.ocsp_client."""

from collections.abc import Callable
from typing import Any

from cryptography.x509 import OCSPNonce, ocsp
from treq.testing import StubTreq
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from meshd.tls.ocsp_client import ANSWER_LIMIT, OcspClient, Verdict
from tests.tls.authority import Authority, Leaf

ROOT = Authority()
LEAF = ROOT.issue(ocsp_url="http://first.example/ocsp")
URL = "http://second.example/ocsp"


class Responder(Resource):
    """Answers as the test says, by host; keeps what it was asked."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[str, Callable[[Any], bytes | int]] = {}
        self.asked: list[tuple[str, Any]] = []
        self.waiting: list[Any] = []

    def render_POST(self, request: Any) -> bytes | int:
        """Answer a request."""
        host = request.getRequestHostname().decode()
        assert request.getHeader("content-type") == "application/ocsp-request"
        asked = ocsp.load_der_ocsp_request(request.content.read())
        self.asked.append((host, asked))
        self.request = request
        answer = self.answers.get(host)
        if answer is None:
            self.waiting.append(request)
            return NOT_DONE_YET
        return answer(asked)


class ClientCase(SynchronousTestCase):
    """A client, and responders without a network."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.responder = Responder()
        self.http = StubTreq(self.responder)
        self.client = OcspClient(self.clock, self.http)

    def serve(self, host: str, status: str, signer: Authority = ROOT) -> None:
        """Let the responder of host say that of LEAF."""
        self.responder.answers[host] = lambda asked: signer.ocsp(LEAF, status)

    def check(self, leaf: Leaf = LEAF, **options: Any) -> Verdict:
        """Return what the client comes to."""
        checking = self.client.check(leaf.certificate, ROOT.certificate, **options)
        self.http.flush()
        return self.successResultOf(checking)


class VerdictTests(ClientCase):
    """What the client comes to."""

    def test_named_by_the_certificate(self) -> None:
        """The responder that the certificate names is asked about it."""
        self.serve("first.example", "good")
        verdict = self.check()
        self.assertEqual((verdict.status, verdict.url), ("good", "http://first.example/ocsp"))
        assert verdict.response is not None
        self.assertTrue(verdict.response.is_of(LEAF.certificate))
        ((_, asked),) = self.responder.asked
        self.assertEqual(asked.serial_number, LEAF.certificate.serial_number)
        self.assertEqual(len(list(asked.extensions)), 0)

    def test_named_by_the_config(self) -> None:
        """The responder of the config goes before it; the other is asked only if that does not know."""
        self.serve("second.example", "revoked")
        self.serve("first.example", "good")
        self.assertEqual(self.check(url=URL).status, "revoked")
        self.serve("second.example", "unknown")
        self.assertEqual(self.check(url=URL).status, "good")
        self.assertEqual(self.check(url=URL, aia=False).status, "unknown")
        hosts = [host for host, _ in self.responder.asked]
        self.assertEqual(hosts, ["second.example", "second.example", "first.example", "second.example"])

    def test_unknown_outlives_errors(self) -> None:
        """That somebody does not know says more than that another cannot be asked."""
        self.serve("second.example", "unknown")
        self.responder.answers["first.example"] = lambda asked: b"rubbish"
        self.assertEqual(self.check(url=URL).status, "unknown")

    def test_nobody(self) -> None:
        """Without a responder nobody is asked."""
        self.assertEqual(self.check(ROOT.issue()), Verdict("", "the certificate names no responder"))
        self.assertEqual(self.check(aia=False).status, "")

    def test_nonce(self) -> None:
        """A nonce is sent if it is wanted, and must come back as it was."""

        def answer(asked: Any) -> bytes:
            nonce = asked.extensions.get_extension_for_class(OCSPNonce).value.nonce
            return ROOT.ocsp(LEAF, nonce=nonce)

        self.responder.answers["first.example"] = answer
        self.assertEqual(self.check(nonce=True).status, "good")
        self.responder.answers["first.example"] = lambda asked: ROOT.ocsp(LEAF, nonce=b"another nonce")
        self.assertEqual(self.check(nonce=True).reason, "the response has another nonce")


class FailureTests(ClientCase):
    """What goes wrong."""

    def test_forged(self) -> None:
        """A response that is not to be believed says nothing."""
        self.responder.answers["first.example"] = lambda asked: ROOT.ocsp(LEAF, responder=Authority("forger"))
        verdict = self.check()
        self.assertEqual(
            (verdict.status, verdict.reason), ("", "the issuer has not authorized the responder")
        )

    def test_status(self) -> None:
        """An answer that is not 200 says nothing."""

        def answer(asked: Any) -> bytes:
            self.responder.request.setResponseCode(500)
            return b"broken"

        self.responder.answers["first.example"] = answer
        self.assertEqual(self.check().reason, "http://first.example/ocsp answered 500")

    def test_redirect(self) -> None:
        """Nobody follows a redirect."""

        def answer(asked: Any) -> bytes:
            self.responder.request.redirect(b"http://third.example/")
            return b""

        self.responder.answers["first.example"] = answer
        self.assertEqual(self.check().reason, "http://first.example/ocsp answered 302")

    def test_too_long(self) -> None:
        """An answer without end is not read to its end."""
        self.responder.answers["first.example"] = lambda asked: b"x" * (ANSWER_LIMIT + 1)
        self.assertEqual(self.check().reason, "the answer is too long")

    def test_slow(self) -> None:
        """A responder that takes too long is left."""
        checking = self.client.check(LEAF.certificate, ROOT.certificate, timeout=3)
        self.http.flush()
        self.assertNoResult(checking)
        self.clock.advance(3)
        self.assertIn("cannot be asked", self.successResultOf(checking).reason)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_refused(self) -> None:
        """One that cannot be reached is told with the reason."""

        class Nobody:
            def post(self, *args: Any, **options: Any) -> Deferred[Any]:
                return fail(ConnectionRefusedError())

        client = OcspClient(self.clock, Nobody())
        verdict = self.successResultOf(client.check(LEAF.certificate, ROOT.certificate))
        self.assertIn("http://first.example/ocsp cannot be asked: Connection was refused", verdict.reason)

    def test_bad_url(self) -> None:
        """A responder whose address is none is told too."""
        client = OcspClient(MemoryReactorClock())
        verdict = self.successResultOf(
            client.check(LEAF.certificate, ROOT.certificate, url="nonsense", aia=False)
        )
        self.assertIn("nonsense cannot be asked", verdict.reason)
