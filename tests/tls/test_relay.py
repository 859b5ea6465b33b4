"""Tests for meshd.tls.relay."""

from __future__ import annotations

import hashlib
import socket
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from meshd.net.relay import Relays
from meshd.net.stream import Stream
from meshd.observe.info import ConnectionInfo
from meshd.observe.stats import Store
from meshd.testing.client import CLIENT, SERVER
from meshd.tls.link import TLSLink
from meshd.tls.relay import relays
from meshd.tls.session import Session, TLSError
from tests.net.loop import Loop, reset, some_bytes
from tests.net.relayed import LIMIT, Relayed, Side
from tests.tls.pair import HOST, TLS_1_2, TLS_1_3, World, parameters, plain_contexts, ssl_pair

MEGABYTE = 1 << 20


class Plain:
    """What is at the far end of a stream, in clear text."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.setblocking(False)
        self.received = bytearray()
        self.ending = ""
        self._unsent = b""

    def say(self, data: bytes) -> None:
        """Send, now or when there is room."""
        self._unsent += data
        self.turn(0)

    def finish(self) -> None:
        """Send the end, after what was said."""
        self.sock.shutdown(socket.SHUT_WR)

    def take(self, wire: bytes) -> None:
        """Take what came."""
        self.received += wire

    def turn(self, read: int = 1 << 16) -> None:
        """Send what there is room for, and read so much."""
        try:
            while self._unsent:
                self._unsent = self._unsent[self.sock.send(self._unsent) :]
        except BlockingIOError:
            pass
        if not read or self.ending:
            return
        try:
            wire = self.sock.recv(read)
        except BlockingIOError:
            return
        except ConnectionResetError:
            self.ending = "RST"
            return
        if wire:
            self.take(wire)
        else:
            self.ending = self.ending or "FIN"

    @property
    def idle(self) -> bool:
        """Whether all is sent."""
        return not self._unsent


class Secure(Plain):
    """The same, with TLS."""

    def __init__(self, sock: socket.socket, session: Session) -> None:
        super().__init__(sock)
        self.session = session
        self.error: TLSError | None = None

    def say(self, data: bytes) -> None:
        self.session.send(data)
        super().say(bytes(self.session.outgoing()))

    def finish(self) -> None:
        self.session.close()
        super().say(bytes(self.session.outgoing()))

    def take(self, wire: bytes) -> None:
        try:
            if not self.session.handshaken:
                done = self.session.shake(wire)
                super().say(bytes(self.session.outgoing()))
                if not done:
                    return
                wire = b""
            self.received += self.session.receive(wire)
        except TLSError as error:
            self.error = error
        if self.session.ended:
            self.ending = "close_notify"


class SecureRelayed:
    """A client and a server whose bytes are relayed, with TLS on the one side, on the other, or on both."""

    def __init__(self, down: bool, up: bool, version: int = TLS_1_3, limit: int = LIMIT) -> None:
        self.loop = Loop()
        self.relays = Relays()
        self.stats = Store()  # of which Relayed.flow takes counters
        world = World()
        world.handshakes._reactor = self.loop.clock
        settings = parameters(max_version=version)
        self.client_side, self.server_side = Side(), Side()
        server_link = self.link(world.server(parameters=settings)) if down else None
        client_link = self.link(world.client(parameters=settings)) if up else None
        self.down, client = self.loop.stream(server_link or self.client_side, limit, True)
        self.up, server = self.loop.stream(client_link or self.server_side, limit, True)
        self.put(server_link, self.down, self.client_side)
        self.put(client_link, self.up, self.server_side)
        outer_up: Any = client_link or self.up
        outer_down: Any = server_link or self.down
        self.client_side.other, self.server_side.other = outer_up, outer_down
        self.links = (server_link, client_link)
        accepting, connecting = ssl_pair(*plain_contexts(version=version))
        self.client = Secure(client, Session(connecting)) if down else Plain(client)
        self.server = Secure(server, Session(accepting)) if up else Plain(server)
        self.client_side.lost = self.leave
        self.pair: Any = ()
        self.begin()

    def link(self, terms: Any) -> TLSLink:
        """Return a link with what it asks of its connection."""
        link = TLSLink(terms)
        host = SimpleNamespace(address=HOST, hostname="")
        owner = SimpleNamespace(handshake_timeouts=None)
        info = ConnectionInfo(CLIENT, SERVER)
        connection: Any = SimpleNamespace(info=info, host=host, owner=owner, logged=False, transport=None)
        link.connection = connection
        return link

    def put(self, link: TLSLink | None, stream: Stream, side: Side) -> None:
        """Put a link, if there is one, between stream and side."""
        if link is not None:
            connection: Any = link.connection
            link.transport = connection.transport = stream
            link.inner = side
            side.connectionMade = lambda: None  # type: ignore[attr-defined]

    def begin(self) -> None:
        """Do the handshakes, then relay."""
        for link in self.links:
            if link is not None:
                link.connectionMade()
        if isinstance(self.client, Secure):
            self.client.session.start()
            Plain.say(self.client, bytes(self.client.session.outgoing()))
        for _ in range(50):
            self.turn()
        self.there, self.back = Relayed.flow(self, "there"), Relayed.flow(self, "back")  # type: ignore[arg-type]
        server_link, client_link = self.links
        upstream = SimpleNamespace(secured=client_link, stream=self.up)
        pair = relays(self.down, server_link, upstream, self.there, self.back, None)
        assert pair is not None, "the handshakes are not done"
        self.pair = self.relays.add(pair)

    def turn(self, client_reads: int = 1 << 16, server_reads: int = 1 << 16) -> None:
        """Let both ends and the proxy do something."""
        self.client.turn(client_reads)
        self.server.turn(server_reads)
        self.loop.turn(1)

    def until(self, condition: Any, **reads: int) -> None:
        """Turn until it holds."""
        for _ in range(200_000):
            if condition():
                return
            self.turn(**reads)
        raise AssertionError("it never happened")

    def leave(self) -> None:
        """Do what the connection does when the client's side is over."""
        self.relays.leave(self.pair)

    def close(self) -> None:
        """Let go of all sockets."""
        for stream in (self.down, self.up):
            stream.abortConnection()
        self.loop.turn()
        self.client.sock.close()
        self.server.sock.close()
        self.loop.poller._epoll.close()


class RelayTests(SynchronousTestCase):
    """TLS on the client's side, on the server's, and on both; TLS 1.2 and 1.3."""

    def make(self, down: bool = True, up: bool = False, version: int = TLS_1_3) -> SecureRelayed:
        """Return a pair that ends with the test."""
        relayed = SecureRelayed(down, up, version)
        self.addCleanup(relayed.close)
        return relayed

    def all_kinds(self) -> Any:
        """Yield a pair of each kind."""
        for version in (TLS_1_2, TLS_1_3):
            for down, up in ((True, False), (False, True), (True, True)):
                yield self.make(down, up, version)

    def test_small(self) -> None:
        """Messages arrive either way, none by way of the protocols; the counters tell of plaintext."""
        for it in self.all_kinds():
            for number in range(20):
                it.client.say(b"question %d" % number)
                it.until(lambda it=it, number=number: it.server.received.endswith(b"%d" % number))
                it.server.say(b"answer %d" % number)
                it.until(lambda it=it, number=number: it.client.received.endswith(b"%d" % number))
            self.assertEqual(it.client_side.data + it.server_side.data, b"")
            it.relays.collect()
            self.assertEqual(it.there.bytes, len(it.server.received))
            self.assertEqual(it.back.bytes, it.back.sent.value)
            self.assertEqual(it.back.bytes, len(it.client.received))

    def test_wire_bytes(self) -> None:
        """The streams' sums are of what is on the wire."""
        it = self.make()
        before = it.down.bytes_read
        it.client.say(b"x" * 1000)
        it.until(lambda: len(it.server.received) == 1000)
        it.relays.collect()
        self.assertGreater(it.down.bytes_read - before, 1000)
        self.assertEqual(it.up.bytes_written, 1000)

    def test_bulk(self) -> None:
        """Megabytes arrive whole, both ways at once, though both ends read little at a time."""
        for it in self.all_kinds():
            there, back = some_bytes(2 * MEGABYTE, 1), some_bytes(2 * MEGABYTE, 2)
            it.client.say(there)
            it.server.say(back)
            it.until(
                lambda it=it: min(len(it.server.received), len(it.client.received)) == 2 * MEGABYTE,
                client_reads=9000,
                server_reads=7000,
            )
            for data, received in ((there, it.server.received), (back, it.client.received)):
                self.assertEqual(hashlib.sha256(data).digest(), hashlib.sha256(received).digest())

    def test_bounded(self) -> None:
        """Toward an end that does not read little is kept; later all arrives."""
        data = some_bytes(MEGABYTE, 3) * 24  # more than the kernel takes
        for down, up in ((True, False), (False, True), (True, True)):
            it = self.make(down, up)
            it.client.say(data)
            for _ in range(500):
                it.turn(server_reads=0)
            self.assertLess(it.up.waiting, 8 * LIMIT)
            self.assertFalse(it.client.idle)
            it.until(lambda it=it: len(it.server.received) == len(data))
            self.assertTrue(it.server.received == data)

    def test_ends(self) -> None:
        """The end of a direction is passed on after its data, as close_notify where there is TLS."""
        for it in self.all_kinds():
            it.client.say(b"question" * 10_000)
            it.client.finish()
            it.until(lambda it=it: it.server.ending)
            self.assertEqual(bytes(it.server.received), b"question" * 10_000)
            self.assertEqual(it.server.ending, "close_notify" if isinstance(it.server, Secure) else "FIN")
            it.server.say(b"answer" * 10_000)
            it.until(lambda it=it: it.server.idle)
            it.server.finish()
            it.until(lambda it=it: it.client.ending)
            self.assertEqual(bytes(it.client.received), b"answer" * 10_000)

    def test_fin_alone(self) -> None:
        """A FIN without close_notify ends the direction, too."""
        it = self.make(True, True)
        it.client.say(b"question")
        it.client.sock.shutdown(socket.SHUT_WR)
        it.until(lambda: it.server.ending)
        self.assertEqual((bytes(it.server.received), it.server.ending), (b"question", "close_notify"))

    def test_reset(self) -> None:
        """A reset of either end resets the other."""
        for it in self.all_kinds():
            it.client.say(b"x")
            it.until(lambda it=it: it.server.received)
            reset(it.client.sock)
            for _ in range(50):
                it.loop.turn(1)
            it.server.turn()
            self.assertEqual(it.server.ending, "RST")

    def test_bad_record(self) -> None:
        """What came before a bad record arrives; then the connection ends, with its reason and an alert."""
        for up in (False, True):
            it = self.make(True, up)
            it.client.say(b"good")
            Plain.say(it.client, b"\x17\x03\x03\x00\x20" + b"?" * 32)
            it.until(lambda it=it: it.server.ending)
            self.assertEqual(bytes(it.server.received), b"good")
            client: Any = it.client
            it.until(lambda client=client: client.error)
            self.assertIn("alert bad record mac", str(client.error))
            link: Any = it.links[0]
            self.assertEqual(link.connection.info.tls_error.operation, "SSL_read")

    def test_bad_record_of_the_server(self) -> None:
        """So it is where the server's side is bad."""
        it = self.make(False, True)
        Plain.say(it.server, b"\x17\x03\x03\x00\x20" + b"?" * 32)
        it.until(lambda: it.client.ending)
        link: Any = it.links[1]
        self.assertEqual(link.connection.tls_error.operation, "SSL_read")

    def test_too_early(self) -> None:
        """Nothing is relayed before the handshake is done, or after one direction is over."""
        world = World()
        link = TLSLink(world.server())
        upstream: Any = SimpleNamespace(secured=None, stream=None)
        stream: Any = None
        flow: Any = None
        self.assertIsNone(relays(stream, link, upstream, flow, flow, None))
        self.assertIsNone(relays(stream, object(), upstream, flow, flow, None))
        pair = world.connect(world.server())
        self.assertTrue(pair.server.link.open)
        pair.client.upstream.transport.loseWriteConnection()
        pair.pump()
        self.assertFalse(pair.server.link.open)
        self.assertIsNone(relays(stream, pair.server.link, upstream, flow, flow, None))
