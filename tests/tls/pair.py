"""
Two ends of TLS that talk to each other without a socket.

A World has the clock and what the contexts of a worker share; it makes the terms
of servers and clients, and joins two chains of which each has one TLS link to a
Pair.  Nothing moves until pump().
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

from OpenSSL import SSL
from twisted.internet.task import Clock

from meshd.observe.info import ConnectionInfo
from meshd.testing import FakeClient, FakeContext
from meshd.testing.context import FakeNumber, FakeScope, FakeTimers
from meshd.tls.certificates import Credential, read_credential
from meshd.tls.client import ClientSettings, ClientTerms
from meshd.tls.handshakes import Handshakes
from meshd.tls.link import TLSLink
from meshd.tls.openssl import Ssl
from meshd.tls.options import TlsOptions
from meshd.tls.parameters import Parameters
from meshd.tls.server import ServerSettings, ServerTerms
from meshd.tls.session import Session
from meshd.tls.shared import Shared
from meshd.tls.starttls import StartTLSLink
from meshd.tls.validation import Settings, Validation
from tests.tls.authority import Authority, Owner

TLS_1_2, TLS_1_3 = SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION
ROOT = Authority()
LEAF = ROOT.issue("server", dns=["good.example", "*.wild.example"])
HOST = ("192.0.2.9", 8443)


def credential(owner: Owner, name: str = "it") -> Credential:
    """Return what a context is given of a certificate and its key."""
    return read_credential(owner.pem, owner.key_pem, None, name)


def trusting(*authorities: Owner, **settings: Any) -> Validation:
    """Return what trusts these authorities, and asks what settings say."""
    return Validation(Settings(trusted_ca=b"".join(each.alone for each in authorities), **settings))


def parameters(options: dict[str, Any] | None = None, **settings: Any) -> Parameters:
    """Return parameters of both versions, for either side."""
    return Parameters(options=TlsOptions(**(options or {})), **settings)


class Head(FakeClient):
    """The outside of a chain, server's or client's: what a link may ask of a connection."""

    #: Tests replace what they do.
    upstream: Any
    wire: Any

    def __init__(
        self, *links: Any, host: Any = HOST, hostname: str = "", alpn: tuple[bytes, ...] = ()
    ) -> None:
        self._alpn = alpn
        self.owner = SimpleNamespace(handshake_timeouts=FakeNumber())
        self.host = SimpleNamespace(address=host, hostname=hostname)
        self.local = ("192.0.2.8", 50000)
        self.tls: Any = None
        self.tls_error: Any = None
        self.failure_reason = ""
        self.secure_transport: Any = None
        self.failures: list[Any] = []
        super().__init__(*links)

    def connectionMade(self) -> None:
        self.upstream.alpn = self._alpn
        super().connectionMade()

    def protocol_failed(self, failure: Any) -> None:
        self.failures.append(failure)

    def start_secure_transport(self, early: bytes = b"") -> bool:
        return self.secure_transport is not None and self.secure_transport.start(early)

    def on_secured(self, callback: Any) -> None:
        self.secure_transport.when_secured(callback)

    @property
    def link(self) -> Any:
        """The link of TLS."""
        return self.inner

    @property
    def plaintext(self) -> bytes:
        """What came inward."""
        received: bytes = self.upstream.received
        return received

    def write(self, data: bytes) -> None:
        """Write to the wire, as the head of a chain does."""
        self.wire.write(data)

    def say(self, data: bytes) -> None:
        """Write plaintext, as the innermost link does."""
        self.upstream.transport.write(data)


class Pair:
    """A server and a client, and the wires between them."""

    def __init__(self, clock: Any, server: Head, client: Head) -> None:
        self.clock = clock
        self.server, self.client = server, client
        self._sent = {id(server): 0, id(client): 0}
        self._ended: set[int] = set()

    def pump(self, chunk: int = 1 << 20) -> Pair:
        """Carry everything, in pieces of chunk bytes, until nothing moves any more."""
        moved = True
        while moved:
            self.clock.advance(0)
            moved = self.carry(self.client, chunk) | self.carry(self.server, chunk)
        return self

    def other(self, end: Head) -> Head:
        """Return the other end."""
        return self.client if end is self.server else self.server

    def carry(self, end: Head, chunk: int = 1 << 20, most: int = 1 << 40) -> bool:
        """Carry what an end has written, most bytes of it, and its FIN; whether there was anything."""
        peer, key = self.other(end), id(end)
        data = end.wire.written[self._sent[key] :][:most]
        self._sent[key] += len(data)
        for start in range(0, len(data), chunk):
            if not peer.wire.closed:
                peer.dataReceived(data[start : start + chunk])
        over = end.finished and self._sent[key] == len(end.wire.written)
        if over and key not in self._ended:
            self._ended.add(key)
            if not peer.wire.closed:
                peer.readConnectionLost()
            return True
        return bool(data)


class World:
    """A worker's clock and what its contexts share."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.timers = FakeTimers(self.clock)
        self.handshakes = Handshakes(self.clock)
        self.server_scope, self.client_scope = FakeScope(), FakeScope()

    def server(
        self,
        *owners: Owner,
        validation: Validation | None = None,
        timeout: float = 15.0,
        stapling: Any = None,
        **settings: Any,
    ) -> ServerTerms:
        """Return terms that serve with these certificates; with none given, with LEAF."""
        terms = ServerTerms(
            ServerSettings(**settings), self.server_scope, self.timers, self.handshakes, timeout, stapling
        )
        credentials = [credential(each) for each in owners or ([] if "psk" in settings else [LEAF])]
        terms.use(credentials, validation)
        return terms

    def client(
        self, owner: Owner | None = None, validation: Validation | None = None, **settings: Any
    ) -> ClientTerms:
        """Return terms that connect."""
        terms = ClientTerms(ClientSettings(**settings), self.client_scope, self.timers, self.handshakes)
        terms.use([credential(owner)] if owner is not None else [], validation)
        return terms

    def connect(
        self, server: ServerTerms, client: ClientTerms | None = None, pump: bool = True, **host: Any
    ) -> Pair:
        """Return a connection, with its handshake done unless pump is False."""
        client = client or self.client()
        pair = Pair(self.clock, Head(TLSLink(server)), Head(TLSLink(client), **host))
        return pair.pump() if pump else pair

    def connect_clear(self, server: ServerTerms, client: ClientTerms) -> Pair:
        """Return a connection of two starttls links."""
        return Pair(self.clock, Head(StartTLSLink(server)), Head(StartTLSLink(client)))


def ssl_pair(server: SSL.Context, client: SSL.Context, name: bytes = b"") -> tuple[Ssl, Ssl]:
    """Return two objects of raw calls."""
    accepting, connecting = SSL.Connection(server, None), SSL.Connection(client, None)
    accepting.set_accept_state()
    connecting.set_connect_state()
    if name:
        connecting.set_tlsext_host_name(name)
    return Ssl(accepting, "SSL_accept"), Ssl(connecting, "SSL_connect")


def plain_contexts(owner: Owner = LEAF, version: int = TLS_1_3) -> tuple[SSL.Context, SSL.Context]:
    """Return contexts of a server that shows owner, and of a client that trusts all."""
    server, client = SSL.Context(SSL.TLS_SERVER_METHOD), SSL.Context(SSL.TLS_CLIENT_METHOD)
    server.use_certificate(owner.certificate)
    server.use_privatekey(owner.key)
    client.set_max_proto_version(version)
    return server, client


def session_pair(version: int = TLS_1_3, owner: Owner = LEAF) -> tuple[Session, Session]:
    """Return two sessions, server and client, that have not begun."""
    server, client = ssl_pair(*plain_contexts(owner, version))
    return Session(server), Session(client)


def wire_of(session: Session) -> bytes:
    """Return a copy of what a session has for the wire."""
    return bytes(session.outgoing())


def pieces(data: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    """Cut data into pieces of these sizes, again and again."""
    place, turn = 0, 0
    while place < len(data):
        size = sizes[turn % len(sizes)]
        yield data[place : place + size]
        place, turn = place + size, turn + 1


def shake(server: Session, client: Session, sizes: Sequence[int] = (1 << 20,)) -> None:
    """Do the handshake of two sessions, in pieces of these sizes; tickets may be outgoing afterwards."""
    client.start()
    for _ in range(5):
        for here, there in ((client, server), (server, client)):
            if server.handshaken and client.handshaken:
                return
            for piece in pieces(wire_of(here), sizes):
                there.shake(piece)
    raise AssertionError("the handshake does not come to an end")


def plugin_context(side: str = "downstream", name: str = "here", timeout: float | None = None) -> FakeContext:
    """Return what a transport socket's plugin is configured with."""
    context = FakeContext()
    context.tls = Shared(Handshakes(context.clock))
    context.around = SimpleNamespace(side=side, scope=FakeScope(), name=name, timeout=timeout)
    return context


def info_of(end: Head) -> ConnectionInfo:
    """Return the info of a server's end."""
    info: ConnectionInfo = end.info
    return info


def done(case: Any, server: Ssl, client: Ssl) -> None:
    """Do the handshake of two ends; case is the test."""
    states = [False, False]
    for _ in range(6):
        for place, (here, there) in enumerate(((client, server), (server, client))):
            if not states[place]:
                states[place] = here.handshake()
            there.feed(bytes(here.drain()))
    case.assertEqual(states, [True, True])
