"""Tests for meshd.tls.server."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from meshd.tls.client import ClientTerms
from meshd.tls.facts import CertificateFacts
from meshd.tls.server import ServerTerms
from meshd.tls.validation import Settings, Validation
from tests.tls.authority import Authority, Owner
from tests.tls.pair import (
    LEAF,
    ROOT,
    TLS_1_2,
    TLS_1_3,
    Head,
    Pair,
    World,
    credential,
    info_of,
    parameters,
    trusting,
)

CLIENT = ROOT.issue("client", uri=["spiffe://td/client"])
RSA_ONLY = "rsa_pss_rsae_sha256:rsa_pkcs1_sha256"


class CertificateTests(SynchronousTestCase):
    """Which certificate is shown."""

    def setUp(self) -> None:
        self.world = World()

    def shown(self, server: ServerTerms, name: str = "", algorithms: str = "", **settings: Any) -> str:
        """Return the subject of what a client is shown; both ends are to agree on it."""
        client = self.world.client(
            sni=name, parameters=parameters(signature_algorithms=algorithms, **settings)
        )
        pair = self.world.connect(server, client)
        facts = pair.client.tls
        self.assertEqual(facts.peer, info_of(pair.server).tls.local)
        return str(facts.peer.subject)

    def test_by_name(self) -> None:
        """By the SNI: exactly, by wildcard, else the first; with full_scan the best of all."""
        owners = [
            Authority(kind="rsa").issue("first", dns=["first.example"], kind="rsa"),
            ROOT.issue("second", dns=["second.example"]),
            ROOT.issue("wild", dns=["*.wild.example"]),
        ]
        for full_scan, other in ((False, "CN=first"), (True, "CN=second")):
            server = self.world.server(*owners, full_scan=full_scan)
            self.assertEqual(self.shown(server, "second.example"), "CN=second")
            self.assertEqual(self.shown(server, "a.wild.example"), "CN=wild")
            self.assertEqual(self.shown(server, "elsewhere.example"), other)

    def test_by_kind(self) -> None:
        """By what the client can check: ECDSA before RSA; with TLS 1.2 and 1.3."""
        names = ["both.example"]
        owners = [ROOT.issue("rsa", dns=names, kind="rsa"), ROOT.issue("ecdsa", dns=names)]
        server = self.world.server(*owners)
        for version in (TLS_1_2, TLS_1_3):
            self.assertEqual(self.shown(server, "both.example", max_version=version), "CN=ecdsa")
            self.assertEqual(self.shown(server, "both.example", RSA_ONLY, max_version=version), "CN=rsa")

    def test_split_hello(self) -> None:
        """A ClientHello that comes byte by byte is waited for."""
        owners = [LEAF, ROOT.issue("second", dns=["second.example"])]
        pair = self.world.connect(self.world.server(*owners), self.world.client(sni="second.example"), False)
        pair.pump(1)
        self.assertEqual(info_of(pair.server).tls.server_name, "second.example")
        self.assertEqual(pair.client.tls.peer.subject, "CN=second")

    def test_not_a_hello(self) -> None:
        """With several certificates, too, clear text is an error of TLS."""
        server = self.world.server(LEAF, CLIENT)
        pair = self.world.connect(server, pump=False)
        pair.server.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
        self.world.clock.advance(0)
        self.assertTrue(pair.server.dropped)
        self.assertIn("HTTP_REQUEST", info_of(pair.server).transport_failure_reason)

    def test_endless_hello(self) -> None:
        """A ClientHello that does not end is not waited for without end."""
        pair = self.world.connect(self.world.server(LEAF, CLIENT), pump=False)
        record = b"\x16\x03\x01\x40\x00"
        pair.server.dataReceived(record + b"\x01\xff\xff\xff" + b"\x03\x03" + b"\0" * (16384 - 6))
        for _ in range(8):
            self.world.clock.advance(0)
            if not pair.server.dropped:
                pair.server.dataReceived(record + b"\0" * 16384)
        self.world.clock.advance(0)
        self.assertTrue(pair.server.dropped)

    def test_exchanged(self) -> None:
        """New certificates are for new connections; those that there are go on."""
        server = self.world.server()
        old = self.world.connect(server)
        between = self.world.connect(server, pump=False)
        server.use([credential(ROOT.issue("new"))], None)
        between.pump()
        new = self.world.connect(server)
        old.client.say(b"still here")
        old.pump()
        self.assertEqual(old.server.plaintext, b"still here")
        self.assertEqual(new.client.tls.peer.subject, "CN=new")
        self.assertTrue(between.server.upstream.connected)

    def test_server_name(self) -> None:
        """The SNI is among the facts; what a listener filter found out is left alone."""
        client = self.world.client(sni="good.example")
        pair = self.world.connect(self.world.server(), client)
        self.assertEqual(info_of(pair.server).tls.server_name, "good.example")
        self.assertEqual(info_of(pair.server).server_name, "")
        pair = self.world.connect(self.world.server(), client, pump=False)
        info_of(pair.server).server_name = "inspected.example"
        pair.pump()
        self.assertEqual(info_of(pair.server).server_name, "inspected.example")


class ClientCertificateTests(SynchronousTestCase):
    """Certificates of clients."""

    def setUp(self) -> None:
        self.world = World()

    def connect(self, owner: Owner | None, version: int = TLS_1_3, **settings: Any) -> Pair:
        """Return a connection of a client that shows this, to a server with these settings."""
        server = self.world.server(**settings)
        client = self.world.client(owner, parameters=parameters(max_version=version))
        return self.world.connect(server, client)

    def counted(self, *names: str) -> dict[str, int]:
        """Return the counters of ssl that are not 0, of these names."""
        scope = self.world.server_scope
        return {name: scope[f"ssl.{name}"] for name in names if scope[f"ssl.{name}"]}

    def test_accepted(self) -> None:
        """One that is trusted is accepted, and everything of it is known."""
        for version in (TLS_1_2, TLS_1_3):
            pair = self.connect(CLIENT, version, validation=trusting(ROOT), require_certificate=True)
            facts = info_of(pair.server).tls
            self.assertTrue(facts.verified)
            self.assertEqual(facts.peer.uri_sans, ("spiffe://td/client",))
            self.assertEqual(facts.peer_chain[0], facts.peer)
            self.assertEqual(facts.verify_error, "")
        self.assertEqual(self.counted("no_certificate", "fail_verify_error"), {})

    def test_intermediate(self) -> None:
        """The chain that a client sent is known, its own certificate first."""
        owner = ROOT.intermediate("between").issue("below")
        pair = self.connect(owner, validation=trusting(ROOT))
        chain = info_of(pair.server).tls.peer_chain
        self.assertEqual([each.subject for each in chain], ["CN=below", "CN=between"])

    def refused(self, pair: Pair, counter: str, text: str) -> None:
        """Check that a client was refused, and why."""
        info = info_of(pair.server)
        self.assertFalse(pair.server.upstream.connected)
        self.assertTrue(pair.server.dropped)
        self.assertEqual(info.tls_error.reason, "certificate verify failed")
        self.assertIn("CERTIFICATE_VERIFY_FAILED", info.transport_failure_reason)
        self.assertIn(text, info.transport_failure_reason)
        names = "connection_error fail_verify_no_cert fail_verify_error fail_verify_san fail_verify_cert_hash"
        self.assertEqual(self.counted(*names.split()), {counter: 1})
        self.assertTrue(pair.client.dropped)
        self.assertIn("ALERT", pair.client.failure_reason)
        self.world = World()

    def test_refused(self) -> None:
        """One that is not trusted, is late, or is another's is refused; the info and a counter say why."""
        stranger = Authority("other").issue("stranger")
        late = ROOT.issue("late", expired=True)
        for version in (TLS_1_2,):
            self.refused(
                self.connect(stranger, version, validation=trusting(ROOT)),
                "fail_verify_error",
                "unable to get local issuer certificate",
            )
            self.refused(
                self.connect(late, version, validation=trusting(ROOT)),
                "fail_verify_error",
                "certificate has expired",
            )
            self.refused(
                self.connect(CLIENT, version, validation=trusting(ROOT, certificate_hashes={"0" * 64})),
                "fail_verify_cert_hash",
                "",
            )

    def test_none(self) -> None:
        """Without one, a client is refused where one is required, and counted where not."""
        pair = self.connect(None, TLS_1_2, validation=trusting(ROOT), require_certificate=True)
        self.assertFalse(pair.server.upstream.connected)
        self.assertIn("PEER_DID_NOT_RETURN_A_CERTIFICATE", info_of(pair.server).transport_failure_reason)
        self.assertEqual(self.counted("fail_verify_no_cert", "connection_error"), {"fail_verify_no_cert": 1})
        pair = self.connect(None, validation=trusting(ROOT))
        facts = info_of(pair.server).tls
        self.assertEqual((facts.peer, facts.verified), (None, False))
        self.assertEqual(self.counted("no_certificate"), {"no_certificate": 1})

    def test_not_asked(self) -> None:
        """A server without validation does not ask."""
        pair = self.connect(CLIENT)
        self.assertIsNone(info_of(pair.server).tls.peer)

    def test_let_through(self) -> None:
        """With ACCEPT_UNTRUSTED all are accepted and counted; filters see the verdict."""
        stranger = Authority("other").issue("stranger")
        pair = self.connect(stranger, validation=trusting(ROOT, accept_untrusted=True))
        facts = info_of(pair.server).tls
        self.assertEqual((facts.verified, facts.peer.subject), (False, "CN=stranger"))
        self.assertIn("unable to get local issuer", facts.verify_error)
        self.assertEqual(self.counted("fail_verify_error"), {"fail_verify_error": 1})

    def test_late_verdict(self) -> None:
        """So with late_verdict."""
        stranger = Authority("other").issue("stranger")
        settings = parameters({"late_verdict": True})
        pair = self.connect(stranger, validation=trusting(ROOT), parameters=settings)
        self.assertTrue(pair.server.upstream.connected)
        self.assertFalse(info_of(pair.server).tls.verified)

    def test_request_certificate(self) -> None:
        """meshd's option goes before Envoy's field."""
        for word, asked, needed in (("no", False, False), ("request", True, False), ("require", True, True)):
            settings = parameters({"request_certificate": word}, max_version=TLS_1_2)
            pair = self.connect(CLIENT, TLS_1_2, parameters=settings)
            self.assertIs(info_of(pair.server).tls.peer is not None, asked)
            pair = self.connect(None, TLS_1_2, parameters=settings)
            self.assertIs(pair.server.upstream.connected, not needed)


class ResumptionTests(SynchronousTestCase):
    """Sessions that go on."""

    def setUp(self) -> None:
        self.world = World()

    def resumed(self, version: int, other: ServerTerms | None = None, **settings: Any) -> bool:
        """Whether a second connection resumes the first; other serves the second, if given."""
        server = self.world.server(**settings)
        client = self.world.client(parameters=parameters(max_version=version))
        before = self.world.server_scope["ssl.session_reused"]
        for terms in (server, other or server):
            pair = self.world.connect(terms, client)
            pair.server.say(b"hello")  # the tickets of TLS 1.3 come with it
            pair.pump()
            self.assertTrue(pair.client.upstream.connected)
        found = bool(info_of(pair.server).tls.resumed)
        self.assertIs(pair.client.tls.resumed, found)
        self.assertEqual(self.world.server_scope["ssl.session_reused"] - before, int(found))
        self.assertEqual(info_of(pair.server).tls.version, pair.client.tls.version)
        return found

    def test_by_default(self) -> None:
        """Sessions are resumed with both versions."""
        for version in (TLS_1_2, TLS_1_3):
            self.assertTrue(self.resumed(version))

    def test_switches(self) -> None:
        """Tickets and cache each can be switched off, both versions need one."""
        for version in (TLS_1_2, TLS_1_3):
            self.assertTrue(self.resumed(version, stateful=False))
            self.assertTrue(self.resumed(version, stateless=False))
            self.assertFalse(self.resumed(version, stateless=False, stateful=False))
            self.assertFalse(self.resumed(version, parameters=parameters({"session_resume": False})))

    def test_other_configuration(self) -> None:
        """A session of another configuration is not resumed."""
        for version in (TLS_1_2, TLS_1_3):
            other = self.world.server(name="other")
            self.assertFalse(self.resumed(version, other))

    def test_time_out(self) -> None:
        """A session may be resumed for as long as is said, else for OpenSSL's time."""
        for seconds in (7, None):
            single = self.world.server(session_timeout=seconds)._single
            assert single is not None
            self.assertEqual(single[1].get_timeout(), seconds or 7200)

    def test_certificate_of_a_resumed_session(self) -> None:
        """The client's certificate and its verdict are known of a session that goes on."""
        for version in (TLS_1_2, TLS_1_3):
            world = World()
            server = world.server(validation=trusting(ROOT), require_certificate=True)
            client = world.client(CLIENT, parameters=parameters(max_version=version))
            for resumed in (False, True):
                pair = world.connect(server, client)
                pair.server.say(b"hello")
                pair.pump()
                facts = info_of(pair.server).tls
                self.assertIs(facts.resumed, resumed)
                self.assertEqual(facts.peer.subject, "CN=client")
                self.assertTrue(facts.verified)

    def test_let_through_and_resumed(self) -> None:
        """A session whose certificate was let through is not verified when it goes on."""
        stranger = Authority("other").issue("stranger")
        for version in (TLS_1_2, TLS_1_3):
            world = World()
            server = world.server(validation=trusting(ROOT, accept_untrusted=True))
            client = world.client(stranger, parameters=parameters(max_version=version))
            self.check_unverified(world, server, client)

    def check_unverified(self, world: World, server: ServerTerms, client: ClientTerms) -> None:
        """Connect twice; neither connection is verified, the second is resumed."""
        for resumed in (False, True):
            pair = world.connect(server, client)
            pair.server.say(b"hello")
            pair.pump()
            facts = info_of(pair.server).tls
            self.assertIs(facts.resumed, resumed)
            self.assertIsNotNone(facts.peer)
            self.assertFalse(facts.verified)

    def test_wrong_name_let_through_and_resumed(self) -> None:
        """Nor is one that was let through with a verdict of our own: OpenSSL had found nothing."""
        for version in (TLS_1_2, TLS_1_3):
            world = World()
            server = world.server(
                validation=trusting(ROOT, certificate_hashes={"0" * 64}),
                parameters=parameters({"late_verdict": True}),
            )
            client = world.client(CLIENT, parameters=parameters(max_version=version))
            self.check_unverified(world, server, client)

    def test_asked_for_nothing_and_resumed(self) -> None:
        """Nor one of which nothing was asked."""
        for version in (TLS_1_2, TLS_1_3):
            world = World()
            server = world.server(parameters=parameters({"request_certificate": "request"}))
            client = world.client(CLIENT, parameters=parameters(max_version=version))
            self.check_unverified(world, server, client)

    def test_pinned_and_resumed(self) -> None:
        """One that is pinned, without a chain, is good both times."""
        for version in (TLS_1_2, TLS_1_3):
            world = World()
            pinned = Validation(Settings(certificate_hashes={CertificateFacts(CLIENT.der).sha256}))
            server = world.server(validation=pinned)
            client = world.client(CLIENT, parameters=parameters(max_version=version))
            for resumed in (False, True):
                pair = world.connect(server, client)
                pair.server.say(b"hello")
                pair.pump()
                facts = info_of(pair.server).tls
                self.assertEqual((facts.resumed, facts.verified), (resumed, True))


class OtherTests(SynchronousTestCase):
    """ALPN, preferences, session ids, key log."""

    def setUp(self) -> None:
        self.world = World()

    def test_alpn(self) -> None:
        """The server's first that the client has; none if they have none in common, and no error."""
        for theirs, chosen in (((b"h2", b"http/1.1"), "http/1.1"), ((b"h2",), "h2"), ((b"x",), ""), ((), "")):
            server = self.world.server(parameters=parameters(alpn=(b"http/1.1", b"h2")))
            client = self.world.client(parameters=parameters(alpn=theirs))
            pair = self.world.connect(server, client)
            self.assertEqual(info_of(pair.server).tls.alpn, chosen)
            self.assertEqual(pair.client.tls.alpn, chosen)

    def test_preference(self) -> None:
        """With client_preference the client's order of ciphers counts."""
        one, other = "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256"
        ours = parameters(max_version=TLS_1_2, ciphers=f"{one}:{other}")
        theirs = parameters(max_version=TLS_1_2, ciphers=f"{other}:{one}")
        for client_preference, chosen in ((False, one), (True, other)):
            server = self.world.server(parameters=ours, client_preference=client_preference)
            pair = self.world.connect(server, self.world.client(parameters=theirs))
            self.assertEqual(info_of(pair.server).tls.cipher, chosen)

    def test_session_id(self) -> None:
        """The id of a session of TLS 1.2 is noted where somebody logs it, and nowhere else; 1.3 has none."""
        for version, logged, size in ((TLS_1_2, True, 64), (TLS_1_2, False, 0), (TLS_1_3, True, 0)):
            client = self.world.client(parameters=parameters(max_version=version))
            pair = self.world.connect(self.world.server(stateless=False), client, pump=False)
            pair.server.logged = logged
            pair.pump()
            self.assertEqual(len(info_of(pair.server).tls.session_id), size)

    def test_key_log(self) -> None:
        """Key material goes to who logs it, with both ends of the connection."""
        lines: list[tuple[Any, bytes]] = []

        def log(connection: SSL.Connection, line: bytes) -> None:
            lines.append((connection.get_app_data().app.ends, line))

        pair = self.world.connect(self.world.server(parameters=parameters(key_log=log)))
        self.assertGreaterEqual(len(lines), 4)
        info = info_of(pair.server)
        self.assertEqual({ends for ends, _ in lines}, {(info.direct_local, info.direct_remote)})
        self.assertTrue(all(line.split()[0].isupper() for _, line in lines))

    def test_nothing_to_serve_with(self) -> None:
        """Without certificates nobody is served, until there are some."""
        server = self.world.server()
        server.use([], None)
        pair = self.world.connect(server, pump=False)
        pair.server.dataReceived(b"x")
        self.world.clock.advance(0)
        self.assertTrue(pair.server.dropped)
        server.use([credential(LEAF)], None)
        self.assertTrue(self.world.connect(server).server.upstream.connected)

    def test_many(self) -> None:
        """Many handshakes at a time all come to their end."""
        server, client = self.world.server(), self.world.client()
        pairs = [self.world.connect(server, client, pump=False) for _ in range(50)]
        for pair in pairs:
            pair.pump()
        self.assertTrue(all(pair.server.upstream.connected for pair in pairs))
        self.assertEqual(self.world.server_scope["ssl.handshake"], 50)
        self.assertIsInstance(pairs[0].server, Head)
