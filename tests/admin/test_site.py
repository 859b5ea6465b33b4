"""Tests for meshd.admin.site."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from treq.client import HTTPClient
from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import ClientCreator, Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from meshd.admin import gradual
from meshd.admin.site import BODY_LIMIT, TIMEOUT, AdminResource, site
from meshd.observe.prometheus import render
from tests.admin.fakes import Client, FakeServer, get, post

HELP = "admin commands are:\n  /: Admin home page\n"


class AnswerTests(SynchronousTestCase):
    """Requests that are answered."""

    def setUp(self) -> None:
        self.server = FakeServer()

    def test_headers(self) -> None:
        """Each answer forbids caching and sniffing, as Envoy's do."""
        headers = get(self.server, "/ready").headers
        self.assertEqual(headers["cache-control"], "no-cache, max-age=0")
        self.assertEqual(headers["x-content-type-options"], "nosniff")
        self.assertEqual(headers["content-type"], "text/plain; charset=UTF-8")

    def test_unknown_path(self) -> None:
        """A path that is none gets the list of those that are, a slash too much included."""
        for path in ("/nope", "/ready/", "//"):
            answer = get(self.server, path)
            self.assertEqual(answer.status, 404)
            self.assertTrue(answer.body.startswith(f"invalid path. {HELP}"))

    def test_page_of_a_plugin(self) -> None:
        """A page that a plugin has added is found at its path."""
        self.server.pages["/mine"] = lambda: "hello\n"
        self.assertEqual(get(self.server, "/mine").body, "hello\n")

    def test_post_required(self) -> None:
        """A command that changes something wants a POST, and does nothing without."""
        for method in ("GET", "PUT", "DELETE"):
            answer = get(self.server, "/reopen_logs", method)
            self.assertEqual(answer.status, 405)
            self.assertEqual(answer.body, f"Method {method} not allowed, POST required.")
        self.assertEqual(self.server.calls, [])

    def test_any_method_reads(self) -> None:
        """A command that only shows something minds no method."""
        self.assertEqual(
            [get(self.server, "/ready", each).status for each in ("POST", "PUT", "OPTIONS")], [200] * 3
        )

    def test_head(self) -> None:
        """HEAD gets the headers of GET, and no body."""
        answer = get(self.server, "/ready", "HEAD")
        self.assertEqual((answer.status, answer.body), (200, ""))
        self.assertEqual(answer.headers["content-length"], "5")

    def test_failure(self) -> None:
        """A command that fails gives the reason, and is logged; the connection goes on."""
        self.server.stats = None
        client = Client(self.server)
        answer = client.ask("/reset_counters", "POST")
        self.assertEqual(answer.status, 500)
        self.assertTrue(answer.body.startswith("AttributeError: "))
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)
        self.assertEqual(client.ask("/ready").body, "LIVE\n")

    def test_form(self) -> None:
        """Parameters may come as a form in the body."""
        post(self.server, "/logging", "level=debug")
        self.assertEqual(set(self.server.levels.get_all().values()), {"debug"})

    def test_quit_after_answer(self) -> None:
        """The server is told to quit when the answer is sent and the connection closed, not before."""
        client = Client(self.server)
        answer = client.ask("/quitquitquit", "POST")
        self.assertEqual((answer.body, answer.headers["connection"]), ("OK\n", "close"))
        self.assertTrue(client.transport.disconnecting)
        self.assertEqual(self.server.calls, [])
        client.channel.connectionLost(None)
        self.assertEqual(self.server.calls, ["quit"])


class OriginTests(SynchronousTestCase):
    """POSTs from browsers."""

    def ask(self, **headers: str) -> int:
        """POST with headers; return the status."""
        server = FakeServer()
        status = post(server, "/reopen_logs", **headers).status
        self.assertEqual(server.calls, ["reopen_logs"] if status == 200 else [])
        return status

    def test_own(self) -> None:
        """The page's own POSTs are served."""
        self.assertEqual(self.ask(origin="http://admin", sec_fetch_site="same-origin"), 200)

    def test_none(self) -> None:
        """A program sends no origin, and is served."""
        self.assertEqual(self.ask(), 200)

    def test_foreign(self) -> None:
        """A POST that another site's page makes is refused."""
        self.assertEqual(self.ask(origin="http://evil.example"), 403)
        self.assertEqual(self.ask(origin="null"), 403)
        self.assertEqual(self.ask(origin="http://admin:81"), 403)
        self.assertEqual(self.ask(sec_fetch_site="cross-site"), 403)


class LimitTests(SynchronousTestCase):
    """Clients that are slow, or send too much."""

    def setUp(self) -> None:
        self.server = FakeServer()
        self.client = Client(self.server)

    def test_long_body(self) -> None:
        """A body that is announced as too long is refused before it comes."""
        head = f"POST /reopen_logs HTTP/1.1\r\nhost: a\r\ncontent-length: {BODY_LIMIT + 1}\r\n\r\n"
        self.assertIn(b" 413 ", self.client.send(head.encode()))
        self.assertTrue(self.client.transport.disconnecting)
        self.assertEqual(self.client.send(b"x" * (BODY_LIMIT + 1)), b"")
        self.assertEqual(self.server.calls, [])

    def test_long_chunked_body(self) -> None:
        """A body whose length is not announced is refused when it gets too long."""
        head = b"POST /reopen_logs HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
        self.assertEqual(self.client.send(head), b"")
        chunk = b"%x\r\n%s\r\n" % (BODY_LIMIT // 2, b"x" * (BODY_LIMIT // 2))
        self.assertEqual(self.client.send(chunk + chunk), b"")
        self.assertIn(b" 413 ", self.client.send(b"1\r\nx\r\n0\r\n\r\n"))
        self.assertEqual(self.server.calls, [])

    def test_full_body(self) -> None:
        """A body as long as may be is read."""
        answer = self.client.ask("/reopen_logs", "POST", "x" * BODY_LIMIT)
        self.assertEqual(answer.status, 200)

    def test_drip(self) -> None:
        """A request that comes byte by byte has the time of one that does not come at all."""
        for byte in b"GET /re":
            self.client.send(bytes([byte]))
            self.client.clock.advance(TIMEOUT / 7 + 0.1)
        self.assertTrue(self.client.transport.disconnecting)

    def test_next_request(self) -> None:
        """The time begins anew with each answer."""
        for _ in range(3):
            self.client.clock.advance(TIMEOUT - 1)
            self.assertEqual(self.client.ask("/ready").status, 200)
        self.assertFalse(self.client.transport.disconnecting)

    def test_slow_reader(self) -> None:
        """Who does not take the answer is cut off."""
        self.client.send(b"GET /stats HTTP/1.1\r\nhost: a\r\n\r\n")
        self.client.clock.advance(TIMEOUT)
        self.assertTrue(self.client.transport.disconnecting)
        self.client.clock.advance(self.client.channel.abortTimeout)
        self.assertTrue(self.client.transport.disconnected)

    def test_hold_answers(self) -> None:
        """Who asks for more than they take is read no further."""
        self.client.transport.producer.pauseProducing()
        for _ in range(3):
            self.client.send(b"GET /help HTTP/1.1\r\nhost: a\r\n\r\n" * 1000)
        self.assertEqual(self.client.transport.producerState, "paused")

    @given(st.binary(max_size=200), st.integers(0, 200))
    def test_rubbish(self, data: bytes, at: int) -> None:
        """Bytes that are no request do no harm, however they are cut."""
        client = Client(FakeServer())
        client.send(data[:at])
        client.send(data[at:])


class TreqTests(SynchronousTestCase):
    """The resource as any agent meets it."""

    def test_get(self) -> None:
        """An agent that traverses resources gets what a connection gets."""
        client = HTTPClient(RequestTraversalAgent(AdminResource(FakeServer())))
        response = self.successResultOf(client.get("http://admin/listeners?format=json"))
        self.assertEqual(response.code, 200)
        statuses = self.successResultOf(response.json())["listener_statuses"]
        self.assertEqual([each["name"] for each in statuses], ["front", "side"])


class _Collector(Protocol):
    """Sends a request, and collects all that comes until the end."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.data = b""
        self.done: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self.request)

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Any = None) -> None:
        self.done.callback(self.data)


class LoopbackTests(TestCase):
    """The Site on a real port."""

    async def fetch(self, server: FakeServer, request: bytes) -> bytes:
        """Send request to the site on a port of its own; return all that comes."""
        factory = site(server)
        reactor: Any = factory.reactor
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        self.addCleanup(port.stopListening)
        collector = _Collector(request)
        await ClientCreator(reactor, lambda: collector).connectTCP("127.0.0.1", port.getHost().port)
        [data] = await gatherResults([collector.done])
        return data

    async def test_quit(self) -> None:
        """Who tells the server to quit gets the answer, and then the server quits."""
        server = FakeServer()
        data = await self.fetch(server, b"POST /quitquitquit HTTP/1.1\r\nhost: a\r\n\r\n")
        self.assertTrue(data.startswith(b"HTTP/1.1 200 OK\r\n"))
        self.assertTrue(data.endswith(b"\r\n\r\nOK\n"))
        self.assertEqual(server.calls, ["quit"])

    async def test_page(self) -> None:
        """The home page comes whole."""
        data = await self.fetch(FakeServer(), b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        self.assertTrue(data.endswith(b"</html>\n"))


class LongAnswerTests(SynchronousTestCase):
    """An answer that takes more than a slice."""

    def setUp(self) -> None:
        self.patch(gradual, "SLICE", 0.0)
        self.server = FakeServer()
        self.server.stats.counter("server.some")
        self.client = Client(self.server)

    def ask(self) -> bytes:
        return self.client.send(b"GET /stats/prometheus HTTP/1.1\r\nhost: admin\r\n\r\n")

    def test_arrives(self) -> None:
        """It comes when it is made, whole and with its length; the connection goes on."""
        self.assertEqual(self.ask(), b"")
        self.client.clock.advance(0)
        head, _, body = self.client.received().partition(b"\r\n\r\n")
        self.assertIn(b"content-length: %d" % len(body), head.lower())
        self.assertEqual(body.decode(), render(self.server.stats))
        self.assertEqual(self.client.ask("/ready").body, "LIVE\n")

    def test_client_goes(self) -> None:
        """If the client does not wait, no more of it is made."""
        self.ask()
        self.client.channel.connectionLost(Failure(ConnectionDone()))
        self.client.clock.advance(0)
        self.assertEqual(self.client.received(), b"")

    def test_fails(self) -> None:
        """If making it fails half-way, the answer is an error, and logged."""
        self.server.stats.counters["a"] = self.server.stats.counters["b"] = None
        self.ask()
        self.client.clock.advance(0)
        self.assertIn(b"500 Internal Server Error", self.client.received())
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)
