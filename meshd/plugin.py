"""
The plugins: what declares one, and what finds them.

A plugin is data: a name, the class of its config, the function that reads the
config, and the fields that it serves.  It is found as a module of its kind's
package (meshd.filters.network, ...), in twisted.plugins, or by the entry-point
group meshd.filters.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.plugin import IPlugin
from zope.interface import implementer

from meshd.interfaces import (
    IFactoryContext,
    IListenerFilter,
    IListenerFilterFactory,
    INetworkFilter,
    INetworkFilterFactory,
    ITransportSocketFactory,
)


class ConfigError(Exception):
    """
    A config that cannot be served.

    path says where, as in ("filter_chains", 0, "filters"), from the message
    that was being read; whoever read the message around it puts its own before.
    """

    def __init__(self, message: str, *path: str | int) -> None:
        super().__init__(message)
        self.message = message
        self.path = path

    def under(self, *path: str | int) -> ConfigError:
        """Return the same error, seen from further out."""
        return ConfigError(self.message, *path, *self.path)


def named_object(name: str) -> Any:
    """Import what "package.module:object.attribute" names; raise ConfigError."""
    module, _, path = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
    except Exception as error:
        raise ConfigError(f"cannot import {module}: {type(error).__name__}: {error}") from error
    for part in path.split("."):
        if not hasattr(found, part):
            raise ConfigError(f"{module} has no {path}")
        found = getattr(found, part)
    return found


@implementer(IPlugin, IListenerFilterFactory)
@dataclass(frozen=True, eq=False)
class ListenerFilterPlugin:
    """Names a listener filter, its config and what configures it."""

    name: str
    config: type[Any]
    configure: Callable[[Any, IFactoryContext], Callable[[], IListenerFilter]]
    serves: tuple[str, ...]


@implementer(IPlugin, INetworkFilterFactory)
@dataclass(frozen=True, eq=False)
class NetworkFilterPlugin:
    """Names a network filter, its config and what configures it."""

    name: str
    config: type[Any]
    configure: Callable[[Any, IFactoryContext], Callable[[], INetworkFilter]]
    serves: tuple[str, ...]
    terminal: bool = False


@implementer(IPlugin, ITransportSocketFactory)
@dataclass(frozen=True, eq=False)
class TransportSocketPlugin:
    """Names a transport socket, its config and what configures it."""

    name: str
    config: type[Any]
    configure: Callable[[Any, IFactoryContext], Sequence[Callable[[], INetworkFilter]]]
    serves: tuple[str, ...]
    #: downstream or upstream, if it is for one side only; another of the same name may be for the other.
    side: str = ""
