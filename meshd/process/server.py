"""
A server: all the parts of a running meshd, put together from the options and the config.

Making one reads and checks everything, and starts nothing: no socket is made,
no name is looked up.  That is what --mode validate does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from envoy.extensions.resource_monitors.downstream_connections.v3.downstream_connections_pb2 import (
    DownstreamConnectionsConfig,
)
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from twisted.logger import Logger

from meshd.config.errors import BadConfig
from meshd.config.load import Document, load
from meshd.config.runtime import Runtime
from meshd.discover import Plugins, find_plugins
from meshd.net.listener import ConnectionCount, Listener
from meshd.net.poller import Poller
from meshd.net.relay import Relays
from meshd.net.timers import Timers
from meshd.observe.access_log import LogFiles
from meshd.observe.stats import Store
from meshd.plugin import ConfigError
from meshd.process.numbers import ServerStats
from meshd.tls.handshakes import Handshakes
from meshd.tls.registry import Registry
from meshd.tls.secrets import Secrets
from meshd.tls.shared import Shared
from meshd.upstream.bind import Bind, read_bind
from meshd.upstream.cluster import Cluster, ClusterContext
from meshd.upstream.connect import Connector
from meshd.upstream.resolver import Resolver
from meshd.xds.context import FactoryContext
from meshd.xds.discovery_file import DiscoveryFiles
from meshd.xds.listeners import ListenerReader, at
from meshd.xds.resources import Resources

log = Logger(namespace="meshd.server")

#: Seconds between two closings of the histograms' intervals.
STATS_FLUSH = 5.0


class Server:
    """What the admin page shows, and the service runs."""

    def __init__(self, options: Any, reactor: Any, levels: Any) -> None:
        """Raise BadConfig, with all that is wrong."""
        self.options = options
        self.reactor = reactor
        self.levels = levels
        self.started = time.time()
        self.state = "PRE_INITIALIZING"
        self.plugins: Plugins = find_plugins()
        self.document: Document = load(
            options.config_path or None,
            options.config_yaml or None,
            self.plugins,
            allow_unserved=options.allow_unserved,
            allow_unknown_static=options.allow_unknown_static_fields,
            environ=os.environ,
        )
        self.bootstrap = self.document.bootstrap
        self._make_parts()
        self._apply()

    def _make_parts(self) -> None:
        bootstrap, reactor, options = self.bootstrap, self.reactor, self.options
        self.stats = Store()
        self.poller = Poller(reactor)
        self.timers = Timers(reactor)
        errors: list[ConfigError] = []
        self.runtime = self._runtime(errors)
        self._configure_stats(errors)
        bind = self._bind(errors)
        self._fail(errors)
        self.log_files = LogFiles(
            self.stats, self.timers, options.file_flush_interval_msec, options.file_flush_min_size_kb * 1024
        )
        self.count = ConnectionCount(limit=connection_limit(bootstrap))
        self.connector = Connector(self.poller, self.timers)
        files = DiscoveryFiles(self.plugins, os.environ, options.allow_unserved)
        self.tls = Shared(
            Handshakes(reactor),
            secrets=Secrets(partial(files.read, kind=Secret), self.stats),
            registry=Registry(),
        )
        self.resolver = Resolver(reactor)
        self.relays = Relays()
        self.stats.on_collect(self.relays.collect)
        self._default_bind = bind
        #: What was replaced, while connections of it are left.
        self._retired: list[Resources] = []
        self.context, self.resources = self._resources()
        self.numbers = ServerStats(self)

    def _resources(self) -> tuple[FactoryContext, Resources]:
        """Return room for clusters and listeners, with none yet, and what their plugins are handed."""
        clusters: dict[str, Cluster] = {}
        context = FactoryContext(
            clock=self.reactor,
            reactor=self.reactor,
            timers=self.timers,
            soon=self.poller.soon,
            stats=self.stats,
            runtime=self.runtime,
            clusters=clusters,
            resolver=self.resolver,
            plugins=self.plugins,
            log_files=self.log_files,
            tls=self.tls,
            draining=lambda: self.state == "DRAINING",
        )
        cluster_context = ClusterContext(
            clock=self.reactor,
            reactor=self.reactor,
            timers=self.timers,
            stats=self.stats,
            runtime=self.runtime,
            connector=self.connector,
            resolver=self.resolver,
            bind=self._default_bind,
            zone=self.options.service_zone or self.bootstrap.node.locality.zone,
        )
        reader = ListenerReader(context, self.poller, self.relays, self.count)
        return context, Resources(clusters, cluster_context, context, self.poller, reader)

    def make_resources(self, document: Document) -> tuple[FactoryContext, Resources]:
        """Return the clusters and listeners of another config; raise BadConfig, with all that is wrong."""
        context, resources = self._resources()
        errors = resources.apply(document.bootstrap.static_resources)
        if errors:
            raise BadConfig([document.problem(error.message, *error.path) for error in errors])
        return context, resources

    def retire(self, resources: Resources) -> None:
        """Let what was replaced look for hosts no more, and remember it while it has connections."""
        resources.stop()
        self._retired = [each for each in (*self._retired, resources) if each.connections]

    def all_listeners(self) -> list[Listener]:
        """Return the listeners, those that were replaced and have connections included."""
        return [one for each in (self.resources, *self._retired) for one in each.listeners.values()]

    def close_connections(self) -> None:
        """Close all downstream connections now, and with them the upstream ones."""
        for each in (self.resources, *self._retired):
            each.close_connections()

    def _runtime(self, errors: list[ConfigError]) -> Runtime:
        bootstrap = self.bootstrap
        layers = bootstrap.layered_runtime if bootstrap.HasField("layered_runtime") else None
        try:
            with at("layered_runtime"):
                return Runtime(layers, self.stats, service_cluster=self.options.service_cluster)
        except ConfigError as error:
            errors.append(error)
            return Runtime(None, self.stats)

    def _configure_stats(self, errors: list[ConfigError]) -> None:
        try:
            with at("stats_config"):
                self.stats.configure(self.bootstrap.stats_config, dict(self.options.stats_tag))
        except ConfigError as error:
            errors.append(error)

    def _bind(self, errors: list[ConfigError]) -> Bind | None:
        """Return where connections to upstreams come from, unless their cluster says."""
        clusters = self.bootstrap.cluster_manager
        if not clusters.HasField("upstream_bind_config"):
            return None
        try:
            with at("cluster_manager", "upstream_bind_config"):
                return read_bind(clusters.upstream_bind_config, "Bootstrap")
        except ConfigError as error:
            errors.append(error)
            return None

    def _apply(self) -> None:
        static = self.bootstrap.static_resources
        try:
            with at("static_resources", "secrets"):
                self.tls.secrets.add_static(static.secrets)
        except ConfigError as error:
            self._fail([error])
        self._fail(self.resources.apply(static))

    def _fail(self, errors: list[ConfigError]) -> None:
        """Raise BadConfig if there are errors, with their places in the file."""
        if errors:
            raise BadConfig([self.document.problem(error.message, *error.path) for error in errors])

    # What the admin page shows.

    @property
    def clusters(self) -> Mapping[str, Cluster]:
        """The clusters by name."""
        return self.resources.clusters

    @property
    def listeners(self) -> Mapping[str, Listener]:
        """The listeners by name."""
        return self.resources.listeners

    @property
    def pages(self) -> Mapping[str, Callable[[], str]]:
        """The pages that plugins add, by path."""
        return self.context.admin_pages

    @property
    def flush_interval(self) -> float:
        """Seconds: stats_flush_interval."""
        if not self.bootstrap.HasField("stats_flush_interval"):
            return STATS_FLUSH
        interval = self.bootstrap.stats_flush_interval
        return float(interval.seconds + interval.nanos / 1e9)

    # What it does when told.

    def open_sockets(self) -> None:
        """Make all listening sockets; raise BadConfig, with a place each, for those that cannot be had."""
        errors: list[ConfigError] = []
        for index, config in enumerate(self.bootstrap.static_resources.listeners):
            listener = next((each for each in self.listeners.values() if each.config is config), None)
            if listener is None:
                continue
            try:
                listener.open()
            except OSError as error:
                errors.append(
                    ConfigError(
                        error.strerror or str(error),
                        "static_resources",
                        "listeners",
                        index,
                        "address",
                    )
                )
        self._fail(errors)

    def fail_health_checks(self) -> None:
        """Say that this server wants no more traffic (/healthcheck/fail)."""
        self.state = "DRAINING"

    def pass_health_checks(self) -> None:
        """Take that back (/healthcheck/ok)."""
        self.state = "LIVE"

    def drain_listeners(self, graceful: bool, inbound_only: bool, skip_exit: bool) -> None:
        """Stop accepting: at once, or when the drain time is over; skip_exit: never."""
        if skip_exit:
            return
        if graceful:
            self.timers.call_later(
                self.options.drain_time_s, lambda: self.resources.stop_listeners(inbound_only)
            )
        else:
            self.resources.stop_listeners(inbound_only)

    def quit(self) -> None:
        """End the process now."""
        self.reactor.stop()

    def reopen_logs(self) -> None:
        """Open the log files anew, after somebody has moved them away."""
        self.log_files.reopen()
        self.levels.reopen()


def connection_limit(bootstrap: Any) -> int | None:
    """Return the most downstream connections that overload_manager allows, None if it does not say."""
    for monitor in bootstrap.overload_manager.resource_monitors:
        config = DownstreamConnectionsConfig()
        if monitor.typed_config.Unpack(config):
            return int(config.max_active_downstream_connections)
    return None
