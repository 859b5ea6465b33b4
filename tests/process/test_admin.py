"""Tests for meshd.process.admin: its socket, on the real reactor."""

import socket
import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor  # noqa: TID251 - the port is one of the reactor's
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from meshd.options import Options
from meshd.process.admin import AdminPort
from meshd.process.server import Server
from tests.process.serving import Levels, ServingCase, bootstrap, descriptors
from tests.xds.running import address


class PortTests(ServingCase):
    """The port, before it serves."""

    def port(self, admin: Any = None, **options: Any) -> AdminPort:
        """Return the port of a server."""
        return AdminPort(self.server(bootstrap(**({"admin": admin} if admin else {})), **options))

    def test_none(self) -> None:
        """Without an address there is none."""
        before = descriptors()
        port = self.port()
        port.open()
        port.start()
        self.successResultOf(port.stop())
        self.assertEqual(self.reactor.adoptedPorts, [])
        self.assertEqual(len(descriptors() - before), 1)  # the server's poller

    def test_wrong_address(self) -> None:
        """An address that is none is told of with its place before anything starts."""
        problems = self.problems(self.port, {"address": address(1, "nowhere")})
        self.assertTrue(problems[0].startswith("admin.address"), problems)

    def test_wrong_option(self) -> None:
        """So is a socket option without a value."""
        problems = self.problems(
            self.port, {"address": address(), "socket_options": [{"level": 1, "name": 1}]}
        )
        self.assertTrue(problems[0].startswith("admin.socket_options[0]"), problems)

    def test_log(self) -> None:
        """A log of the page's requests is refused, since there is none; /dev/null is what there is."""
        kind = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
        for path, good in (("/dev/null", True), ("admin.log", False)):
            logger = {"name": "f", "typed_config": {"@type": kind, "path": path}}
            for admin in ({"access_log": [logger]}, {"access_log_path": path}):
                if good:
                    self.port({"address": address(), **admin})
                else:
                    problems = self.problems(self.port, {"address": address(), **admin})
                    self.assertIn("only /dev/null is served", problems[0])

    def test_address_path(self) -> None:
        """--admin-address-path gets the address, with the port that the kernel chose."""
        path = Path(self.mktemp())
        port = self.port({"address": address()}, admin_address_path=str(path))
        port.open()
        self.assertFalse(path.exists())
        port.start()
        self.assertRegex(path.read_text(), r"^127\.0\.0\.1:[1-9][0-9]+$")
        self.successResultOf(port.stop())

    def test_options(self) -> None:
        """Socket options are set."""
        alive = {"level": socket.SOL_SOCKET, "name": socket.SO_KEEPALIVE, "int_value": 1}
        port = self.port({"address": address(), "socket_options": [alive]})
        port.open()
        self.assertTrue(port._socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        self.successResultOf(port.stop())


class PageTests(TestCase):
    """The page, served."""

    def serve(self, where: dict[str, Any]) -> tuple[AdminPort, Server, str]:
        """Return a port that serves, its server, and its address."""
        import json

        path = self.mktemp()
        config = json.dumps(bootstrap(admin={"address": where}))
        options = Options(config_yaml=config, admin_address_path=path)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        server = Server(options, reactor, Levels())
        self.addCleanup(server.poller._epoll.close)
        port = AdminPort(server)
        port.open()
        port.start()
        return port, server, Path(path).read_text()

    async def check(self, where: dict[str, Any]) -> str:
        """Ask for a page; return where it was."""
        before = descriptors()
        port, server, text = self.serve(where)
        page = await deferToThread(ask, text)
        self.assertIn(b" 503 ", page.partition(b"\r\n")[0])  # it is not LIVE
        self.assertIn(b"PRE_INITIALIZING", page)
        for _ in range(100):
            if server.stats.counters["listener.admin.downstream_cx_destroy"].value:
                break
            await pause()
        numbers = server.stats
        self.assertEqual(numbers.counters["listener.admin.downstream_cx_total"].value, 1)
        self.assertEqual(numbers.counters["listener.admin.downstream_cx_destroy"].value, 1)
        self.assertEqual(numbers.gauges["listener.admin.downstream_cx_active"].value, 0)
        await port.stop()
        self.assertRaises(OSError, ask, text)
        left = descriptors() - before
        self.assertLessEqual(len(left), 4, left)  # the poller, and what a thread pool has
        return text

    def test_tcp(self) -> Deferred[Any]:
        """It answers over TCP, and its connections are counted apart."""
        return Deferred.fromCoroutine(self.check(address()))

    def test_unix(self) -> Deferred[Any]:
        """It answers on a unix socket."""
        return Deferred.fromCoroutine(self.check({"pipe": {"path": self.mktemp()}}))


def pause() -> Deferred[None]:
    """Let the reactor do what there is."""
    later: Deferred[None] = Deferred()
    reactor.callLater(0.01, later.callback, None)
    return later


def ask(text: str) -> bytes:
    """Return the answer to a request for /ready."""
    if text.startswith("/"):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(10)
        client.connect(text)
    else:
        ip, _, port = text.rpartition(":")
        client = socket.create_connection((ip, int(port)), timeout=10)
    with client:
        client.sendall(b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        data = b""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            piece = client.recv(65536)
            if not piece:
                break
            data += piece
    return data
