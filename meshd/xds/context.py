"""
What plugins are handed: the proxy's parts, and how to read what several plugins have in their configs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from meshd.config.check import unpack
from meshd.interfaces import (
    IAccessLogger,
    ICluster,
    IFactoryContext,
    INetworkFilter,
    IRuntime,
    IScope,
    ITimers,
)
from meshd.observe import access_log


@implementer(IFactoryContext)
@dataclass
class FactoryContext:
    """The context of every plugin of a worker."""

    clock: IReactorTime
    reactor: Any
    timers: ITimers
    stats: IScope
    runtime: IRuntime
    clusters: Mapping[str, ICluster]
    #: meshd.discover.Plugins
    plugins: Any
    #: meshd.observe.access_log.LogFiles
    log_files: Any

    def access_loggers(self, configs: Sequence[Any]) -> Sequence[IAccessLogger]:
        """Build the loggers of a repeated AccessLog field."""
        loggers: Sequence[IAccessLogger] = access_log.build(configs, self.log_files, self.runtime)
        return loggers

    def transport_socket(self, config: Any) -> Sequence[Callable[[], INetworkFilter]]:
        """Build the links of a TransportSocket message, outermost first; none if it is not set."""
        if not config.ListFields():
            return ()
        plugin, message = unpack(self.plugins, "transport_socket", config)
        links: Sequence[Callable[[], INetworkFilter]] = plugin.configure(message, self)
        return links
