"""
The link inside TLS: counts, times, redirects, and ends as stunnel ends.

An error ends both sides with a RST (unless reset is off), so that nobody takes
half of the data for all of it.  After one side has ended, the other has
timeout_close to follow; while both are open, timeout_idle counts.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import attrs
from attrs import validators
from twisted.python.failure import Failure

from meshd.codec.proxy_protocol import Header
from meshd.filter import WatchingFilter
from meshd.filters.network.stunnel.persistence import Persistence
from meshd.filters.network.stunnel.tlvs import tlvs_of
from meshd.filters.network.stunnel.tunnel import DEBUG, ERR, INFO, NOTICE, Tunnel, address_text
from meshd.interfaces import IFactoryContext, ITimer

#: Filter state with the PROXY header that is sent to the upstream.
HEADER_KEY = "envoy.network.proxy_protocol_options"
#: Filter state by which a filter before tcp_proxy chooses the cluster.
CLUSTER_KEY = "envoy.tcp_proxy.cluster"
#: Filter state with (host, port) for a cluster of the type meshd.clusters.named_target.
TARGET_KEY = "meshd.target"
#: Filter state with the address of the host that a failover policy is to try first.
FIRST_KEY = "meshd.failover.first"


@attrs.frozen
class Relay:
    """The config of meshd.filters.network.stunnel; level is syslog's, 7 for everything."""

    service: str = attrs.field(validator=validators.min_len(1))
    client: bool = False
    level: int = attrs.field(default=5, validator=[validators.ge(0), validators.le(7)])
    timeout_busy: timedelta = timedelta(seconds=300)
    timeout_close: timedelta = timedelta(seconds=60)
    timeout_idle: timedelta = timedelta(seconds=43200)
    reset: bool = True
    #: The cluster of clients whose certificate was not accepted.
    redirect: str = ""
    #: The name that is sent to the server, for the log.
    server_name: str = ""
    #: Whether the peer has to show a certificate.
    verifies: bool = False
    #: The server name pattern by which clients came here from another service.
    pattern: str = ""
    #: Whether clients can be sent to another service by the server name that they ask for.
    virtual: bool = False
    #: Whether a PROXY header to the upstream is to tell of the client's TLS.
    tlvs: bool = False
    #: Whether a responder must say that the peer's certificate is good, for the log.
    ocsp: bool = False
    #: Whether it goes to where the client wanted to go before it was redirected here.
    original_destination: bool = False
    #: Whether a client that resumes its TLS session gets the same host; how many are known, and how long.
    persistence: bool = False
    session_cache_size: int = attrs.field(default=1000, validator=validators.ge(0))
    session_timeout: timedelta = timedelta(seconds=300)


class Relays:
    """What the connections of a filter chain share."""

    def __init__(self, config: Relay, context: IFactoryContext) -> None:
        self.config = config
        self.timers = context.timers
        self.clock = context.clock
        self.busy = config.timeout_busy.total_seconds()
        self.close = config.timeout_close.total_seconds()
        self.idle = config.timeout_idle.total_seconds()

        self.persistence = Persistence(
            config.session_cache_size, config.session_timeout.total_seconds(), self.clock.seconds
        )

    def __call__(self) -> Relaying:
        return Relaying(self)


class Relaying(WatchingFilter):
    """One connection."""

    _timer: ITimer | None = None
    _closing = False
    tunnel: Tunnel

    def __init__(self, shared: Relays) -> None:
        self.shared = shared

    def connectionMade(self) -> None:
        shared, info = self.shared, self.connection.info
        config = shared.config
        tunnel: Any = info.witness
        if not isinstance(tunnel, Tunnel):
            tunnel = info.witness = Tunnel(config.service, config.client, config.level, "sequential")
            who = address_text(info.remote)
            tunnel.say(NOTICE, f"Service [{config.service}] accepted connection from {who}")
        elif config.pattern:
            self._switched(tunnel, info)
        elif config.virtual and info.server_name:
            tunnel.say(ERR, f"SNI: no pattern matched servername: {info.server_name}")
        elif config.virtual:
            tunnel.say(NOTICE, "SNI: no servername received")
        self.tunnel = tunnel
        tunnel.timeout_busy = shared.busy
        tunnel.reset = config.reset
        tunnel.server_name = config.server_name
        tunnel.verifies = config.verifies
        tunnel.ocsp = config.ocsp
        if info.tls is not None:
            self._secured()
        elif not config.client:
            self.connection.on_secured(self._secured)
        self._timer = shared.timers.call_later(shared.idle, self._look)
        if config.original_destination:
            self._find_destination()
        self.inner.connectionMade()

    def _find_destination(self) -> None:
        """Note where the client wanted to go; where nobody knows, there is no host for it."""
        info = self.connection.info
        try:
            info.local = info.filter_state[TARGET_KEY] = self.connection.stream.original_destination()
        except OSError as error:
            reason = f"{os.strerror(error.errno or 0)} ({error.errno})"
            self.tunnel.fail(ERR, f"getsockopt SO_ORIGINAL_DST: {reason}")

    def _secured(self) -> None:
        """The client speaks TLS: log that, and send it elsewhere if its certificate is not good."""
        tunnel, info, config = self.tunnel, self.connection.info, self.shared.config
        tls = info.tls
        if tls is None:
            return
        tunnel.secured("accepted", tls)
        if config.tlvs:
            self._add_tlvs(info, tls)
        if config.redirect and not (tls.verified and tls.peer is not None):
            tunnel.say(NOTICE, "Redirecting connection")
            info.filter_state[CLUSTER_KEY] = config.redirect
        elif config.persistence and tunnel.upstream is None:
            self._persist(info, tls)

    def _persist(self, info: Any, tls: Any) -> None:
        """
        Let the client of a session that is resumed go where it went, and note where it goes.

        Only the server's own ids count, by which OpenSSL knows sessions up to TLS 1.2
        that are in its cache: in a ticket's session the client says what the id is.
        """
        tunnel, sessions, session = self.tunnel, self.shared.persistence, tls.session_id
        if tls.resumed:
            known = sessions.find(session)
            if known is None:
                tunnel.say(NOTICE, "persistence: No cached address found")
                return
            tunnel.say(INFO, f"persistence: {address_text(known)} reused")
            info.filter_state[FIRST_KEY] = known
        tunnel.sessions, tunnel.session = sessions, session

    def _add_tlvs(self, info: Any, tls: Any) -> None:
        """Add what is known of TLS to the header that the client sent, if it sent one."""
        header: Header | None = info.filter_state.get(HEADER_KEY)
        source, destination = info.remote, info.local
        kept: tuple[tuple[int, bytes], ...] = ()
        if header is not None and header.source is not None:
            source, destination, kept = header.source, header.destination, header.tlvs
        info.filter_state[HEADER_KEY] = Header(2, source, destination, (*kept, *tlvs_of(tls)))

    def _switched(self, tunnel: Tunnel, info: Any) -> None:
        config = self.shared.config
        tunnel.say(INFO, f"SNI: requested servername: {info.server_name}")
        tunnel.say(INFO, f"SNI: matched pattern: {config.pattern}")
        tunnel.say(NOTICE, f"SNI: switched to service [{config.service}]")
        tunnel.service, tunnel.level = config.service, config.level

    # Bytes.

    def received(self, data: bytes) -> None:
        if self.tunnel.client:
            self.tunnel.to_tls += len(data)
        else:
            self.tunnel.to_socket += len(data)

    def sent(self, data: bytes) -> None:
        if self.tunnel.client:
            self.tunnel.to_socket += len(data)
        else:
            self.tunnel.to_tls += len(data)

    # The ends of the two directions.

    def readConnectionLost(self) -> None:
        self._half_closed(tls=not self.tunnel.client)
        self.inner.readConnectionLost()

    def loseWriteConnection(self) -> None:
        self._half_closed(tls=self.tunnel.client)
        self.transport.loseWriteConnection()

    def _half_closed(self, tls: bool) -> None:
        """Log which side ended, and let the other not take for ever."""
        tunnel, shared = self.tunnel, self.shared
        if tls:
            tunnel.say(INFO, "TLS closed (SSL_read)")
            tunnel.say(DEBUG, "Sent socket write shutdown")
        else:
            tunnel.say(INFO, "Read socket closed (readsocket)")
            tunnel.say(DEBUG, "Sending close_notify alert")
            tunnel.say(INFO, "SSL_shutdown successfully sent close_notify alert")
        if not self._closing:
            self._closing = True
            if self._timer is not None:
                self._timer.cancel()
            self._timer = shared.timers.call_later(shared.close, self._look)

    # The end.

    def loseConnection(self) -> None:
        """tcp_proxy closes: an error upstream is an error here."""
        tunnel, info = self.tunnel, self.connection.info
        connecting = tunnel.upstream
        error = getattr(connecting, "tls_error", None)
        if error is not None and not tunnel.failed_at_all:
            tunnel.tls_failed(error)
        nowhere = not tunnel.stands or (info.upstream is not None and info.upstream.remote is None)
        if nowhere and not tunnel.failed_at_all and not tunnel.orderly:
            tunnel.fail(ERR, "No more addresses to connect")
        if tunnel.failed_at_all and tunnel.reset:
            self.transport.abortConnection()
        else:
            self.transport.loseConnection()

    def abortConnection(self) -> None:
        tunnel = self.tunnel
        if not (tunnel.failed_at_all or tunnel.orderly):
            tunnel.fail(
                ERR, f"{'SSL_read' if tunnel.client else 'readsocket'}: Connection reset by peer (104)"
            )
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        tunnel, info = self.tunnel, self.connection.info
        if getattr(info, "tls_error", None) is not None and tunnel.reset:
            # A TLS connection that broke must not look to the other side like one that ended.
            self._abort_upstream()
        self.inner.connectionLost(reason)

    def _abort_upstream(self) -> None:
        connecting = self.tunnel.upstream
        if connecting is not None:
            connecting.abort()

    # Time-outs.

    def _look(self) -> None:
        """See whether the time is over in which something had to move."""
        shared, tunnel = self.shared, self.tunnel
        last = self.connection.last_active
        if tunnel.upstream is not None:
            last = max(last, tunnel.upstream.last_active)
        limit = shared.close if self._closing else shared.idle
        left = last + limit - shared.clock.seconds()
        if left > 0:
            self._timer = shared.timers.call_later(left, self._look)
            return
        self._timer = None
        if self._closing:
            tunnel.orderly = True
            tunnel.say(ERR, "transfer: s_poll_wait: TIMEOUTclose exceeded: closing")
            self._close_upstream()
            self.connection.close_now()
            return
        tunnel.fail(INFO, "transfer: s_poll_wait: TIMEOUTidle exceeded: sending reset")
        if tunnel.reset:
            self._abort_upstream()
            self.connection.abort()
        else:
            self._close_upstream()
            self.connection.close_now()

    def _close_upstream(self) -> None:
        connecting = self.tunnel.upstream
        if connecting is not None:
            connecting.close_now()
