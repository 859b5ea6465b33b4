"""
What a plugin provides, and what it is handed.

Read it from the top: what plugins are handed (statistics, timers, clusters,
the connection and what is known of it), then what they provide (listener
filters, network filters), then how they are found (factories).
Nothing here has behaviour; ``meshd.testing`` has a double for each interface.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IProtocol,
    IPushProducer,
    IReactorTime,
    ITransport,
)
from twisted.python.failure import Failure
from zope.interface import Attribute, Interface

from meshd.errors import CallError as CallError
from meshd.errors import ConnectError as ConnectError
from meshd.errors import NoHost as NoHost
from meshd.errors import Overflow as Overflow
from meshd.errors import PendingOverflow as PendingOverflow
from meshd.errors import Refused as Refused
from meshd.errors import UpstreamError as UpstreamError
from meshd.metrics import ICounter as ICounter
from meshd.metrics import IGauge as IGauge
from meshd.metrics import IHistogram as IHistogram
from meshd.metrics import ILogFile as ILogFile
from meshd.metrics import IScope as IScope
from meshd.metrics import IText as IText
from meshd.rpc import IGrpcCall as IGrpcCall
from meshd.rpc import IGrpcChannel as IGrpcChannel
from meshd.rpc import IGrpcReceiver as IGrpcReceiver

#: Where a socket is: (IP address, port), or the path of a unix socket.
SocketAddress = tuple[str, int] | str

#: How a request to a host ended, in the terms of outlier detection: the host answered; it answered with an
#: error that is its own fault; it did not answer in time; the connection broke; there was none to be had.
Result = Literal["success", "error", "timeout", "reset", "connect_failed"]

# What plugins are handed.


class ITimer(Interface):
    """Something that will happen."""

    def cancel() -> None:
        """Let it not happen; nothing if it has happened, or was cancelled."""


class ITimers(Interface):
    """The many short time-outs of connections, in steps of 10 ms or coarser."""

    def call_later(delay: float, callback: Callable[[], object]) -> ITimer:
        """Call back once, delay seconds from now or up to 10 ms (or 1 %) later."""


class IRuntime(Interface):
    """Values that an operator changes while meshd runs (Envoy: runtime)."""

    def get(key: str) -> str | None:
        """Return the value that the topmost layer gives key, None if no layer does."""

    def enabled(flag: Any) -> bool:
        """Read a RuntimeFeatureFlag message: its key's value, else its default (true if unset)."""

    def sampled(fraction: Any) -> bool:
        """Throw the dice for a RuntimeFractionalPercent message."""


class IStreamInfo(Interface):
    """
    The facts of one connection or request, for filters and access logs.

    Whatever is not known is None, or empty.  meshd.observe.info has the
    class, and more attributes that only the access log wants.
    """

    id: int = Attribute("A number of its own in this worker.")
    start: float = Attribute("When it began, in seconds since the epoch.")
    remote: SocketAddress = Attribute("Who connected, as the listener filters found.")
    direct_remote: SocketAddress = Attribute("Who connected, as the kernel says.")
    local: SocketAddress = Attribute("Where to, as the listener filters found.")
    direct_local: SocketAddress = Attribute("Where to, as the kernel says.")
    peer: IAddress = Attribute("remote, as Twisted says it.")
    server_name: str = Attribute("The SNI, or the empty string.")
    transport_protocol: str = Attribute("raw_buffer or tls; empty if nobody looked.")
    application_protocols: Sequence[str] = Attribute("ALPN, or what http_inspector found.")
    ja3: str = Attribute("The JA3 fingerprint of the TLS client, or the empty string.")
    ja4: str = Attribute("The JA4 fingerprint of the TLS client, or the empty string.")
    metadata: dict[str, dict[str, Any]] = Attribute("What filters noted, by filter name.")
    filter_state: dict[str, Any] = Attribute("Objects that filters hand to those inside.")
    flags: set[str] = Attribute("Response flags: UH, UF, RL, ...")
    bytes_received: int = Attribute("Payload bytes from the client.")
    bytes_sent: int = Attribute("Payload bytes to the client.")
    has_filter_state: bool = Attribute("Whether filter_state has anything.")
    detected_close_type: str = Attribute("Normal, LocalReset or RemoteReset.")
    log_type: str = Attribute("What is logged: TcpConnectionEnd, ...")
    upstream: Any = Attribute("meshd.observe.info.UpstreamInfo; None while none is wanted.")
    witness: Any = Attribute("A meshd.observe.info.IWitness, or None.")
    tls: Any = Attribute("meshd.tls.facts.TlsFacts of the client's side; None without TLS.")
    tls_error: Any = Attribute("meshd.tls.openssl.TLSError: why its TLS failed; else None.")
    transport_failure_reason: str = Attribute("The same in Envoy's form; else empty.")
    local_close_reason: str = Attribute("Why we closed it, in Envoy's words.")
    response_code_details: str = Attribute("Why no filter chain served it: filter_chain_not_found.")
    termination_details: str = Attribute("More of why, for %CONNECTION_TERMINATION_DETAILS%.")


class IConnection(Interface):
    """One downstream connection: the head of its filter chain."""

    info: IStreamInfo = Attribute("What is known of it, and is logged in the end.")
    buffer_limit: int = Attribute("per_connection_buffer_limit_bytes; reads pause above it.")

    def on_close(callback: Callable[[], object]) -> None:
        """Call back once, when the connection is over, before it is logged."""

    def pause(who: object) -> None:
        """Read nothing until each who that paused has resumed."""

    def resume(who: object) -> None:
        """Take back who's pause, if there was one."""

    def abort() -> None:
        """End it at once, with a RST."""

    def close_now() -> None:
        """End it at once, with a FIN, dropping what waits to be sent."""

    def protocol_failed(failure: Failure) -> None:
        """Log that a filter of it raised, with the filter's name, and count it; who says so ends it."""

    stream: Any = Attribute("The outermost transport: the socket, as an ITCPTransport.")
    last_active: float = Attribute("When bytes last came or went, in the clock's seconds.")

    def settle() -> None:
        """Bring the sums of relayed bytes, in Flow and info, up to date."""

    logged: bool = Attribute("Whether anybody will log it, so that details are worth finding out.")

    def start_secure_transport(early: bytes = b"") -> bool:
        """
        Begin TLS, where the transport socket is starttls; whether it could.

        early is what the peer has sent of its handshake already.
        """

    def on_secured(callback: Callable[[], object]) -> None:
        """Call back once, when the handshake that start_secure_transport began is done."""

    def count_buffered(gauge: IGauge) -> None:
        """Let gauge know how many bytes wait to be sent to the client."""

    def join(terminal: INetworkFilter, upstream: IConnecting, received: Any, sent: Any) -> bool:
        """
        Let bytes go straight between the client and upstream, if nothing looks at them.

        That is so when terminal, the filter that asks, is the only link left but
        for those that only watch (meshd.filter.WatchingFilter), and the upstream
        side has none; return whether it is.  received and sent
        (meshd.filter.Flow) are counted; ends and errors are told as before.
        """


class IUpstream(IProtocol):
    """
    The protocol of a connection to a host of a cluster.

    After ICluster.connect, either connectionMade (with transport set, an
    INetworkFilter or a stream) or connect_failed is called, once, and never
    before connect has returned.  After connectionMade the calls are those of
    any protocol: dataReceived, readConnectionLost (its FIN), connectionLost.

    A connection counts as one request for as long as it stands, unless its
    protocol has the attribute pooled: True says that it carries requests of many
    clients, and counts them itself; its attribute busy then says whether
    any is in progress.  An attribute alpn has the protocols (bytes) to offer in a
    TLS handshake if the transport socket's config names none.
    """

    def connect_failed(error: ConnectError) -> None:
        """Take note that there is no connection, and why."""

    def readConnectionLost() -> None:
        """The host will send no more (IHalfCloseableProtocol)."""


class IConnecting(Interface):
    """A connection to a host, from the moment that it is wanted."""

    id: int = Attribute("A number of its own in this worker.")
    host: IHost = Attribute("Where it goes.")
    cluster: ICluster = Attribute("Whose host that is.")
    local: SocketAddress | None = Attribute("Our end, once it stands.")
    waiting: int = Attribute("Bytes that were written and have not gone yet.")
    wire_bytes: tuple[int, int] = Attribute("Bytes received and sent.")
    last_active: float = Attribute("When bytes last came or went, in the clock's seconds.")
    was_reset: bool = Attribute("Whether the host ended it with a RST.")

    def pause(who: object) -> None:
        """Read nothing until each who that paused has resumed."""

    def resume(who: object) -> None:
        """Take back who's pause, if there was one."""

    def close_now() -> None:
        """End it at once, with a FIN, dropping what waits to be sent."""

    def cancel() -> None:
        """Give it up: neither connectionMade nor connect_failed will be called."""


class IHost(Interface):
    """One endpoint of a cluster."""

    address: SocketAddress = Attribute("Where it listens.")
    hostname: str = Attribute("Its name, if the config gave one.")
    healthy: bool = Attribute("Whether it is to be used.")
    weight: int = Attribute("Its share.")
    active: int = Attribute("Requests or connections in progress, in this worker.")

    def report(result: Result) -> None:
        """Take note of how a request to it, or a connect, ended."""


class ICluster(Interface):
    """A named group of hosts."""

    name: str = Attribute("As in the config.")
    stat_name: str = Attribute("How statistics call it.")
    metadata: Any = Attribute("Its Metadata message, for the log.")
    stats: Any = Attribute("meshd.upstream.stats.ClusterStats: counters by Envoy's names.")
    config: Any = Attribute("The Cluster message, for what only some filters read in it.")
    limits: Any = Attribute("meshd.upstream.limits.Limits: the circuit breakers.")
    hosts: Sequence[IHost] = Attribute("All hosts; another list each time that they change.")
    hashing: bool = Attribute("Whether the host depends on hash_key.")
    redis_slots: bool = Attribute("Whether hash_key is the slot of a Redis Cluster.")
    redis_logins: Any = Attribute("meshd.upstream.protocol_options.RedisLogins: how to log on to its hosts.")
    http2: Any = Attribute("meshd.upstream.http2_options.Http2: how to speak HTTP/2 with its hosts.")
    runs_programs: bool = Attribute("Whether its host is a program, and not somewhere to connect to.")
    pick: Callable[[int | None], IHost] = Attribute("Picks a host; raises NoHost.  It changes as hosts do.")
    places: int | None = Attribute(
        "None if a hash_key's host may be another each time.  Else it stays until pick is another function;"
        " and if this is not 0, all hash_keys that are the same modulo it have the same host."
    )

    def connect_to(host: IHost, upstream: IUpstream, info: IStreamInfo) -> IConnecting:
        """Begin to connect upstream to a host that pick returned; else as connect."""

    def host_at(address: SocketAddress) -> IHost:
        """Return the host at an address, or one that is no member of the cluster."""

    def on_removed(callback: Callable[[Sequence[IHost]], object]) -> None:
        """Call back with the hosts that are gone, each time that some are."""

    def connect(upstream: IUpstream, info: IStreamInfo, hash_key: int | None = None) -> IConnecting:
        """
        Pick a host and begin to connect upstream to it.

        hash_key (64 bits) is for the balancers that hash.  Raise NoHost or
        Overflow; what happens later is told to upstream.
        """

    def endpoint(hash_key: int | None = None) -> Any:
        """Return an IStreamClientEndpoint that connects to a host picked each time."""


class IDnsCache(Interface):
    """Names and their addresses, looked up when they are first wanted and kept up to date."""

    def find(name: str, port: int) -> Deferred[Sequence[str]]:
        """
        Return the addresses, none if none can be found.

        Fail with Overflow if there are too many names, or lookups.  port is that for
        which the addresses are wanted; who asks for another has a place of its own.
        """


class IFactoryContext(Interface):
    """What a filter factory may use of the proxy; all of it, there are no globals."""

    clock: IReactorTime = Attribute("The only source of time.")
    reactor: Any = Attribute("Twisted's reactor, for code off the hot path.")
    timers: ITimers = Attribute("For the time-outs of connections.")
    soon: Callable[[Callable[[], object]], object] = Attribute(
        "Calls back after this batch of events: what is written then goes out together."
    )
    stats: IScope = Attribute("The root of the statistics.")
    runtime: IRuntime = Attribute("What operators change.")
    clusters: Mapping[str, ICluster] = Attribute("The clusters by name; it changes.")
    resolver: Any = Attribute("Looks names up, as clusters do (meshd.upstream.resolver.INameResolver).")
    around: Any = Attribute("meshd.xds.context.Around: whose transport socket it is.")
    tls: Any = Attribute("meshd.tls.shared.Shared: what all TLS contexts of this worker share.")
    admin_pages: Any = Attribute("By path, what returns a page of plain text for the admin interface.")

    def dns_cache(config: Any) -> IDnsCache:
        """Return the cache of a DnsCacheConfig, the same for all of its name; raise ConfigError."""

    def access_loggers(configs: Sequence[Any]) -> Sequence[IAccessLogger]:
        """Build the loggers of a repeated AccessLog field."""

    def log_file(path: str) -> ILogFile:
        """Return the log file at that path, the same for all; raise ConfigError if it cannot be opened."""

    def draining() -> bool:
        """Whether connections are to end when they can: the proxy will stop, or wants no more traffic."""

    def on_collect(callback: Callable[[], object]) -> None:
        """Call back before the statistics are read, so that what was counted aside can be added to them."""

    def transport_socket(config: Any) -> Sequence[Callable[[], INetworkFilter]]:
        """Build the links of a TransportSocket message, outermost first; none if it is not set."""

    def grpc_channel(config: Any, timeout: float = 0.0) -> IGrpcChannel:
        """
        Return what makes calls to the service of a GrpcService message; raise ConfigError.

        timeout (s) is how long a call has if the message does not say; 0: for ever.
        """


# Listener filters: look at the first bytes, before a filter chain is chosen.


class IListenerFilter(Interface):
    """Looks at the first bytes of a connection."""

    limit: int = Attribute("How many bytes it may want to see; more is refused. 0: none.")

    def inspect(data: bytes, info: IStreamInfo) -> int | Deferred[int] | None:
        """
        Note in info what data, all that has come so far, tells.

        Called first with no data.  Return how many of the bytes are not for the
        filters that follow (a PROXY header; mostly 0), or None to be asked again
        with more.  Raise Refused to close the connection.  A Deferred of the number
        (or of Refused) is waited for, without time-out: meanwhile nothing is read.
        """


# Network filters: L4.


class INetworkFilter(IProtocol, ITransport, IConsumer, IPushProducer):
    """
    One link of a connection's filter chain.

    A filter is the protocol of the link outside it and the transport of the
    link inside it.  Bytes from the client arrive at dataReceived and go on
    with inner.dataReceived; bytes for the client arrive at write and go on
    with transport.write.  What a filter does not pass on does not happen.
    """

    connection: IConnection = Attribute("The connection this filter serves.")
    transport: INetworkFilter = Attribute("The link outside this one.")
    inner: INetworkFilter = Attribute("The link inside; a terminal filter has none.")

    def readConnectionLost() -> None:
        """The client will send no more; it may still read (half-close)."""

    def loseWriteConnection() -> None:
        """Send what is buffered, then a FIN; the client may still send."""

    def abortConnection() -> None:
        """Close at once, with a RST."""


# The plugins.


class IFactory(Interface):
    """A plugin: what the config names by name or by the type of its message."""

    name: str = Attribute("As in the config: envoy.filters.network.echo.")
    config: type = Attribute("The class of the config: a protobuf message, or an attrs class.")
    serves: tuple[str, ...] = Attribute(
        "The fields of config that are not ignored; 'a.b' serves only b of the message a."
    )

    def configure(config: Any, context: IFactoryContext) -> Any:
        """
        Read the config, once; return what makes the object for each connection,
        request, cluster or host: a callable without arguments.

        Raise ConfigError if the config cannot be served as it stands.
        """


class IListenerFilterFactory(IFactory):
    """Makes IListenerFilters."""


class INetworkFilterFactory(IFactory):
    """Makes INetworkFilters."""

    terminal: bool = Attribute("Whether it ends a chain: it has no inner.")


class ITransportSocketFactory(IFactory):
    """
    Makes the outermost INetworkFilters of a connection: TLS, a PROXY header.

    Its configure returns several makers, outermost first; none for raw_buffer.
    """

    side: str = Attribute("downstream or upstream, if it is for one side only; else empty.")


# Upstream.


class IDiscovery(Interface):
    """Finds the hosts of one cluster: static, DNS, EDS."""

    def start(found: Callable[[Sequence[Any]], None]) -> None:
        """Call found with all hosts, now and whenever they change."""

    def stop() -> None:
        """Call found no more."""


class ILoadBalancer(Interface):
    """Picks the host of a request or connection."""

    def update(hosts: Sequence[Any]) -> None:
        """Pick among these from now on; they may be used, and are of one priority."""

    def pick(hash_key: int | None) -> Any:
        """Return a host; None if there is none."""


# Observability.


class IAccessLogger(Interface):
    """Logs connections and requests that are over."""

    def log(info: IStreamInfo) -> None:
        """Log one; must not wait."""
