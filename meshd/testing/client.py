"""
A client and its socket, for tests: the outside of a chain of filters.

FakeClient is a link like any other, the head of its chain, so that it cannot
drift from what filters meet in earnest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from meshd.filter import NetworkFilter, link
from meshd.interfaces import IConnection, IGauge, IListenerFilter, INetworkFilter, IStreamInfo, SocketAddress
from meshd.observe.info import ConnectionInfo, twisted_address

#: Who a FakeClient is, and where it connected to, if the test does not say.
CLIENT: SocketAddress = ("192.0.2.1", 40000)
SERVER: tuple[str, int] = ("192.0.2.2", 443)


@implementer(ITCPTransport, IConsumer, IPushProducer)
class FakeWire:
    """
    A socket's proxy side: notes what the proxy does to it.

    written is what was sent; finished, closed and reset tell of a FIN after it,
    of the end and of a RST; at_once of an end that did not wait for what was
    written; paused that nothing is to be read.

    full() and drained() tell the registered producer what a socket whose buffer
    has passed its limit, and has emptied, would.
    """

    disconnecting = False
    #: Where the client wanted to go; what is raised if the kernel cannot tell.
    original: tuple[str, int] | OSError = SERVER

    def __init__(self, peer: SocketAddress = CLIENT, host: SocketAddress = SERVER) -> None:
        self.peer, self.host = peer, host
        self.written = b""
        self.finished = self.closed = self.at_once = self.reset = self.paused = False
        self.producer: Any = None
        self.streaming = False

    def write(self, data: bytes) -> None:
        if not self.finished and not self.closed:
            self.written += bytes(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    def loseWriteConnection(self) -> None:
        self.finished = True

    def loseConnection(self) -> None:
        self.closed = self.disconnecting = True

    def abortConnection(self) -> None:
        self.reset = True
        self.loseConnection()

    def close_now(self) -> None:
        self.at_once = True
        self.loseConnection()

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False

    def stopProducing(self) -> None:
        self.loseConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if self.producer is not None:
            raise RuntimeError(f"{self.producer!r} is registered already")
        self.producer, self.streaming = producer, streaming

    def unregisterProducer(self) -> None:
        self.producer = None

    def full(self) -> None:
        """Take no more: the other side does not read."""
        if self.producer is not None:
            self.producer.pauseProducing()

    def drained(self) -> None:
        """Take more again."""
        if self.producer is not None:
            self.producer.resumeProducing()

    def original_destination(self) -> tuple[str, int]:
        """Return where the client wanted to go; raise OSError."""
        if isinstance(self.original, OSError):
            raise self.original
        return self.original

    def getPeer(self) -> Any:
        return twisted_address(self.peer)

    def getHost(self) -> Any:
        return twisted_address(self.host)

    def getTcpNoDelay(self) -> bool:
        return True

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def getTcpKeepAlive(self) -> bool:
        return False

    def setTcpKeepAlive(self, enabled: bool) -> None:
        pass


class Terminal(NetworkFilter):
    """A terminal filter that notes what reaches it."""

    inner: Any = None

    connected = False
    half_closed = False
    received = b""
    lost: Failure | None = None

    def connectionMade(self) -> None:
        self.connected = True

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def readConnectionLost(self) -> None:
        self.half_closed = True

    def connectionLost(self, reason: Failure) -> None:
        self.connected = False
        self.lost = reason


@implementer(IConnection)
class FakeClient(NetworkFilter):
    """
    A client connected to a chain of filters that ends in a Terminal.

    upstream is the Terminal; with terminal=True the last filter given ends the
    chain, and nothing lies inside it.  wire is the FakeWire that the proxy
    writes to.  paused_by holds who wants no more bytes; they come all the same
    if the test sends them, since a connection may have read some already.
    """

    def __init__(
        self,
        *filters: INetworkFilter,
        terminal: bool = False,
        info: Any = None,
        buffer_limit: int = 1 << 20,
    ) -> None:
        self.connection = self
        self.info: Any = ConnectionInfo(CLIENT, SERVER) if info is None else info
        self.buffer_limit = buffer_limit
        self.wire = self.transport = FakeWire(self.info.remote, self.info.local)
        self.upstream = Terminal()
        self.paused_by: set[object] = set()
        self.over = False
        self.logged = True
        self.last_active = 0.0
        self.buffered: IGauge | None = None
        self._closers: list[Callable[[], object]] = []
        #: What filters raised, as far as the connection was told.
        self.failures: list[Failure] = []
        #: Whether the transport socket is starttls; what came early once TLS was begun.
        self.starttls = False
        self.secure_with: bytes | None = None
        self._secured: list[Callable[[], object]] = []
        link(self, *filters, *(() if terminal else (self.upstream,)))
        self.connectionMade()

    # What filters may ask of a connection.

    def settle(self) -> None:
        pass

    @property
    def stream(self) -> FakeWire:
        """The outermost transport."""
        return self.wire

    def on_close(self, callback: Callable[[], object]) -> None:
        self._closers.append(callback)

    def pause(self, who: object) -> None:
        self.paused_by.add(who)

    def resume(self, who: object) -> None:
        self.paused_by.discard(who)

    def abort(self) -> None:
        self.wire.abortConnection()

    def close_now(self) -> None:
        self.wire.close_now()

    def protocol_failed(self, failure: Failure) -> None:
        self.failures.append(failure)

    def start_secure_transport(self, early: bytes = b"") -> bool:
        """Begin TLS if starttls says so: what a test wrote before stays, and secure_with keeps early."""
        if not self.starttls or self.secure_with is not None:
            return False
        self.secure_with = early
        return True

    def on_secured(self, callback: Callable[[], object]) -> None:
        self._secured.append(callback)

    def secured(self) -> None:
        """Let the handshake that start_secure_transport began be done."""
        callbacks, self._secured = self._secured, []
        for callback in callbacks:
            callback()

    def count_buffered(self, gauge: IGauge) -> None:
        self.buffered = gauge

    def join(self, terminal: INetworkFilter, upstream: Any, received: Any, sent: Any) -> bool:
        return False

    def pauseProducing(self) -> None:
        self.pause("upstream")

    def resumeProducing(self) -> None:
        self.resume("upstream")

    # What the client does.

    def send(self, data: bytes) -> None:
        """
        Send to the proxy, a byte at a time: no filter may rely on chunks.

        What comes after the proxy closed the connection is not read.
        """
        for byte in data:
            if not self.wire.closed:
                self.dataReceived(bytes([byte]))

    def half_close(self) -> None:
        """Send a FIN; the client still reads."""
        if not self.wire.closed:
            self.readConnectionLost()

    def close(self) -> None:
        """End the connection with a FIN each way, and tell those who asked; once."""
        self._end(Failure(ConnectionDone()))

    def reset(self) -> None:
        """End the connection with a RST from the client."""
        self.info.detected_close_type = "RemoteReset"
        self._end(Failure(ConnectionLost()))

    def _end(self, reason: Failure) -> None:
        if self.over:
            return
        self.over = True
        self.connectionLost(reason)
        for callback in self._closers:
            callback()

    # What the client sees.

    @property
    def received(self) -> bytes:
        """What the proxy sent."""
        return self.wire.written

    @property
    def dropped(self) -> bool:
        """Whether the proxy closed the connection, with a FIN or a RST."""
        return self.wire.closed

    @property
    def was_reset(self) -> bool:
        """Whether the proxy closed the connection with a RST."""
        return self.wire.reset

    @property
    def finished(self) -> bool:
        """Whether the proxy will send no more: half-closed or closed."""
        return self.wire.finished or self.wire.closed


def inspect_all(
    listener_filter: IListenerFilter, data: bytes, info: IStreamInfo | None = None
) -> tuple[int | None, IStreamInfo]:
    """
    Show data to a listener filter as a listener does: nothing, then ever more of it.

    Return what inspect returned in the end (None: it wants still more) and the
    info that it noted things in.  What it raises is raised.
    """
    info = ConnectionInfo(CLIENT, SERVER) if info is None else info
    for end in range(len(data) + 1):
        taken: Any = listener_filter.inspect(data[:end], info)
        if taken is not None:
            return taken, info
    return None, info
