"""
Reads a Listener message into a listener.

Each function here raises ConfigError with the path from its message on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from google.protobuf import json_format

from meshd.config.check import unpack
from meshd.config.plain import optional_seconds
from meshd.config.records import read_record
from meshd.net.inspect import Inspections
from meshd.net.listener import (
    ACCEPTS,
    ConnectionCount,
    FilterChain,
    Listener,
    ListenerSetup,
    ListenerStats,
    stat_prefix,
)
from meshd.net.match import compile_matches
from meshd.net.poller import Poller
from meshd.net.relay import Relays
from meshd.net.sockets import ListenOptions, read_address, read_socket_options
from meshd.net.source import Descriptors, DescriptorSource, ExecSource, ProgramSource
from meshd.plugin import ConfigError
from meshd.xds.context import Around, FactoryContext

#: The metadata of listeners whose connections come from a program, or are there already (meshd.net.source).
EXEC, INETD = "meshd.exec", "meshd.inetd"
#: Bytes.
BUFFER_LIMIT = 1 << 20
#: Seconds that listener filters have to make up their minds.
FILTERS_TIMEOUT = 15.0


@contextmanager
def at(*path: str | int) -> Iterator[None]:
    """Let a ConfigError from within be seen from this path."""
    try:
        yield
    except ConfigError as error:
        raise error.under(*path) from None


class ListenerReader:
    """Makes the listeners of one worker."""

    def __init__(
        self, context: FactoryContext, poller: Poller, relays: Relays, count: ConnectionCount
    ) -> None:
        self.context = context
        self.poller = poller
        self.relays = relays
        self.count = count

    def read(self, config: Any) -> Listener:
        """Return the listener that the message describes; it has no sockets yet."""
        addresses = self._addresses(config)
        prefix = config.stat_prefix or stat_prefix(addresses[0][0])
        stats = ListenerStats(self.context.stats.scope(f"listener.{prefix}"))
        with at("access_log"):
            loggers = self.context.access_loggers(config.access_log)
        around = Around(
            "downstream",
            self.context.stats.scope(f"listener.{prefix}"),
            f"listener {config.name or prefix}",
        )
        chains = []
        for index, chain in enumerate(config.filter_chains):
            with at("filter_chains", index):
                chains.append((chain.filter_chain_match, self._chain(chain, around)))
        default = None
        if config.HasField("default_filter_chain"):
            with at("default_filter_chain"):
                default = self._chain(config.default_filter_chain, around)
        if not chains and default is None:
            raise ConfigError("no filter chains specified")
        with at("filter_chains"):
            find = compile_matches(chains)
        setup = ListenerSetup(
            name=config.name or stat_prefix(addresses[0][0]),
            addresses=addresses,
            stats=stats,
            find_chain=find,
            default_chain=default,
            inspections=self._inspections(config, stats),
            access_loggers=loggers,
            buffer_limit=_value(config, "per_connection_buffer_limit_bytes", BUFFER_LIMIT),
            count=self.count,
            relays=self.relays,
            runtime=self.context.runtime,
            bind=_value(config, "bind_to_port", True),
            accepts=_value(config, "max_connections_to_accept_per_socket_event", ACCEPTS),
            ignore_global_limit=config.ignore_global_conn_limit,
            metadata=config.metadata,
        )
        listener = Listener(setup, self.poller, self.context.timers)
        with at("metadata", "filter_metadata"):
            listener.source = self._source(config)
        listener.config = config
        listener.stat_prefix = prefix
        return listener

    def _source(self, config: Any) -> ProgramSource | DescriptorSource | None:
        """Return what the connections come from, if it is not from sockets."""
        context, metadata = self.context, config.metadata.filter_metadata
        if EXEC not in metadata and INETD not in metadata:
            return None
        if _value(config, "bind_to_port", True):
            raise ConfigError(f"a listener with {EXEC} or {INETD} has no sockets: bind_to_port must be false")
        with at(EXEC if EXEC in metadata else INETD):
            if EXEC in metadata:
                program = read_record(ExecSource, json_format.MessageToDict(metadata[EXEC]))
                return ProgramSource(program, context.reactor, context.timers)
            descriptors = read_record(Descriptors, json_format.MessageToDict(metadata[INETD]))
            return DescriptorSource(descriptors, context.reactor, lambda: context.reactor.stop())

    def _addresses(self, config: Any) -> list[tuple[Any, ListenOptions]]:
        options = read_socket_options(config.socket_options)
        found = []
        with at("address"):
            found.append((*read_address(config.address), options))
        for index, each in enumerate(config.additional_addresses):
            with at("additional_addresses", index):
                own = options
                if each.HasField("socket_options"):
                    with at("socket_options"):
                        own = read_socket_options(each.socket_options.socket_options)
                with at("address"):
                    found.append((*read_address(each.address), own))
        return [
            (
                address,
                ListenOptions(
                    backlog=_value(config, "tcp_backlog_size", _somaxconn()),
                    reuse_port=_value(config, "enable_reuse_port", True),
                    transparent=_value(config, "transparent", None),
                    freebind=_value(config, "freebind", None),
                    fast_open=_value(config, "tcp_fast_open_queue_length", None),
                    options=chosen,
                    ipv4_compat=compatible,
                    mode=mode,
                ),
            )
            for address, mode, compatible, chosen in found
        ]

    def _chain(self, config: Any, around: Around) -> FilterChain:
        timeout = optional_seconds(config, "transport_socket_connect_timeout")
        context = self.context.within(replace(around, timeout=timeout))
        with at("transport_socket"):
            builders = [*context.transport_socket(config.transport_socket)]
        for index, each in enumerate(config.filters):
            with at("filters", index):
                builders.append(self._filter("network", each))
        return FilterChain(config.name, tuple(builders), config.metadata)

    def _filter(self, kind: str, config: Any) -> Callable[[], Any]:
        """Configure the plugin that a filter message names."""
        plugin, message = unpack(self.context.plugins, kind, config)
        with at("typed_config"):
            try:
                build: Callable[[], Any] = plugin.configure(message, self.context)
            except ConfigError:
                raise
            except Exception as error:
                why = f"{type(error).__name__}: {error}"
                raise ConfigError(f"{plugin.name} failed to read it: {why}") from error
        return build

    def _inspections(self, config: Any, stats: ListenerStats) -> Inspections | None:
        filters = []
        for index, each in enumerate(config.listener_filters):
            with at("listener_filters", index):
                filters.append(self._filter("listener", each))
        if not filters:
            return None
        timeout = FILTERS_TIMEOUT
        if config.HasField("listener_filters_timeout"):
            duration = config.listener_filters_timeout
            timeout = duration.seconds + duration.nanos / 1e9
        return Inspections(
            filters,
            self.context.timers,
            timeout,
            config.continue_on_listener_filters_timeout,
            stats.inspection,
        )


def _value(config: Any, field: str, default: Any) -> Any:
    """Return a wrapper field's value."""
    return getattr(config, field).value if config.HasField(field) else default


def _somaxconn() -> int:
    """Return the longest accept queue that the kernel allows, Envoy's default."""
    try:
        with open("/proc/sys/net/core/somaxconn") as file:
            return int(file.read())
    except OSError:
        return 128
