"""Tests for meshd.tls.client."""

from __future__ import annotations

import gc
from types import SimpleNamespace
from typing import Any

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from meshd.tls.client import HOSTS, Sessions
from tests.tls.authority import Authority
from tests.tls.pair import (
    ROOT,
    TLS_1_2,
    TLS_1_3,
    Pair,
    World,
    credential,
    info_of,
    parameters,
    trusting,
)


class SessionsTests(SynchronousTestCase):
    """Sessions by host."""

    def test_youngest(self) -> None:
        """A host's youngest is taken, and stays."""
        sessions = Sessions(2)
        for session in (1, 2, 3):
            sessions.keep("a", session)
        sessions.keep("b", 4)
        self.assertEqual([sessions.take("a"), sessions.take("a"), sessions.take("b")], [3, 3, 4])
        self.assertIsNone(sessions.take("c"))

    def test_clear(self) -> None:
        """All can be forgotten."""
        sessions = Sessions(1)
        sessions.keep("a", 1)
        sessions.clear()
        self.assertIsNone(sessions.take("a"))

    def test_bounded(self) -> None:
        """Those of the host that was longest without a new one go first."""
        sessions = Sessions(1)
        for host in range(HOSTS):
            sessions.keep(host, host)
        sessions.keep(0, "new")
        sessions.keep("one more", 1)
        self.assertEqual((sessions.take(0), sessions.take(1)), ("new", None))


class ClientCase(SynchronousTestCase):
    """A client, and a server that shows LEAF."""

    def setUp(self) -> None:
        self.world = World()
        self.server = self.world.server()

    def connect(self, client: Any, server: Any = None, **host: Any) -> Pair:
        """Return a connection on which something has been said."""
        pair = self.world.connect(server or self.server, client, **host)
        if pair.server.upstream.connected:
            pair.server.say(b"hello")
            pair.pump()
        return pair


class NameTests(ClientCase):
    """Which name is asked for, and what is demanded of the certificate."""

    def sni(self, hostname: str = "", **settings: Any) -> str:
        """Return the SNI that a server sees."""
        pair = self.connect(self.world.client(**settings), hostname=hostname)
        return str(info_of(pair.server).tls.server_name)

    def test_sni(self) -> None:
        """That of the config, or with auto_sni that of the host if it has a name."""
        self.assertEqual(self.sni(), "")
        self.assertEqual(self.sni("host.example", sni="set.example"), "set.example")
        self.assertEqual(self.sni("host.example", sni="set.example", auto_sni=True), "host.example")
        self.assertEqual(self.sni(sni="set.example", auto_sni=True), "set.example")

    def test_international(self) -> None:
        """A name that is not ASCII goes out as IDNA has it."""
        self.assertEqual(self.sni(sni="bücher.example"), "xn--bcher-kva.example")

    def test_alpn(self) -> None:
        """What the protocol inside wants is offered, unless the config names protocols."""
        server = self.world.server(parameters=parameters(alpn=(b"h2", b"mine")))
        for ours, chosen in (((), "h2"), ((b"mine",), "mine")):
            client = self.world.client(parameters=parameters(alpn=ours))
            pair = self.world.connect(server, client, alpn=(b"h2",))
            self.assertEqual(pair.client.tls.alpn, chosen)

    def test_auto_san(self) -> None:
        """With auto_san the certificate must be for the SNI."""
        for name, accepted in (("good.example", True), ("a.wild.example", True), ("bad.example", False)):
            client = self.world.client(sni=name, auto_san=True, validation=trusting(ROOT))
            self.assertIs(self.connect(client).client.upstream.connected, accepted)
        self.assertEqual(self.world.client_scope["ssl.fail_verify_san"], 1)


class VerificationTests(ClientCase):
    """What a client accepts."""

    def test_anything(self) -> None:
        """Without validation any certificate, and it does not count as verified."""
        pair = self.connect(self.world.client())
        self.assertEqual((pair.client.tls.peer.subject, pair.client.tls.verified), ("CN=server", False))

    def test_trusted(self) -> None:
        """One of a trusted authority, which counts as verified."""
        pair = self.connect(self.world.client(validation=trusting(ROOT)))
        self.assertTrue(pair.client.tls.verified)

    def test_refused(self) -> None:
        """Others are refused: the connecting says why, and the server has an alert."""
        late = ROOT.issue("late", expired=True)
        stranger = Authority("other").issue("stranger")
        for version in (TLS_1_2, TLS_1_3):
            for owner, text in (
                (late, "certificate has expired"),
                (stranger, "unable to get local issuer certificate"),
            ):
                client = self.world.client(
                    validation=trusting(ROOT), parameters=parameters(max_version=version)
                )
                pair = self.connect(client, self.world.server(owner))
                self.assertFalse(pair.client.upstream.connected)
                self.assertTrue(pair.client.dropped)
                self.assertIn(text, pair.client.failure_reason)
                self.assertEqual(pair.client.tls_error.operation, "SSL_connect")
                self.assertIn("ALERT", info_of(pair.server).transport_failure_reason)
        self.assertEqual(self.world.client_scope["ssl.fail_verify_error"], 4)
        self.assertEqual(self.world.client_scope["ssl.connection_error"], 0)

    def test_own_certificate(self) -> None:
        """A client shows its certificate to who asks, with the intermediates."""
        owner = ROOT.intermediate().issue("me")
        server = self.world.server(validation=trusting(ROOT), require_certificate=True)
        pair = self.connect(self.world.client(owner), server)
        self.assertEqual(pair.client.tls.local.subject, "CN=me")
        self.assertEqual(info_of(pair.server).tls.peer.subject, "CN=me")

    def test_no_certificate(self) -> None:
        """A client without is counted by servers that do not ask, too."""
        pair = self.connect(self.world.client())
        self.assertIsNone(pair.client.tls.local)
        self.assertEqual(self.world.server_scope["ssl.no_certificate"], 1)

    def test_exchanged(self) -> None:
        """A new certificate is for new connections."""
        server = self.world.server(validation=trusting(ROOT), require_certificate=True)
        client = self.world.client(ROOT.issue("old"))
        first = self.connect(client, server)
        client.use([credential(ROOT.issue("new"))], None)
        second = self.connect(client, server)
        shown = [info_of(pair.server).tls.peer.subject for pair in (first, second)]
        self.assertEqual(shown, ["CN=old", "CN=new"])
        self.assertFalse(second.client.tls.resumed)


class ResumptionTests(ClientCase):
    """Sessions that go on."""

    def resumed(self, client: Any, **host: Any) -> bool:
        """Whether a connection resumes an earlier one; it ends without close_notify."""
        pair = self.connect(client, **host)
        pair.client.reset()
        pair.server.reset()
        resumed = bool(pair.client.tls.resumed)
        del pair
        gc.collect()
        return resumed

    def test_by_host(self) -> None:
        """A session is resumed with the same host, and with no other."""
        for version in (TLS_1_2, TLS_1_3):
            client = self.world.client(parameters=parameters(max_version=version))
            found = [self.resumed(client, host=("192.0.2.1", port)) for port in (1, 1, 2, 1)]
            self.assertEqual(found, [False, True, False, True])

    def test_by_name(self) -> None:
        """A session of one name is not resumed under another: its certificate was held against the first."""
        client = self.world.client(auto_sni=True)
        found = [self.resumed(client, hostname=name) for name in ("a.example", "b.example", "a.example")]
        self.assertEqual(found, [False, False, True])

    def test_switched_off(self) -> None:
        """With no sessions kept none is resumed."""
        for version in (TLS_1_2, TLS_1_3):
            client = self.world.client(sessions=0, parameters=parameters(max_version=version))
            self.assertEqual([self.resumed(client) for _ in range(2)], [False, False])

    def test_other_configuration(self) -> None:
        """A session of before the configuration changed is not resumed."""
        client = self.world.client()
        self.connect(client)
        client.use([], trusting(ROOT))
        pair = self.connect(client)
        self.assertEqual((pair.client.tls.resumed, pair.client.tls.verified), (False, True))

    def test_verified(self) -> None:
        """A session that goes on is as verified as it was."""
        for version in (TLS_1_2, TLS_1_3):
            for validation, verified in ((trusting(ROOT), True), (None, False)):
                settings = parameters(max_version=version)
                client = self.world.client(validation=validation, parameters=settings)
                self.connect(client)
                facts = self.connect(client).client.tls
                self.assertEqual((facts.resumed, facts.verified), (True, verified))

    def test_counted(self) -> None:
        """Resumed sessions are counted."""
        client = self.world.client()
        for _ in range(3):
            self.resumed(client)
        scope = self.world.client_scope
        self.assertEqual((scope["ssl.handshake"], scope["ssl.session_reused"]), (3, 2))

    def test_forgotten_by_the_server(self) -> None:
        """A session that the server does not know is followed by a full handshake."""
        client = self.world.client()
        self.connect(client)
        self.server = self.world.server(name="another")
        self.assertFalse(self.resumed(client))
        self.assertTrue(self.resumed(client))


class OtherTests(ClientCase):
    """What is noted, and where."""

    def test_upstream_info(self) -> None:
        """The facts are the connecting's, and its request's if there is one."""
        client = self.world.client(parameters=parameters(max_version=TLS_1_2))
        pair = self.world.connect(self.server, client, pump=False)
        pair.client.info = SimpleNamespace(upstream=SimpleNamespace(tls=None))
        pair.pump()
        self.assertIs(pair.client.info.upstream.tls, pair.client.tls)
        self.assertTrue(pair.client.tls.session_id)

    def test_time_out(self) -> None:
        """A client's handshake has the time of the cluster's connect_timeout, and no other."""
        client = self.world.client()
        pair = self.world.connect(self.server, client, pump=False)
        self.world.clock.advance(14)
        self.assertFalse(pair.client.dropped)
        self.assertEqual(client.timeout, 0)
        client.timed_out(pair.client.link)

    def test_key_log(self) -> None:
        """Key material goes to who logs it, with both ends of the connection."""
        ends: set[Any] = set()

        def log(connection: SSL.Connection, line: bytes) -> None:
            ends.add(connection.get_app_data().app.ends)

        client = self.world.client(parameters=parameters(key_log=log))
        pair = self.connect(client)
        self.assertEqual(ends, {(pair.client.local, pair.client.host.address)})

    def test_alpn(self) -> None:
        """A client offers its protocols."""
        server = self.world.server(parameters=parameters(alpn=(b"http/1.1",)))
        client = self.world.client(parameters=parameters(alpn=(b"h2", b"http/1.1")))
        self.assertEqual(self.connect(client, server).client.tls.alpn, "http/1.1")
