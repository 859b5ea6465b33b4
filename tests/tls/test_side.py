"""Tests for meshd.tls.side: what both sides tell of a handshake and its failure."""

from __future__ import annotations

from OpenSSL import SSL
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from meshd.tls.contexts import Verdict
from meshd.tls.openssl import Ssl, TLSError
from meshd.tls.side import Side
from meshd.tls.validation import Rejection
from tests.tls.pair import LEAF, ROOT, TLS_1_2, TLS_1_3, World, info_of, parameters, trusting

CLIENT = ROOT.issue("client")


class FactsTests(SynchronousTestCase):
    """What is known of a handshake that is done."""

    def test_both_sides(self) -> None:
        """Both sides tell the same: version, cipher, ALPN, SNI, group; and each other's certificate."""
        for version, name in ((TLS_1_2, "TLSv1.2"), (TLS_1_3, "TLSv1.3")):
            world = World()
            settings = parameters(max_version=version, alpn=(b"x",))
            pair = world.connect(
                world.server(parameters=settings, validation=trusting(ROOT)),
                world.client(CLIENT, parameters=settings, validation=trusting(ROOT), sni="good.example"),
            )
            server, client = info_of(pair.server).tls, pair.client.tls
            for facts in (server, client):
                self.assertEqual(
                    (facts.version, facts.alpn, facts.server_name, facts.resumed, facts.verified),
                    (name, "x", "good.example", False, True),
                )
            self.assertEqual((server.cipher, server.curve), (client.cipher, client.curve))
            self.assertEqual((server.peer, server.local), (client.local, client.peer))
            self.assertEqual(client.peer.der, LEAF.der)
            self.assertEqual(client.peer_chain[0], client.peer)

    def test_counted(self) -> None:
        """Both count it by what was agreed on."""
        world = World()
        world.connect(world.server(), world.client())
        for scope in (world.server_scope, world.client_scope):
            self.assertEqual(scope["ssl.handshake"], 1)
            self.assertEqual(scope["ssl.versions.TLSv1.3"], 1)
            self.assertEqual(scope["ssl.ciphers.TLS_AES_256_GCM_SHA384"], 1)
            self.assertEqual(scope["ssl.curves.X25519"], 1)
            self.assertEqual(scope["ssl.connection_error"], 0)


class ExplainTests(SynchronousTestCase):
    """What is counted of a failure, and told."""

    def setUp(self) -> None:
        self.world = World()
        self.scope = self.world.server_scope
        self.side = Side(self.scope, self.world.timers, self.world.handshakes)
        connection = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
        self.ssl = Ssl(connection, "SSL_accept", Verdict())

    def explained(self, reason: str, code: int = 1) -> TLSError:
        """Return what is told of an error."""
        return self.side.explain(self.ssl, TLSError("SSL_accept", code, reason))

    def test_rejection(self) -> None:
        """A certificate that was rejected is counted by why, which is told."""
        self.ssl.app.rejection = Rejection("fail_verify_san", "wrong name")
        error = self.explained("certificate verify failed")
        self.assertEqual(
            (error.code, error.reason, error.detail), (1, "certificate verify failed", "wrong name")
        )
        self.assertEqual((self.scope["ssl.fail_verify_san"], self.scope["ssl.connection_error"]), (1, 0))

    def test_no_certificate(self) -> None:
        """So is one that is missing."""
        self.explained("peer did not return a certificate")
        self.assertEqual((self.scope["ssl.fail_verify_no_cert"], self.scope["ssl.connection_error"]), (1, 0))

    def test_others(self) -> None:
        """Other errors of TLS are counted as such; an end in the middle is none."""
        self.assertEqual(self.explained("no shared cipher").detail, "")
        self.assertEqual(self.scope["ssl.connection_error"], 1)
        self.explained("unexpected eof while reading", 0)
        self.assertEqual(self.scope["ssl.connection_error"], 1)

    def test_before_there_is_a_session(self) -> None:
        """An error before there is a session is counted as well."""
        self.side.explain(None, TLSError("SSL_accept", 1, "x"))
        self.assertEqual(self.scope["ssl.connection_error"], 1)

    def test_ocsp(self) -> None:
        """What OCSP says counts as a certificate that failed."""
        self.side.explain(self.ssl, TLSError("OCSP", 0, "certificate verify failed", "revoked"))
        self.assertEqual(self.scope["ssl.fail_verify_error"], 1)


class LogTests(SynchronousTestCase):
    """What the log says of a failure."""

    def test_both_sides(self) -> None:
        """It names the listener or cluster, the peer, the reason and what is known of the certificate."""
        world = World()
        validation = trusting(ROOT, check_hosts=("other.example",))
        with capturedLogs() as events:
            world.connect(
                world.server(name="listener a"), world.client(name="cluster b", validation=validation)
            )
        lines = [formatEvent(each) for each in events if each.get("log_namespace") == "meshd.tls"]
        ours = next(each for each in lines if each.startswith("cluster b: TLS with 192.0.2.9:8443 failed: "))
        self.assertIn("SSL_connect: certificate verify failed", ours)
        self.assertIn("good.example", ours)
        self.assertIn("CN=server", ours)
        theirs = next(
            each for each in lines if each.startswith("listener a: TLS with 192.0.2.1:40000 failed")
        )
        self.assertIn("alert", theirs)
