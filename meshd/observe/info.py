"""
What is known of a connection: for filters while it lives, for the access log at its end.

Attributes that most connections never set are class attributes, so that a
connection costs only what it uses.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import count
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from zope.interface import Interface, implementer

from meshd.interfaces import ConnectError, ICluster, IConnecting, IHost, IStreamInfo, SocketAddress

#: Gives connections, down- and upstream, the numbers that the log knows them by.
next_id = count(1).__next__
_clock = time.time


def twisted_address(address: SocketAddress) -> IAddress:
    """Return the address as Twisted says it."""
    if isinstance(address, str):
        return UNIXAddress(address or None)
    if ":" in address[0]:
        return IPv6Address("TCP", address[0], address[1])
    return IPv4Address("TCP", address[0], address[1])


def address_text(address: SocketAddress) -> str:
    """Return the address as Envoy writes it: 1.2.3.4:80, [::1]:80, or the path of a unix socket."""
    if isinstance(address, str):
        return address
    ip, port = address
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


class _TurnedAway:
    """An attempt to connect that a circuit breaker ended."""

    id = 0

    def __init__(self, host: IHost) -> None:
        self.host = host


class IWitness(Interface):
    """
    Is told of what happens to one connection beside its bytes.

    A listener filter puts it into the info.  It may be told of several attempts,
    each of which either fails or connects, and then is made or fails after all.
    """

    def attempt(connecting: Any) -> None:
        """A connection to a host was begun (IConnecting)."""

    def connected(connecting: Any) -> None:
        """The socket is connected; the transport socket has still to begin."""

    def made(connecting: Any) -> None:
        """The upstream connection stands, transport socket and all."""

    def failed(connecting: Any, error: ConnectError) -> None:
        """The attempt came to nothing; connecting.errno says why, where the kernel did."""

    def over(info: IStreamInfo) -> None:
        """The downstream connection is over, and info complete; it is logged after this."""


class UpstreamInfo:
    """The upstream side of a connection: the host that was tried last, and how it went."""

    host: IHost | None = None
    #: The cluster's name, how statistics call it (alt_stat_name), and its metadata message.
    cluster: str = ""
    cluster_stat_name: str = ""
    cluster_metadata: Any = None
    local: SocketAddress | None = None
    #: Where it is connected to; None if it never was.
    remote: SocketAddress | None = None
    id: int | None = None
    #: Every attempt, in order.
    tried: Sequence[IConnecting | _TurnedAway] = ()
    #: Seconds since the epoch: the last connect began, the connection stood.
    connect_start: float | None = None
    connected: float | None = None
    transport_failure_reason: str = ""
    #: meshd.tls.facts.TlsFacts of the connection to the host.
    tls: Any = None
    #: Normal, LocalReset or RemoteReset.
    detected_close_type: str = "Normal"
    local_close_reason: str = ""
    wire_bytes_sent: int = 0
    wire_bytes_received: int = 0

    def meant_for(self, cluster: ICluster) -> None:
        """Note which cluster a host is wanted of."""
        self.cluster = cluster.name
        self.cluster_stat_name = cluster.stat_name
        self.cluster_metadata = cluster.metadata

    def attempt(self, connecting: IConnecting) -> None:
        """Note that a connection to a host was begun."""
        self.host = connecting.host
        self.tried = (*self.tried, connecting)
        self.connect_start = _clock()

    def turned_away(self, host: IHost) -> None:
        """Note an attempt that did not even begin."""
        self.tried = (*self.tried, _TurnedAway(host))

    def connected_by(self, connecting: IConnecting, logged: bool) -> None:
        """Note that it stands; what only a log wants is asked of the kernel if there is one."""
        self.connected = _clock()
        self.id = connecting.id
        self.remote = connecting.host.address
        if logged:
            self.local = connecting.local or None

    @property
    def attempts(self) -> int:
        """How many connections were begun."""
        return len(self.tried)

    @property
    def hosts_attempted(self) -> Sequence[str]:
        """The addresses of the hosts tried, in order, as text."""
        return [address_text(each.host.address) for each in self.tried]

    @property
    def host_names_attempted(self) -> Sequence[str]:
        """The names of the hosts tried, in order; the address of one that has none."""
        return [each.host.hostname or address_text(each.host.address) for each in self.tried]

    @property
    def connection_ids_attempted(self) -> Sequence[int]:
        """The numbers of the connections tried, in order."""
        return [each.id for each in self.tried]


@implementer(IStreamInfo)
class ConnectionInfo:
    """The facts of one downstream connection."""

    direct_remote: SocketAddress
    direct_local: SocketAddress
    #: Seconds since the epoch; None while it lives.
    end: float | None = None
    server_name: str = ""
    transport_protocol: str = ""
    application_protocols: Sequence[str] = ()
    #: The fingerprints of the TLS client, if they were wanted.
    ja3: str = ""
    ja4: str = ""
    filter_chain_name: str = ""
    #: The metadata messages of the listener and of the filter chain.
    listener_metadata: Any = None
    filter_chain_metadata: Any = None
    #: What the log calls it, once it has.
    stream_id: str | None = None
    listener_name: str = ""
    bytes_received: int = 0
    bytes_sent: int = 0
    wire_bytes_received: int = 0
    wire_bytes_sent: int = 0
    #: Bytes that listener filters took off the beginning; the log does not count them.
    preamble: int = 0
    upstream: UpstreamInfo | None = None
    #: Who is told of what happens to the connection beside its bytes.
    witness: IWitness | None = None
    #: Which filter chain matched: none if the listener closed it before.
    response_code_details: str = ""
    termination_details: str = ""
    local_close_reason: str = ""
    transport_failure_reason: str = ""
    #: meshd.tls.facts.TlsFacts of the client's side, and meshd.tls.openssl.TLSError if that failed.
    tls: Any = None
    tls_error: Any = None
    #: Normal, LocalReset or RemoteReset.
    detected_close_type: str = "Normal"
    #: NotSet, TcpUpstreamConnected, TcpPeriodic or TcpConnectionEnd.
    log_type: str = "NotSet"
    #: Route name, for HTTP and for tcp_proxy none.
    route_name: str = ""
    _metadata: dict[str, dict[str, Any]] | None = None
    _filter_state: dict[str, Any] | None = None
    _flags: set[str] | None = None

    def __init__(self, remote: SocketAddress, local: SocketAddress) -> None:
        self.id = next_id()
        self.start = _clock()
        self.remote = self.direct_remote = remote
        self.local = self.direct_local = local

    @property
    def metadata(self) -> dict[str, dict[str, Any]]:
        """What filters noted, by filter name."""
        if self._metadata is None:
            self._metadata = {}
        return self._metadata

    @property
    def filter_state(self) -> dict[str, Any]:
        """Objects that filters hand to those inside."""
        if self._filter_state is None:
            self._filter_state = {}
        return self._filter_state

    @property
    def has_filter_state(self) -> bool:
        """Whether any filter left something for those inside."""
        return bool(self._filter_state)

    @property
    def flags(self) -> set[str]:
        """Response flags by their short names."""
        if self._flags is None:
            self._flags = set()
        return self._flags

    @property
    def peer(self) -> IAddress:
        """The remote address, as Twisted says it."""
        return twisted_address(self.remote)

    @property
    def duration(self) -> float:
        """Seconds from its start to its end, or to now."""
        return (self.end if self.end is not None else _clock()) - self.start
