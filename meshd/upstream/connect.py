"""
One upstream connection: socket, time-out, transport socket, and what is counted of it.

A Connecting is first the attempt, then the head of the links on the upstream
side.  With no transport socket there are no links: the protocol inside writes
straight to the stream.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from errno import EINPROGRESS, EMFILE, ENFILE
from typing import Any

from twisted.python.failure import Failure
from zope.interface import implementer

from meshd.filter import NOTHING, NetworkFilter
from meshd.interfaces import (
    ConnectError,
    IConnecting,
    IStreamInfo,
    ITimer,
    ITimers,
    IUpstream,
    Overflow,
    PendingOverflow,
)
from meshd.net.poller import HANGUP, OUT, Poller
from meshd.net.reasons import RESET
from meshd.net.relay import free_spare_pipes
from meshd.net.stream import Stream
from meshd.observe.info import address_text, next_id
from meshd.upstream.bind import bind_source
from meshd.upstream.inside import Inside

_NEW = socket.SOCK_STREAM | socket.SOCK_NONBLOCK
_TCP = socket.IPPROTO_TCP
_NODELAY = socket.TCP_NODELAY


class Connector:
    """Makes connections; what a Cluster is given to connect with."""

    def __init__(self, poller: Poller, timers: ITimers) -> None:
        self.poller = poller
        self.timers = timers

    def __call__(self, cluster: Any, host: Any, upstream: IUpstream, info: IStreamInfo) -> Connecting:
        """Begin to connect; raise Overflow if a circuit breaker is open."""
        connecting = self.prepare(cluster, host, upstream, info)
        connecting.dial()
        return connecting

    def prepare(self, cluster: Any, host: Any, upstream: IUpstream, info: IStreamInfo) -> Connecting:
        """Count a connection that is wanted, to be dialled or failed by the caller; raise Overflow."""
        limits = cluster.limits
        if not limits.try_connection(host):
            cluster.stats.upstream_cx_overflow.inc()
            raise Overflow(cluster.name)
        if not limits.try_pending():
            limits.connection_closed()
            cluster.stats.upstream_rq_pending_overflow.inc()
            raise PendingOverflow(host)
        connecting = Connecting(self, cluster, host, upstream, info)
        connecting.count()
        return connecting


@implementer(IConnecting)
class Connecting(NetworkFilter):
    """A connection to a host of a cluster, from the moment that it is wanted."""

    #: Whether it ends since the peer ended it, or failed, above the socket: links set it.
    ended_by_peer = False
    #: The stream, once it stands and if no link looks at its bytes.
    stream: Stream | None = None
    _stream: Stream | None = None
    _timer: ITimer | None = None
    _sock: socket.SocketType | None = None
    _told = _over = was_reset = False
    #: Bytes of a PROXY header that were sent first; the log does not count them.
    preamble = 0
    _closers: list[Callable[[], object]] | None = None
    #: Why a transport socket failed, for %UPSTREAM_TRANSPORT_FAILURE_REASON%.
    failure_reason = ""
    errno = 0  # what the kernel said of an attempt that failed
    #: What a transport socket's dialogue found in the host's words for the client, in bytes.
    greeting = b""
    #: Whether the client is to be reset if there comes no connection; False: not, for it is told why.
    reset_client: bool | None = None
    #: The same as meshd.tls.openssl.TLSError, and what came of a handshake that went well (TlsFacts).
    tls_error: Any = None
    tls: Any = None
    #: The TLS link, once it makes other bytes of what goes over the wire, and the starttls link.
    encrypted: Any = None
    secure_transport: Any = None

    def __init__(self, connector: Connector, cluster: Any, host: Any, upstream: Any, info: Any) -> None:
        self.connection: Any = self
        self.connector = connector
        self.cluster = cluster
        self.host = host
        self.upstream = upstream
        self.pooled = getattr(upstream, "pooled", False)
        self.info = info
        self.witness = info.witness
        self.id = next_id()
        self.start = time.time()
        self.buffer_limit: int = cluster.buffer_limit
        self.inner = upstream

    # The attempt.

    def count(self) -> None:
        """Count an attempt that begins."""
        host, stats = self.host, self.cluster.stats
        stats.upstream_cx_total.value += 1
        stats.upstream_rq_pending_total.value += 1
        stats.upstream_rq_pending_active.inc()
        stats.upstream_cx_active.inc()
        host.cx_total += 1
        host.cx_active += 1
        if self.witness is not None:
            self.witness.attempt(self)

    def dial(self, sock: socket.SocketType | None = None) -> None:
        """Start to connect, or take a socket that is connected; the outcome is told later, in each case."""
        connector = self.connector
        if self._over:
            if sock is not None:
                sock.close()
            return
        error = 0
        try:
            if sock is None:
                sock = self._socket()
                error = sock.connect_ex(self.host.address)
            else:
                self._sock = sock
        except OSError as problem:
            error = problem.errno or -1
            if error in (EMFILE, ENFILE):
                free_spare_pipes()  # for the next attempt
        if error in (0, EINPROGRESS) and sock is not None:
            self._timer = connector.timers.call_later(self.cluster.connect_timeout, self._timed_out)
            connector.poller.add(sock.fileno(), self._event)
            return
        connector.poller.soon(lambda: self._failed(error, immediate=True))

    def fail_soon(self, reason: str) -> None:
        """There is nothing to dial: tell so after this batch of events."""
        self.connector.poller.soon(lambda: self._fail(ConnectError(reason)))

    def _fail(self, error: ConnectError) -> None:
        if not self._over:
            self._give_up(local=error.local)
            self._tell_failure(error)

    def _socket(self) -> socket.SocketType:
        address = self.host.address
        if isinstance(address, str):
            family = socket.AF_UNIX
        else:
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._sock = sock = socket.SocketType(family, _NEW)
        if family != socket.AF_UNIX:
            sock.setsockopt(_TCP, _NODELAY, True)
        bind = self.cluster.bind
        if bind is not None:
            try:
                bind_source(sock, bind, address, self.info.remote)
            except OSError as error:
                self.cluster.stats.bind_errors.inc()
                source = bind.source(address)
                where = address_text(source.address) if source and source.address else "any address"
                self.failure_reason = f"failed to bind to {where}: {error.strerror}"
                raise
        return sock

    def _event(self, event: int) -> None:
        if not event & (OUT | HANGUP):
            return
        sock = self._sock
        if sock is None:
            return
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if event & HANGUP else 0
        if error:
            self._failed(error)
        else:
            self._connected(sock, event)

    def _connected(self, sock: socket.SocketType, event: int) -> None:
        self._sock = None
        if not self.cluster.transport:
            self._stop_timer()
        poller = self.connector.poller
        stream = self._stream = Stream(sock, poller, self, self.buffer_limit)
        self.transport = stream
        stream.buffered = self.cluster.stats.upstream_cx_tx_bytes_buffered
        poller.switch(stream.fd, stream.handle)
        try:
            if self.witness is not None:
                self.witness.connected(self)
            if not self.cluster.transport:
                self.stream = stream
                self.made(stream)
            else:
                self._link(stream)
        except Exception:
            stream.protocol_failed(Failure())
        if not stream.closed:
            # The edge that told of the connection may have been the only one to tell of data.
            stream.handle(event & ~OUT)

    def _link(self, stream: Stream) -> None:
        """Put the transport socket between the stream and the upstream."""
        outer: Any = self
        for link in (*(build() for build in self.cluster.transport), Inside(self.upstream)):
            outer.inner, link.transport = link, outer
            link.connection = self
            outer = link
        self.transport = stream
        self.inner.connectionMade()

    def made(self, transport: Any) -> None:
        """The connection stands, transport socket and all: tell the upstream."""
        self._told = True
        self._stop_timer()
        stats = self.cluster.stats
        stats.upstream_rq_pending_active.dec()
        self.cluster.limits.pending_done()
        if not self.pooled:
            stats.upstream_rq_total.value += 1
            stats.upstream_rq_active.inc()
            self.cluster.limits.requests.add()
            self.host.rq_total += 1
            self.host.rq_active += 1
        stats.upstream_cx_connect_ms.record((time.time() - self.start) * 1000)
        self.upstream.transport = transport
        if self.witness is not None:
            self.witness.made(self)
        self.upstream.connectionMade()
        if self.greeting:
            self.upstream.dataReceived(self.greeting)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def allow(self, time: float) -> None:
        """Let the transport socket have this long (s) from now, whatever is left of connect_timeout."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = self.connector.timers.call_later(time, self._timed_out)

    def _timed_out(self) -> None:
        self._timer = None
        stats = self.cluster.stats
        stats.upstream_cx_connect_timeout.inc()
        if self._stream is not None:  # the transport socket's handshake takes too long
            self.failure_reason = self.failure_reason or "connection_timeout"
            self._stream.close_now()
            return
        self._give_up(local=True)
        self._tell_failure(ConnectError("", timeout=True))

    def _failed(self, error: int, immediate: bool = False) -> None:
        self.errno = error
        reason = self.failure_reason or f"delayed connect error: {os.strerror(error)}"
        if immediate and not self.failure_reason:
            where = address_text(self.host.address)
            reason = f"immediate connect error: {os.strerror(error)}|remote address:{where}"
        self._fail(ConnectError(reason, local=bool(self.failure_reason)))

    def _tell_failure(self, error: ConnectError) -> None:
        stats = self.cluster.stats
        stats.upstream_cx_connect_fail.inc()
        stats.upstream_rq_pending_failure_eject.inc()
        self.host.cx_connect_fail += 1
        if self.witness is not None:
            self.witness.failed(self, error)
        self.upstream.connect_failed(error)

    def _give_up(self, local: bool) -> None:
        """Let go of a socket that did not connect; local if that was our decision."""
        self._stop_timer()
        sock, self._sock = self._sock, None
        if sock is not None:
            self.connector.poller.discard(sock.fileno(), sock)
        self._account(local)

    def cancel(self) -> None:
        """Give it up: neither connectionMade nor connect_failed will be called."""
        if self._over:
            return
        if self._stream is None:
            self._give_up(local=True)
            return
        if self.inner is self.upstream:
            self.inner = NOTHING
        self.upstream = NOTHING
        self._stream.abortConnection()

    # The connection.

    def dataReceived(self, data: bytes) -> None:
        self.inner.dataReceived(data)

    def readConnectionLost(self) -> None:
        self.inner.readConnectionLost()

    def connectionLost(self, reason: Failure) -> None:
        if self._over:
            return
        if self.inner is not self.upstream:
            self.inner.connectionLost(reason)
        self._stop_timer()
        stream = self._stream
        self.was_reset = reason is RESET
        self._account(local=stream is None or not (stream.closed_by_peer or self.ended_by_peer))
        if self._closers is not None:
            for callback in self._closers:
                callback()
        upstream, self.upstream, self.inner = self.upstream, NOTHING, NOTHING
        if self._told:
            upstream.connectionLost(reason)
        elif upstream is not NOTHING:
            self.upstream = upstream
            why = self.failure_reason or "connection closed before it stood"
            self._tell_failure(ConnectError(why, greeting=self.greeting, reset=bool(self.reset_client)))
            self.upstream = NOTHING

    def _account(self, local: bool) -> None:
        """Count the end, once."""
        self._over = True
        cluster = self.cluster
        stats = cluster.stats
        stats.upstream_cx_active.dec()
        stats.upstream_cx_destroy.value += 1
        if local:
            stats.upstream_cx_destroy_local.value += 1
        else:
            stats.upstream_cx_destroy_remote.value += 1
        busy = self._told
        if self._told and self.pooled:
            busy = bool(getattr(self.upstream, "busy", False))
        elif self._told:
            stats.upstream_rq_active.dec()
            cluster.limits.requests.done()
            self.host.rq_active -= 1
        if busy:
            stats.upstream_cx_destroy_with_active_rq.value += 1
            if local:
                stats.upstream_cx_destroy_local_with_active_rq.value += 1
            else:
                stats.upstream_cx_destroy_remote_with_active_rq.value += 1
        if not self._told:
            stats.upstream_rq_pending_active.dec()
            cluster.limits.pending_done()
        stats.upstream_cx_length_ms.record((time.time() - self.start) * 1000)
        self.host.cx_active -= 1
        cluster.limits.connection_closed()
        self.connection = self.info = self.secure_transport = self.encrypted = None  # the cycles

    def protocol_failed(self, failure: Failure) -> None:
        """What is inside raised: let the downstream connection take the blame."""
        tell = getattr(self.upstream, "protocol_failed", None)
        if tell is not None:
            tell(failure)

    # IConnection, for the links.

    def on_close(self, callback: Callable[[], object]) -> None:
        """Call back once, when the connection is over."""
        if self._closers is None:
            self._closers = []
        self._closers.append(callback)

    def pause(self, who: object) -> None:
        """Read nothing until each who that paused has resumed."""
        if self._stream is not None:
            self._stream.pause(who)

    def resume(self, who: object) -> None:
        """Take back who's pause."""
        if self._stream is not None:
            self._stream.resume(who)

    def start_secure_transport(self, early: bytes = b"") -> bool:
        """Begin TLS, where the transport socket is starttls; whether it could."""
        return self.secure_transport is not None and self.secure_transport.start(early)

    def on_secured(self, callback: Callable[[], object]) -> None:
        """Call back once, when the handshake that start_secure_transport began is done."""
        if self.secure_transport is not None:
            self.secure_transport.when_secured(callback)

    def abort(self) -> None:
        """End it at once, with a RST."""
        if self._stream is not None:
            self._stream.abortConnection()

    def close_now(self) -> None:
        """End it at once, with a FIN, dropping what waits to be sent."""
        if self._stream is not None:
            if self.encrypted is not None and not self.waiting:
                self.encrypted.farewell()
            self._stream.close_now()

    @property
    def secured(self) -> Any:
        """The TLS link, if that is the only one on this side and it is done with its handshake; else None."""
        link: Any = self.inner
        if self._stream is None or link is self.upstream or not isinstance(link.inner, Inside):
            return None
        return link if getattr(link, "open", False) else None

    @property
    def waiting(self) -> int:
        """Bytes that were written and have not gone yet."""
        return 0 if self._stream is None else self._stream.waiting

    @property
    def last_active(self) -> float:
        """When bytes last came or went (the reactor's seconds)."""
        return 0.0 if self._stream is None else self._stream.last_active

    @property
    def local(self) -> Any:
        """Our end's address."""
        return None if self._stream is None else self._stream.local_address()

    @property
    def wire_bytes(self) -> tuple[int, int]:
        """Bytes received and sent."""
        stream = self._stream
        return (0, 0) if stream is None else (stream.bytes_read, stream.bytes_written - self.preamble)
