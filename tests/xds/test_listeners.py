"""Tests for meshd.xds.listeners."""

import os
import socket
import stat
from pathlib import Path
from typing import Any

from meshd.net.source import DescriptorSource, ProgramSource
from meshd.plugin import ConfigError
from tests.net.loop import ending
from tests.xds.running import ECHO, TYPE, WorkerCase, address, answer, chain, file_log, network

KEEPALIVE = {
    "level": socket.SOL_SOCKET,
    "name": socket.SO_KEEPALIVE,
    "int_value": 1,
    "state": "STATE_PREBIND",
}
INSPECTOR = {
    "name": "envoy.filters.listener.proxy_protocol",
    "typed_config": {"@type": f"{TYPE}.filters.listener.proxy_protocol.v3.ProxyProtocol"},
}


class NameTests(WorkerCase):
    """How it is called."""

    def test_name(self) -> None:
        """It has the name of its message, and its address in the statistics."""
        made = self.read(name="front", address=address(1234))
        self.assertEqual((made.name, made.stat_prefix), ("front", "127.0.0.1_1234"))
        self.assertIn("listener.127.0.0.1_1234.downstream_cx_total", self.worker.stats.counters)

    def test_no_name(self) -> None:
        """Without a name it is called as in the statistics."""
        self.assertEqual(self.read(address=address(1234, "::1")).name, "[__1]_1234")

    def test_stat_prefix(self) -> None:
        """stat_prefix takes the place of the address."""
        self.assertEqual(self.read(stat_prefix="mine").stat_prefix, "mine")
        self.assertIn("listener.mine.downstream_cx_total", self.worker.stats.counters)

    def test_config_is_kept(self) -> None:
        """The message is there for the admin page."""
        self.assertEqual(self.read(name="front").config.name, "front")


class AddressTests(WorkerCase):
    """Where it listens, and how."""

    def test_runs(self) -> None:
        """It accepts, serves and forgets connections."""
        made = self.run_listener(name="front")
        self.echoes(made)
        self.assertEqual(len(made.connections), 1)
        self.clients[0].close()
        self.loop.turn()
        self.assertEqual(len(made.connections), 0)
        self.assertEqual(made.stats.destroy.value, 1)

    def test_additional(self) -> None:
        """It listens on its additional addresses, too."""
        made = self.run_listener(
            additional_addresses=[{"address": address()}, {"address": address(0, "::1")}]
        )
        for which in range(3):
            self.echoes(made, which)

    def test_unix(self) -> None:
        """It listens on a unix socket, with the mode that the config says, and removes it."""
        path = self.mktemp()
        made = self.run_listener(address={"pipe": {"path": path, "mode": 0o600}})
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        self.echoes(made)
        made.stop()
        self.assertFalse(Path(path).exists())

    def test_bind_to_port(self) -> None:
        """With bind_to_port false it has no socket."""
        self.assertEqual(self.run_listener(bind_to_port=False).sockets, [])

    def test_socket_options(self) -> None:
        """Socket options are set; an additional address may have its own."""
        more = [{"address": address()}, {"address": address(), "socket_options": {"socket_options": []}}]
        made = self.run_listener(socket_options=[KEEPALIVE], additional_addresses=more)
        alive = [sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) for sock in made.sockets]
        self.assertEqual(alive, [1, 1, 0])

    def test_defaults(self) -> None:
        """The options have Envoy's defaults."""
        made = self.read()
        options = made.setup.addresses[0][1]
        most = int(Path("/proc/sys/net/core/somaxconn").read_text())
        self.assertEqual((options.backlog, options.reuse_port), (most, True))
        self.assertEqual((options.transparent, options.freebind, options.fast_open), (None, None, None))
        self.assertEqual((made.buffer_limit, made.setup.bind), (1 << 20, True))
        self.assertFalse(made.setup.ignore_global_limit)
        self.assertIsNone(made.setup.inspections)

    def test_options(self) -> None:
        """Each option reaches the sockets and the connections."""
        made = self.read(
            tcp_backlog_size=7,
            enable_reuse_port=False,
            transparent=True,
            freebind=True,
            tcp_fast_open_queue_length=5,
            per_connection_buffer_limit_bytes=4096,
            max_connections_to_accept_per_socket_event=3,
            ignore_global_conn_limit=True,
        )
        options = made.setup.addresses[0][1]
        self.assertEqual((options.backlog, options.reuse_port, options.fast_open), (7, False, 5))
        self.assertEqual((options.transparent, options.freebind), (True, True))
        self.assertEqual((made.buffer_limit, made.setup.accepts), (4096, 3))
        self.assertTrue(made.setup.ignore_global_limit)

    def test_v4_compatible(self) -> None:
        """ipv4_compat lets IPv4 come to an IPv6 address."""
        where = {"socket_address": {"address": "::", "port_value": 0, "ipv4_compat": True}}
        made = self.run_listener(address=where)
        port = made.addresses[0][1]
        with socket.create_connection(("127.0.0.1", int(port))):
            self.loop.turn()
            self.assertEqual(len(made.connections), 1)

    def test_global_limit(self) -> None:
        """All listeners share one limit, but for those that ignore it."""
        self.worker.count.limit = 1
        first, second = self.run_listener(), self.run_listener()
        exempt = self.run_listener(ignore_global_conn_limit=True)
        self.echoes(first)
        self.assertEqual(ending(self.client(second)), (b"", "FIN"))
        self.assertEqual(second.stats.global_overflow.value, 1)
        self.echoes(exempt)

    def test_accepts_per_event(self) -> None:
        """No more connections than the config says are accepted at a time."""
        made = self.run_listener(max_connections_to_accept_per_socket_event=1)
        for _ in range(3):
            where: Any = made.addresses[0]
            self.clients.append(socket.create_connection(where))
        self.loop.turn()
        self.assertEqual(made.stats.total.value, 3)


class ChainTests(WorkerCase):
    """Filter chains."""

    def test_matches(self) -> None:
        """The chain that matches serves; the default one serves the others."""
        made = self.run_listener(
            filter_chains=[
                chain(
                    answer("two"),
                    filter_chain_match={
                        "source_prefix_ranges": [{"address_prefix": "127.0.0.2", "prefix_len": 32}]
                    },
                )
            ],
            default_filter_chain=chain(answer("other")),
        )
        self.assertEqual(self.said(made, source_address=("127.0.0.2", 0)), b"two")
        self.assertEqual(self.said(made), b"other")

    def test_default_alone(self) -> None:
        """A default chain is enough."""
        made = self.run_listener(filter_chains=None, default_filter_chain=chain(answer("hello")))
        self.assertEqual(self.said(made), b"hello")

    def test_order(self) -> None:
        """Filters are linked in the order of the config; each chain has its own."""
        limit = network(
            "connection_limit", "connection_limit.v3.ConnectionLimit", stat_prefix="l", max_connections=1
        )
        made = self.run_listener(filter_chains=[chain(limit, ECHO)])
        self.echoes(made)
        self.assertEqual(ending(self.client(made))[0], b"")

    def test_transport_socket(self) -> None:
        """raw_buffer may be named."""
        raw = {
            "name": "envoy.transport_sockets.raw_buffer",
            "typed_config": {"@type": f"{TYPE}.transport_sockets.raw_buffer.v3.RawBuffer"},
        }
        self.echoes(self.run_listener(filter_chains=[chain(ECHO, transport_socket=raw)]))

    def test_listener_filters(self) -> None:
        """Listener filters look first."""
        made = self.run_listener(listener_filters=[INSPECTOR])
        client = self.client(made)
        client.sendall(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nhello")
        self.loop.turn()
        self.assertEqual(client.recv(100), b"hello")
        self.assertEqual({each.info.remote for each in made.connections}, {("192.0.2.1", 1)})

    def test_listener_filters_timeout(self) -> None:
        """They have 15 seconds, or what the config says; then the connection ends, or goes on."""
        default = self.read(listener_filters=[INSPECTOR]).setup.inspections
        assert default is not None
        self.assertEqual((default.timeout, default.continue_on_timeout), (15.0, False))
        patient = self.run_listener(
            listener_filters=[INSPECTOR],
            listener_filters_timeout="0.25s",
            continue_on_listener_filters_timeout=True,
        )
        client = self.client(patient)
        self.loop.clock.advance(0.3)
        client.sendall(b"hello")
        self.loop.turn()
        self.assertEqual(client.recv(100), b"hello")

    def test_access_log(self) -> None:
        """Its access log has a line for each connection."""
        path = Path(self.mktemp())
        made = self.run_listener(access_log=[file_log(path, "%BYTES_RECEIVED% %BYTES_SENT%")])
        self.echoes(made)
        self.clients[0].close()
        self.loop.turn()
        self.worker.log_files.flush()
        self.assertEqual(path.read_text(), "5 5\n")


class ErrorTests(WorkerCase):
    """What is wrong is told with its place."""

    def place(self, **config: Any) -> str:
        """Return the path of the error of a config."""
        error = self.assertRaises(ConfigError, self.read, **config)
        return ".".join(map(str, error.path))

    def test_address(self) -> None:
        """Addresses that are none."""
        self.assertEqual(self.place(address=address(1, "nowhere")), "address.socket_address.address")
        wrong = [{"address": address()}, {"address": address(1, "nowhere")}]
        self.assertEqual(
            self.place(additional_addresses=wrong), "additional_addresses.1.address.socket_address.address"
        )

    def test_socket_option(self) -> None:
        """A socket option without a value."""
        wrong = {"level": 1, "name": 1}
        self.assertEqual(self.place(socket_options=[wrong]), "socket_options.0")
        more = [{"address": address(), "socket_options": {"socket_options": [KEEPALIVE, wrong]}}]
        self.assertEqual(
            self.place(additional_addresses=more), "additional_addresses.0.socket_options.socket_options.1"
        )

    def test_no_chain(self) -> None:
        """A listener that can serve nobody."""
        self.assertEqual(self.place(filter_chains=None), "")

    def test_match(self) -> None:
        """A match that cannot be, and two that are the same."""
        bad = {"source_prefix_ranges": [{"address_prefix": "nowhere"}]}
        wrong = [chain(ECHO), chain(ECHO, filter_chain_match=bad)]
        self.assertEqual(
            self.place(filter_chains=wrong), "filter_chains.1.filter_chain_match.source_prefix_ranges.0"
        )
        self.assertEqual(self.place(filter_chains=[chain(ECHO), chain(ECHO)]), "filter_chains.1")

    def test_filter(self) -> None:
        """A filter that does not take its config."""
        wrong = network("tcp_proxy", "tcp_proxy.v3.TcpProxy", upstream_connect_mode="ON_DOWNSTREAM_DATA")
        self.assertEqual(
            self.place(filter_chains=[chain(ECHO), chain(ECHO, wrong)]),
            "filter_chains.1.filters.1.typed_config.upstream_connect_mode",
        )
        self.assertEqual(
            self.place(default_filter_chain=chain(wrong)),
            "default_filter_chain.filters.0.typed_config.upstream_connect_mode",
        )

    def test_listener_filter(self) -> None:
        """A listener filter that is not known."""
        unknown = {"name": "nothing", "typed_config": ECHO["typed_config"]}
        place = self.place(listener_filters=[INSPECTOR, unknown])
        self.assertTrue(place.startswith("listener_filters.1"), place)

    def test_transport_socket(self) -> None:
        """A transport socket that is not known."""
        wrong = chain(ECHO, transport_socket={"name": "nothing", "typed_config": ECHO["typed_config"]})
        place = self.place(filter_chains=[wrong])
        self.assertTrue(place.startswith("filter_chains.0.transport_socket"), place)

    def test_transport_socket_config(self) -> None:
        """What a transport socket says of its own config is at its place in that."""
        wrong = {
            "name": "tls",
            "typed_config": {"@type": f"{TYPE}.transport_sockets.tls.v3.DownstreamTlsContext"},
        }
        place = self.place(filter_chains=[chain(ECHO, transport_socket=wrong)])
        self.assertTrue(
            place.startswith("filter_chains.0.transport_socket.typed_config.common_tls_context"), place
        )

    def test_access_log(self) -> None:
        """An access log that cannot be had."""
        good = file_log(Path(self.mktemp()), "x")
        wrong = file_log(Path("/nowhere/at/all"), "x")
        place = self.place(access_log=[good, wrong])
        self.assertTrue(place.startswith("access_log.1"), place)

    def test_plugin_with_a_bug(self) -> None:
        """A plugin that raises anything else is named."""
        plugins = self.worker.context.plugins
        plugins.network["envoy.filters.network.echo"] = Broken()
        error = self.assertRaises(ConfigError, self.read)
        self.assertEqual(error.path, ("filter_chains", 0, "filters", 0, "typed_config"))
        self.assertIn("mine failed to read it: ZeroDivisionError", error.message)


class SourceTests(WorkerCase):
    """Connections that come from elsewhere than sockets."""

    def metadata(self, **value: Any) -> dict[str, Any]:
        """Return what a listener has in its metadata."""
        return {"filter_metadata": {name.replace("_", "."): each for name, each in value.items()}}

    def test_program(self) -> None:
        """meshd.exec names a program, and when it is started again."""
        made = self.read(
            bind_to_port=False,
            metadata=self.metadata(meshd_exec={"program": "/bin/cat", "arguments": ["cat"], "retry": "1s"}),
        )
        self.assertIsInstance(made.source, ProgramSource)

    def test_descriptors(self) -> None:
        """meshd.inetd names descriptors; a socket of them is the connection, and its end is told."""
        ours, theirs = socket.socketpair()
        self.clients.append(ours)
        ours.settimeout(10)
        number = theirs.fileno()
        made = self.run_listener(
            bind_to_port=False, metadata=self.metadata(meshd_inetd={"input": number, "output": number})
        )
        theirs.close()
        self.assertIsInstance(made.source, DescriptorSource)
        ended: list[bool] = []
        made.source._finished = lambda: ended.append(True)
        ours.sendall(b"hello")
        self.loop.turn()
        self.assertEqual(ours.recv(10), b"hello")
        ours.close()
        self.loop.turn()
        self.assertEqual(ended, [True])

    def test_turned_away(self) -> None:
        """A connection that a limit turns away is over for its source, too."""
        made = self.read(bind_to_port=False, metadata=self.metadata(meshd_inetd={}))
        ended: list[bool] = []
        made.source._finished = lambda: ended.append(True)
        self.worker.count.limit = 0
        ours, theirs = socket.socketpair()
        self.clients.append(ours)
        made.take(theirs)
        self.assertEqual(ended, [True])

    def test_wrong(self) -> None:
        """What is wrong is found; sockets that would stay unused are an error."""
        place = ("metadata", "filter_metadata", "meshd.exec", "program")
        error = self.assertRaises(
            ConfigError, self.read, bind_to_port=False, metadata=self.metadata(meshd_exec={})
        )
        self.assertEqual(error.path, place)
        error = self.assertRaises(ConfigError, self.read, metadata=self.metadata(meshd_inetd={}))
        self.assertIn("bind_to_port must be false", error.message)


class Broken:
    """A plugin whose configure function has a bug."""

    name = "mine"
    terminal = True
    serves = ()

    def __init__(self) -> None:
        from envoy.extensions.filters.network.echo.v3.echo_pb2 import Echo

        self.config = Echo

    def configure(self, config: Any, context: Any) -> Any:
        """Fail."""
        return 1 / 0
