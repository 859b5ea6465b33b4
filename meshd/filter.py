"""
What filters are made of: the link that passes everything on, and the words hold, release, refuse, leave.

A filter overrides what it looks at, and what it does not pass on does not
happen.  Three promises are kept here, so that no filter has to: nothing reaches
the inside of a refused connection; who was not told of connectionMade is not
told of connectionLost; a filter may leave while one outside it holds.

No exception is used for flow: one out of a filter closes its connection, is
logged with the filter's name, and is counted.  unregisterProducer() comes
before loseConnection().  After connectionLost the head joins the links to
NOTHING, so late Deferreds go nowhere.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.python.failure import Failure
from zope.interface import implementer

from meshd.interfaces import IConnection, ICounter, INetworkFilter


@implementer(INetworkFilter)
class NetworkFilter:
    """A network filter that passes everything on; override what you look at."""

    connection: IConnection
    transport: Any
    inner: Any
    disconnecting = False
    _held: _Held | None = None

    # From the client.

    def connectionMade(self) -> None:
        self.inner.connectionMade()

    def dataReceived(self, data: bytes) -> None:
        self.inner.dataReceived(data)

    def readConnectionLost(self) -> None:
        self.inner.readConnectionLost()

    def connectionLost(self, reason: Failure) -> None:
        self.inner.connectionLost(reason)

    # To the client.

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def writeSequence(self, data: Any) -> None:
        self.transport.writeSequence(data)

    def loseConnection(self) -> None:
        self.transport.loseConnection()

    def loseWriteConnection(self) -> None:
        self.transport.loseWriteConnection()

    def abortConnection(self) -> None:
        self.transport.abortConnection()

    def pauseProducing(self) -> None:
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        self.transport.stopProducing()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self.transport.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        self.transport.unregisterProducer()

    def getPeer(self) -> IAddress:
        return self.transport.getPeer()  # type: ignore[no-any-return]

    def getHost(self) -> IAddress:
        return self.transport.getHost()  # type: ignore[no-any-return]

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport

    # The chain.

    def leave(self) -> None:
        """Take this filter out of the chain: it has seen what it wanted to."""
        self.inner.transport = self.transport
        self.transport.inner = self.inner

    def refuse(self, reason: str = "") -> None:
        """
        Close a connection that the filters inside have not been told of.

        reason is for %DOWNSTREAM_LOCAL_CLOSE_REASON%, in Envoy's words.
        """
        self.inner = NOTHING
        if reason:
            self.connection.info.local_close_reason = reason
        self.transport.loseConnection()

    def hold(self) -> None:
        """Pass nothing more inward, and read no more, until release(); once is enough."""
        if self._held is not None:
            return
        self.connection.pause(self)
        self._held = _Held()
        link(self, self._held, self.inner)

    def release(self) -> None:
        """Pass inward what came in since hold(), and go on; nothing if there was no hold()."""
        held, self._held = self._held, None
        if held is not None:
            held.let_go()
            self.connection.resume(self)


class WatchingFilter(NetworkFilter):
    """
    A network filter that looks at all bytes, and changes nothing: override received and sent.

    Where nothing else is in the way, bytes go straight from socket to socket, and
    are shown to it as they pass: dataReceived and write are not called then.
    What it does about what it sees must not depend on the bytes being held up.
    A filter that finds from its config that it has to hold or change them says
    so by watching = False before connectionMade goes on inward.
    """

    watching = True

    def received(self, data: bytes) -> None:
        """Look at bytes that come from the client; they go on whatever this does, before it or after."""

    def sent(self, data: bytes) -> None:
        """Look at bytes that have gone to the client."""

    def dataReceived(self, data: bytes) -> None:
        self.received(data)
        self.inner.dataReceived(data)

    def write(self, data: bytes) -> None:
        self.transport.write(data)
        self.sent(data)

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))


class TerminalFilter(NetworkFilter):
    """
    A network filter that ends the chain: it answers, or passes on elsewhere.

    By itself it takes no notice of anything, but closes when the client has
    sent its last byte, as Envoy does where half-close is not asked for.
    """

    inner = None

    def connectionMade(self) -> None:
        pass

    def dataReceived(self, data: bytes) -> None:
        pass

    def readConnectionLost(self) -> None:
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure) -> None:
        pass


class Flow:
    """
    What is counted of one direction of a relayed connection, in bytes.

    received and sent are the counters of the side that the bytes come from and
    of the side that they go to; paused and resumed count how often the first
    was not read for the sake of the second.
    """

    __slots__ = ("bytes", "paused", "received", "resumed", "sent")

    def __init__(self, received: ICounter, sent: ICounter, paused: ICounter, resumed: ICounter) -> None:
        self.bytes = 0
        self.received = received
        self.sent = sent
        self.paused = paused
        self.resumed = resumed


class _Nothing(TerminalFilter):
    """What lies inside a filter that refused: nothing, and nothing happens."""

    def readConnectionLost(self) -> None:
        pass


NOTHING = _Nothing()


class _Held(NetworkFilter):
    """The link that hold() puts in: it keeps what comes in."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def connectionMade(self) -> None:
        self.calls.append(("connectionMade", ()))

    def dataReceived(self, data: bytes) -> None:
        self.calls.append(("dataReceived", (data,)))

    def readConnectionLost(self) -> None:
        self.calls.append(("readConnectionLost", ()))

    def connectionLost(self, reason: Failure) -> None:
        if ("connectionMade", ()) not in self.calls:
            self.inner.connectionLost(reason)
        self.calls.clear()

    def let_go(self) -> None:
        """Leave the chain, and pass on what was kept; nothing if the one who held has refused."""
        if self.transport.inner is not self:
            return
        self.leave()
        for method, args in self.calls:
            getattr(self.transport.inner, method)(*args)


def link(outer: Any, *filters: Any) -> None:
    """Join the filters, outermost first, to a chain inside outer."""
    for each in filters:
        outer.inner, each.transport = each, outer
        each.connection = outer.connection
        outer = each
