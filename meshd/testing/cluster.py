"""
Clusters for tests: each connection that is wanted waits for the test's word.

After accept() the test is the host: it sends, ends and resets, and looks at
what the proxy sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from envoy.config.cluster.v3.cluster_pb2 import Cluster as ClusterMessage
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from meshd.interfaces import (
    ConnectError,
    ICluster,
    IConnecting,
    IHost,
    IStreamInfo,
    IUpstream,
    NoHost,
    Result,
    SocketAddress,
    UpstreamError,
)
from meshd.observe.info import ConnectionInfo
from meshd.testing.client import CLIENT, SERVER, FakeWire
from meshd.testing.context import FakeScope
from meshd.upstream.http2_options import Http2
from meshd.upstream.limits import read_limits
from meshd.upstream.protocol_options import RedisLogins
from meshd.upstream.stats import ClusterStats


@implementer(IHost)
class FakeHost:
    """
    An endpoint; connects holds each connection that was wanted, in order.

    results has what was reported; rq_total and the like are what pools count.
    """

    def __init__(self, address: SocketAddress = ("198.51.100.1", 80), hostname: str = "") -> None:
        self.address = address
        self.hostname = hostname
        self.healthy = True
        self.weight = 1
        self.active = 0
        self.rq_total = self.rq_active = self.rq_success = 0
        self.results: list[Result] = []
        self.connects: list[FakeConnecting] = []

    def report(self, result: Result) -> None:
        self.results.append(result)

    def connect(self, upstream: Any, cluster: Any = None) -> FakeConnecting:
        """Begin to connect upstream: the test accepts or refuses what is returned."""
        connecting = FakeConnecting(self, upstream, cluster)
        self.connects.append(connecting)
        return connecting


@implementer(IConnecting)
class FakeConnecting:
    """
    One connection to a host: wanted, then accepted, refused or cancelled.

    wire is what the proxy writes to.  After accept() the test is the host.
    """

    def __init__(self, host: FakeHost, upstream: Any, cluster: Any = None) -> None:
        self.host = host
        self.cluster = cluster
        self.upstream = upstream
        self.wire = FakeWire(host.address, ("192.0.2.2", 50000))
        self.cancelled = False

        self.id = len(host.connects) + 1
        self.local: SocketAddress | None = None
        self.waiting = 0
        self.wire_bytes = (0, 0)
        self.last_active = 0.0
        self.was_reset = False
        self.paused_by: set[object] = set()

    def cancel(self) -> None:
        self.cancelled = True

    def pause(self, who: object) -> None:
        self.paused_by.add(who)

    def resume(self, who: object) -> None:
        self.paused_by.discard(who)

    def close_now(self) -> None:
        self.wire.close_now()

    def accept(self) -> FakeConnecting:
        """Let the connection stand."""
        self._check()
        self.local = self.wire.host
        self.upstream.transport = self.wire
        self.upstream.connectionMade()
        return self

    def refuse(self, reason: str = "Connection refused", timeout: bool = False) -> None:
        """Let there be no connection."""
        self._check()
        self.upstream.connect_failed(ConnectError(reason, timeout))

    def _check(self) -> None:
        if self.cancelled:
            raise RuntimeError("the connection was given up")

    def send(self, data: bytes) -> None:
        """Send to the proxy, as the host, a byte at a time."""
        for byte in data:
            self.upstream.dataReceived(bytes([byte]))

    def half_close(self) -> None:
        """Send a FIN; the host still reads."""
        self.upstream.readConnectionLost()

    def close(self) -> None:
        """End the connection with a FIN each way."""
        self.upstream.connectionLost(Failure(ConnectionDone()))

    def reset(self) -> None:
        """End the connection with a RST from the host."""
        self.was_reset = True
        self.upstream.connectionLost(Failure(ConnectionLost()))

    @property
    def received(self) -> bytes:
        """What the proxy sent to the host."""
        return self.wire.written


@implementer(ICluster)
class FakeCluster:
    """
    A cluster that gives its hosts in turn; healthy ones only.

    With hashing, the host is the hash key's, modulo their number.  error, if the
    test sets it, is raised by connect; hash_keys are those that came with each connect.
    """

    def __init__(self, name: str, *hosts: FakeHost) -> None:
        self.name = self.stat_name = name
        self.metadata = None
        self.config = ClusterMessage(name=name)
        self.redis_logins = RedisLogins()
        self.http2 = Http2()
        self.hashing = self.redis_slots = self.runs_programs = False
        self.places: int | None = None
        scope = FakeScope()
        self.stats = ClusterStats(scope.scope(f"cluster.{name}"))
        self.limits, _ = read_limits(self.config.circuit_breakers, scope.scope(f"cluster.{name}"))
        self._picks = 0
        self._on_removed: list[Callable[[Sequence[FakeHost]], object]] = []
        self.hosts = list(hosts) or [FakeHost()]
        self.error: Exception | None = None
        self.hash_keys: list[int | None] = []
        self.connects: list[FakeConnecting] = []

    def pick(self, hash_key: int | None = None) -> FakeHost:
        healthy = [host for host in self.hosts if host.healthy]
        if not healthy:
            raise NoHost(self.name)
        turn, self._picks = self._picks, self._picks + 1
        return healthy[(turn if hash_key is None or not self.hashing else hash_key) % len(healthy)]

    def connect_to(self, host: Any, upstream: IUpstream, info: IStreamInfo) -> FakeConnecting:
        if self.error is not None:
            raise self.error
        connecting: FakeConnecting = host.connect(upstream, self)
        self.connects.append(connecting)
        return connecting

    def connect(self, upstream: IUpstream, info: IStreamInfo, hash_key: int | None = None) -> FakeConnecting:
        if self.error is not None:
            raise self.error
        host = self.pick(hash_key)
        self.hash_keys.append(hash_key)
        return self.connect_to(host, upstream, info)

    def host_at(self, address: SocketAddress) -> FakeHost:
        return next((host for host in self.hosts if host.address == address), None) or FakeHost(address)

    def on_removed(self, callback: Callable[[Sequence[FakeHost]], object]) -> None:
        self._on_removed.append(callback)

    def remove(self, *hosts: FakeHost) -> None:
        """Let hosts be members no more, and tell those who asked."""
        self.hosts = [host for host in self.hosts if host not in hosts]
        for callback in self._on_removed:
            callback(hosts)

    def endpoint(self, hash_key: int | None = None) -> FakeEndpoint:
        return FakeEndpoint(self, hash_key)


@implementer(IStreamClientEndpoint)
class FakeEndpoint:
    """Connects to a host of a FakeCluster, once the test accepts."""

    def __init__(self, cluster: FakeCluster, hash_key: int | None = None) -> None:
        self.cluster = cluster
        self.hash_key = hash_key

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        upstream = _Dialled(protocolFactory)
        try:
            self.cluster.connect(upstream, ConnectionInfo(CLIENT, SERVER), self.hash_key)
        except UpstreamError:
            upstream.done.errback()
        return upstream.done


@implementer(IUpstream)
class _Dialled(Protocol):
    """Puts the protocol of a factory at the end of an accepted connection."""

    def __init__(self, factory: Any) -> None:
        self.factory = factory
        self.done: Deferred[Any] = Deferred()
        self.protocol: Any = None

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.protocol = self.factory.buildProtocol(self.transport.getPeer())
        self.protocol.makeConnection(self.transport)
        self.done.callback(self.protocol)

    def connect_failed(self, error: ConnectError) -> None:
        self.done.errback(error)

    def dataReceived(self, data: bytes) -> None:
        self.protocol.dataReceived(data)

    def readConnectionLost(self) -> None:
        half = IHalfCloseableProtocol(self.protocol, None)
        if half is not None:
            half.readConnectionLost()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.protocol.connectionLost(reason)
