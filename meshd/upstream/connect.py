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

from meshd.filter import NOTHING, NetworkFilter, TerminalFilter
from meshd.interfaces import (
    ConnectError,
    IConnecting,
    IStreamInfo,
    ITimer,
    ITimers,
    IUpstream,
    Overflow,
    PendingOverflow,
    SocketAddress,
)
from meshd.net.poller import HANGUP, OUT, Poller
from meshd.net.reasons import RESET
from meshd.net.relay import free_spare_pipes
from meshd.net.sockets import IP_BIND_ADDRESS_NO_PORT, IP_FREEBIND, IPV6_FREEBIND
from meshd.net.stream import Stream
from meshd.observe.info import address_text, next_id
from meshd.upstream.bind import Bind

_NEW = socket.SOCK_STREAM | socket.SOCK_NONBLOCK
_TCP = socket.IPPROTO_TCP
_NODELAY = socket.TCP_NODELAY


def bind_source(sock: socket.SocketType, bind: Bind, target: SocketAddress) -> None:
    """Bind sock to where the config wants connections to target to come from; raise OSError if it fails."""
    source = bind.source(target)
    if source is None:
        return
    if bind.freebind:
        v6 = sock.family == socket.AF_INET6
        sock.setsockopt(
            socket.IPPROTO_IPV6 if v6 else socket.IPPROTO_IP, IPV6_FREEBIND if v6 else IP_FREEBIND, 1
        )
    for option in source.options:
        if not option.bound:
            sock.setsockopt(option.level, option.name, option.value)
    if source.address is not None:
        if not source.address[1]:
            # The kernel chooses the port at connect: it may then share one between different targets.
            sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind(source.address)
    for option in source.options:
        if option.bound:
            sock.setsockopt(option.level, option.name, option.value)


class Connector:
    """Makes connections; what a Cluster is given to connect with."""

    def __init__(self, poller: Poller, timers: ITimers) -> None:
        self.poller = poller
        self.timers = timers

    def __call__(self, cluster: Any, host: Any, upstream: IUpstream, info: IStreamInfo) -> Connecting:
        """Begin to connect; raise Overflow if a circuit breaker is open."""
        limits = cluster.limits
        if not limits.try_connection(host):
            cluster.stats.upstream_cx_overflow.inc()
            raise Overflow(cluster.name)
        if not limits.try_pending():
            limits.connection_closed()
            cluster.stats.upstream_rq_pending_overflow.inc()
            raise PendingOverflow(host)
        connecting = Connecting(self, cluster, host, upstream, info)
        connecting.begin()
        return connecting


class _Inside(TerminalFilter):
    """The innermost link where there is a transport socket: the face of it to an IUpstream."""

    def __init__(self, upstream: IUpstream) -> None:
        self.upstream = upstream
        self.told = False

    def connectionMade(self) -> None:
        self.told = True
        self.connection.made(self)  # type: ignore[attr-defined]

    def dataReceived(self, data: bytes) -> None:
        self.upstream.dataReceived(data)

    def readConnectionLost(self) -> None:
        self.upstream.readConnectionLost()

    def connectionLost(self, reason: Failure) -> None:
        pass  # the head tells the upstream: it knows whether it was ever told of a connection


@implementer(IConnecting)
class Connecting(NetworkFilter):
    """A connection to a host of a cluster, from the moment that it is wanted."""

    #: The stream, once it stands and if no link looks at its bytes.
    stream: Stream | None = None
    _stream: Stream | None = None
    _timer: ITimer | None = None
    _sock: socket.SocketType | None = None
    _told = False
    _over = False
    was_reset = False
    #: Bytes of a PROXY header that were sent first; the log does not count them.
    preamble = 0
    _closers: list[Callable[[], object]] | None = None
    #: Why a transport socket failed, for %UPSTREAM_TRANSPORT_FAILURE_REASON%.
    failure_reason = ""

    def __init__(self, connector: Connector, cluster: Any, host: Any, upstream: Any, info: Any) -> None:
        self.connection: Any = self
        self.connector = connector
        self.cluster = cluster
        self.host = host
        self.upstream = upstream
        self.info = info
        self.id = next_id()
        self.start = time.time()
        self.buffer_limit: int = cluster.buffer_limit
        self.inner = upstream

    # The attempt.

    def begin(self) -> None:
        """Make the socket and start to connect; the outcome is told later, in each case."""
        host, cluster, connector = self.host, self.cluster, self.connector
        stats = cluster.stats
        stats.upstream_cx_total.value += 1
        stats.upstream_rq_pending_total.value += 1
        stats.upstream_rq_pending_active.inc()
        stats.upstream_cx_active.inc()
        host.cx_total += 1
        host.cx_active += 1
        try:
            sock = self._socket()
            error = sock.connect_ex(host.address)
        except OSError as problem:
            error = problem.errno or -1
            if error in (EMFILE, ENFILE):
                free_spare_pipes()  # for the next attempt
        if error in (0, EINPROGRESS):
            self._timer = connector.timers.call_later(cluster.connect_timeout, self._timed_out)
            connector.poller.add(sock.fileno(), self._event)
            return
        connector.poller.soon(lambda: self._failed(error, immediate=True))

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
                bind_source(sock, bind, address)
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
        if self._timer is not None and not self.cluster.transport:
            self._timer.cancel()
            self._timer = None
        poller = self.connector.poller
        stream = self._stream = Stream(sock, poller, self, self.buffer_limit)
        self.transport = stream
        stream.buffered = self.cluster.stats.upstream_cx_tx_bytes_buffered
        poller.switch(stream.fd, stream.handle)
        try:
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
        for link in (*(build() for build in self.cluster.transport), _Inside(self.upstream)):
            outer.inner, link.transport = link, outer
            link.connection = self
            outer = link
        self.transport = stream
        self.inner.connectionMade()

    def made(self, transport: Any) -> None:
        """The connection stands, transport socket and all: tell the upstream."""
        self._told = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        stats = self.cluster.stats
        stats.upstream_rq_pending_active.dec()
        self.cluster.limits.pending_done()
        stats.upstream_rq_total.value += 1
        stats.upstream_rq_active.inc()
        self.cluster.limits.requests.add()
        self.host.rq_total += 1
        self.host.rq_active += 1
        stats.upstream_cx_connect_ms.record((time.time() - self.start) * 1000)
        self.upstream.transport = transport
        self.upstream.connectionMade()

    def _timed_out(self) -> None:
        self._timer = None
        stats = self.cluster.stats
        stats.upstream_cx_connect_timeout.inc()
        if self._stream is not None:  # the transport socket's handshake takes too long
            self.failure_reason = self.failure_reason or "connection_timeout"
            self._stream.abortConnection()
            return
        self._give_up(local=True)
        self._tell_failure(ConnectError("", timeout=True))

    def _failed(self, error: int, immediate: bool = False) -> None:
        if self._over:
            return
        self._give_up(local=bool(self.failure_reason))
        reason = self.failure_reason or f"delayed connect error: {os.strerror(error)}"
        if immediate and not self.failure_reason:
            where = address_text(self.host.address)
            reason = f"immediate connect error: {os.strerror(error)}|remote address:{where}"
        self._tell_failure(ConnectError(reason, local=bool(self.failure_reason)))

    def _tell_failure(self, error: ConnectError) -> None:
        stats = self.cluster.stats
        stats.upstream_cx_connect_fail.inc()
        stats.upstream_rq_pending_failure_eject.inc()
        self.host.cx_connect_fail += 1
        self.upstream.connect_failed(error)

    def _give_up(self, local: bool) -> None:
        """Let go of a socket that did not connect; local if that was our decision."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
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
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        stream = self._stream
        self.was_reset = reason is RESET
        self._account(local=stream is None or not stream.closed_by_peer)
        if self._closers is not None:
            for callback in self._closers:
                callback()
        upstream, self.upstream, self.inner = self.upstream, NOTHING, NOTHING
        if self._told:
            upstream.connectionLost(reason)
        elif upstream is not NOTHING:
            self.upstream = upstream
            self._tell_failure(ConnectError(self.failure_reason or "connection closed before it stood"))
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
        if self._told:
            stats.upstream_rq_active.dec()
            cluster.limits.requests.done()
            self.host.rq_active -= 1
            stats.upstream_cx_destroy_with_active_rq.value += 1
            if local:
                stats.upstream_cx_destroy_local_with_active_rq.value += 1
            else:
                stats.upstream_cx_destroy_remote_with_active_rq.value += 1
        else:
            stats.upstream_rq_pending_active.dec()
            cluster.limits.pending_done()
        stats.upstream_cx_length_ms.record((time.time() - self.start) * 1000)
        self.host.cx_active -= 1
        cluster.limits.connection_closed()
        self.connection = self.info = None  # the cycles

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

    def abort(self) -> None:
        """End it at once, with a RST."""
        if self._stream is not None:
            self._stream.abortConnection()

    def close_now(self) -> None:
        """End it at once, with a FIN, dropping what waits to be sent."""
        if self._stream is not None:
            self._stream.close_now()

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
