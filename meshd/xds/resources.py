"""
What runs: the clusters and listeners by name, made from their messages.

All of a config is read before any of it runs, so that what is wrong is known
whole: apply() gathers the errors of all resources.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from meshd.net.listener import Listener
from meshd.net.poller import Poller
from meshd.plugin import ConfigError
from meshd.upstream.cluster import Cluster, ClusterContext
from meshd.upstream.clusters import make_cluster
from meshd.xds.context import Around, FactoryContext
from meshd.xds.listeners import ListenerReader

#: An error and the path of the resource that it is in.
Errors = list[ConfigError]


class Resources:
    """The clusters and listeners of one worker."""

    def __init__(
        self,
        clusters: dict[str, Cluster],
        cluster_context: ClusterContext,
        context: FactoryContext,
        poller: Poller,
        reader: ListenerReader,
    ) -> None:
        self.clusters = clusters
        self.listeners: dict[str, Listener] = {}
        self.context = context
        self.poller = poller
        self._cluster_context = cluster_context
        self._reader = reader
        scope = context.stats.scope("listener_manager")
        self._added = scope.counter("listener_added")
        self._created = scope.counter("listener_create_success")
        self._active = scope.gauge("total_listeners_active")
        self._draining = scope.gauge("total_listeners_draining")
        scope.gauge("workers_started").set(1)
        for name in ("listener_create_failure", "listener_in_place_updated", "listener_modified"):
            scope.counter(name)
        self._stopped = scope.counter("listener_stopped")
        scope.counter("listener_removed")
        for name in ("total_filter_chains_draining", "total_listeners_warming"):
            scope.gauge(name)
        those = context.stats.scope("cluster_manager")
        self._cluster_added = those.counter("cluster_added")
        self._active_clusters = those.gauge("active_clusters")
        self._warming = those.gauge("warming_clusters")
        for name in ("cluster_modified", "cluster_removed", "cluster_updated", "cluster_updated_via_merge"):
            those.counter(name)
        for name in ("update_merge_cancelled", "update_out_of_merge_window"):
            those.counter(name)

    def apply(self, static: Any) -> Errors:
        """Make the clusters and listeners of a StaticResources message; return all that is wrong."""
        errors: Errors = []
        for index, config in enumerate(static.clusters):
            try:
                self._add_cluster(config)
            except ConfigError as error:
                errors.append(error.under("static_resources", "clusters", index))
        for index, config in enumerate(static.listeners):
            try:
                self._add_listener(config)
            except ConfigError as error:
                errors.append(error.under("static_resources", "listeners", index))
        return errors

    def _add_listener(self, config: Any) -> None:
        listener = self._reader.read(config)
        name = listener.name
        while listener.name in self.listeners:
            # Without names, two may be at port 0 of one address.
            listener.name = f"{name}#{len(self.listeners)}"
        self.listeners[listener.name] = listener
        self._added.inc()

    def _add_cluster(self, config: Any) -> None:
        cluster = make_cluster(config, self._cluster_context)
        try:
            scope = self.context.stats.scope(f"cluster.{cluster.stat_name}")
            context = self.context.within(Around("upstream", scope, f"cluster {cluster.name}"))
            cluster.transport = tuple(context.transport_socket(config.transport_socket))
        except ConfigError as error:
            raise error.under("transport_socket") from None
        self.clusters[cluster.name] = cluster
        self._cluster_added.inc()

    def start_clusters(self, warm: Any) -> None:
        """Let the clusters find their hosts; call warm once all have, or have tried."""
        self.context.dns_caches.start()
        waiting = {cluster.name for cluster in self.clusters.values()}
        self._active_clusters.set(len(waiting))
        self._warming.set(len(waiting))

        def one(name: str) -> None:
            waiting.discard(name)
            self._warming.set(len(waiting))
            if not waiting:
                warm()

        if not waiting:
            warm()
        for cluster in list(self.clusters.values()):
            cluster.when_warm(partial(one, cluster.name))
            cluster.start()

    def start_listeners(self) -> None:
        """Accept connections."""
        for listener in self.listeners.values():
            listener.start()
            self._created.inc()
        self._active.set(len(self.listeners))

    def stop_listeners(self, inbound_only: bool = False) -> None:
        """Accept no more; the connections go on."""
        for listener in self.listeners.values():
            if not inbound_only or listener.config.traffic_direction == 1:
                if listener.sockets:
                    self._stopped.inc()
                listener.stop()

    def stop(self) -> None:
        """Stop looking for hosts, and looking names up."""
        self.context.dns_caches.stop()
        for cluster in self.clusters.values():
            cluster.stop()
        # Nor is any connection of a gRPC client kept that has nothing to do.
        self.context.grpc.leave()

    def close_connections(self) -> None:
        """Close all downstream connections now, and with them the upstream ones."""
        for listener in self.listeners.values():
            for connection in tuple(listener.connections):
                connection.close_now()

    @property
    def connections(self) -> int:
        """How many downstream connections there are."""
        return sum(len(listener.connections) for listener in self.listeners.values())
