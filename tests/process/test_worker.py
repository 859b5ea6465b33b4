"""Tests for meshd.process.worker."""

import os
import signal
import socket
from pathlib import Path

from meshd.options import Options
from meshd.process.worker import make_service
from tests.net.loop import ending
from tests.process.serving import ServingCase, bootstrap, descriptors
from tests.upstream.support import assignment, endpoint
from tests.xds.running import address, file_log, listener


class StartTests(ServingCase):
    """A start."""

    def test_serves(self) -> None:
        """Once it is started it serves."""
        service = self.started(bootstrap(listener(name="front")))
        self.assertEqual(service.server.state, "LIVE")
        client = self.client(service)
        client.sendall(b"hello")
        self.turn()
        self.assertEqual(client.recv(10), b"hello")
        self.assertIn(service.server.poller, self.reactor.readers)
        self.stop(service)

    def test_sockets_first(self) -> None:
        """The sockets are made while it may still be root, before it accepts."""
        service = self.service(bootstrap(listener(name="front"), admin={"address": address()}))
        service.privilegedStartService()
        where = service.server.listeners["front"].addresses[0]
        assert not isinstance(where, str)
        with socket.create_connection(where) as client:
            self.turn()
            client.settimeout(0.05)
            client.sendall(b"hello")
            self.assertRaises(TimeoutError, client.recv, 10)
            service.startService()
            self.turn()
            client.settimeout(10)
            self.assertEqual(client.recv(10), b"hello")
        self.stop(service)

    def test_waits_for_clusters(self) -> None:
        """It accepts once all clusters are warm, and is INITIALIZING until then."""
        name = {"name": "c", "type": "STRICT_DNS", "load_assignment": assignment([endpoint("localhost")])}
        service = self.service(bootstrap(listener(name="front"), clusters=[name]))
        cluster = service.server.clusters["c"]
        cluster.start = lambda: None  # type: ignore[method-assign]  # whose name server does not answer
        service.privilegedStartService()
        service.startService()
        self.assertEqual(service.server.state, "INITIALIZING")
        self.assertEqual(service.server.stats.gauges["cluster_manager.warming_clusters"].value, 1)
        cluster._warm()
        self.assertEqual(service.server.state, "LIVE")
        self.stop(service)

    def test_drained_while_it_starts(self) -> None:
        """Who fails health checks before all is warm stays so."""
        service = self.service(bootstrap(listener(name="front")))
        service.privilegedStartService()
        begin = service.server.resources.start_clusters

        def fail_first(warm: object) -> None:
            service.server.fail_health_checks()
            begin(warm)

        service.server.resources.start_clusters = fail_first  # type: ignore[method-assign]
        service.startService()
        self.assertEqual(service.server.state, "DRAINING")
        self.stop(service)

    def test_listener_in_use(self) -> None:
        """A listener's address that somebody has is told of with its place."""
        port = self.occupied()
        service = self.service(bootstrap(listener(address=address(port))))
        problems = self.problems(service.privilegedStartService)
        self.assertEqual(len(problems), 1)
        self.assertTrue(
            problems[0].startswith("static_resources.listeners[0].address: cannot bind"), problems
        )

    def test_admin_in_use(self) -> None:
        """So is the admin page's."""
        port = self.occupied()
        service = self.service(bootstrap(admin={"address": address(port)}))
        self.assertEqual(
            self.problems(service.privilegedStartService),
            [f"admin.address: cannot bind '127.0.0.1:{port}': Address already in use"],
        )

    def test_make_service(self) -> None:
        """make_service() reads the options and what they name."""
        options = Options(config_path=self.file(bootstrap(listener(name="front"))))
        service = make_service(options, self.reactor, self.levels)
        self.addCleanup(service.server.poller._epoll.close)
        self.assertEqual(list(service.server.listeners), ["front"])

    def test_wrong_config(self) -> None:
        """A config that cannot be served is told of with its place."""
        options = Options(config_path=self.file(bootstrap(listener(address={}))))
        self.problems(make_service, options, self.reactor, self.levels)


class StopTests(ServingCase):
    """An end."""

    def test_nothing_is_left(self) -> None:
        """No descriptor, no delayed call and no reader is left behind."""
        before = descriptors()
        path = Path(self.mktemp())
        service = self.started(
            bootstrap(listener(name="front", access_log=[file_log(path, "line")]), stats_flush_interval="1s")
        )
        client = self.client(service)
        self.reactor.advance(3)
        self.stop(service)
        client.close()
        self.assertEqual(descriptors() - before, set())
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(self.reactor.readers, set())

    def test_connections_are_closed_and_logged(self) -> None:
        """Connections that are left end with a FIN, and are in the log before it is closed."""
        path = Path(self.mktemp())
        service = self.started(bootstrap(listener(name="front", access_log=[file_log(path, "%BYTES_SENT%")])))
        client = self.client(service)
        client.sendall(b"hello")
        self.turn()
        self.stop(service)
        self.assertEqual(ending(client), (b"hello", "FIN"))
        self.assertEqual(path.read_text(), "5\n")

    def test_never_started(self) -> None:
        """A service whose sockets only were made lets go of them."""
        before = descriptors()
        service = self.service(bootstrap(listener(name="front"), admin={"address": address()}))
        service.privilegedStartService()
        self.stop(service)
        self.assertEqual(descriptors() - before, set())


class DrainTests(ServingCase):
    """Signals."""

    def test_listeners_close(self) -> None:
        """Draining, it accepts no more; who is connected is served on."""
        service = self.started(bootstrap(listener(name="front")))
        client = self.client(service)
        where = service.server.listeners["front"].addresses[0]
        assert not isinstance(where, str)
        service.drain()
        self.assertEqual(service.server.state, "DRAINING")
        self.assertRaises(OSError, socket.create_connection, where)
        client.sendall(b"hello")
        self.turn()
        self.assertEqual(client.recv(10), b"hello")
        self.assertFalse(self.reactor.hasStopped)
        self.stop(service)

    def test_ends_with_the_last(self) -> None:
        """It ends once the last connection has."""
        service = self.started(bootstrap(listener(name="front")))
        client = self.client(service)
        service.drain()
        self.reactor.advance(10)
        self.assertFalse(self.reactor.hasStopped)
        client.close()
        self.turn()
        self.reactor.advance(0.1)
        self.assertTrue(self.reactor.hasStopped)
        self.stop(service)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_nobody_is_connected(self) -> None:
        """Without connections it ends at once."""
        service = self.started(bootstrap(listener(name="front")))
        service.drain()
        self.assertTrue(self.reactor.hasStopped)
        self.stop(service)

    def test_drain_time(self) -> None:
        """It ends when the drain time is over, whoever is connected."""
        service = self.started(bootstrap(listener(name="front")), drain_time_s=30)
        self.client(service)
        service.drain()
        self.reactor.advance(29)
        self.assertFalse(self.reactor.hasStopped)
        self.reactor.advance(1.1)
        self.assertTrue(self.reactor.hasStopped)
        self.stop(service)

    def test_second_signal(self) -> None:
        """A second signal ends it at once."""
        service = self.started(bootstrap(listener(name="front")))
        self.client(service)
        service.drain()
        self.assertFalse(self.reactor.hasStopped)
        service.drain()
        self.assertTrue(self.reactor.hasStopped)
        self.stop(service)

    def test_no_drain_time(self) -> None:
        """--drain-time-s 0 ends at once."""
        service = self.started(bootstrap(listener(name="front")), drain_time_s=0)
        self.client(service)
        service.drain()
        self.assertTrue(self.reactor.hasStopped)
        self.stop(service)

    def test_signals(self) -> None:
        """SIGUSR1 reopens the logs, SIGTERM and SIGINT drain."""
        service = self.started(bootstrap(listener(name="front")))
        self.client(service)
        for hook, args, more in self.reactor.whenRunningHooks:
            hook(*args, **more)
        os.kill(os.getpid(), signal.SIGUSR1)
        self.assertEqual(self.levels.reopened, 1)
        os.kill(os.getpid(), signal.SIGTERM)
        self.assertEqual(service.server.state, "DRAINING")
        self.assertFalse(self.reactor.hasStopped)
        os.kill(os.getpid(), signal.SIGINT)
        self.assertTrue(self.reactor.hasStopped)
        self.stop(service)
