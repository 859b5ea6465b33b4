"""Tests for meshd.process.server."""

import socket
from pathlib import Path
from typing import Any

from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from google.protobuf.json_format import ParseDict

from meshd.process.server import connection_limit
from tests.process.serving import ServingCase, bootstrap, descriptors
from tests.upstream.support import assignment
from tests.xds.running import address, chain, file_log, listener, proxy

MONITOR = "envoy.resource_monitors.global_downstream_max_connections"
CONFIG = "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"


def cluster(name: str = "c", *ports: int, **config: Any) -> dict[str, Any]:
    """Return a STATIC cluster."""
    return {"name": name, "load_assignment": {**assignment(ports), "cluster_name": name}, **config}


def limited(most: int) -> dict[str, Any]:
    """Return an overload_manager that allows so many connections."""
    typed = {"@type": f"type.googleapis.com/{CONFIG}", "max_active_downstream_connections": most}
    return {"resource_monitors": [{"name": MONITOR, "typed_config": typed}]}


class ReadTests(ServingCase):
    """A server made from a file."""

    def test_parts(self) -> None:
        """It has the clusters and listeners of the file, and has begun nothing."""
        server = self.server(bootstrap(listener(name="front"), clusters=[cluster("c", 1)]))
        self.assertEqual((list(server.clusters), list(server.listeners)), (["c"], ["front"]))
        self.assertEqual(server.state, "PRE_INITIALIZING")
        self.assertEqual(server.listeners["front"].sockets, [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_all_problems(self) -> None:
        """Everything wrong that making the parts finds is told at once, each with its place."""
        wrong = proxy(max_connect_attempts=1, upstream_connect_mode="ON_DOWNSTREAM_DATA")
        config = bootstrap(
            listener(name="a", filter_chains=[chain(wrong)]),
            listener(name="b", access_log=[file_log(Path("/nowhere/at/all"), "x")]),
            clusters=[cluster("c", 1)],
        )
        problems = self.problems(self.server, config)
        self.assertEqual(len(problems), 2, problems)
        self.assertIn("upstream_connect_mode", problems[0])
        self.assertIn("access_log[0]", problems[1])

    def test_runtime_problem(self) -> None:
        """A runtime layer that cannot be read has its place."""
        layers = {"layers": [{"name": "a", "admin_layer": {}}, {"name": "b", "admin_layer": {}}]}
        problems = self.problems(self.server, bootstrap(layered_runtime=layers))
        self.assertTrue(problems[0].startswith("layered_runtime"), problems)

    def test_bind_config(self) -> None:
        """cluster_manager.upstream_bind_config holds for clusters that have none of their own."""
        source = {"source_address": {"address": "127.0.0.9", "port_value": 0}}
        own = {"source_address": {"address": "127.0.0.8", "port_value": 0}}
        server = self.server(
            bootstrap(
                clusters=[cluster("c", 1), cluster("d", 1, upstream_bind_config=own)],
                cluster_manager={"upstream_bind_config": source},
            )
        )
        sources = [each.bind and each.bind.sources[0].address for each in server.clusters.values()]
        self.assertEqual(sources, [("127.0.0.9", 0), ("127.0.0.8", 0)])

    def test_wrong_bind_config(self) -> None:
        """What is wrong with it has its place."""
        source = {"source_address": {"address": "nowhere", "port_value": 0}}
        problems = self.problems(self.server, bootstrap(cluster_manager={"upstream_bind_config": source}))
        self.assertTrue(problems[0].startswith("cluster_manager.upstream_bind_config"), problems)

    def test_flush_interval(self) -> None:
        """stats_flush_interval is five seconds unless it is set."""
        self.assertEqual(self.server(bootstrap()).flush_interval, 5.0)
        self.assertEqual(self.server(bootstrap(stats_flush_interval="0.5s")).flush_interval, 0.5)

    def test_connection_limit(self) -> None:
        """overload_manager's limit of connections is the worker's."""
        server = self.server(bootstrap(overload_manager=limited(7)))
        self.assertEqual(server.count.limit, 7)
        self.assertIsNone(self.server(bootstrap()).count.limit)

    def test_read_connection_limit(self) -> None:
        """It is found in the message."""
        message = ParseDict({"overload_manager": limited(3)}, Bootstrap())
        self.assertEqual(connection_limit(message), 3)
        self.assertIsNone(connection_limit(Bootstrap()))

    def test_stats_tags(self) -> None:
        """--stats-tag reaches the statistics, and what is wrong with stats_config has its place."""
        matcher = {"stats_matcher": {"inclusion_list": {"patterns": [{"safe_regex": {"regex": "("}}]}}}
        problems = self.problems(self.server, bootstrap(stats_config=matcher))
        self.assertTrue(problems[0].startswith("stats_config"), problems)


class SocketTests(ServingCase):
    """Listening sockets."""

    def test_open(self) -> None:
        """All listeners get theirs."""
        server = self.server(
            bootstrap(listener(name="a"), listener(name="b", additional_addresses=[{"address": address()}]))
        )
        server.open_sockets()
        self.assertEqual([len(each.sockets) for each in server.listeners.values()], [1, 2])

    def test_address_in_use(self) -> None:
        """Each that cannot be had is told of with the place of its address."""
        here, there = self.occupied(), self.occupied()
        config = bootstrap(
            listener(name="a", address=address(here)),
            listener(name="good"),
            listener(name="b", address=address(there)),
        )
        server = self.server(config)
        why = "Address already in use"
        self.assertEqual(
            self.problems(server.open_sockets),
            [
                f"static_resources.listeners[{index}].address: cannot bind '127.0.0.1:{port}': {why}"
                for index, port in ((0, here), (2, there))
            ],
        )

    def test_half_of_it(self) -> None:
        """A listener one of whose addresses cannot be had has none."""
        before = descriptors()
        server = self.server(
            bootstrap(listener(additional_addresses=[{"address": address(self.occupied())}]))
        )
        opened = descriptors() - before
        self.problems(server.open_sockets)
        self.assertEqual(descriptors() - before, opened)


class CommandTests(ServingCase):
    """What it does when told."""

    def setUp(self) -> None:
        super().setUp()
        config = bootstrap(
            listener(name="in", traffic_direction="INBOUND"),
            listener(name="out", traffic_direction="OUTBOUND"),
        )
        self.running = self.server(config, drain_time_s=10)
        self.running.open_sockets()
        self.running.resources.start_listeners()

    def listening(self) -> list[str]:
        """Return the names of the listeners that accept."""
        return [name for name, each in self.running.listeners.items() if each.sockets]

    def test_drain_now(self) -> None:
        """The listeners stop at once."""
        self.running.drain_listeners(graceful=False, inbound_only=False, skip_exit=False)
        self.assertEqual(self.listening(), [])

    def test_drain_inbound(self) -> None:
        """Only those of inbound traffic do."""
        self.running.drain_listeners(graceful=False, inbound_only=True, skip_exit=False)
        self.assertEqual(self.listening(), ["out"])

    def test_drain_gracefully(self) -> None:
        """They stop when the drain time is over."""
        self.running.drain_listeners(graceful=True, inbound_only=False, skip_exit=False)
        self.reactor.advance(9.9)
        self.assertEqual(self.listening(), ["in", "out"])
        self.reactor.advance(0.3)
        self.assertEqual(self.listening(), [])

    def test_drain_without_exit(self) -> None:
        """They do not stop, if they are not to."""
        self.running.drain_listeners(graceful=True, inbound_only=False, skip_exit=True)
        self.reactor.advance(20)
        self.assertEqual(self.listening(), ["in", "out"])

    def test_health(self) -> None:
        """A server that fails its health checks drains; that can be taken back."""
        self.running.fail_health_checks()
        self.assertEqual(self.running.state, "DRAINING")
        self.running.pass_health_checks()
        self.assertEqual(self.running.state, "LIVE")

    def test_quit(self) -> None:
        """quit() ends the process."""
        self.running.quit()
        self.assertTrue(self.reactor.hasStopped)


class LogTests(ServingCase):
    """Access logs."""

    def test_reopen(self) -> None:
        """A log file that was moved away is made anew; our own log is opened anew, too."""
        path = Path(self.mktemp())
        made = self.server(bootstrap(listener(access_log=[file_log(path, "line")])))
        path.rename(f"{path}.1")
        made.reopen_logs()
        self.assertTrue(path.exists())
        self.assertEqual(self.levels.reopened, 1)

    def test_flush_options(self) -> None:
        """--file-flush-interval-msec and --file-flush-min-size-kb say when lines are written."""
        path = Path(self.mktemp())
        config = bootstrap(listener(name="front", access_log=[file_log(path, "line")]))
        service = self.started(config, file_flush_interval_msec=500)
        self.client(service).close()
        self.turn()
        self.assertEqual(path.read_text(), "")
        self.reactor.advance(0.6)
        self.assertEqual(path.read_text(), "line\n")
        self.stop(service)

    def test_limit_is_kept(self) -> None:
        """One connection more than overload_manager allows is turned away."""
        service = self.started(bootstrap(listener(name="front"), overload_manager=limited(1)))
        self.client(service)
        self.assertEqual(self.client(service).recv(1), b"")
        self.assertIsInstance(self.sockets[0], socket.socket)
        self.stop(service)
