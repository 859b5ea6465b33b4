"""
Finds the plugins: the filters and transport sockets that a config can name.

A plugin is found as a module of meshd.filters.network or meshd.filters.listener
(any directory of sys.path may hold more of these, without an __init__.py), as a
module of twisted.plugins, by the entry-point group meshd.filters, and in the
few modules of the core that hold plugins.  What cannot be imported or used is
not lost in the log: it is kept, with the reason, in Plugins.failed.

Modules of meshd.filters are imported each time, without twisted.plugin's
dropin.cache: all of them are wanted anyway, and a cache that is left behind by
an uninstalled version, or that cannot be written, does no harm then.  For
twisted.plugins the cache is used, which spares the import of Twisted's own.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any

import attrs
import twisted.plugins
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from twisted.plugin import getCache
from twisted.python.modules import getModule
from zope.interface import Interface
from zope.interface.exceptions import Invalid
from zope.interface.verify import verifyObject

from meshd.interfaces import (
    IFactory,
    IListenerFilterFactory,
    INetworkFilterFactory,
    ITransportSocketFactory,
)

#: The kinds of plugin, by the interface that says so.
KINDS: dict[str, type[Interface]] = {
    "network": INetworkFilterFactory,
    "listener": IListenerFilterFactory,
    "transport_socket": ITransportSocketFactory,
}

#: Where a name alone says which transport socket is meant, this kind says that it is for a cluster.
UPSTREAM_SOCKET = "upstream_transport_socket"

#: The packages each module of which may hold plugins.
PACKAGES = ("meshd.filters.network", "meshd.filters.listener")

#: The modules of the core that hold plugins.
CORE = ("meshd.upstream.proxy_protocol", "meshd.upstream.dialogue", "meshd.tls.plugin")

ENTRY_POINTS = "meshd.filters"


@dataclass(frozen=True)
class Found:
    """A plugin, its kind (a key of KINDS), and the file or entry point that it came from."""

    plugin: Any
    kind: str
    origin: str


def config_type(plugin: Any) -> str:
    """Return what names the plugin's config: the full name of its message, or the plugin's own name."""
    if issubclass(plugin.config, Message):
        return str(plugin.config.DESCRIPTOR.full_name)
    return str(plugin.name)


@dataclass
class Plugins:
    """
    The plugins that were found, by kind and name, and what failed.

    failed has (module, entry point or plugin, reason), in the order of the search.
    """

    found: list[Found] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    network: dict[str, Any] = field(default_factory=dict)
    listener: dict[str, Any] = field(default_factory=dict)
    transport_socket: dict[str, Any] = field(default_factory=dict)

    def of_kind(self, kind: str) -> dict[str, Any]:
        """Return the plugins of a kind by name; AttributeError if there is no such kind."""
        plugins: dict[str, Any] = getattr(self, "transport_socket" if kind == UPSTREAM_SOCKET else kind)
        return plugins

    def by_type(self, kind: str, type_name: str) -> Any | None:
        """
        Return the plugin whose config is of that type, None if there is not exactly one.

        The type is the full name of a protobuf message, or, for a plugin with an attrs class, its name.
        """
        return _only(each for each in self.of_kind(kind).values() if config_type(each) == type_name)

    def by_name(self, kind: str, name: str) -> Any | None:
        """
        Return the plugin of that full name; or that whose name, and no other's, ends in .name.

        Besides the kinds there is UPSTREAM_SOCKET: a transport socket for that side.
        """
        side = "upstream" if kind == UPSTREAM_SOCKET else "downstream"
        known = self.of_kind(kind).values()
        fitting = {each.name: each for each in known if getattr(each, "side", "") in ("", side)}
        if name in fitting:
            return fitting[name]
        return _only(each for full, each in fitting.items() if full.rpartition(".")[2] == name)

    def origin(self, plugin: Any) -> str:
        """Return where the plugin came from; empty if it was not found here."""
        return next((each.origin for each in self.found if each.plugin is plugin), "")

    def add(self, plugin: Any, origin: str) -> None:
        """Take a plugin in, or note in failed why not.  One that is there already is nothing new."""
        if any(each.plugin is plugin for each in self.found):
            return
        name = str(getattr(plugin, "name", plugin))
        kind = next((kind for kind, interface in KINDS.items() if interface.providedBy(plugin)), None)
        if kind is None:
            self.failed.append((f"{name} ({origin})", "it is of no kind that meshd has: " + ", ".join(KINDS)))
            return
        if fault := _fault(plugin, KINDS[kind]):
            self.failed.append((f"{name} ({origin})", fault))
            return
        plugins = self.of_kind(kind)
        side = getattr(plugin, "side", "")
        if name in plugins and side and side != plugins[name].side:
            # Envoy has two transport sockets of one name, whose configs differ.
            name = f"{name} ({side})"
        if name in plugins:
            first = self.origin(plugins[name])
            self.failed.append((f"{name} ({origin})", f"another plugin has this name, and is used: {first}"))
            return
        plugins[name] = plugin
        self.found.append(Found(plugin, kind, origin))


def find_plugins() -> Plugins:
    """Search all places, those of meshd first: where two plugins have one name, the first is taken."""
    plugins = Plugins()
    for module in CORE:
        _add_module(plugins, module)
    for package in PACKAGES:
        _add_package(plugins, package)
    _add_twisted_plugins(plugins)
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: (point.name, point.value)):
        _add_entry_point(plugins, point)
    return plugins


def _only(plugins: Iterator[Any]) -> Any | None:
    some = list(plugins)
    return some[0] if len(some) == 1 else None


def _add_package(plugins: Plugins, package: str) -> None:
    """Add the plugins of all modules of the package, in whichever directory of its path they lie."""
    firsts: dict[str, str] = {}
    directories = importlib.import_module(package).__path__  # which pluginPackagePaths has extended
    for directory in dict.fromkeys(os.path.realpath(each) for each in directories):
        for _, name, _ in pkgutil.iter_modules([directory]):
            module = f"{package}.{name}"
            if name in firsts:
                reason = f"another module is called {module}, and is used: that in {firsts[name]}"
                plugins.failed.append((f"{module} in {directory}", reason))
                continue
            firsts[name] = directory
            _add_module(plugins, module)


def _add_module(plugins: Plugins, name: str) -> None:
    """Add the plugins among the attributes of a module, or the reason why it cannot be imported."""
    module, reason = _attempt(lambda: importlib.import_module(name))
    if reason:
        plugins.failed.append((name, reason))
        return
    for value in _plugins_in(module):
        plugins.add(value, str(module.__file__))


def _add_twisted_plugins(plugins: Plugins) -> None:
    cache = getCache(twisted.plugins)
    for dropin in cache.values():
        for each in dropin.plugins:
            if not any(provided.isOrExtends(IFactory) for provided in each.provided):
                continue
            plugin, reason = _attempt(each.load)
            if reason:
                plugins.failed.append((f"{dropin.moduleName}.{each.name}", reason))
            else:
                plugins.add(plugin, str(importlib.import_module(dropin.moduleName).__file__))
    # What getCache could not import is in the log only, as a traceback: ask again for the reason.
    for module in getModule(twisted.plugins.__name__).iterModules():
        if module.name.rpartition(".")[2] not in cache:
            _add_module(plugins, module.name)


def _add_entry_point(plugins: Plugins, point: EntryPoint) -> None:
    """Add what an entry point names: a plugin, or a module that has some."""
    origin = f"entry point {point.name} = {point.value}"
    if point.dist is not None:
        origin += f" of {point.dist.name} {point.dist.version}"
    loaded, reason = _attempt(point.load)
    if reason:
        plugins.failed.append((origin, reason))
        return
    some = _plugins_in(loaded) if isinstance(loaded, ModuleType) else [loaded]
    if not some:
        plugins.failed.append((origin, "the module has no plugin"))
    for value in some:
        plugins.add(value, origin)


def _plugins_in(module: ModuleType) -> list[Any]:
    return [value for value in list(vars(module).values()) if IFactory.providedBy(value)]


def _attempt(load: Callable[[], Any]) -> tuple[Any, str]:
    """Return what load returns, or else the reason why not."""
    try:
        return load(), ""
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return None, _reason(error)


def _reason(error: BaseException) -> str:
    """Say in one line what went wrong, and where: the innermost place that is not Python's import."""
    what = " ".join(f"{type(error).__name__}: {error}".split())
    frames = traceback.extract_tb(error.__traceback__)
    places = [each for each in frames if each.filename.endswith(".py") and "/importlib/" not in each.filename]
    if isinstance(error, SyntaxError) or not places or places[-1].filename == __file__:
        return what
    return f"{what} ({places[-1].filename}, line {places[-1].lineno})"


def _fault(plugin: Any, interface: type[Interface]) -> str | None:
    """Say why the plugin cannot be used, None if it can."""
    try:
        verifyObject(interface, plugin)
    except Invalid as error:
        return " ".join(str(error).split())
    if not isinstance(plugin.name, str) or not plugin.name:
        return "its name is not a text"
    config = plugin.config
    if not isinstance(config, type) or not (issubclass(config, Message) or attrs.has(config)):
        return "its config is neither a protobuf message class nor an attrs class"
    for path in plugin.serves:
        if not _has(config, path):
            return f"it serves {path!r}, which its config has not"
    return None


def _has(config: Any, path: str) -> bool:
    """Whether the config, a message or attrs class, has the field a, or a.b in the message a."""
    first, _, rest = path.partition(".")
    if not issubclass(config, Message):
        return first in attrs.fields_dict(config) and not rest
    message: Descriptor | None = config.DESCRIPTOR
    for part in path.split("."):
        if message is None or part not in message.fields_by_name:
            return False
        message = message.fields_by_name[part].message_type
    return True
