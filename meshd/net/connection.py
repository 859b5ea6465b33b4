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

from meshd.filter import NOTHING, Flow, NetworkFilter
from meshd.interfaces import IAccessLogger, IConnection, IGauge, INetworkFilter
from meshd.net.reasons import RESET
from meshd.net.relay import Relay, Relays
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

    def connection_closed(self, connection: Connection) -> None:
        """Forget a connection, whose info is complete."""


@implementer(IConnection)
class Connection(NetworkFilter):
    """The head of a chain of links."""

    _closers: list[Callable[[], object]] | None = None
    _relays: tuple[Relay, ...] = ()
    over = False

    def __init__(self, stream: Stream, info: ConnectionInfo, owner: ConnectionsOwner) -> None:
        self.connection: Any = self
        self.stream = self.transport = stream
        self.info = info
        self.owner = owner
        self.inner = NOTHING
        self.buffer_limit = owner.buffer_limit

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
        if not info.bytes_received and not info.bytes_sent:  # unless the last filter counted payload
            info.bytes_received, info.bytes_sent = stream.bytes_read, stream.bytes_written
        self._finish()

    def _finish(self) -> None:
        info = self.info
        if self._closers is not None:
            for callback in self._closers:
                self._tell(callback)
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
        self.connection = None
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
        self.stream.close_now()

    @property
    def logged(self) -> bool:
        """Whether anybody will log it, so that details are worth finding out."""
        return bool(self.owner.access_loggers)

    @property
    def last_active(self) -> float:
        """When bytes last came or went (the reactor's seconds)."""
        return self.stream.last_active

    def join(self, terminal: INetworkFilter, upstream: Any, received: Flow, sent: Flow) -> bool:
        """
        Let bytes go straight between the client and upstream, if nothing looks at them.

        That is so when terminal, which asks, is the only link left, and the
        upstream side has none.  Ends and errors are told as before.
        """
        other = upstream.stream
        if self.inner is not terminal or other is None or self.over:
            return False
        self._relays = self.owner.relays.join(self.stream, other, received, sent)
        return True

    def getPeer(self) -> IAddress:
        return self.info.peer

    def getHost(self) -> IAddress:
        return twisted_address(self.info.local)


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
