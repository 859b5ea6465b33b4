"""
An HTTP/2 connection to a host of a cluster, that carries many calls.

Calls beyond what the host allows at a time wait for others to end.  A host that says
GOAWAY gets no more calls over it; those that it still answers end as they would.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from meshd.codec.grpc import Status
from meshd.codec.http2 import (
    ClientConnection,
    Data,
    Event,
    Exhausted,
    Headers,
    Leaving,
    Pong,
    ProtocolError,
    Reset,
)
from meshd.grpc.keepalive import Keepalive
from meshd.interfaces import ConnectError, IConnecting, IHost, ITimer, IUpstream, PendingOverflow, Result

if TYPE_CHECKING:
    from meshd.grpc.call import Call
    from meshd.grpc.pool import Pool

log = Logger(namespace="meshd.grpc")


@implementer(IUpstream, IPushProducer)
class Connection:
    """One connection to one host."""

    pooled = True
    alpn = (b"h2",)
    transport: Any = None
    connecting: IConnecting | None = None
    over = False
    #: Whether it takes no more calls: it closes once those that it has are over.
    leaving = False
    _idle: ITimer | None = None
    _keepalive: Keepalive | None = None
    _scheduled = _notified = False

    def __init__(self, pool: Pool, cluster: Any, host: IHost) -> None:
        self.pool = pool
        self.cluster = cluster
        self.stats = cluster.stats
        self.host: Any = host
        self.http2 = ClientConnection(cluster.http2.options)
        #: By the numbers of their streams.
        self.calls: dict[int, Call] = {}
        #: Those that have no stream yet, in order, and whether we have counted them as pending.
        self.waiting: dict[Call, bool] = {}

    @property
    def busy(self) -> bool:
        """Whether any call is in progress."""
        return bool(self.calls)

    # Calls.

    def start(self, call: Call) -> None:
        """Carry a call, at once or later.  Raise PendingOverflow if too many wait."""
        self._stop_idling()
        if self.transport is None or self.waiting or not self.http2.room:
            self._wait(call)
        elif not self._open(call):
            call.elsewhere()
            self._rest()

    def _wait(self, call: Call) -> None:
        # Whoever connects has counted the first one that waits for the connection.
        counted = self.transport is not None or bool(self.waiting)
        if counted:
            if not self.cluster.limits.try_pending():
                self.stats.upstream_rq_pending_overflow.inc()
                raise PendingOverflow(self.host)
            self.stats.upstream_rq_pending_total.inc()
            self.stats.upstream_rq_pending_active.inc()
        self.waiting[call] = counted
        call.carrier = self

    def _unwait(self, call: Call) -> None:
        if self.waiting.pop(call):
            self.cluster.limits.pending_done()
            self.stats.upstream_rq_pending_active.dec()

    def _open(self, call: Call) -> bool:
        """Open a stream for a call; return whether there could be one."""
        secure = getattr(self.connecting, "tls", None) is not None
        try:
            stream = self.http2.open(call.headers(b"https" if secure else b"http"))
        except Exhausted:
            self._leave()
            return False
        stats, host = self.stats, self.host
        stats.upstream_rq_total.value += 1
        stats.upstream_rq_active.value += 1
        host.rq_total += 1
        host.rq_active += 1
        self.cluster.limits.requests.add()
        self.calls[stream] = call
        call.opened(self, stream)
        self._flush_soon()
        return True

    def _open_waiting(self) -> None:
        while self.waiting and self.transport is not None and self.http2.room:
            call = next(iter(self.waiting))
            self._unwait(call)
            if not self._open(call):
                call.elsewhere()
                self._rest()

    def push(self, call: Call, data: bytes, ended: bool) -> None:
        """Send data on a call's stream."""
        self.http2.send(call.stream, data, ended)
        self._flush_soon()

    def drop(self, call: Call, result: Result | None) -> None:
        """Forget a call that is over, and give its stream up if that is not."""
        if call in self.waiting:
            self._unwait(call)
            if result is None:
                self.pool.add("upstream_rq_cancelled")
        elif self.calls.pop(call.stream, None) is not None:
            self.stats.upstream_rq_active.value -= 1
            self.host.rq_active -= 1
            self.cluster.limits.requests.done()
            self._give_up(call)
            if result is not None:
                self.host.report(result)
            if result == "timeout":
                self.pool.add("upstream_rq_timeout")
        self._open_waiting()
        self._rest()

    def _give_up(self, call: Call) -> None:
        """Reset the stream of a call unless both sides are done with it."""
        done = call.complete and call.ended and not self.http2.unsent(call.stream)
        if not (self.over or call.aborted or done):
            self.http2.reset(call.stream)
            self.pool.add("upstream_rq_tx_reset")
            self._flush_soon()

    # The end of its use.

    def leave(self) -> None:
        """Take no more calls; close once there are none."""
        self._leave()
        self._rest()

    def _leave(self) -> None:
        if not self.leaving:
            self.leaving = True
            self.pool.forget(self)

    def _rest(self) -> None:
        """There may be nothing left to do: close, or wait for calls for a while."""
        if self.calls or self.waiting or self.over:
            return
        if self.leaving:
            self.close()
        elif self._idle is None and self.cluster.http2.idle_timeout:
            self._idle = self.pool.timers.call_later(self.cluster.http2.idle_timeout, self._idled)

    def _stop_idling(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _idled(self) -> None:
        self._idle = None
        self.pool.add("upstream_cx_idle_timeout")
        self.leave()

    # IUpstream.

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        self.connectionMade()

    def connectionMade(self) -> None:
        """Open the streams of those who wait."""
        self.transport.registerProducer(self, True)
        pings = self.cluster.http2.pings
        if pings is not None:
            self._keepalive = Keepalive(pings, self.pool.timers, self._ping, self._no_pong)
        self._open_waiting()
        self._rest()
        self._flush()

    def connect_failed(self, error: ConnectError) -> None:
        """Tell those who wait."""
        self.host.report("connect_failed")
        why = "connect timeout" if error.timeout else str(error)
        self._end(lambda call: call.fail(Status.UNAVAILABLE, f"no connection: {why}", "connect_failed"))

    def dataReceived(self, data: bytes) -> None:
        if self.over:
            return
        self.stats.upstream_cx_rx_bytes_total.value += len(data)
        try:
            events = self.http2.receive(data)
        except ProtocolError as error:
            self.pool.add("upstream_cx_protocol_error")
            self._flush()
            self._lost(f"a protocol error: {error}")
            self._drop_transport()
            return
        for event in events:
            self._take(event)
        self._open_waiting()
        self._flush()

    def _take(self, event: Event) -> None:
        if isinstance(event, Leaving):
            self._take_leave(event)
        elif isinstance(event, Pong):
            if self._keepalive is not None:
                self._keepalive.answered()
        elif isinstance(event, Headers | Data | Reset):
            call = self.calls.get(event.stream)
            if call is None:
                return  # over: what comes was on its way
            try:
                if isinstance(event, Headers):
                    call.answered(event.pairs, event.ended)
                elif isinstance(event, Data):
                    call.received(event.data, event.ended)
                else:
                    self.pool.add("upstream_rq_rx_reset")
                    call.reset(event.code)
            except Exception:
                log.failure("in a call of {method}", method=call.method.decode())
                call.fail(Status.INTERNAL, "its receiver failed", None)

    def _take_leave(self, event: Leaving) -> None:
        """The host takes no more streams, and has not seen those above the last that it names."""
        if not self._notified:  # a host may say so first, and later which stream was the last
            self._notified = True
            self.pool.add("upstream_cx_close_notify")
        self._leave()
        for call in list(self.waiting):
            self._unwait(call)
            call.elsewhere()
        for stream, call in list(self.calls.items()):
            if stream > event.last:
                call.aborted = True
                if not call.again():
                    call.fail(Status.UNAVAILABLE, "the server is leaving", "reset")
        self._rest()

    def _ping(self) -> None:
        self.http2.ping()
        self._flush()

    def _no_pong(self) -> None:
        self.pool.add("http2.keepalive_timeout")
        self._lost("the server does not answer pings")
        self.transport.unregisterProducer()
        self.transport.abortConnection()

    def readConnectionLost(self) -> None:
        self._lost("the server ended the connection")
        self._drop_transport()

    def connectionLost(self, reason: Failure) -> None:
        self._lost("the connection was lost")

    def protocol_failed(self, failure: Failure) -> None:
        """Something raised: log it; the connection ends."""
        log.failure("while an answer of {host} was dealt with", failure, host=self.host.address)

    # IPushProducer: a host that does not read is not read, for each of its pings has to be answered.

    def pauseProducing(self) -> None:
        """Read nothing, until what we have to send is less."""
        if self.connecting is not None:
            self.connecting.pause(self)

    def resumeProducing(self) -> None:
        """Read on."""
        if self.connecting is not None:
            self.connecting.resume(self)

    def stopProducing(self) -> None:
        """The connection is over, which connectionLost tells."""

    # The end.

    def close(self) -> None:
        """End it; there are no calls."""
        if self.over:
            return
        self.http2.close()
        self._flush()
        self._end(lambda call: None)
        if self.transport is not None:
            self._drop_transport()
        elif self.connecting is not None:
            self.connecting.cancel()

    def _drop_transport(self) -> None:
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def _lost(self, why: str) -> None:
        self._end(lambda call: call.fail(Status.UNAVAILABLE, why, "reset"))

    def _end(self, tell: Callable[[Call], object]) -> None:
        """It is over: move those who wait, if it stood, and tell the others."""
        if self.over:
            return
        self.over = True
        self._stop_idling()
        if self._keepalive is not None:
            self._keepalive.stop()
        self._leave()
        stood = self.transport is not None
        for call in list(self.waiting):
            self._unwait(call)
            if stood:
                call.elsewhere()
            else:
                call.carrier = None
                tell(call)
        for call in list(self.calls.values()):
            tell(call)

    # Sending.

    def _flush_soon(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self.pool.soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        if self.transport is not None and not self.over:
            data = self.http2.take()
            if data:
                self.stats.upstream_cx_tx_bytes_total.value += len(data)
                self.transport.write(data)
