"""
What plugins are handed: the proxy's parts, and how to read what several plugins have in their configs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from meshd.config.check import unpack
from meshd.discover import UPSTREAM_SOCKET
from meshd.grpc.channel import Pools
from meshd.interfaces import (
    IAccessLogger,
    ICluster,
    IDnsCache,
    IFactoryContext,
    IGrpcChannel,
    ILogFile,
    INetworkFilter,
    IRuntime,
    IScope,
    ITimers,
)
from meshd.observe import access_log
from meshd.plugin import ConfigError
from meshd.upstream.dns_caches import DnsCaches


@dataclass(frozen=True)
class Around:
    """The listener or cluster that a transport socket is for."""

    #: downstream or upstream.
    side: str
    #: The statistics of the listener or cluster.
    scope: IScope
    #: What messages call it.
    name: str
    #: Seconds for a handshake, downstream; None: as the transport socket thinks best, 0: for ever.
    timeout: float | None = None


@implementer(IFactoryContext)
@dataclass
class FactoryContext:
    """The context of every plugin of a worker."""

    clock: IReactorTime
    reactor: Any
    timers: ITimers
    soon: Callable[[Callable[[], object]], object]
    stats: IScope
    runtime: IRuntime
    clusters: Mapping[str, ICluster]
    #: meshd.upstream.resolver.INameResolver
    resolver: Any
    #: meshd.discover.Plugins
    plugins: Any
    #: meshd.observe.access_log.LogFiles
    log_files: Any
    #: meshd.tls.shared.Shared
    tls: Any = None
    around: Around | None = None
    #: The connections of gRPC clients.
    grpc: Pools = field(default_factory=Pools)
    draining: Callable[[], bool] = lambda: False
    admin_pages: MutableMapping[str, Callable[[], str]] = field(default_factory=dict)
    #: Made of the others if it is not given.
    dns_caches: DnsCaches = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.dns_caches is None:
            self.dns_caches = DnsCaches(self.clock, self.reactor, self.resolver, self.stats)

    def within(self, around: Around) -> FactoryContext:
        """Return the context for the transport sockets of a listener or cluster."""
        return replace(self, around=around)

    def dns_cache(self, config: Any) -> IDnsCache:
        """Return the cache of a DnsCacheConfig; raise ConfigError."""
        return self.dns_caches.cache(config)

    def access_loggers(self, configs: Sequence[Any]) -> Sequence[IAccessLogger]:
        """Build the loggers of a repeated AccessLog field."""
        loggers: Sequence[IAccessLogger] = access_log.build(configs, self.log_files, self.runtime)
        return loggers

    def log_file(self, path: str) -> ILogFile:
        """Return the log file at that path; raise ConfigError if it cannot be opened."""
        file: ILogFile = self.log_files.open(path)
        return file

    def on_collect(self, callback: Callable[[], object]) -> None:
        """Call back before the statistics are read."""
        store: Any = self.stats
        store.on_collect(callback)

    def transport_socket(self, config: Any) -> Sequence[Callable[[], INetworkFilter]]:
        """Build the links of a TransportSocket message, outermost first; none if it is not set."""
        if not config.ListFields():
            return ()
        around = self.around
        kind = "transport_socket" if around is None or around.side == "downstream" else UPSTREAM_SOCKET
        plugin, message = unpack(self.plugins, kind, config)
        if around is not None and plugin.side not in ("", around.side):
            raise ConfigError(f"{config.name or plugin.name} of this type is for the {plugin.side} side")
        try:
            links: Sequence[Callable[[], INetworkFilter]] = plugin.configure(message, self)
        except ConfigError as error:
            raise error.under("typed_config") from None
        return links

    def grpc_channel(self, config: Any, timeout: float = 0.0) -> IGrpcChannel:
        """Return what makes calls to the service of a GrpcService message; raise ConfigError."""
        channel: IGrpcChannel = self.grpc.channel(config, timeout, self)
        return channel
