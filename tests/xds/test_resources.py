"""Tests for meshd.xds.resources."""

import socket

from envoy.config.core.v3.address_pb2 import SocketAddress
from envoy.extensions.common.dynamic_forward_proxy.v3.dns_cache_pb2 import DnsCacheConfig

from meshd.xds.resources import Resources
from tests.upstream.support import assignment, endpoint
from tests.xds.running import ECHO, TYPE, WorkerCase, address, chain, listener, proxy, static


def fixed(name: str, *ports: int) -> dict[str, object]:
    """Return a STATIC cluster."""
    return {"name": name, "load_assignment": assignment(ports)}


def named(name: str, **config: object) -> dict[str, object]:
    """Return a cluster whose host is found by DNS."""
    return {
        "name": name,
        "type": "STRICT_DNS",
        "load_assignment": assignment([endpoint(f"{name}.test")]),
        **config,
    }


class ResourcesCase(WorkerCase):
    """The resources of a worker."""

    def setUp(self) -> None:
        super().setUp()
        self.resources: Resources = self.worker.resources
        self.warmings = 0

    def warm(self) -> None:
        """Count how often all are warm."""
        self.warmings += 1


class ApplyTests(ResourcesCase):
    """A StaticResources message."""

    def test_all(self) -> None:
        """Its clusters and listeners are there by name; nothing runs."""
        config = static(clusters=[fixed("a", 1), fixed("b", 2)], listeners=[listener(name="front")])
        self.assertEqual(self.resources.apply(config), [])
        self.assertEqual(
            (set(self.resources.clusters), set(self.resources.listeners)), ({"a", "b"}, {"front"})
        )
        self.assertEqual(self.resources.listeners["front"].sockets, [])
        self.assertEqual(self.worker.value("cluster_manager.cluster_added"), 2)
        self.assertEqual(self.worker.value("listener_manager.listener_added"), 1)

    def test_without_names(self) -> None:
        """Listeners without names at port 0 of one address do not get lost."""
        self.resources.apply(static(listeners=[listener(), listener(), listener()]))
        self.assertEqual(len(self.resources.listeners), 3)
        self.assertEqual(len({each.name for each in self.resources.listeners.values()}), 3)

    def test_all_errors(self) -> None:
        """What is wrong is told of every resource, with its place; the others are made."""
        config = static(
            clusters=[
                fixed("a", 1),
                {"name": "b", "type": "EDS"},
                {**fixed("c", 1), "transport_socket": {"name": "x", "typed_config": ECHO["typed_config"]}},
            ],
            listeners=[
                listener(address=address(1, "nowhere")),
                listener(name="good"),
                listener(filter_chains=None),
            ],
        )
        errors = self.resources.apply(config)
        places = [".".join(map(str, error.path)) for error in errors]
        self.assertEqual(len(places), 4, places)
        self.assertEqual(places[0], "static_resources.clusters.1.type")
        self.assertTrue(places[1].startswith("static_resources.clusters.2.transport_socket"), places[1])
        self.assertEqual(places[2], "static_resources.listeners.0.address.socket_address.address")
        self.assertEqual(places[3], "static_resources.listeners.2")
        self.assertEqual((set(self.resources.clusters), set(self.resources.listeners)), ({"a"}, {"good"}))

    def test_transport_socket(self) -> None:
        """A cluster has the links of its transport socket."""
        typed = {
            "@type": f"{TYPE}.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport",
            "transport_socket": {"name": "envoy.transport_sockets.raw_buffer"},
        }
        sock = {"name": "envoy.transport_sockets.upstream_proxy_protocol", "typed_config": typed}
        typed["transport_socket"] = {
            "name": "envoy.transport_sockets.raw_buffer",
            "typed_config": {"@type": f"{TYPE}.transport_sockets.raw_buffer.v3.RawBuffer"},
        }
        config = static(clusters=[fixed("a", 1), {**fixed("b", 1), "transport_socket": sock}])
        self.assertEqual(self.resources.apply(config), [])
        clusters = self.resources.clusters
        self.assertEqual((len(clusters["a"].transport), len(clusters["b"].transport)), (0, 1))


class WarmingTests(ResourcesCase):
    """Clusters before listeners."""

    def test_no_cluster(self) -> None:
        """Without clusters all are warm at once."""
        self.resources.start_clusters(self.warm)
        self.assertEqual(self.warmings, 1)

    def test_static(self) -> None:
        """Clusters with fixed hosts are warm at once; it is told once, after the last."""
        self.resources.apply(static(clusters=[fixed("a", 1), fixed("b", 2)]))
        self.resources.start_clusters(self.warm)
        self.assertEqual(self.warmings, 1)
        self.assertEqual(self.worker.value("cluster_manager.active_clusters"), 2)
        self.assertEqual(self.worker.value("cluster_manager.warming_clusters"), 0)

    def test_dns(self) -> None:
        """A cluster by DNS is warm after its first answer, or failure."""
        self.resources.apply(static(clusters=[named("a"), fixed("b", 2), named("c")]))
        self.resources.start_clusters(self.warm)
        self.assertEqual(self.worker.value("cluster_manager.warming_clusters"), 2)
        self.worker.resolver.answer("127.0.0.1")
        self.assertEqual((self.warmings, self.worker.value("cluster_manager.warming_clusters")), (0, 1))
        self.worker.resolver.fail(OSError("no such name"))
        self.assertEqual((self.warmings, self.worker.value("cluster_manager.warming_clusters")), (1, 0))
        self.resources.stop()

    def test_later_answers(self) -> None:
        """Later answers are not told of again."""
        self.resources.apply(static(clusters=[named("a")]))
        self.resources.start_clusters(self.warm)
        self.worker.resolver.answer("127.0.0.1")
        self.loop.clock.advance(6)
        self.worker.resolver.answer("127.0.0.2")
        self.assertEqual(self.warmings, 1)
        self.resources.stop()

    def test_not_waited_for(self) -> None:
        """wait_for_warm_on_init false: nobody waits for that cluster."""
        self.resources.apply(static(clusters=[named("a", wait_for_warm_on_init=False)]))
        self.resources.start_clusters(self.warm)
        self.assertEqual(self.warmings, 1)
        self.resources.stop()
        self.assertEqual(self.loop.clock.getDelayedCalls(), [])

    def test_dns_caches(self) -> None:
        """DNS caches look up their names from the start on, until all is stopped."""
        names = [SocketAddress(address="a.test", port_value=80)]
        self.worker.context.dns_cache(DnsCacheConfig(name="d", preresolve_hostnames=names))
        self.assertEqual(self.worker.resolver.lookups, [])
        self.resources.start_clusters(self.warm)
        self.worker.resolver.answer("127.0.0.1")
        self.assertEqual(self.worker.value("dns_cache.d.num_hosts"), 1)
        self.resources.stop()
        self.assertEqual(self.loop.clock.getDelayedCalls(), [])


class ListenersTests(ResourcesCase):
    """Listeners that run."""

    def start(self, *listeners: object) -> None:
        """Let listeners run, and a cluster whose host echoes nothing."""
        backend = socket.create_server(("127.0.0.1", 0))
        self.clients.append(backend)
        port = backend.getsockname()[1]
        self.assertEqual(self.resources.apply(static(clusters=[fixed("c", port)], listeners=listeners)), [])
        for each in self.resources.listeners.values():
            each.open()
        self.resources.start_clusters(self.resources.start_listeners)

    def test_start(self) -> None:
        """They accept once they are started, and are counted."""
        self.start(listener(name="one"), listener(name="two"))
        self.assertEqual(self.worker.value("listener_manager.listener_create_success"), 2)
        self.assertEqual(self.worker.value("listener_manager.total_listeners_active"), 2)
        self.echoes(self.resources.listeners["one"])
        self.echoes(self.resources.listeners["two"])
        self.assertEqual(self.resources.connections, 2)

    def test_stop(self) -> None:
        """Those that are stopped accept no more, and their connections go on."""
        self.start(listener(name="one"))
        one = self.resources.listeners["one"]
        client, where = self.client(one), one.addresses[0]
        self.resources.stop_listeners()
        self.assertRaises(OSError, socket.create_connection, where)
        client.sendall(b"hello")
        self.loop.turn()
        self.assertEqual(client.recv(100), b"hello")

    def test_stop_inbound(self) -> None:
        """Those of another traffic direction go on, if it is asked for."""
        self.start(
            listener(name="in", traffic_direction="INBOUND"),
            listener(name="out", traffic_direction="OUTBOUND"),
        )
        self.resources.stop_listeners(inbound_only=True)
        self.resources.stop_listeners(inbound_only=True)
        self.assertEqual(self.worker.value("listener_manager.listener_stopped"), 1)
        self.assertEqual(self.resources.listeners["in"].sockets, [])
        self.echoes(self.resources.listeners["out"])

    def test_close_connections(self) -> None:
        """All connections are closed, and those to the hosts with them."""
        self.start(listener(name="one", filter_chains=[chain(proxy())]))
        client = self.client(self.resources.listeners["one"])
        self.loop.until(lambda: self.worker.value("cluster.c.upstream_rq_active"))
        self.resources.close_connections()
        self.loop.turn()
        self.assertEqual(client.recv(10), b"")
        self.assertEqual(self.resources.connections, 0)
        self.assertEqual(self.worker.value("cluster.c.upstream_cx_active"), 0)
