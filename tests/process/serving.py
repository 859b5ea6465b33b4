"""A server of a config file, on a reactor whose time the test moves: what the tests of process share."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from meshd.config.errors import BadConfig
from meshd.options import Options
from meshd.process.server import Server
from meshd.process.worker import WorkerService

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class Reactor(MemoryReactorClock):
    """A reactor that does nothing by itself, but what comes from threads and signals."""

    def callFromThread(self, call: Callable[..., object], *args: Any) -> None:
        """Call at once."""
        call(*args)


class Levels:
    """The log, as far as a server knows it."""

    reopened = 0

    def reopen(self) -> None:
        """Count it."""
        self.reopened += 1


def bootstrap(*listeners: Any, clusters: Any = (), **config: Any) -> dict[str, Any]:
    """Return a Bootstrap as JSON has it."""
    made = {"static_resources": {"listeners": list(listeners), "clusters": list(clusters)}, **config}
    return made


class ServingCase(SynchronousTestCase):
    """Servers, their clients, and a look at what they leave behind."""

    def setUp(self) -> None:
        self.reactor = Reactor()
        self.levels = Levels()
        self.services: list[WorkerService] = []
        self.sockets: list[socket.socket] = []
        self._keep_process()

    def _keep_process(self) -> None:
        """Put back what a service changes of the whole process."""
        handlers = {each: signal.getsignal(each) for each in SIGNALS}
        thresholds = gc.get_threshold()

        def put_back() -> None:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            gc.set_threshold(*thresholds)
            gc.unfreeze()

        self.addCleanup(put_back)

    def file(self, config: Any) -> str:
        """Return the path of a file with the config, a key a line."""
        path = Path(self.mktemp())
        path.write_text(json.dumps(config, indent=1) if not isinstance(config, str) else config)
        return str(path)

    def server(self, config: Any, **options: Any) -> Server:
        """Return a server of the config; nothing of it runs."""
        made = Server(Options(config_path=self.file(config), **options), self.reactor, self.levels)
        self.addCleanup(self._close, made)
        return made

    def _close(self, server: Server) -> None:
        server.resources.stop_listeners()
        server.log_files.close()
        if not server.poller._epoll.closed:
            server.poller._epoll.close()

    def service(self, config: Any, **options: Any) -> WorkerService:
        """Return the service of a server of the config; it is not started."""
        service = WorkerService(self.server(config, **options))
        self.services.append(service)
        return service

    def started(self, config: Any, **options: Any) -> WorkerService:
        """Return a service that runs."""
        service = self.service(config, **options)
        service.privilegedStartService()
        service.startService()
        self.turn()
        return service

    def stop(self, service: WorkerService) -> None:
        """Stop a service, to the end."""
        done = service.stopService()
        for _ in range(8):
            if not service.server.poller._epoll.closed:
                service.server.poller.doRead()
            self.reactor.advance(0)
        self.successResultOf(done)

    def turn(self, times: int = 5) -> None:
        """Let what has happened be handled."""
        for _ in range(times):
            for service in self.services:
                if not service.server.poller._epoll.closed:
                    service.server.poller.doRead()
            self.reactor.advance(0)

    def client(self, service: WorkerService, name: str = "front") -> socket.socket:
        """Return a client of a listener, accepted."""
        where: Any = service.server.listeners[name].addresses[0]
        client = socket.create_connection(where)
        client.settimeout(10)
        self.sockets.append(client)
        self.addCleanup(client.close)
        self.turn()
        return client

    def occupied(self) -> int:
        """Return a port that somebody else has."""
        other = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(other.close)
        return int(other.getsockname()[1])

    def problems(self, call: Callable[..., object], *args: Any, **more: Any) -> list[str]:
        """Return what a call finds wrong, each as PATH: MESSAGE."""
        error = self.assertRaises(BadConfig, call, *args, **more)
        for problem in error.problems:
            self.assertTrue(problem.file and problem.line, problem)
        return [f"{problem.path}: {problem.message}" for problem in error.problems]


def descriptors() -> set[str]:
    """Return what is open: sockets, pipes and epolls by their numbers."""
    return set(os.listdir("/proc/self/fd"))
