"""Tests for meshd.stunnel.service; tests/interop/test_stunnel_service.py has it beside the oracle."""

from __future__ import annotations

import signal
import socket
from pathlib import Path
from typing import Any

from twisted.logger import globalLogPublisher

from meshd.stunnel.building import Source
from meshd.stunnel.log import StunnelLog
from meshd.stunnel.service import StunnelService, make
from meshd.stunnel.syntax import Failure
from tests.ports import free_port
from tests.process.serving import SIGNALS, ServingCase
from tests.stunnel.test_log import Kept


class ServiceTests(ServingCase):
    """A service on a reactor that the test moves."""

    def setUp(self) -> None:
        super().setUp()
        handlers = {each: signal.getsignal(each) for each in (signal.SIGHUP, signal.SIGUSR2, signal.SIGQUIT)}
        self.addCleanup(lambda: [signal.signal(each, handler) for each, handler in handlers.items()])
        self.assertNotIn(signal.SIGHUP, SIGNALS)
        backend = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(backend.close)
        self.ports = [free_port(), free_port(), backend.getsockname()[1]]
        self.path = Path(self.mktemp())
        self.path.parent.mkdir(exist_ok=True, parents=True)
        self.sink = Kept()

    def text(self, name: str = "front", port: int = 0, more: str = "") -> str:
        """Return a client service."""
        where = f"accept = 127.0.0.1:{self.ports[port]}\nconnect = 127.0.0.1:{self.ports[2]}\n"
        return f"syslog = no\ndebug = 7\n[{name}]\nclient = yes\n{where}{more}"

    def running(self, text: str) -> StunnelService:
        """Return a service that runs."""
        self.path.write_text(text)
        log = StunnelLog()
        service = make(Source(str(self.path)), log, self.reactor)
        self.services.append(service)
        self.addCleanup(self._close, service.server)
        log.accept([self.sink], 7)
        globalLogPublisher.addObserver(log)
        self.addCleanup(globalLogPublisher.removeObserver, log)
        service.privilegedStartService()
        service.startService()
        service.accepting()
        self.turn()
        return service

    def said(self, text: str) -> int:
        """Return how often a text is in the log."""
        return sum(text in line for line in self.sink.lines)

    def reload(self, service: StunnelService, text: str) -> None:
        """Have it read another text, and log to where it did."""
        self.path.write_text(text)
        service.reload()
        service.log.accept([self.sink], 7)
        self.turn()

    def test_accepts(self) -> None:
        """It accepts, and lists the connections that there are."""
        service = self.running(self.text())
        self.client(service)
        service.list_connections()
        self.assertEqual(self.said("Active connection 1: Service [front], 0 byte(s) sent to TLS"), 1)
        self.stop(service)

    def test_equal_sockets(self) -> None:
        """A reload keeps the socket of an address that stays, and the connections that there are."""
        service = self.running(self.text())
        before = service.server.listeners["front"].sockets[0].fileno()
        client = self.client(service)
        self.reload(service, self.text("other"))
        self.assertEqual(service.server.listeners["other"].sockets[0].fileno(), before)
        self.assertEqual(len(service.server.all_listeners()), 2)
        client.close()
        self.turn()
        self.client(service, "other")
        self.stop(service)

    def test_other_sockets(self) -> None:
        """A reload closes the socket of an address that goes."""
        service = self.running(self.text())
        self.reload(service, self.text(port=1))
        self.assertRaises(ConnectionRefusedError, socket.create_connection, ("127.0.0.1", self.ports[0]))
        self.client(service)
        self.stop(service)

    def test_occupied(self) -> None:
        """A socket that cannot be had is tried again."""
        service = self.running(self.text())
        other = socket.create_server(("127.0.0.1", self.ports[1]))
        self.reload(service, self.text(port=1))
        self.assertEqual(service.server.listeners["front"].sockets, [])
        other.close()
        for _ in range(10):
            self.reactor.advance(0.05)
        self.assertEqual(len(service.server.listeners["front"].sockets), 1)
        self.client(service)
        self.stop(service)

    def test_bad_reload(self) -> None:
        """A file that is wrong changes nothing."""
        service = self.running(self.text())
        for text in (
            self.text(more="foo = bar\n"),
            self.text(more="cert = /nonexistent\n"),
            "output = /x/y\n" + self.text(),
        ):
            self.path.write_text(text)
            service.reload()
            self.turn()
        self.assertEqual(self.said("Failed to reload the configuration file"), 3)
        self.client(service)
        self.stop(service)

    def test_signals(self) -> None:
        """HUP, USR1, USR2 and TERM do what stunnel does; the end is told."""
        service = self.running(self.text())
        service.take_signals()
        ends: list[Any] = []
        service.at_end = lambda: ends.append(1)
        stopped: list[Any] = []
        self.reactor.stop = lambda: stopped.append(1)  # type: ignore[method-assign]
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.raise_signal(number)
        self.assertEqual(self.said("Log file reopened"), 1)
        self.assertEqual(self.said("Listed 0 active connection(s)"), 1)
        self.assertEqual((self.said("Terminated"), len(stopped)), (3, 3))
        self.assertEqual(self.sink.reopened, 1)
        self.stop(service)
        self.assertEqual(ends, [1])

    def test_refused(self) -> None:
        """Each address that refuses is told, and the client is reset when there are no more."""
        dead = free_port()
        service = self.running(
            self.text(more=f"connect = 127.0.0.1:{dead}\n").replace(f":{self.ports[2]}", f":{dead}")
        )
        client = self.client(service)
        self.turn()
        self.assertEqual(self.said("Connection refused (111)"), 2)
        self.assertEqual(self.said("No more addresses to connect"), 1)
        self.assertEqual(self.said("Connection reset: 0 byte(s) sent to TLS"), 1)
        self.assertRaises(ConnectionResetError, client.recv, 1)
        self.stop(service)

    def test_busy(self) -> None:
        """A server that does not speak has TIMEOUTbusy for TLS, whatever TIMEOUTconnect is."""
        service = self.running(self.text(more="TIMEOUTconnect = 1\nTIMEOUTbusy = 5\n"))
        self.client(service)
        self.reactor.advance(3)
        self.turn()
        self.assertEqual(self.said("TIMEOUTbusy exceeded"), 0)
        self.reactor.advance(3)
        self.turn()
        self.assertEqual(self.said("ssl_start: s_poll_wait: TIMEOUTbusy exceeded: sending reset"), 1)
        self.stop(service)

    def test_too_many(self) -> None:
        """Clients that are too many are turned away, and that is told."""
        service = self.running("; meshd: max_clients = 1\n" + self.text())
        self.client(service)
        self.client(service)
        self.reactor.advance(1.1)
        self.assertEqual(self.said("Connection rejected: too many clients (>=1)"), 1)
        self.stop(service)

    def test_not_made(self) -> None:
        """What cannot be served is told as a failure of its section."""
        self.path.write_text(self.text(more="cert = /nonexistent\n"))
        failure = self.assertRaises(Failure, make, Source(str(self.path)), StunnelLog(), self.reactor)
        self.assertEqual(failure.text, "Service [front]: Failed to initialize TLS context")
