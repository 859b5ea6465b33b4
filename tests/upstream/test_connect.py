"""Tests for meshd.upstream.connect: the attempt, and what is counted of it."""

import socket
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from meshd.interfaces import IConnecting, Overflow, PendingOverflow
from meshd.net.sockets import IP_FREEBIND
from meshd.observe.info import ConnectionInfo
from meshd.testing import CLIENT, SERVER
from meshd.upstream.bind import Bind, SocketOption, Source, bind_source
from tests.net.loop import ending
from tests.upstream.dialling import Caller, DiallingCase
from tests.upstream.support import assignment


class AttemptTests(DiallingCase):
    """How an attempt ends."""

    def test_connected(self) -> None:
        """The caller is told, and bytes go both ways."""
        connecting, host = self.stand(self.cluster())
        verifyObject(IConnecting, connecting)
        self.caller.transport.write(b"question")
        self.assertEqual(host.recv(100), b"question")
        host.sendall(b"answer")
        self.loop.until(lambda: self.caller.data == b"answer")
        self.assertEqual(connecting.local, host.getpeername())
        self.assertEqual(connecting.wire_bytes, (6, 8))
        self.assertTrue(self.caller.transport.getTcpNoDelay())
        host.close()
        self.caller.transport.loseConnection()
        self.loop.until(lambda: "lost" in self.caller.events)

    def test_counts_while_it_stands(self) -> None:
        """It is active, of the cluster and of the host; nothing is pending."""
        cluster = self.cluster()
        connecting = self.connect(cluster)
        self.assertEqual(self.gauges(cluster), (1, 0, 1))
        self.loop.until(lambda: self.caller.events)
        self.assertEqual(self.gauges(cluster), (1, 1, 0))
        host = connecting.host
        self.assertEqual((host.cx_total, host.cx_active, host.rq_total, host.rq_active), (1, 1, 1, 1))
        connecting.close_now()
        self.until("made", "lost")
        self.assertEqual(self.gauges(cluster), (0, 0, 0))
        self.assertEqual((host.cx_total, host.cx_active, host.rq_total, host.rq_active), (1, 0, 1, 0))

    def gauges(self, cluster: Any) -> tuple[int, int, int]:
        """Return how many connections are active, serve and are pending."""
        stats = cluster.stats
        return (
            stats.upstream_cx_active.value,
            stats.upstream_rq_active.value,
            stats.upstream_rq_pending_active.value,
        )

    def test_refused(self) -> None:
        """A host that refuses is told of with the kernel's words."""
        connecting = self.connect(self.cluster(self.closed()))
        self.assertEqual(self.caller.events, [])
        self.until("failed")
        self.assertEqual(str(self.caller.error), "delayed connect error: Connection refused")
        self.assertEqual(connecting.host.cx_connect_fail, 1)
        self.assertIsNone(connecting.local)
        self.assertEqual(
            self.counted(),
            {
                "cx_total": 1,
                "cx_connect_fail": 1,
                "cx_destroy": 1,
                "cx_destroy_remote": 1,
                "rq_pending_total": 1,
                "rq_pending_failure_eject": 1,
            },
        )

    def test_timeout(self) -> None:
        """A host that does not answer is given up after the connect time-out."""
        self.connect(self.cluster(self.deaf()))
        self.loop.turn()
        self.loop.clock.advance(0.9)
        self.assertEqual(self.caller.events, [])
        self.loop.clock.advance(0.2)
        self.until("failed")
        assert self.caller.error is not None
        self.assertTrue(self.caller.error.timeout)
        self.assertEqual(str(self.caller.error), "")
        self.assertEqual(
            self.counted(),
            {
                "cx_total": 1,
                "cx_connect_fail": 1,
                "cx_connect_timeout": 1,
                "cx_destroy": 1,
                "cx_destroy_local": 1,
                "rq_pending_total": 1,
                "rq_pending_failure_eject": 1,
            },
        )

    def test_cancelled_while_connecting(self) -> None:
        """Who gives up is told nothing more."""
        connecting = self.connect(self.cluster(self.deaf()))
        self.loop.turn()
        connecting.cancel()
        connecting.cancel()
        self.loop.clock.advance(5)
        self.loop.turn()
        self.assertEqual(self.caller.events, [])
        self.assertEqual(
            self.counted(), {"cx_total": 1, "cx_destroy": 1, "cx_destroy_local": 1, "rq_pending_total": 1}
        )

    def test_cancelled_before_the_event(self) -> None:
        """Who gives up before it is told of a connection that stands already is not told."""
        self.connect(self.cluster()).cancel()
        self.loop.turn()
        self.assertEqual(self.caller.events, [])
        self.assertEqual(self.keep(self.listening.accept()[0]).recv(1), b"")

    def test_cancelled_before_failure(self) -> None:
        """Who gives up before it is told of a failure is not told."""
        path = Path(self.mktemp())
        self.connect(self.at(str(path))).cancel()
        self.connect(self.cluster(self.closed())).cancel()
        self.loop.turn()
        self.assertEqual(self.caller.events, [])

    def test_cancelled_when_it_stands(self) -> None:
        """A connection that is given up is reset, and nobody is told."""
        connecting, host = self.stand(self.cluster())
        connecting.cancel()
        self.loop.turn()
        self.assertEqual(ending(host), (b"", "RST"))
        self.assertEqual(self.caller.events, ["made"])

    def test_failure_is_told_later(self) -> None:
        """Even what fails at once is told after the call that wanted it."""
        self.connect(self.at(str(Path(self.mktemp()))))
        self.assertEqual(self.caller.events, [])
        self.until("failed")

    def test_second_attempt(self) -> None:
        """Each attempt of a client counts."""
        cluster = self.cluster(self.closed())
        info = ConnectionInfo(CLIENT, SERVER)
        cluster.connect(self.caller, info)
        self.until("failed")
        cluster.connect(self.caller, info)
        self.until("failed", "failed")
        counted = self.counted()
        self.assertEqual((counted["cx_total"], counted["rq_pending_total"]), (2, 2))

    def test_server_first(self) -> None:
        """What a host sends at once arrives, even if one event tells of it and of the connection."""
        self.connect(self.cluster())
        host = self.keep(self.listening.accept()[0])
        host.sendall(b"220 ready")
        host.shutdown(socket.SHUT_WR)
        self.until("made", "fin")
        self.assertEqual(self.caller.data, b"220 ready")
        self.caller.transport.loseConnection()
        self.until("made", "fin", "lost")

    def test_unix(self) -> None:
        """A host may be a unix socket."""
        path = str(Path(self.mktemp()))
        listening = self.keep(socket.socket(socket.AF_UNIX))
        listening.bind(path)
        listening.listen()
        self.listening = listening
        connecting, host = self.stand(self.at(path))
        host.sendall(b"hello")
        self.loop.until(lambda: self.caller.data == b"hello")
        connecting.close_now()
        self.until("made", "lost")

    def test_no_unix(self) -> None:
        """A unix socket that is not there fails at once."""
        path = str(Path(self.mktemp()))
        self.connect(self.at(path))
        self.until("failed")
        reason = f"immediate connect error: No such file or directory|remote address:{path}"
        self.assertEqual(str(self.caller.error), reason)
        self.assertEqual(self.counted()["cx_destroy_remote"], 1)

    def at(self, path: str) -> Any:
        """Return a cluster whose host is a unix socket."""
        pipe = {"endpoint": {"address": {"pipe": {"path": path}}}}
        return self.cluster(load_assignment=assignment([pipe]))


class BreakerTests(DiallingCase):
    """Circuit breakers."""

    def test_connections(self) -> None:
        """One more than may be is refused and counted, and leaves no trace; a closed one makes room."""
        cluster = self.cluster(circuit_breakers={"thresholds": [{"max_connections": 1}]})
        connecting, _ = self.stand(cluster)
        late = Caller()
        self.assertRaises(Overflow, self.connect, cluster, late)
        self.assertEqual(self.counted()["cx_overflow"], 1)
        self.assertEqual(self.counted()["cx_total"], 1)
        self.assertEqual(self.around.value("circuit_breakers.default.cx_open"), 1)
        connecting.close_now()
        self.until("made", "lost")
        self.assertEqual(self.around.value("circuit_breakers.default.cx_open"), 0)
        self.connect(cluster, late).cancel()

    def test_per_host(self) -> None:
        """One more than a host may have is refused."""
        cluster = self.cluster(circuit_breakers={"per_host_thresholds": [{"max_connections": 1}]})
        first = self.connect(cluster)
        self.assertRaises(Overflow, self.connect, cluster, Caller())
        first.cancel()
        self.connect(cluster).cancel()

    def test_pending(self) -> None:
        """One more than may wait is refused and counted, and does not count as a connection."""
        cluster = self.cluster(self.deaf(), circuit_breakers={"thresholds": [{"max_pending_requests": 1}]})
        first = self.connect(cluster)
        self.assertRaises(PendingOverflow, self.connect, cluster, Caller())
        self.assertEqual(self.counted(), {"cx_total": 1, "rq_pending_overflow": 1, "rq_pending_total": 1})
        self.assertEqual(cluster.limits.connections.count, 1)
        first.cancel()
        self.connect(cluster).cancel()

    def test_pending_is_over(self) -> None:
        """A connection that stands does not count as waiting."""
        cluster = self.cluster(circuit_breakers={"thresholds": [{"max_pending_requests": 1}]})
        connecting, _ = self.stand(cluster)
        self.connect(cluster, Caller()).cancel()
        connecting.close_now()
        self.until("made", "lost")

    def test_no_limit_is_lost(self) -> None:
        """However an attempt ends, it is taken off the counts once."""
        good, refusing, silent = self.cluster(), self.cluster(self.closed()), self.cluster(self.deaf())
        clusters = (good, refusing, silent)
        self.connect(silent, Caller())
        self.connect(refusing, Caller())
        self.connect(silent, Caller()).cancel()
        self.connect(good, Caller()).cancel()
        closing = self.connect(good)
        self.loop.until(lambda: self.caller.events)
        closing.close_now()
        self.loop.clock.advance(2)
        self.loop.turn()
        for cluster in clusters:
            self.assertEqual((cluster.limits.connections.count, cluster.limits.pending.count), (0, 0))


class BindTests(DiallingCase):
    """Where a connection comes from."""

    def test_source_address(self) -> None:
        """It comes from the address that the config says."""
        bind = {"source_address": {"address": "127.0.0.3", "port_value": 0}}
        connecting, host = self.stand(self.cluster(upstream_bind_config=bind))
        self.assertEqual(host.getpeername()[0], "127.0.0.3")
        connecting.close_now()
        self.until("made", "lost")

    def test_address_of_another(self) -> None:
        """An address that is not ours is an error of ours, not of the host's."""
        bind = {"source_address": {"address": "203.0.113.9", "port_value": 0}}
        self.connect(self.cluster(upstream_bind_config=bind))
        self.until("failed")
        self.assertEqual(
            str(self.caller.error), "failed to bind to 203.0.113.9:0: Cannot assign requested address"
        )
        self.assertTrue(self.caller.error is not None and self.caller.error.local)
        self.assertEqual(self.around.value("bind_errors"), 1)
        counted = self.counted()
        self.assertEqual((counted["cx_destroy_local"], counted["cx_connect_fail"]), (1, 1))
        self.assertNotIn("cx_destroy_remote", counted)

    def test_option(self) -> None:
        """A socket option is set on the connection's socket."""
        option = {"level": socket.SOL_SOCKET, "name": socket.SO_KEEPALIVE, "int_value": 1}
        connecting, _ = self.stand(self.cluster(upstream_bind_config={"socket_options": [option]}))
        self.assertTrue(self.caller.transport.getTcpKeepAlive())
        connecting.close_now()
        self.until("made", "lost")

    def test_option_that_fails(self) -> None:
        """A socket option that the kernel does not take is an error."""
        option = {"level": socket.SOL_SOCKET, "name": 9999, "int_value": 1}
        self.connect(self.cluster(upstream_bind_config={"socket_options": [option]}))
        self.until("failed")
        self.assertEqual(self.counted()["cx_connect_fail"], 1)


class BindSourceTests(SynchronousTestCase):
    """A socket before it connects."""

    def setUp(self) -> None:
        self.sock = socket.socket()
        self.addCleanup(self.sock.close)

    def bind(
        self, *options: SocketOption, address: tuple[str, int] | None = None, free: bool = False
    ) -> None:
        """Bind the socket for a connection to a host."""
        bind_source(self.sock, Bind((Source(address, options),), free), ("192.0.2.9", 80))

    def test_freebind(self) -> None:
        """freebind lets it have an address that is not there yet."""
        self.bind(address=("203.0.113.9", 0), free=True)
        self.assertEqual(self.sock.getsockname()[0], "203.0.113.9")
        self.assertEqual(self.sock.getsockopt(socket.IPPROTO_IP, IP_FREEBIND), 1)

    def test_port(self) -> None:
        """A port that is asked for is had."""
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            port = other.getsockname()[1]
        self.bind(address=("127.0.0.1", port))
        self.assertEqual(self.sock.getsockname(), ("127.0.0.1", port))

    def test_order(self) -> None:
        """Options for before bind are set before it, those for after it after."""
        before = SocketOption(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        after = SocketOption(socket.SOL_SOCKET, 9999, 1, bound=True)
        self.assertRaises(OSError, self.bind, before, after, address=("127.0.0.1", 0))
        self.assertEqual(self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR), 1)
        self.assertEqual(self.sock.getsockname()[0], "127.0.0.1")

    def test_options_alone(self) -> None:
        """Options do not need an address."""
        self.bind(SocketOption(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1))
        self.assertEqual(self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), 1)
        self.assertEqual(self.sock.getsockname(), ("0.0.0.0", 0))

    def test_unix(self) -> None:
        """For a unix socket there is nothing to bind."""
        bind_source(self.sock, Bind((Source(("127.0.0.1", 0)),)), "/run/host")
        self.assertEqual(self.sock.getsockname(), ("0.0.0.0", 0))

    def test_v6(self) -> None:
        """An IPv6 socket takes the same options in its own words."""
        with socket.socket(socket.AF_INET6) as sock:
            bind_source(sock, Bind((Source(("2001:db8::9", 0)),), True), ("::1", 80))
            self.assertEqual(sock.getsockname()[0], "2001:db8::9")
