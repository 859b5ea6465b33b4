"""
The head link: one downstream connection, as its filters know it.

Outside it is the stream, inside the filter chain.  It makes the links, carries
what is known of the connection, counts who paused it, catches what a filter
raises, and when the connection is over tells everybody once, in this order:
connectionLost inward, the on_close callbacks, the access loggers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from meshd.filter import NOTHING, Flow, NetworkFilter, TerminalFilter, WatchingFilter
from meshd.interfaces import IAccessLogger, IConnection, IGauge, INetworkFilter
from meshd.net.reasons import RESET
from meshd.net.relay import Relay, Relays, Watch
from meshd.net.stream import Stream
from meshd.observe.info import ConnectionInfo, twisted_address

log = Logger(namespace="meshd.connection")


class ConnectionsOwner:
    """What the connections of one listener share; the listener fills it in."""

    #: Bytes: per_connection_buffer_limit_bytes.
    buffer_limit: int = 1 << 20
    #: The relays of all connections of this worker.
    relays: Relays
    access_loggers: Sequence[IAccessLogger] = ()
    #: Counts connections that an exception out of a filter closed.
    filter_errors: Any
    #: Counts those whose transport socket (TLS) took too long.
    handshake_timeouts: Any

    def connection_closed(self, connection: Connection) -> None:
        """Forget a connection, whose info is complete."""


@implementer(IConnection)
class Connection(NetworkFilter):
    """The head of a chain of links."""

    _closers: list[Callable[[], object]] | None = None
    _relays: tuple[Relay, ...] = ()
    over = False
    #: The TLS link, once it makes other bytes of what goes over the wire.
    encrypted: Any = None
    #: The starttls link, if there is one (meshd.tls.link.StartTLSLink).
    secure_transport: Any = None

    def __init__(self, stream: Stream, info: ConnectionInfo, owner: ConnectionsOwner) -> None:
        self.connection: Any = self
        self.stream = self.transport = stream
        self.info = info
        self.owner = owner
        self.inner = NOTHING
        self.buffer_limit = owner.buffer_limit
        # One call less for each write: nothing lies between this and the stream.
        self.write = stream.write  # type: ignore[method-assign]

    def start(self, builders: Sequence[Callable[[], INetworkFilter]]) -> None:
        """Make the links, outermost first, and tell them that there is a connection."""
        outer: Any = self
        try:
            links: list[Any] = [build() for build in builders]
            for each in links:
                outer.inner, each.transport = each, outer
                each.connection = self
                outer = each
            self.inner.connectionMade()
            if len(links) == 1 and isinstance(links[0], TerminalFilter):
                # It neither leaves nor holds: one call less for all that is read.
                self.dataReceived = links[0].dataReceived  # type: ignore[method-assign]
        except Exception:
            failure = Failure()
            self.protocol_failed(failure)
            self._cut_untold(failure)
            self.stream.abortConnection()

    def _cut_untold(self, failure: Failure) -> None:
        """Keep from the end of the connection those links that were not told of its beginning."""
        told: Any = self
        traceback = failure.getTracebackObject()
        while traceback is not None:
            frame = traceback.tb_frame
            if frame.f_code.co_name == "connectionMade":
                told = frame.f_locals.get("self", told)
            traceback = traceback.tb_next
        told.inner = NOTHING

    # From the stream.

    def connectionLost(self, reason: Failure) -> None:
        if self.over:
            return
        self.over = True
        info, stream = self.info, self.stream
        info.end = time.time()
        if self._relays:
            self.owner.relays.leave(self._relays)
            self._relays = ()
        self.settle()
        if reason is RESET:
            info.detected_close_type = "RemoteReset"
        self._tell(self.inner.connectionLost, reason)
        counted = info.bytes_received or info.bytes_sent
        if not counted and self.encrypted is None:
            # Nobody counted payload, and what went over the wire is that.
            info.bytes_received, info.bytes_sent = info.wire_bytes_received, stream.bytes_written
        self._finish()

    def _finish(self) -> None:
        info = self.info
        if self._closers is not None:
            for callback in self._closers:
                self._tell(callback)
        if info.witness is not None:
            self._tell(info.witness.over, info)
        for logger in self.owner.access_loggers:
            info.log_type = "NotSet"
            self._tell(logger.log, info)
        self.owner.connection_closed(self)
        self._unlink()

    def _tell(self, call: Callable[..., object], *args: object) -> None:
        """Call, and let nobody's exception keep the others from being told."""
        try:
            call(*args)
        except Exception:
            self.protocol_failed(Failure())

    def _unlink(self) -> None:
        """Cut the cycles; what is called late goes nowhere."""
        link: Any = self.inner
        self.inner = NOTHING
        self.dataReceived = NOTHING.dataReceived  # type: ignore[method-assign]
        self.connection = None
        self.secure_transport = self.encrypted = None
        self._closers = None
        while link is not NOTHING and link is not None:
            inner = getattr(link, "inner", None)
            link.transport = GONE
            if inner is not None:
                link.inner = NOTHING
            link = inner

    def protocol_failed(self, failure: Failure) -> None:
        """A filter raised: log it with the filter's name, and count it."""
        self.owner.filter_errors.inc()
        log.failure(
            "{filter} raised; closing connection {id} from {peer}",
            failure=failure,
            filter=_culprit(failure),
            id=self.info.id,
            peer=self.info.remote,
        )
        self.info.local_close_reason = "filter_exception"

    # For the filters.

    def on_close(self, callback: Callable[[], object]) -> None:
        """Call back once, when the connection is over, before it is logged."""
        if self.over:
            callback()
        elif self._closers is None:
            self._closers = [callback]
        else:
            self._closers.append(callback)

    def pause(self, who: object) -> None:
        """Read nothing until each who that paused has resumed."""
        self.stream.pause(who)

    def resume(self, who: object) -> None:
        """Take back who's pause, if there was one."""
        self.stream.resume(who)

    def abort(self) -> None:
        """End it at once, with a RST."""
        self.abortConnection()

    def abortConnection(self) -> None:
        self.info.detected_close_type = "LocalReset"
        self.stream.abortConnection()

    def start_secure_transport(self, early: bytes = b"") -> bool:
        """Begin TLS, where the transport socket is starttls; whether it could."""
        return self.secure_transport is not None and self.secure_transport.start(early)

    def on_secured(self, callback: Callable[[], object]) -> None:
        """Call back once, when the handshake that start_secure_transport began is done."""
        if self.secure_transport is not None:
            self.secure_transport.when_secured(callback)

    def count_buffered(self, gauge: IGauge) -> None:
        """Let gauge know how many bytes wait to be sent to the client."""
        self.stream.buffered = gauge

    def settle(self) -> None:
        """Bring the sums of relayed bytes up to date."""
        info, stream = self.info, self.stream
        for relay in self._relays:
            relay.settle()
        info.wire_bytes_received = stream.bytes_read - info.preamble
        info.wire_bytes_sent = stream.bytes_written

    def close_now(self) -> None:
        """End it at once, with a FIN, dropping what waits to be sent."""
        if self.encrypted is not None and not self.stream.waiting:  # after half a record it would be noise
            self.encrypted.farewell()
        self.stream.close_now()

    @property
    def logged(self) -> bool:
        """Whether anybody will log it, so that details are worth finding out."""
        return bool(self.owner.access_loggers) or self.info.witness is not None

    @property
    def last_active(self) -> float:
        """When bytes last came or went (the reactor's seconds)."""
        return self.stream.last_active

    def join(self, terminal: INetworkFilter, upstream: Any, received: Flow, sent: Flow) -> bool:
        """
        Let bytes go straight between the client and upstream, if nothing looks at them.

        That is so when terminal, which asks, is the only link left but for TLS and
        for those that only watch, and the same holds of the upstream side.  Ends
        and errors are told as before.
        """
        if self.over:
            return False
        link: Any = self.inner
        secure: Any = None
        if link is not terminal and not isinstance(link, WatchingFilter) and hasattr(link, "join"):
            secure, link = link, link.inner
        watchers = _watchers(link, terminal)
        secured: Any = upstream.secured
        if watchers is None or (upstream.stream is None and secured is None):
            return False
        watch = _show(watchers)
        relays = self.owner.relays
        if secure is None and secured is None:
            self._relays = relays.join(self.stream, upstream.stream, received, sent, watch)
            return True
        pair = (secured or secure).join(self.stream, secure, upstream, received, sent, watch)
        if pair is None:
            return False
        self._relays = relays.add(pair)
        return True

    def getPeer(self) -> IAddress:
        return self.info.peer

    def getHost(self) -> IAddress:
        return twisted_address(self.info.local)


def _watchers(link: Any, terminal: INetworkFilter) -> list[WatchingFilter] | None:
    """Return the links from link on and before terminal; None unless all of them only watch."""
    found: list[WatchingFilter] = []
    while link is not terminal:
        if not isinstance(link, WatchingFilter) or not link.watching:
            return None
        found.append(link)
        link = link.inner
    return found


def _show(watchers: list[WatchingFilter]) -> Watch | None:
    """Return what shows bytes to each of them, those that come and those that go; None if there are none."""
    if not watchers:
        return None
    if len(watchers) == 1:
        return watchers[0].received, watchers[0].sent
    return (
        _in_turn([each.received for each in watchers]),
        _in_turn([each.sent for each in reversed(watchers)]),
    )


def _in_turn(watchers: list[Callable[[bytes], object]]) -> Callable[[bytes], None]:
    """Return what shows bytes to each of them."""

    def show(data: bytes) -> None:
        for watch in watchers:
            watch(data)

    return show


def _culprit(failure: Failure) -> str:
    """Name the innermost filter in the traceback; if there is none, the function that raised."""
    name = function = "a filter"
    traceback = failure.getTracebackObject()
    while traceback is not None:
        frame = traceback.tb_frame
        function = f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}"
        owner = frame.f_locals.get("self")
        if isinstance(owner, NetworkFilter) and not isinstance(owner, Connection):
            kind = type(owner)
            name = f"{kind.__module__}.{kind.__qualname__}"
        traceback = traceback.tb_next
    return function if name == "a filter" else name


class _Gone(NetworkFilter):
    """What lies outside the links of a connection that is over."""

    disconnecting = True

    def write(self, data: bytes) -> None:
        pass

    def writeSequence(self, data: Any) -> None:
        pass

    def loseConnection(self) -> None:
        pass

    def loseWriteConnection(self) -> None:
        pass

    def abortConnection(self) -> None:
        pass

    def pauseProducing(self) -> None:
        pass

    def resumeProducing(self) -> None:
        pass

    def stopProducing(self) -> None:
        pass

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        producer.stopProducing()

    def unregisterProducer(self) -> None:
        pass

    def getPeer(self) -> IAddress:
        return twisted_address("")

    def getHost(self) -> IAddress:
        return twisted_address("")


GONE = _Gone()
