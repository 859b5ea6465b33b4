"""
Accepts connections, has them inspected, and gives each to the filter chain that matches.

A Listener is made of what its config was read into (meshd.xds.listeners does
that): it knows sockets, chains and counters, and no protobuf.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from errno import ECONNABORTED, EMFILE, ENFILE, ENOBUFS, ENOMEM
from typing import Any

from twisted.logger import Logger

from meshd.interfaces import IAccessLogger, INetworkFilter, IRuntime, IScope, SocketAddress
from meshd.net.connection import Connection, ConnectionsOwner
from meshd.net.end import plain_address
from meshd.net.inspect import Inspection, Inspections, InspectionStats
from meshd.net.match import Find
from meshd.net.poller import Poller
from meshd.net.relay import Relays, free_spare_pipes
from meshd.net.sockets import ListenOptions, close_listening, listening_socket
from meshd.net.stream import Stream
from meshd.observe.info import ConnectionInfo, address_text

#: Connections accepted per event, before those that there are get their turn.
ACCEPTS = 16
#: Seconds without accepting once descriptors or memory have run out.
PAUSE = 0.1

#: %RESPONSE_CODE_DETAILS% of a connection that no filter chain matches.
NO_CHAIN = "filter_chain_not_found"

log = Logger(namespace="meshd.listener")


@dataclass(frozen=True)
class FilterChain:
    """What makes the links of the connections that it serves, outermost first."""

    name: str
    builders: tuple[Callable[[], INetworkFilter], ...]
    #: Its Metadata message, for the log.
    metadata: Any = None


class ListenerStats:
    """listener.<address>.*, made once."""

    def __init__(self, scope: IScope) -> None:
        self.total = scope.counter("downstream_cx_total")
        self.active = scope.gauge("downstream_cx_active")
        self.destroy = scope.counter("downstream_cx_destroy")
        self.length = scope.histogram("downstream_cx_length_ms")
        self.overflow = scope.counter("downstream_cx_overflow")
        self.global_overflow = scope.counter("downstream_global_cx_overflow")
        self.no_match = scope.counter("no_filter_chain_match")
        self.no_filters = scope.counter("network_extension_config_missing")
        self.accepted = scope.histogram("connections_accepted_per_socket_event")
        self.worker_total = scope.counter("worker_0.downstream_cx_total")
        self.worker_active = scope.gauge("worker_0.downstream_cx_active")
        #: meshd's own: accepting paused, a filter raised.
        self.accept_paused = scope.counter("downstream_accept_paused")
        self.filter_errors = scope.counter("downstream_filter_exception")
        self.handshake_timeouts = scope.counter("downstream_cx_transport_socket_connect_timeout")
        self.inspection = InspectionStats(scope)
        for name in (
            "downstream_cx_overload_reject",
            "extension_config_missing",
        ):
            scope.counter(name)


@dataclass
class ConnectionCount:
    """How many downstream connections there are in all, and may be (None: any number)."""

    active: int = 0
    limit: int | None = None


@dataclass
class ListenerSetup:
    """What a listener's config was read into."""

    name: str
    addresses: Sequence[tuple[SocketAddress, ListenOptions]]
    stats: ListenerStats
    find_chain: Find
    default_chain: FilterChain | None
    inspections: Inspections | None
    access_loggers: Sequence[IAccessLogger]
    buffer_limit: int
    count: ConnectionCount
    relays: Relays
    runtime: IRuntime
    bind: bool = True
    #: Connections accepted per event.
    accepts: int = ACCEPTS
    ignore_global_limit: bool = False
    #: Its Metadata message, for the log.
    metadata: Any = None


class Listener(ConnectionsOwner):
    """One listener, with its sockets and connections."""

    #: What its connections come from instead of sockets (meshd.net.source).
    source: Any = None
    #: The message that it was made from, and how statistics call it; for the admin page.
    config: Any = None
    stat_prefix: str = ""

    def __init__(self, setup: ListenerSetup, poller: Poller, timers: Any) -> None:
        self.name = setup.name
        self.setup = setup
        self.poller = poller
        self.timers = timers
        self.stats = setup.stats
        self.filter_errors = setup.stats.filter_errors
        self.handshake_timeouts = setup.stats.handshake_timeouts
        self.buffer_limit = setup.buffer_limit
        self.relays = setup.relays
        self.access_loggers = setup.access_loggers
        self.connections: set[Connection] = set()
        self.sockets: list[socket.socket] = []
        self._bound: list[SocketAddress] = []
        self._limit_key = f"envoy.resource_limits.listener.{setup.name}.connection_limit"
        self._accepting = False
        #: Connections that were accepted and are not over, those that are being inspected included.
        self._open = 0

    # The sockets.

    def open(self) -> None:
        """Make the listening sockets; raise OSError if one cannot be had, and then have none."""
        if not self.setup.bind:
            return
        try:
            for address, options in self.setup.addresses:
                sock = listening_socket(address, options)
                self.sockets.append(sock)
                self._bound.append(plain_address(sock.getsockname()))
        except OSError:
            self.close_sockets()
            raise

    @property
    def addresses(self) -> list[SocketAddress]:
        """Where it listens: the ports that the kernel chose for 0 included."""
        return self._bound or [address for address, _ in self.setup.addresses]

    def adopt(self, socks: Sequence[socket.socket]) -> None:
        """Listen on sockets that somebody else has bound, instead of opening any."""
        self.sockets = list(socks)
        self._bound = [plain_address(sock.getsockname()) for sock in socks]

    def give_up_sockets(self) -> list[socket.socket]:
        """Accept no more, and return the sockets, still listening: another listener will adopt them."""
        given, self.sockets = self.sockets, []
        if self._accepting:
            self._accepting = False
            for sock in given:
                self.poller.remove(sock.fileno())
        return given

    def start(self) -> None:
        """Accept connections."""
        self._accepting = True
        if self.source is not None:
            self.source.start(self)
        # With bind_to_port false there are addresses, and no sockets.
        for sock, address in zip(self.sockets, self.addresses, strict=False):
            self.poller.add_listening(sock.fileno(), self._acceptor(sock, address))

    def stop(self) -> None:
        """Accept no more, and close the sockets; the connections that there are go on."""
        if self._accepting:
            if self.source is not None:
                self.source.stop()
            self._accepting = False
            for sock in self.sockets:
                self.poller.remove(sock.fileno())
        self.close_sockets()

    def close_sockets(self) -> None:
        """Close the listening sockets."""
        for sock in self.sockets:
            close_listening(sock)
        self.sockets.clear()

    # Accepting.

    def take(self, sock: socket.SocketType, remote: Any = "") -> None:
        """Take a connected socket that was accepted elsewhere; its end is told to source."""
        before = self._open
        self._accepted(sock, remote, self.addresses[0])
        if self._open == before and self.source is not None:
            self.source.ended()

    def _acceptor(self, sock: socket.socket, address: SocketAddress) -> Callable[[int], None]:
        """Return what takes the events of one listening socket."""
        accept = sock._accept  # type: ignore[attr-defined]  # socket.accept() asks for family and time-outs again
        family, kind = int(sock.family), socket.SOCK_STREAM
        local = None if _is_wildcard(address) else address
        accepts, record, take = self.setup.accepts, self.stats.accepted.record, self._accepted

        def react(event: int) -> None:
            taken = 0
            while taken < accepts:
                try:
                    fd, remote = accept()
                except BlockingIOError:
                    break
                except OSError as error:
                    if error.errno == ECONNABORTED:
                        continue
                    self._accept_failed(error)
                    break
                taken += 1
                take(socket.SocketType(family, kind, 0, fd), remote, local)
            if taken:
                record(taken)

        return react

    def _accept_failed(self, error: OSError) -> None:
        """Pause: trying again at once would only burn the processor."""
        if error.errno not in (EMFILE, ENFILE, ENOBUFS, ENOMEM):
            log.error("listener {name}: accept failed: {error}", name=self.name, error=error)
        free_spare_pipes()
        self.stats.accept_paused.inc()
        log.warn(
            "listener {name}: {error}; accepting pauses for {pause} s",
            name=self.name,
            error=error,
            pause=PAUSE,
        )
        for sock in self.sockets:
            self.poller.remove(sock.fileno())
        self._accepting = False
        self.timers.call_later(PAUSE, self._accept_again)

    def _accept_again(self) -> None:
        if self.sockets and not self._accepting:
            self.start()

    def _accepted(self, sock: socket.SocketType, remote: Any, local: SocketAddress | None) -> None:
        """Take a new connection: count it, or turn it away."""
        sock.setblocking(False)
        if local is None:
            try:
                local = plain_address(sock.getsockname())
            except OSError:
                sock.close()
                return
        if self._is_full():
            sock.close()
            return
        self._open += 1
        self.setup.count.active += 1
        # A client of a unix socket that is bound to no path: Envoy says where it came to.
        info = ConnectionInfo(plain_address(remote) or local, local)
        info.listener_name = self.name
        info.listener_metadata = self.setup.metadata
        stream = Stream(sock, self.poller, None, self.buffer_limit)
        stream.watch()
        inspections = self.setup.inspections
        if inspections is None:
            self._serve(stream, info)
        else:
            inspection = Inspection(inspections, stream, info, self._serve, self._ended)
            stream.protocol = inspection
            inspection.start()

    def _is_full(self) -> bool:
        """Whether a limit forbids one more; count it if so."""
        setup = self.setup
        count = setup.count
        limit = setup.runtime.get(self._limit_key)
        if limit is not None and limit.isdigit() and self._open >= int(limit):
            self.stats.overflow.inc()
            return True
        if count.limit is not None and count.active >= count.limit and not setup.ignore_global_limit:
            self.stats.global_overflow.inc()
            return True
        return False

    def _serve(self, stream: Stream, info: ConnectionInfo) -> None:
        """Give the connection to the filter chain that matches."""
        chain: FilterChain | None = self.setup.find_chain(info) or self.setup.default_chain
        if chain is None:
            self.stats.no_match.inc()
            info.flags.add("NR")
            info.response_code_details = NO_CHAIN
            self._close_unserved(stream, info)
            return
        stats = self.stats
        stats.total.value += 1
        stats.worker_total.value += 1
        stats.active.inc()
        stats.worker_active.inc()
        info.filter_chain_name = chain.name
        if not chain.builders:
            stats.no_filters.inc()
            self._close_unserved(stream, info)
        else:
            info.filter_chain_metadata = chain.metadata
            connection = stream.protocol = Connection(stream, info, self)
            self.connections.add(connection)
            connection.start(chain.builders)

    def _close_unserved(self, stream: Stream, info: ConnectionInfo) -> None:
        connection = stream.protocol = Connection(stream, info, self)
        self.connections.add(connection)
        if stream.bytes_read > info.preamble:
            # Envoy only peeks: bytes that the kernel still has make it reset the connection.
            info.preamble = stream.bytes_read
            stream.abortConnection()
        else:
            stream.close_now()

    # The end of connections.

    def connection_closed(self, connection: Connection) -> None:
        """Forget a connection, whose info is complete."""
        self.connections.discard(connection)
        if connection.info.response_code_details != NO_CHAIN:
            self._count_end(connection.info)
        self._count_open_end()

    def _ended(self, info: ConnectionInfo) -> None:
        """Forget a connection that was over before a filter chain served it."""
        info.end = time.time()
        tell = [] if info.witness is None else [info.witness.over]
        for call in (*tell, *(logger.log for logger in self.access_loggers)):
            try:
                call(info)
            except Exception:
                self.filter_errors.inc()
                log.failure("the access log raised")
        self._count_open_end()

    def _count_open_end(self) -> None:
        self._open -= 1
        self.setup.count.active -= 1
        if self.source is not None:
            self.source.ended()

    def _count_end(self, info: ConnectionInfo) -> None:
        stats = self.stats
        stats.active.dec()
        stats.worker_active.dec()
        stats.destroy.value += 1
        stats.length.record(info.duration * 1000)


def _is_wildcard(address: SocketAddress) -> bool:
    return not isinstance(address, str) and address[0] in ("0.0.0.0", "::")


def stat_prefix(address: SocketAddress) -> str:
    """Return how statistics name a listener: its address, colons made underscores."""
    return address_text(address).replace(":", "_")
