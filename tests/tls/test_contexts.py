"""Tests for meshd.tls.contexts."""

from __future__ import annotations

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from meshd.tls import contexts
from meshd.tls.certificates import Credential, CredentialError
from meshd.tls.contexts import ASK_NOTHING, DEMAND, Verdict
from meshd.tls.openssl import TLSError
from meshd.tls.options import TlsOptions
from meshd.tls.parameters import Parameters
from meshd.tls.session import Session
from meshd.tls.validation import Validation
from tests.tls.authority import Authority, Owner
from tests.tls.pair import LEAF, ROOT, credential, parameters, shake, ssl_pair, trusting


def handshake(
    validation: Validation | None, shown: Owner, options: TlsOptions | None = None, name: str = ""
) -> tuple[Session, Verdict]:
    """Let a client with this validation meet a server that shows this; return its session and verdict."""
    server = contexts.make(True, Parameters(), credential(shown), None)
    client = contexts.make(False, parameters(), None, validation)
    contexts.demand(client, DEMAND, validation, options or TlsOptions())
    accepting, connecting = ssl_pair(server, client)
    verdict = connecting.app = Verdict(name)
    session = Session(connecting)
    try:
        shake(Session(accepting), session)
    except TLSError as error:
        if error.operation != "SSL_connect":
            raise
    return session, verdict


class MakeTests(SynchronousTestCase):
    """Contexts of one certificate."""

    def test_chain(self) -> None:
        """A server sends its certificate and the intermediates."""
        leaf = ROOT.intermediate().issue("below")
        session, _ = handshake(trusting(ROOT), leaf)
        chain = session.ssl.connection.get_peer_cert_chain()
        assert chain is not None
        self.assertEqual(len(chain), 2)
        self.assertTrue(session.handshaken)

    def test_wrong_key(self) -> None:
        """A key that is not the certificate's is refused, by name."""
        wrong = Credential(LEAF.certificate, (), ROOT.key, "somewhere")
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        error = self.assertRaises(CredentialError, contexts.use, context, wrong)
        self.assertIn("from somewhere: ", str(error))

    def test_session_context(self) -> None:
        """Sessions of one configuration are not those of another; the same is always the same."""
        one = contexts.session_context("a", parameters(), "x")
        self.assertEqual(len(one), 32)
        self.assertEqual(one, contexts.session_context("a", parameters(), "x"))
        for other in (
            ("b", parameters(), "x"),
            ("a", parameters(groups="P-256"), "x"),
            ("a", parameters(), "y"),
        ):
            self.assertNotEqual(one, contexts.session_context(*other))


class DemandTests(SynchronousTestCase):
    """Verdicts on a server's certificate."""

    def test_nothing(self) -> None:
        """Where nothing is asked for nothing is judged."""
        context = contexts.make(False, parameters(), None, None)
        contexts.demand(context, ASK_NOTHING, None, TlsOptions())
        self.assertEqual(context.get_verify_mode(), SSL.VERIFY_NONE)

    def test_good(self) -> None:
        """One that is trusted and has the name is accepted."""
        session, verdict = handshake(trusting(ROOT), LEAF, name="good.example")
        self.assertTrue(session.handshaken)
        self.assertEqual((verdict.judged, verdict.rejection), (True, None))

    def test_refused(self) -> None:
        """One that is untrusted, expired or of another name is not; the verdict says why."""
        other = Authority("other").issue("other", dns=["good.example"])
        expired = ROOT.issue("late", dns=["good.example"], expired=True)
        elsewhere = ROOT.issue("elsewhere", dns=["bad.example"])
        for shown, counter, text in (
            (other, "fail_verify_error", "unable to get local issuer certificate"),
            (expired, "fail_verify_error", "certificate has expired"),
            (elsewhere, "fail_verify_san", "bad.example"),
        ):
            session, verdict = handshake(trusting(ROOT), shown, name="good.example")
            self.assertFalse(session.handshaken)
            assert verdict.rejection is not None
            self.assertEqual(verdict.rejection.counter, counter)
            self.assertIn(text, verdict.rejection.detail)

    def test_let_through(self) -> None:
        """With ACCEPT_UNTRUSTED it is accepted, and the verdict still says why not."""
        other = Authority("other").issue("other")
        session, verdict = handshake(trusting(ROOT, accept_untrusted=True), other)
        self.assertTrue(session.handshaken)
        assert verdict.rejection is not None
        self.assertEqual((verdict.rejection.counter, verdict.rejection.fatal), ("fail_verify_error", False))

    def test_late_verdict(self) -> None:
        """With late_verdict every handshake is done, and the verdict is kept."""
        other = Authority("other").issue("other")
        session, verdict = handshake(trusting(ROOT), other, TlsOptions(late_verdict=True))
        self.assertTrue(session.handshaken)
        assert verdict.rejection is not None and verdict.rejection.fatal

    def test_pinned_leaf(self) -> None:
        """With verify_peer a certificate must be trusted itself; without verify_chain that is enough."""
        other = Authority("other").issue("other")
        pinned = TlsOptions(verify_peer=True, verify_chain=False)
        for shown, accepted in ((other, True), (LEAF, False)):
            session, _ = handshake(trusting(other, pinned_leaves=True), shown, pinned)
            self.assertIs(session.handshaken, accepted)

    def test_anything(self) -> None:
        """Who asks for a certificate and says nothing of it accepts any."""
        session, verdict = handshake(None, Authority("other").issue("other"))
        self.assertTrue(session.handshaken)
        self.assertEqual((verdict.judged, verdict.rejection), (False, None))
