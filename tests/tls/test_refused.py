"""Tests of what is known of a client that is refused."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.tls.authority import Authority, Owner
from tests.tls.pair import LEAF, ROOT, World, credential, info_of, parameters, trusting

OTHER = Authority("other root")


class RefusedTests(SynchronousTestCase):
    """A server that demands a certificate of ROOT."""

    def setUp(self) -> None:
        self.world = World()
        self.terms = self.world.server(LEAF, validation=trusting(ROOT), require_certificate=True)

    def refused(self, shows: Owner | None, **settings: Any) -> Any:
        """Return the info of the connection of a client that is refused."""
        client = self.world.client(shows, **settings)
        pair = self.world.connect(self.terms, client)
        self.assertFalse(pair.server.upstream.connected)
        return info_of(pair.server)

    def test_stranger(self) -> None:
        """Who was refused, by whom, and why is known."""
        info = self.refused(OTHER.issue("stranger"))
        self.assertEqual((info.tls.peer.subject, info.tls.local.subject), ("CN=stranger", "CN=server"))
        self.assertEqual([each.subject for each in info.tls.peer_chain], ["CN=stranger"])
        self.assertEqual((info.tls.version, info.tls.verified), ("TLSv1.3", False))
        self.assertIn("unable to get local issuer certificate", info.tls.verify_error)

    def test_nobody(self) -> None:
        """That there was no certificate is told in Envoy's words."""
        info = self.refused(None)
        self.assertIsNone(info.tls.peer)
        self.assertEqual(info.tls_error.detail, "peer did not provide required client certificate")
        self.assertEqual(self.world.server_scope["ssl.fail_verify_no_cert"], 1)

    def test_early(self) -> None:
        """Before there is a cipher only our own certificate is known."""
        info = self.refused(None, parameters=parameters(groups="P-521"))
        self.assertEqual((info.tls.cipher, info.tls.version, info.tls.peer), ("", "", None))
        self.assertEqual(info.tls.local, credential(LEAF).facts)
