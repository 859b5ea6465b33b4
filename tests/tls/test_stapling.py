"""
Tests for meshd.tls.stapling.

What happens by which policy was seen with Envoy for the same certificates.
"""

from typing import Any

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from meshd.testing import FakeScope
from meshd.tls.certificates import Credential, CredentialError, read_credential
from meshd.tls.contexts import Verdict
from meshd.tls.openssl import Ssl
from meshd.tls.stapling import LENIENT, MUST, STRICT, Action, Stapling
from meshd.tls.stats import TlsStats
from tests.tls.authority import DAY, Authority, now
from tests.tls.shake import context_of

ROOT = Authority()
LEAF = ROOT.issue()
GOOD = ROOT.ocsp(LEAF)
OLD = ROOT.ocsp(LEAF, this_update=now() - 9 * DAY)


def credential(staple: bytes | None = None, must_staple: bool = False) -> Credential:
    """Return a credential with a response; with must_staple its certificate asks for one."""
    leaf = ROOT.issue(must_staple=True, serial=LEAF.certificate.serial_number) if must_staple else LEAF
    made = read_credential(leaf.pem, leaf.key_pem, None, "it")
    made.staple = staple
    return made


class FakeFetcher:
    """Notes which certificates it is to keep fresh."""

    def __init__(self) -> None:
        self.kept: list[Any] = []

    def keep(self, credentials: Any) -> None:
        """Note them."""
        self.kept.append(credentials)


class StaplingCase(SynchronousTestCase):
    """Policies and what they count."""

    def setUp(self) -> None:
        self.scope = FakeScope()

    def stapling(self, policy: int = LENIENT, fetcher: Any = None) -> Stapling:
        """Return a policy."""
        return Stapling(policy, TlsStats(self.scope, False), fetcher)


class DecisionTests(StaplingCase):
    """What a client gets that asks."""

    def test_table(self) -> None:
        """It depends on the policy, and on whether there is a response, and a fresh one."""
        table = {
            LENIENT: (Action.STAPLE, Action.OMIT, Action.OMIT),
            STRICT: (Action.STAPLE, Action.FAIL, Action.OMIT),
            MUST: (Action.STAPLE, Action.FAIL, Action.FAIL),
        }
        for policy, actions in table.items():
            stapling = self.stapling(policy)
            found = tuple(stapling.decide(credential(staple)) for staple in (GOOD, OLD, None))
            self.assertEqual(found, actions, policy)

    def test_must_staple(self) -> None:
        """A certificate that must be stapled fails without a fresh response, whatever the policy."""
        stapling = self.stapling()
        self.assertIs(stapling.decide(credential(GOOD, must_staple=True)), Action.STAPLE)
        for staple in (OLD, None):
            self.assertIs(stapling.decide(credential(staple, must_staple=True)), Action.FAIL)

    def test_exchanged(self) -> None:
        """A response that came meanwhile counts."""
        stapling, made = self.stapling(MUST), credential(OLD)
        self.assertFalse(stapling.allows(made))
        made.staple = GOOD
        self.assertTrue(stapling.allows(made))


class CheckTests(StaplingCase):
    """What is refused when the config is read."""

    def assert_refused(self, text: str, made: Credential, policy: int = LENIENT) -> None:
        """A credential is refused, in those words."""
        error = self.assertRaises(CredentialError, self.stapling(policy).check, made)
        self.assertEqual(str(error)[: len(text)], text)

    def test_missing(self) -> None:
        """A response that must be there is missed."""
        self.assert_refused("OCSP response is required for must-staple certificate", credential(None, True))
        self.assert_refused("Required OCSP response is missing from TLS context", credential(), MUST)

    def test_wrong(self) -> None:
        """A response must be one, and about the certificate."""
        self.assert_refused("not an OCSP response", credential(b"rubbish"))
        other = ROOT.ocsp(ROOT.issue())
        self.assert_refused("OCSP response does not match its TLS certificate", credential(other))

    def test_fine(self) -> None:
        """An old one, or a bad verdict, is taken: a newer one may come; so is none where none is needed."""
        for made in (credential(OLD), credential(ROOT.ocsp(LEAF, "revoked")), credential()):
            self.stapling(STRICT).check(made)

    def test_fetched(self) -> None:
        """One that is fetched may be missing at first."""
        fetcher = FakeFetcher()
        stapling = self.stapling(MUST, fetcher)
        made = credential()
        stapling.check(made)
        stapling.keep([made])
        self.assertEqual(fetcher.kept, [[made]])


class HandshakeTests(StaplingCase):
    """Clients that ask, and do not."""

    def shake(self, policy: int, staple: bytes | None, asks: bool = True) -> tuple[bytes | None, str]:
        """Return what a client was stapled (None if it did not get that far), and why the server refused."""
        context = context_of(LEAF)
        self.stapling(policy).install(context, credential(staple))
        server = SSL.Connection(context, None)
        server.set_accept_state()
        ssl = Ssl(server, "SSL_accept", Verdict())
        told: list[bytes] = []
        client_context = context_of()
        client_context.set_ocsp_client_callback(lambda connection, data, _: not told.append(data))  # type: ignore[func-returns-value]
        client = SSL.Connection(client_context, None)
        client.set_connect_state()
        if asks:
            client.request_ocsp()
        for _ in range(4):
            for side, other in ((client, server), (server, client)):
                try:
                    side.do_handshake()
                except SSL.WantReadError:
                    pass
                except SSL.Error:
                    return None, ssl.app.refusal
                try:
                    other.bio_write(side.bio_read(1 << 16))
                except SSL.WantReadError:
                    pass
        return (told or [b""])[0], ssl.app.refusal

    def counts(self) -> tuple[int, ...]:
        """Return requests, responses, omissions and failures."""
        names = ("requests", "responses", "omitted", "failed")
        return tuple(self.scope[f"ssl.ocsp_staple_{name}"] for name in names)

    def test_stapled(self) -> None:
        """A client that asks gets the response."""
        self.assertEqual(self.shake(LENIENT, GOOD), (GOOD, ""))
        self.assertEqual(self.counts(), (1, 1, 0, 0))

    def test_omitted(self) -> None:
        """Or none, where that is allowed."""
        self.assertEqual(self.shake(LENIENT, OLD), (b"", ""))
        self.assertEqual(self.counts(), (1, 0, 1, 0))

    def test_failed(self) -> None:
        """Or the handshake fails, and it is known why."""
        self.assertEqual(self.shake(STRICT, OLD), (None, "the OCSP response has expired"))
        self.assertEqual(self.counts(), (1, 0, 0, 1))

    def test_not_asked(self) -> None:
        """A client that does not ask gets nothing, and is served."""
        self.assertEqual(self.shake(STRICT, OLD, asks=False), (b"", ""))
        self.assertEqual(self.counts(), (0, 0, 0, 0))
