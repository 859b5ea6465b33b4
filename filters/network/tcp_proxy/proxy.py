"""
One connection of a tcp_proxy: the client's side, the upstream's side, and how they end.
"""

from __future__ import annotations

import random
from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from zope.interface import implementer

from meshd.codec.proxy_protocol import Header
from meshd.filter import Flow, TerminalFilter, WatchingFilter
from meshd.filters.network.tcp_proxy.settings import Settings
from meshd.interfaces import ConnectError, IConnecting, ITimer, IUpstream, NoHost, Overflow, PendingOverflow
from meshd.observe.info import UpstreamInfo

#: Filter state by which filters before this one choose the cluster.
CLUSTER_KEY = "envoy.tcp_proxy.cluster"
#: Filter state with the PROXY header that an upstream_proxy_protocol transport socket sends.
HEADER_KEY = "envoy.network.proxy_protocol_options"


@implementer(IUpstream)
class Upstream:
    """The upstream side: hands what comes from the host to the client."""

    transport: Any

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        self.connectionMade()

    def connectionMade(self) -> None:
        self.proxy.connected(self.transport)

    def connect_failed(self, error: ConnectError) -> None:
        """Take note that there is no connection, and why."""
        self.proxy.connect_failed(error)

    def dataReceived(self, data: bytes) -> None:
        proxy = self.proxy
        size = len(data)
        flow = proxy.sent
        flow.bytes += size
        flow.received.value += size
        flow.sent.value += size
        proxy.transport.write(data)

    def readConnectionLost(self) -> None:
        self.proxy.transport.loseWriteConnection()

    def connectionLost(self, reason: Failure) -> None:
        self.proxy.upstream_lost(reason)

    def protocol_failed(self, failure: Failure) -> None:
        """A link in the client's chain raised on the way out."""
        self.proxy.connection.protocol_failed(failure)
        self.proxy.connection.abort()

    # The client's stream as producer: what the client sends waits for the host.

    _paused = False

    def pauseProducing(self) -> None:
        self._paused = True
        self.proxy.received.paused.value += 1
        self.proxy.connection.pause(self)

    def resumeProducing(self) -> None:
        if self._paused:
            self._paused = False
            self.proxy.received.resumed.value += 1
            self.proxy.connection.resume(self)

    def stopProducing(self) -> None:
        pass


class Downstream:
    """The host's stream as producer: what the host sends waits for the client."""

    _paused = False

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy

    def pauseProducing(self) -> None:
        connecting = self.proxy.connecting
        if connecting is not None:
            self._paused = True
            self.proxy.sent.paused.value += 1
            connecting.pause(self)

    def resumeProducing(self) -> None:
        connecting = self.proxy.connecting
        if self._paused and connecting is not None:
            self._paused = False
            self.proxy.sent.resumed.value += 1
            connecting.resume(self)

    def stopProducing(self) -> None:
        pass


class Proxy(TerminalFilter):
    """
    One connection: first it connects, with attempts as configured; then it relays.

    The client is not read until there is an upstream to give its bytes to,
    unless the upstream is only wanted once there is data.
    """

    connecting: IConnecting | None = None
    received: Flow
    sent: Flow
    _last_failure: ConnectError | None = None
    _early = b""
    _client_waits: Downstream | None = None
    _wanted = False  # that there be an upstream, which waited for the first data
    _relaying = False
    _joined = False
    _flushing = False
    _upstream_over = False
    _cut = ""  # why both sides are closed without waiting
    _over = False
    _ended = False  # the client's FIN came before there was an upstream
    _idle_timer: ITimer | None = None
    _log_timer: ITimer | None = None
    _timers: tuple[ITimer, ...] = ()

    def __init__(self, shared: Settings) -> None:
        self.shared = shared

    # The attempt.

    def connectionMade(self) -> None:
        shared, connection = self.shared, self.connection
        shared.stats.cx_total.value += 1
        connection.count_buffered(shared.stats.tx_buffered)
        connection.on_close(self._make_sure)
        connection.info.upstream = UpstreamInfo()
        if shared.tlvs:
            self._add_tlvs()
        self.upstream = Upstream(self)
        if shared.max_duration is not None:
            longest = shared.max_duration * (1 + shared.jitter * random.random())
            self._timers += (shared.timers.call_later(longest, self._too_long),)
        if shared.log_interval:
            self._log_later()
        if shared.on_data:
            self._watch_idle()
        else:
            self._wanted = True
            if not shared.reads_early:
                connection.pause(self)
            self._connect()

    def _add_tlvs(self) -> None:
        """Let a PROXY header to the upstream have the config's TLVs, unless the client sent one."""
        info = self.connection.info
        if HEADER_KEY not in info.filter_state:
            info.filter_state[HEADER_KEY] = Header(2, info.remote, info.local, self.shared.tlvs)

    def _connect(self) -> None:
        if self._over:
            return
        shared, info = self.shared, self.connection.info
        chosen = info.filter_state.get(CLUSTER_KEY) if info.has_filter_state else None
        cluster = shared.clusters.get(chosen or shared.choose())
        if cluster is None:
            shared.stats.no_route.inc()
            self._refuse("NC", 3)
            return
        upstream = info.upstream
        upstream.meant_for(cluster)
        try:
            self.connecting = connecting = cluster.connect(
                self.upstream, info, shared.hash(info) if shared.hash else None
            )
        except PendingOverflow as error:
            upstream.turned_away(error.host)
            cluster.stats.upstream_cx_connect_attempts_exceeded.inc()
            self._refuse("URX", 0)
        except NoHost:
            self._refuse("UH", 1)
        except Overflow:
            self._refuse("UO", 2)
        else:
            upstream.attempt(connecting)

    def _refuse(self, flag: str, reason: int) -> None:
        info = self.connection.info
        info.flags.add(flag)
        # The misspelling is Envoy's; people's log searches know it.
        info.local_close_reason = f"tcp_initializion_failure:{reason}"
        last = self._last_failure
        if last is not None and last.greeting:
            self.transport.write(last.greeting)
        self._close()
        if last is not None and last.reset:
            self.connection.abort()

    def _close(self) -> None:
        """Close the client's side; if a filter outside raises at that, it is closed all the same."""
        try:
            self.transport.loseConnection()
        except Exception:
            self.upstream.protocol_failed(Failure())

    def connect_failed(self, error: ConnectError) -> None:
        """Try again, if there are attempts left."""
        shared, info = self.shared, self.connection.info
        connecting, self.connecting = self.connecting, None
        self._last_failure = error
        upstream = info.upstream
        upstream.transport_failure_reason = str(error)
        if not error.local:
            info.flags.add("UF")
        if upstream.attempts < shared.max_attempts:
            if shared.backoff is None:
                self._connect()
            else:
                first, last = shared.backoff
                delay = random.uniform(0, min(last, first * 2 ** (upstream.attempts - 1)))
                self._timers += (shared.timers.call_later(delay, self._connect),)
            return
        if connecting is not None:
            connecting.cluster.stats.upstream_cx_connect_attempts_exceeded.inc()
        self._refuse("URX", 0)

    def connected(self, transport: Any) -> None:
        """There is an upstream: pass on what came meanwhile, and relay."""
        shared, connection, connecting = self.shared, self.connection, self.connecting
        assert connecting is not None
        info = connection.info
        info.upstream.connected_by(connecting, logged=bool(shared.loggers) or connection.logged)
        stats, theirs = shared.stats, connecting.cluster.stats
        self.received = Flow(stats.rx_bytes, theirs.upstream_cx_tx_bytes_total, stats.paused, stats.resumed)
        self.sent = Flow(
            theirs.upstream_cx_rx_bytes_total,
            stats.tx_bytes,
            theirs.upstream_flow_control_paused_reading_total,
            theirs.upstream_flow_control_resumed_reading_total,
        )
        self._relaying = True
        if shared.log_on_connected:
            self._log("TcpUpstreamConnected")
        self._watch_idle()
        if self._early:
            early, self._early = self._early, b""
            self.dataReceived(early)
        if self._ended:
            transport.loseWriteConnection()
        if not self._joined and not self._join():
            self._client_waits = Downstream(self)
            self.transport.registerProducer(self._client_waits, True)
            transport.registerProducer(self.upstream, True)
        connection.resume(self)

    def _join(self) -> bool:
        """Let the bytes go straight from socket to socket, if nothing looks at them."""
        assert self.connecting is not None
        if self.connection.join(self, self.connecting, self.received, self.sent):
            self._joined = True
        return self._joined

    # From the client.

    def dataReceived(self, data: bytes) -> None:
        if not self._relaying:
            self._receive_early(data)
            return
        size = len(data)
        flow = self.received
        flow.bytes += size
        flow.received.value += size
        flow.sent.value += size
        self.upstream.transport.write(data)
        if not self._joined and self._is_alone() and self._join():
            self._end_pausing()

    def _is_alone(self) -> bool:
        """Whether the filters outside have left, or only watch."""
        return self.transport is self.connection or isinstance(self.transport, WatchingFilter)

    def _end_pausing(self) -> None:
        """The filters before this one have left, and a relay sees to the flow from now on."""
        if self._client_waits is None:
            return
        self.connection.stream.unregisterProducer()
        self.upstream.transport.unregisterProducer()
        self._client_waits.resumeProducing()
        self.upstream.resumeProducing()

    def _receive_early(self, data: bytes) -> None:
        self.shared.stats.early_data.inc()
        self._early += data
        if len(self._early) > self.shared.early_limit:
            self.connection.pause(self)
        if not self._wanted:
            self._wanted = True
            self._connect()

    def readConnectionLost(self) -> None:
        if self._relaying:
            self.upstream.transport.loseWriteConnection()
        elif not self._wanted:
            self.transport.loseConnection()
        else:
            self.shared.stats.early_data.inc()
            self._ended = True

    def connectionLost(self, reason: Failure) -> None:
        if self._over:
            return
        self._over = True
        for timer in (*self._timers, self._log_timer):
            if timer is not None:
                timer.cancel()
        connecting = self.connecting
        if connecting is None:
            self._upstream_over = True
        else:
            if not self._relaying:
                self._upstream_over = True
                connecting.cancel()
            elif self.connection.info.detected_close_type == "RemoteReset":
                self.upstream.transport.abortConnection()
            else:
                self._flush_upstream(connecting)
        self._log("TcpConnectionEnd")
        if not self._flushing and self._idle_timer is not None:
            self._idle_timer.cancel()
        if self._upstream_over:
            self._cut_cycles()

    def _make_sure(self) -> None:
        """Let go of the upstream, even if a filter outside raised and did not tell that it is over."""
        if not self._over:
            self.connectionLost(Failure(ConnectionLost()))

    def _flush_upstream(self, connecting: IConnecting) -> None:
        """Let what the client has sent reach the host, though the client is gone."""
        if self._cut:
            self.connection.info.upstream.local_close_reason = self._cut
            connecting.close_now()
            return
        if connecting.waiting:
            self._flushing = True
            self.shared.stats.flush_total.inc()
            self.shared.stats.flush_active.inc()
        self.upstream.transport.loseConnection()

    # From the upstream.

    def upstream_lost(self, reason: Failure) -> None:
        """The upstream connection is over."""
        if self._flushing:
            self._flushing = False
            self.shared.stats.flush_active.dec()
            if self._idle_timer is not None:
                self._idle_timer.cancel()
        self._upstream_over = True
        if self._over:
            self._cut_cycles()
            return
        info = self.connection.info
        assert self.connecting is not None
        if self.connecting.was_reset:
            info.flags.add("UR")
            info.upstream.detected_close_type = "RemoteReset"
            self.connection.abort()
        else:
            self._close()

    def _cut_cycles(self) -> None:
        """Both sides are over: leave no work to the garbage collector."""
        del self.upstream

    # Time-outs.

    def _watch_idle(self) -> None:
        """See that something moves from now on, if that is not being watched already."""
        shared = self.shared
        if shared.idle and self._idle_timer is None:
            self._idle_timer = shared.timers.call_later(shared.idle, self._check_idle)

    def _check_idle(self) -> None:
        shared, connecting = self.shared, self.connecting
        last = self.connection.last_active
        if connecting is not None:
            last = max(last, connecting.last_active)
        left = last + shared.idle - shared.context.clock.seconds()
        if left > 0:
            self._idle_timer = shared.timers.call_later(left, self._check_idle)
            return
        shared.stats.idle_timeout.inc()
        self._end("tcp_session_idle_timeout")

    def _too_long(self) -> None:
        self.shared.stats.max_duration.inc()
        self.connection.info.flags.add("DT")
        self._end("max_connection_duration_reached")

    def _end(self, reason: str) -> None:
        """Close both sides, without waiting for what is buffered."""
        if self._over:
            assert self.connecting is not None
            self.connecting.close_now()
        else:
            self._cut = reason
            self.connection.info.local_close_reason = reason
            self.connection.close_now()

    # The log.

    def _log_later(self) -> None:
        shared = self.shared

        def periodically() -> None:
            self._log("TcpPeriodic")
            self._log_later()

        self._log_timer = shared.timers.call_later(shared.log_interval or 0.0, periodically)

    def _log(self, kind: str) -> None:
        loggers = self.shared.loggers
        info = self.connection.info
        self.connection.settle()
        if self._relaying:
            info.bytes_received = self.received.bytes
            info.bytes_sent = self.sent.bytes
        if not loggers and not self.connection.logged:
            return
        if self.connecting is not None:
            info.upstream.wire_bytes_received, info.upstream.wire_bytes_sent = self.connecting.wire_bytes
        info.log_type = kind
        for logger in loggers:
            logger.log(info)
