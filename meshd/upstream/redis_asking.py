"""
Asks a node of a Redis Cluster for the topology, or for something else.

Exchange is what is said, without any I/O; Asking says such to a host, over a
connection of its own that is closed afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from meshd.codec.resp import ProtocolError, encode
from meshd.codec.resp_reply import Error, ReplySplitter, decode
from meshd.interfaces import ConnectError, IConnecting, IUpstream, UpstreamError
from meshd.upstream.protocol_options import RedisAuth
from meshd.upstream.redis_topology import BadTopology, Topology, read_shards, read_slots

#: Bytes of an answer; that of a cluster of a thousand nodes has 200 KB.
ANSWER_LIMIT = 16 * 1024 * 1024


T_co = TypeVar("T_co", covariant=True)


class AskFailed(Exception):
    """The node did not tell what it was asked."""


class IsSaid(Protocol[T_co]):
    """What is said with a node: begin() is sent, then what receive returns; in the end there is a result."""

    @property
    def result(self) -> T_co | None:
        """What was told; None until it was."""

    def begin(self) -> bytes:
        """Return what to send first."""

    def receive(self, data: bytes) -> bytes:
        """Take what the node sent; return what to send then.  Raise ProtocolError, AskFailed or the like."""


def auth_command(auth: RedisAuth) -> bytes:
    """Return the AUTH command for a user and password, or for a password only."""
    return encode([b"AUTH", *(part for part in auth[:1] if part), auth[1]])


class Exchange:
    """
    What is said with a node at the address asked: AUTH, CLUSTER SLOTS, and if need be CLUSTER SHARDS.

    tls says that the ports for TLS are wanted.  result is the topology.
    """

    def __init__(self, asked: str, auth: RedisAuth | None = None, tls: bool = False) -> None:
        self.result: Topology | None = None
        self._asked = asked
        self._auth = auth
        self._tls = tls
        self._refused: list[bytes] = []
        self._splitter = ReplySplitter(ANSWER_LIMIT)
        self._next = self._authorized if auth else self._slots

    def begin(self) -> bytes:
        """Return what to send first."""
        auth = auth_command(self._auth) if self._auth else b""
        return auth + encode([b"CLUSTER", b"SLOTS"])

    def receive(self, data: bytes) -> bytes:
        """
        Take what the node sent; return what to send then.

        Raise BadTopology, ProtocolError or AskFailed.
        """
        sent = b""
        for raw in self._splitter.receive(data):
            if self.result is not None:
                raise ProtocolError("an answer that nobody asked for")
            sent += self._next(decode(raw))
        return sent

    def _authorized(self, answer: Any) -> bytes:
        # A server that needs no password refuses one, and answers the next question all the same.
        if isinstance(answer, Error):
            self._refused.append(answer.text)
        self._next = self._slots
        return b""

    def _slots(self, answer: Any) -> bytes:
        if isinstance(answer, Error):
            self._refused.append(answer.text)
            self._next = self._shards
            return encode([b"CLUSTER", b"SHARDS"])
        self.result = read_slots(answer, self._asked)
        return b""

    def _shards(self, answer: Any) -> bytes:
        if isinstance(answer, Error):
            raise AskFailed(b"; ".join(self._refused).decode("utf-8", "replace"))
        self.result = read_shards(answer, self._asked, self._tls)
        return b""


@implementer(IUpstream)
class Asking(Generic[T_co]):
    """
    One question to one host.

    connect begins to connect an IUpstream to it (it may raise UpstreamError);
    timeout is in seconds, for all of it.
    """

    transport: Any

    def __init__(self, exchange: IsSaid[T_co], clock: IReactorTime, timeout: float) -> None:
        self._exchange = exchange
        self._deferred: Deferred[T_co] = Deferred(lambda _: self._end())
        self._timer = clock.callLater(timeout, self._timed_out)
        self._connecting: IConnecting | None = None
        self._connected = False

    def ask(self, connect: Callable[[IUpstream], IConnecting]) -> Deferred[T_co]:
        """Ask; the Deferred fails with AskFailed, BadTopology, ProtocolError or UpstreamError."""
        try:
            self._connecting = connect(self)
        except UpstreamError as error:
            self._fail(error)
        return self._deferred

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        self.connectionMade()

    def connectionMade(self) -> None:
        self._connected = True
        self.transport.write(self._exchange.begin())

    def dataReceived(self, data: bytes) -> None:
        try:
            more = self._exchange.receive(data)
        except (AskFailed, BadTopology, ProtocolError) as error:
            self._fail(error)
            return
        if more:
            self.transport.write(more)
        result = self._exchange.result
        if result is not None and not self._deferred.called:
            self._end()
            self._deferred.callback(result)

    def readConnectionLost(self) -> None:
        self._fail(AskFailed("the node closed the connection"))

    def connect_failed(self, error: ConnectError) -> None:
        self._fail(error)

    def connectionLost(self, reason: Failure) -> None:
        self._connected = False
        self._fail(AskFailed("the node closed the connection"))

    def _timed_out(self) -> None:
        self._fail(AskFailed("the node did not answer in time"))

    def _fail(self, error: Exception) -> None:
        if not self._deferred.called:
            self._end()
            self._deferred.errback(error)

    def _end(self) -> None:
        """Let go of the connection, or of the attempt."""
        if self._timer.active():
            self._timer.cancel()
        if self._connected:
            self.transport.loseConnection()
        elif self._connecting is not None:
            self._connecting.cancel()
