"""A client and a server whose bytes are relayed, for tests."""

import hashlib
import socket
from typing import Any

from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from meshd.filter import Flow
from meshd.net.reasons import RESET
from meshd.net.relay import Relay, Relays
from meshd.net.stream import Stream
from meshd.observe.stats import Store
from tests.net.loop import Loop, Recorder, fill, some_bytes

LIMIT = 16384
MEGABYTE = 1 << 20


class Side(Recorder):
    """Ends the other side as tcp_proxy does: FIN for FIN, reset for reset."""

    other: Stream
    lost: Any = None

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        self.other.write(data)

    def readConnectionLost(self) -> None:
        super().readConnectionLost()
        self.other.loseWriteConnection()

    def connectionLost(self, reason: Failure) -> None:
        super().connectionLost(reason)
        if self.lost is not None:
            self.lost()
        if reason is RESET:
            self.other.abortConnection()
        else:
            self.other.loseConnection()


class Relayed:
    """A client and a server, each at the far end of a stream; the two streams are relayed."""

    pair: tuple[Relay, ...] = ()

    def __init__(self, limit: int = LIMIT, tcp: bool = True) -> None:
        self.loop = Loop()
        self.stats = Store()
        client_side, server_side = Side(), Side()
        self.down, self.client = self.loop.stream(client_side, limit, tcp)
        self.up, self.server = self.loop.stream(server_side, limit, tcp)
        client_side.other, server_side.other = self.up, self.down
        self.down.buffered, self.up.buffered = self.stats.gauge("down"), self.stats.gauge("up")
        client_side.lost = self.leave
        self.client_side, self.server_side = client_side, server_side
        self.relays = Relays()

    def join(self, watch: Any = None) -> "Relayed":
        """Relay from now on; watch is shown what goes there and what comes back."""
        self.there, self.back = self.flow("there"), self.flow("back")
        self.pair = self.relays.join(self.down, self.up, self.there, self.back, watch)
        return self

    def flow(self, name: str) -> Flow:
        """Return the flow of a direction."""
        counter = self.stats.counter
        return Flow(*(counter(f"{name}.{each}") for each in ("received", "sent", "paused", "resumed")))

    def leave(self) -> None:
        """Do what the connection does when the client's side is over."""
        self.relays.leave(self.pair)

    @property
    def to_server(self) -> Relay:
        """The direction of what the client sends."""
        return self.pair[0]

    def close(self) -> None:
        """Let go of all sockets; nothing if that has been done."""
        if self.loop.poller._epoll.closed:
            return
        for stream in (self.down, self.up):
            stream.abortConnection()
        self.loop.turn()
        self.client.close()
        self.server.close()
        self.loop.poller._epoll.close()


def transfer(
    loop: Loop, source: socket.socket, sink: socket.socket, size: int, at_once: int, read: int
) -> None:
    """Send size bytes in pieces, reading in pieces; fail unless what arrives is what was sent."""
    block = some_bytes(MEGABYTE)
    sent, received = hashlib.sha256(), hashlib.sha256()
    source.setblocking(False)
    sink.setblocking(False)
    written = arrived = 0
    while arrived < size:
        if written < size:
            start = written % MEGABYTE
            try:
                count = source.send(block[start : start + min(at_once, size - written)])
                sent.update(block[start : start + count])
                written += count
            except BlockingIOError:
                pass
        loop.turn(1)
        try:
            piece = sink.recv(read)
            received.update(piece)
            arrived += len(piece)
        except BlockingIOError:
            pass
    assert sent.digest() == received.digest()


def drain(relayed: Relayed, sock: socket.socket) -> tuple[bytes, str]:
    """Read to the end while the loop turns; return what came, and FIN or RST."""
    sock.setblocking(False)
    data = bytearray()
    for _ in range(100_000):
        relayed.loop.turn(1)
        try:
            piece = sock.recv(65536)
        except BlockingIOError:
            continue
        except ConnectionResetError:
            return bytes(data), "RST"
        if not piece:
            return bytes(data), "FIN"
        data += piece
    raise AssertionError("it never ended")


class RelayCase(SynchronousTestCase):
    """Has a client and a server that are relayed."""

    def setUp(self) -> None:
        self.relayed = self.make()

    def make(self, limit: int = LIMIT, tcp: bool = True) -> Relayed:
        """Return a pair that ends with the test."""
        relayed = Relayed(limit, tcp)
        self.addCleanup(relayed.close)
        return relayed

    def stall(self, relayed: Relayed) -> bytes:
        """Move bulk to a server that does not read; return what the client sent."""
        sent = b""
        for seed in range(100):
            data = some_bytes(MEGABYTE, seed)
            count = fill(relayed.client, data)
            sent += data[:count]
            relayed.loop.turn(20)
            if not count:
                return sent
        raise AssertionError("nothing bounds what is kept")

    def kept(self, relayed: Relayed) -> int:
        """Return how much of what goes to the server waits here."""
        return relayed.up.waiting + relayed.to_server._waiting
