"""Tests for meshd.filters.network.tcp_proxy.proxy between real sockets, joined and not."""

import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from meshd.filter import NetworkFilter, WatchingFilter
from meshd.filters.network.tcp_proxy import tcp_proxy
from meshd.net.listener import FilterChain, Listener
from tests.filters.network.tcp_proxy.conversation import message
from tests.net.loop import ending, reset
from tests.upstream.support import assignment
from tests.xds.running import WorkerCase, static

MUCH = 64_000_000


class LeavesLater(NetworkFilter):
    """Leaves once it has seen an exclamation mark."""

    def dataReceived(self, data: bytes) -> None:
        if b"!" in data:
            self.leave()
        self.inner.dataReceived(data)


class Watches(WatchingFilter):
    """Keeps what it is shown."""

    def __init__(self) -> None:
        self.seen = b""

    def received(self, data: bytes) -> None:
        self.seen += data


def _same(watches: Watches) -> Watches:
    """Make the filter of a connection: this one."""
    return watches


class ProxyCase(WorkerCase):
    """A listener whose connections go to one host."""

    cluster_config: dict[str, Any] = {"per_connection_buffer_limit_bytes": 16384}

    def setUp(self) -> None:
        super().setUp()
        self.backend = socket.create_server(("127.0.0.1", 0))
        self.backend.settimeout(10)
        self.clients.append(self.backend)
        port = self.backend.getsockname()[1]
        self.worker.resources.apply(
            static(
                clusters=[
                    {
                        "name": "c",
                        "load_assignment": assignment([port]),
                        **self.cluster_config,
                    }
                ]
            )
        )
        self.worker.resources.start_clusters(lambda: None)

    def proxy(self, *filters: Callable[[], Any], **config: Any) -> Listener:
        """Run a listener with these filters before a tcp_proxy."""
        made = self.run_listener(per_connection_buffer_limit_bytes=16384)
        build = tcp_proxy.configure(message(**config), self.worker.context)
        made.setup.find_chain = lambda info: FilterChain("", (*filters, build))
        return made

    def pair(self, made: Listener) -> tuple[socket.socket, socket.socket]:
        """Return a client, and the host's end of its connection."""
        client = self.client(made)
        return client, self.accepted()

    def small_pair(self, made: Listener) -> tuple[socket.socket, socket.socket]:
        """Return the same with small buffers: else the kernel alone may keep 30 MB and more."""
        pair = self.pair(made)
        for sock in pair:
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                sock.setsockopt(socket.SOL_SOCKET, option, 65536)
        return pair

    def accepted(self) -> socket.socket:
        """Return the host's end of the next connection."""
        host = self.backend.accept()[0]
        host.settimeout(10)
        self.clients.append(host)
        self.loop.turn()
        return host

    def value(self, name: str) -> int:
        """Return a number, brought up to date."""
        self.worker.reader.relays.collect()
        return self.worker.value(name)

    @property
    def relays(self) -> int:
        """How many relays there are."""
        return len(self.worker.reader.relays._relays)

    def stuff(self, sock: socket.socket) -> int:
        """Send until nobody takes more; return how much went."""
        sock.setblocking(False)
        sent = quiet = 0
        while quiet < 3 and sent < MUCH:
            try:
                sent += sock.send(bytes(min(65536, MUCH - sent)))
                quiet = 0
            except BlockingIOError:
                quiet += 1
            self.loop.turn()
        sock.settimeout(10)
        return sent

    def drain(self, sock: socket.socket, size: int) -> None:
        """Read so much."""
        got = 0
        while got < size:
            self.loop.turn(2)
            got += len(sock.recv(1 << 20))
        self.assertEqual(got, size)


class JoinedTests(ProxyCase):
    """Nothing looks at the bytes."""

    def test_both_ways(self) -> None:
        """Bytes go both ways and are counted on both sides, and ends are told."""
        client, host = self.pair(self.proxy())
        self.assertEqual(self.relays, 2)
        client.sendall(b"question")
        self.loop.turn()
        self.assertEqual(host.recv(100), b"question")
        host.sendall(b"the answer")
        self.loop.turn()
        self.assertEqual(client.recv(100), b"the answer")
        for name, size in (
            ("tcp.t.downstream_cx_rx_bytes_total", 8),
            ("tcp.t.downstream_cx_tx_bytes_total", 10),
            ("cluster.c.upstream_cx_tx_bytes_total", 8),
            ("cluster.c.upstream_cx_rx_bytes_total", 10),
        ):
            self.assertEqual(self.value(name), size, name)
        client.shutdown(socket.SHUT_WR)
        self.loop.turn()
        self.assertEqual(ending(host), (b"", "FIN"))
        host.close()
        self.loop.turn()
        self.assertEqual(ending(client), (b"", "FIN"))
        self.assertEqual(self.relays, 0)

    def test_watched(self) -> None:
        """Behind a filter that only watches they are joined too, from the start or once others have left."""
        others: list[list[Callable[[], Any]]] = [[], [LeavesLater]]
        for before in others:
            watches = Watches()
            client, host = self.pair(self.proxy(*before, partial(_same, watches)))
            self.assertEqual(self.relays, 0 if before else 2)
            for data in (b"wait", b"go!", b"on"):
                client.sendall(data)
                self.loop.turn()
                self.assertEqual(host.recv(100), data)
            self.assertEqual((self.relays, watches.seen), (2, b"waitgo!on"))
            reset(client)
            self.loop.turn(3)

    def test_joined_once(self) -> None:
        """Data that came before the connection does not join the two twice."""
        made = self.proxy(upstream_connect_mode="ON_DOWNSTREAM_DATA", max_early_data_bytes=100)
        client = self.client(made)
        client.sendall(b"early")
        self.loop.turn()
        host = self.accepted()
        self.assertEqual(host.recv(100), b"early")
        self.assertEqual(self.relays, 2)
        client.sendall(b" later")
        self.loop.turn()
        self.assertEqual(host.recv(100), b" later")
        self.assertEqual(self.value("tcp.t.downstream_cx_rx_bytes_total"), 11)
        client.close()
        host.close()
        self.loop.turn()
        self.assertEqual(self.relays, 0)

    def test_resets(self) -> None:
        """A reset of either side reaches the other as one."""
        made = self.proxy()
        client, host = self.pair(made)
        reset(client)
        self.loop.turn()
        self.assertEqual(ending(host)[1], "RST")
        client, host = self.pair(made)
        reset(host)
        self.loop.turn()
        self.assertEqual(ending(client)[1], "RST")

    def test_filter_leaves(self) -> None:
        """They are joined when the last filter leaves, and not before."""
        client, host = self.pair(self.proxy(LeavesLater))
        client.sendall(b"look")
        self.loop.turn()
        self.assertEqual(self.relays, 0)
        client.sendall(b"go!")
        self.loop.turn()
        self.assertEqual(self.relays, 2)
        host.sendall(b"answer")
        client.sendall(b"more")
        self.loop.turn()
        self.assertEqual(client.recv(100), b"answer")
        self.assertEqual(host.recv(100), b"lookgo!more")
        self.assertEqual(self.value("tcp.t.downstream_flow_control_resumed_reading_total"), 0)
        self.assertEqual(self.value("cluster.c.upstream_flow_control_resumed_reading_total"), 0)
        self.assertEqual(self.value("tcp.t.downstream_cx_rx_bytes_total"), 11)

    def test_flush_is_limited(self) -> None:
        """What a client left for a host that does not read is dropped when that idles."""
        client, host = self.pair(self.proxy(idle_timeout="2s"))
        self.stuff(client)
        client.close()
        self.loop.turn()
        self.loop.clock.advance(3)
        self.loop.turn()
        self.loop.clock.advance(3)
        self.loop.turn()
        self.assertEqual(self.value("cluster.c.upstream_cx_active"), 0)
        self.assertEqual(self.value("tcp.t.upstream_flush_active"), 0)
        self.assertEqual(self.value("cluster.c.upstream_cx_tx_bytes_buffered"), 0)
        self.assertEqual(self.value("tcp.t.idle_timeout"), 1)
        host.close()


class FilteredTests(ProxyCase):
    """A filter looks at the bytes: they go through the links, no faster than they are taken."""

    def test_slow_host(self) -> None:
        """A client is not read for a host that does not read, and all arrives when it does."""
        client, host = self.small_pair(self.proxy(NetworkFilter))
        sent = self.stuff(client)
        self.assertLess(sent, MUCH)
        self.assertGreater(self.value("tcp.t.downstream_flow_control_paused_reading_total"), 0)
        self.assertLess(self.value("cluster.c.upstream_cx_tx_bytes_buffered"), 200_000)
        self.drain(host, sent)
        self.assertEqual(self.value("cluster.c.upstream_cx_tx_bytes_buffered"), 0)
        self.assertEqual(
            self.value("tcp.t.downstream_flow_control_paused_reading_total"),
            self.value("tcp.t.downstream_flow_control_resumed_reading_total"),
        )

    def test_slow_client(self) -> None:
        """A host is not read for a client that does not read, and all arrives when it does."""
        client, host = self.small_pair(self.proxy(NetworkFilter))
        sent = self.stuff(host)
        self.assertLess(sent, MUCH)
        self.assertGreater(self.value("cluster.c.upstream_flow_control_paused_reading_total"), 0)
        self.assertLess(self.value("tcp.t.downstream_cx_tx_bytes_buffered"), 200_000)
        self.drain(client, sent)
        self.assertEqual(self.value("tcp.t.downstream_cx_tx_bytes_buffered"), 0)

    def test_ends(self) -> None:
        """Ends are told as between joined sockets."""
        client, host = self.pair(self.proxy(NetworkFilter))
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        self.loop.turn()
        self.assertEqual(ending(host), (b"question", "FIN"))
        host.sendall(b"answer")
        host.close()
        self.loop.turn()
        self.assertEqual(ending(client), (b"answer", "FIN"))


class FlushTests(ProxyCase):
    """A client that is gone has left more than the host has taken."""

    cluster_config = {
        "upstream_bind_config": {
            "socket_options": [{"level": socket.SOL_SOCKET, "name": socket.SO_SNDBUF, "int_value": 4096}]
        },
        "per_connection_buffer_limit_bytes": 1 << 20,
    }
    size = 500_000

    def setUp(self) -> None:
        super().setUp()
        self.backend.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client, self.host = self.pair(self.proxy(NetworkFilter, idle_timeout="2s"))
        self.host.shutdown(socket.SHUT_WR)
        self.loop.turn()
        client.sendall(bytes(self.size))
        client.close()
        self.loop.until(lambda: self.value("tcp.t.upstream_flush_active"))
        self.assertEqual(self.worker.resources.connections, 0)

    def test_host_reads(self) -> None:
        """A host that goes on reading gets all of it."""
        self.drain(self.host, self.size)
        self.loop.turn()
        self.assertEqual(ending(self.host), (b"", "FIN"))
        self.assertEqual(self.value("tcp.t.upstream_flush_active"), 0)
        self.assertEqual(self.value("cluster.c.upstream_cx_active"), 0)
        self.assertEqual(self.value("tcp.t.idle_timeout"), 0)

    def test_host_does_not_read(self) -> None:
        """One that does not is closed by the idle time-out."""
        self.loop.clock.advance(1)
        self.assertEqual(self.value("tcp.t.upstream_flush_active"), 1)
        self.loop.clock.advance(1.5)
        self.loop.turn()
        self.assertEqual(self.value("tcp.t.upstream_flush_active"), 0)
        self.assertEqual(self.value("cluster.c.upstream_cx_active"), 0)
        self.assertEqual(self.value("cluster.c.upstream_cx_tx_bytes_buffered"), 0)
        self.assertEqual(self.value("tcp.t.idle_timeout"), 1)
