"""Tests for meshd.tls.review, and of the links that wait for it."""

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from meshd.tls.ocsp_client import Verdict
from meshd.tls.options import Ocsp
from meshd.tls.review import Review
from tests.tls.pair import LEAF, ROOT, Pair, World, trusting

CLIENT = ROOT.issue("client")


class Responders:
    """An OcspClient whose answer the test gives."""

    def __init__(self, *answers: Verdict) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[Any, ...]] = []
        self.waiting: list[Deferred[Verdict]] = []

    def check(self, *args: Any) -> Deferred[Verdict]:
        """Answer, or keep the caller waiting if there is no answer yet."""
        self.asked.append(args)
        if self.answers:
            return succeed(self.answers.pop(0))
        self.waiting.append(Deferred())
        return self.waiting[-1]


class ReviewCase(SynchronousTestCase):
    """A server that asks about its clients' certificates."""

    def connect(self, *answers: Verdict, **options: Any) -> Pair:
        """Return a connection whose handshake is done."""
        self.world = World()
        self.responders = Responders(*answers)
        terms = self.world.server(require_certificate=True, validation=trusting(ROOT))
        client: Any = self.responders
        terms.reviewer = Review(Ocsp(url="http://ocsp.example/", **options), client)
        return self.world.connect(terms, self.world.client(CLIENT))

    def assert_refused(self, pair: Pair, text: str) -> None:
        """The connection was closed, those inside were told of nothing, and the info says why."""
        self.assertFalse(pair.server.upstream.connected)
        self.assertTrue(pair.server.wire.closed)
        self.assertIn(text, pair.server.info.transport_failure_reason)
        self.assertEqual(self.world.server_scope["ssl.fail_verify_error"], 1)


class VerdictTests(ReviewCase):
    """What responders say."""

    def test_good(self) -> None:
        """A good certificate is served; the responder was asked about it with its issuer."""
        pair = self.connect(Verdict("good"))
        pair.client.say(b"hello")
        self.assertEqual(pair.pump().server.plaintext, b"hello")
        leaf, issuer, url = self.responders.asked[0][:3]
        self.assertEqual((leaf, issuer, url), (CLIENT.certificate, ROOT.certificate, "http://ocsp.example/"))

    def test_revoked(self) -> None:
        """A revoked one is refused, in any case."""
        self.assert_refused(self.connect(Verdict("revoked"), require=False), "has been revoked")

    def test_nobody_knows(self) -> None:
        """If nobody can be asked the certificate is refused, unless an answer is not required."""
        self.assert_refused(self.connect(Verdict("", "cannot be asked")), "cannot be asked")
        self.assertTrue(self.connect(Verdict("", "cannot be asked"), require=False).server.upstream.connected)


class WaitingTests(ReviewCase):
    """A responder that takes its time."""

    def test_data_waits(self) -> None:
        """What the client sends meanwhile, and its end, reach the inside once the answer has come."""
        pair = self.connect()
        pair.client.say(b"early")
        pair.client.upstream.transport.loseWriteConnection()
        pair.pump()
        self.assertFalse(pair.server.upstream.connected)
        self.assertTrue(pair.server.paused_by)
        self.responders.waiting[0].callback(Verdict("good"))
        self.assertEqual(pair.server.plaintext, b"early")
        self.assertTrue(pair.server.upstream.half_closed)
        self.assertFalse(pair.server.paused_by)

    def test_client_leaves(self) -> None:
        """A client that is gone is asked about no more."""
        pair = self.connect()
        pair.server.close()
        self.assertTrue(self.responders.waiting[0].called)
        self.assertFalse(pair.server.upstream.connected)

    def test_resumed(self) -> None:
        """A session that goes on is not asked about again."""
        self.connect(Verdict("good"))
        terms = self.world.server(require_certificate=True, validation=trusting(ROOT))
        client: Any = self.responders
        terms.reviewer = Review(Ocsp(url="http://ocsp.example/"), client)
        self.responders.answers = [Verdict("good")]
        theirs = self.world.client(CLIENT)
        self.world.connect(terms, theirs)
        asked = len(self.responders.asked)
        self.assertTrue(self.world.connect(terms, theirs).server.upstream.connected)
        self.assertEqual(len(self.responders.asked), asked)


class StapleTests(SynchronousTestCase):
    """A client whose server staples."""

    def connect(self, status: str) -> Pair:
        """Return a connection to a server that staples that."""
        world = World()
        self.responders = Responders(Verdict("", "nobody was asked"))
        server = world.server(stapling=Staples(ROOT.ocsp(LEAF, status)))
        client = world.client(validation=trusting(ROOT))
        asker: Any = self.responders
        client.reviewer = Review(Ocsp(url="http://ocsp.example/"), asker)
        client.use([], trusting(ROOT))
        return world.connect(server, client)

    def test_good(self) -> None:
        """What is stapled is believed, and nobody is asked."""
        self.assertTrue(self.connect("good").client.upstream.connected)
        self.assertEqual(self.responders.asked, [])

    def test_revoked(self) -> None:
        """A server that staples its own revocation is refused."""
        pair = self.connect("revoked")
        self.assertFalse(pair.client.upstream.connected)
        self.assertIn("has been revoked", pair.client.failure_reason)


class Staples:
    """A stapling that has one response for all."""

    def __init__(self, response: bytes) -> None:
        self.response = response

    def install(self, context: Any, credential: Any) -> None:
        """Let the context staple it."""
        context.set_ocsp_server_callback(lambda connection, data: self.response)

    def keep(self, credentials: Any) -> None:
        """Keep nothing fresh."""

    def allows(self, credential: Any) -> bool:
        """Whether a client can be served: any."""
        return True
