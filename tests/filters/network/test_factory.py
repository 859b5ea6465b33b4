"""Tests for meshd.filters.network.factory, with a real web site and a real line protocol."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    INegotiated,
    IPushProducer,
    ISSLTransport,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Site
from zope.interface import implementer
from zope.interface.verify import verifyObject

from meshd.filter import NetworkFilter
from meshd.filters.network.factory import Config, Runner, factory
from meshd.interfaces import INetworkFilterFactory
from meshd.observe.info import ConnectionInfo
from meshd.plugin import ConfigError
from meshd.testing import SERVER, FakeClient, FakeContext
from meshd.tls.facts import CertificateFacts, TlsFacts
from tests.tls.authority import Authority


class Lines(LineReceiver):
    """Answers each line; ends with the line "bye", and with a reset at "abort"."""

    transport: Any
    lost: Failure | None = None

    def __init__(self, greeting: str = "hello") -> None:
        self.greeting = greeting

    def connectionMade(self) -> None:
        self.sendLine(self.greeting.encode())

    def lineReceived(self, line: bytes) -> None:
        self.sendLine(line.upper())
        if line == b"bye":
            self.transport.loseConnection()
        if line == b"abort":
            self.transport.abortConnection()

    def connectionLost(self, reason: Any = None) -> None:
        self.lost = reason


@implementer(IHalfCloseableProtocol)
class HalfCloseable(Protocol):
    """Answers when the client has sent all, and then ends its own side."""

    transport: Any
    write_lost = False

    def readConnectionLost(self) -> None:
        self.transport.write(b"all")
        self.transport.loseWriteConnection()

    def writeConnectionLost(self) -> None:
        self.write_lost = True


class Refuses(Factory):
    """Has no protocol for anybody."""

    def buildProtocol(self, addr: Any) -> None:
        return None


#: Factories, and other things, that configs name.
made = Factory.forProtocol(Lines)
number = 7


def make_lines(greeting: str) -> Factory:
    """Return a factory of protocols with that greeting."""
    return Factory.forProtocol(lambda: Lines(greeting))


def make_number() -> int:
    """Return what is no factory."""
    return 7


def raises() -> None:
    """Raise."""
    raise ValueError("no")


class FactoryCase(SynchronousTestCase):
    """A filter that runs one of the factories of this module."""

    def configure(self, name: str, **options: Any) -> Any:
        """Configure the filter."""
        self.context = FakeContext()
        config = Config(factory=name if ":" in name else f"{__name__}:{name}", **options)
        return factory.configure(config, self.context)

    def connect(self, name: str, **options: Any) -> FakeClient:
        """Connect to a protocol."""
        self.runner: Runner = self.configure(name, **options)()
        info = ConnectionInfo(("10.9.8.7", 6), SERVER)
        return FakeClient(self.runner, terminal=True, info=info)


class Swallows(NetworkFilter):
    """Tells nobody that the connection is over, as a filter that raises does."""

    def connectionLost(self, reason: Failure) -> None:
        pass


class ProtocolTests(FactoryCase):
    """Clients of protocols."""

    def test_end_is_told(self) -> None:
        """The protocol is told of the end once, even if a filter outside does not pass it on."""
        runner = self.configure("made")()
        client = FakeClient(Swallows(), runner, terminal=True)
        lines = runner.protocol
        client.close()
        self.assertIsNotNone(lines.lost)
        self.assertIsNone(runner.protocol)

    def test_interfaces(self) -> None:
        """The plugin and the transport provide what they stand for."""
        verifyObject(INetworkFilterFactory, factory)
        self.connect("made")
        for each in (ITCPTransport, IConsumer, IPushProducer):
            verifyObject(each, self.runner.protocol.transport)

    def test_conversation(self) -> None:
        """Bytes go both ways, and are counted."""
        client = self.connect("made")
        client.send(b"abc\r\n")
        self.assertEqual(client.received, b"hello\r\nABC\r\n")
        self.assertEqual((client.info.bytes_received, client.info.bytes_sent), (5, 12))

    def test_ends(self) -> None:
        """The protocol may close or abort the connection, and is told of its end once."""
        client = self.connect("made")
        protocol = self.runner.protocol
        client.send(b"bye\r\n")
        self.assertTrue(protocol.transport.disconnecting)
        self.assertEqual((client.dropped, client.was_reset), (True, False))
        self.assertIsNone(protocol.lost)
        client.close()
        self.assertIsNotNone(protocol.lost)
        client = self.connect("made")
        client.send(b"abort\r\n")
        self.assertTrue(client.was_reset)

    def test_peer(self) -> None:
        """The peer is the client as the listener filters found it."""
        self.connect("made")
        self.assertEqual(self.runner.protocol.transport.getPeer().host, "10.9.8.7")
        self.assertEqual(self.runner.protocol.transport.getHost().port, SERVER[1])

    def test_half_close(self) -> None:
        """A protocol that knows of half-closing is asked; any other is closed."""
        client = self.connect("HalfCloseable")
        protocol = self.runner.protocol
        client.half_close()
        self.assertEqual((client.received, client.finished, client.dropped), (b"all", True, False))
        self.context.clock.advance(0)
        self.assertTrue(protocol.write_lost)
        client = self.connect("made")
        client.half_close()
        self.assertTrue(client.dropped)

    def test_flow(self) -> None:
        """The protocol may pause the client, and is paused by a client that does not read."""
        client = self.connect("made")
        transport = self.runner.protocol.transport
        transport.pauseProducing()
        self.assertTrue(client.paused_by)
        transport.resumeProducing()
        self.assertFalse(client.paused_by)
        transport.registerProducer(self.runner.protocol, True)
        client.wire.full()
        self.assertTrue(self.runner.protocol.paused)
        transport.unregisterProducer()
        self.assertIsNone(client.wire.producer)

    def test_refused(self) -> None:
        """A factory that has no protocol for a client closes the connection."""
        client = self.connect("Refuses")
        client.send(b"x")
        client.half_close()
        client.close()
        self.assertEqual((client.dropped, client.received), (True, b""))
        self.assertEqual(client.info.local_close_reason, "protocol_factory_refused")

    def test_started_once(self) -> None:
        """The factory is started by its first connection, and stopped at shutdown."""
        build = self.configure("make_lines", args=["x"])
        run = build.factory
        self.assertEqual(run.numPorts, 0)
        for _ in range(2):
            FakeClient(build(), terminal=True)
        self.assertEqual(run.numPorts, 1)
        (stop,) = self.context.reactor.triggers["during"]["shutdown"]
        stop[0](*stop[1], **stop[2])
        self.assertEqual(run.numPorts, 0)


class Page(Resource):
    """A page for every path."""

    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        return b"this is " + request.path  # type: ignore[no-any-return]


def make_site() -> Site:
    """Return a web site."""
    return Site(Page(), reactor=FakeContext().clock)


class SecureTests(FactoryCase):
    """A protocol behind TLS."""

    def secured(self, **facts: Any) -> Any:
        """Return the transport of a protocol whose client came by TLS."""
        info = ConnectionInfo(("10.9.8.7", 6), SERVER)
        info.tls = TlsFacts(**facts)
        self.runner = self.configure("made")()
        FakeClient(self.runner, terminal=True, info=info)
        return self.runner.protocol.transport

    def test_interfaces(self) -> None:
        """Its transport is one of TLS, which one without TLS is not."""
        transport = self.secured()
        self.assertTrue(ISSLTransport.providedBy(transport))
        self.assertTrue(INegotiated.providedBy(transport))
        verifyObject(INegotiated, transport)
        self.connect("made")
        self.assertFalse(ISSLTransport.providedBy(self.runner.protocol.transport))

    def test_facts(self) -> None:
        """It knows the client's certificate, and what ALPN chose."""
        leaf = Authority().issue("client")
        transport = self.secured(alpn="x", peer=CertificateFacts.of(leaf.certificate))
        self.assertEqual(transport.negotiatedProtocol, b"x")
        self.assertEqual(transport.getPeerCertificate().get_subject().CN, "client")

    def test_nothing_known(self) -> None:
        """Without either there is none."""
        transport = self.secured()
        self.assertIsNone(transport.negotiatedProtocol)
        self.assertIsNone(transport.getPeerCertificate())


class SiteTests(FactoryCase):
    """A web site behind a filter chain."""

    def test_requests(self) -> None:
        """It answers one request after another, and closes when it is asked to."""
        client = self.connect("make_site")
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertIn(b"200 OK", client.received)
        self.assertIn(b"this is /", client.received)
        client.send(b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        self.assertIn(b"this is /x", client.received)
        self.assertTrue(client.dropped)
        client.close()


class ConfigTests(FactoryCase):
    """What factory may name, and what not."""

    def test_kinds(self) -> None:
        """A factory, a protocol class with arguments, or a callable that makes a factory."""
        cases: list[tuple[str, dict[str, Any], bytes]] = [
            ("made", {}, b"hello"),
            ("Lines", {}, b"hello"),
            ("Lines", {"kwargs": {"greeting": "hi"}}, b"hi"),
            ("make_lines", {"args": ["good day"]}, b"good day"),
        ]
        for name, options, greeting in cases:
            self.assertEqual(self.connect(name, **options).received, greeting + b"\r\n")

    def test_errors(self) -> None:
        """Whatever goes wrong is an error of the config that says so."""
        cases = [
            ("no.such.module:x", {}, "cannot import no.such.module"),
            ("nothing", {}, "has no nothing"),
            ("made", {"args": [1]}, "takes no args"),
            ("number", {}, "no protocol factory but 7"),
            ("make_number", {}, "no protocol factory but 7"),
            ("make_lines", {}, "raised TypeError"),
            ("raises", {}, "raised ValueError: no"),
        ]
        for name, options, message in cases:
            error = self.assertRaises(ConfigError, self.configure, name, **options)
            self.assertEqual(error.path, ("factory",))
            self.assertIn(message, str(error))

    def test_form(self) -> None:
        """A name without a colon is no name of a factory."""
        self.assertRaises(ValueError, Config, factory="package.module")
