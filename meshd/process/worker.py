"""
The service that twistd runs: a server, its start, its signals, its end.

SIGTERM and SIGINT drain: listeners close, connections have --drain-time-s to
finish; a second signal ends at once.  SIGUSR1 reopens the log files.
"""

from __future__ import annotations

import gc
import signal
import time
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from meshd.config.errors import BadConfig
from meshd.observe.info import address_text
from meshd.process.admin import AdminPort
from meshd.process.server import Server

#: Seconds between two looks whether the connections are over.
DRAIN_STEP = 0.05
#: Objects made before the youngest are collected: connections die by their counts, not by cycles.
GC_THRESHOLD = 50_000

log = Logger(namespace="meshd.main")


class WorkerService(Service):
    """Runs one server in this process."""

    name = "meshd"

    def __init__(self, server: Server) -> None:
        self.server = server
        self.admin = AdminPort(server)
        self._signals = 0
        self._flushing = LoopingCall(server.stats.flush)
        self._flushing.clock = server.reactor
        self._draining: LoopingCall | None = None
        self._opened = False

    # Start.

    def privilegedStartService(self) -> None:
        """Make the listening sockets, while we may still bind any port."""
        self.open()
        super().privilegedStartService()

    def open(self) -> None:
        """Make the listening sockets, once; raise BadConfig if there is one that cannot be had."""
        if self._opened:
            return
        self._opened = True
        self.server.open_sockets()
        try:
            self.admin.open()
        except OSError as error:
            problem = self.server.document.problem(error.strerror or str(error), "admin", "address")
            raise BadConfig([problem]) from None

    def startService(self) -> None:
        """Find the hosts, then accept connections."""
        super().startService()
        self.open()
        server = self.server
        for warning in server.document.warnings:
            log.warn("{warning}", warning=warning)
        server.poller.start()
        server.runtime.watch(server.timers)
        server.tls.secrets.watcher.start(server.timers)
        self.admin.start()
        server.state = "INITIALIZING"
        self._flushing.start(server.flush_interval, now=False)
        server.reactor.callWhenRunning(self.take_signals)
        server.resources.start_clusters(self.warm)

    def warm(self) -> None:
        """All clusters have looked for their hosts: accept connections."""
        server = self.server
        server.resources.start_listeners()
        if server.state == "INITIALIZING":
            server.state = "LIVE"
        server.numbers.initialization.record((time.time() - server.started) * 1000)
        for listener in server.listeners.values():
            where = ", ".join(address_text(address) for address in listener.addresses)
            log.info("listener {name} listens on {where}", name=listener.name, where=where)
        log.info("all clusters are warm: serving")
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD, 20, 100)

    def take_signals(self) -> None:
        """Take the signals over."""

        # twistd's own handlers are in place by now; these take their place.
        def later(call: Any) -> Any:
            return lambda number, frame: self.server.reactor.callFromThread(call)

        signal.signal(signal.SIGTERM, later(self.drain))
        signal.signal(signal.SIGINT, later(self.drain))
        signal.signal(signal.SIGUSR1, later(self.server.reopen_logs))

    # End.

    def drain(self) -> None:
        """Let the connections finish, then end; the second time, end at once."""
        server = self.server
        self._signals += 1
        if self._signals > 1 or not server.options.drain_time_s:
            log.info("ending at once")
            server.reactor.stop()
            return
        server.state = "DRAINING"
        server.resources.stop_listeners()
        connections = server.resources.connections
        log.info(
            "draining: {connections} connections have {time} s to finish",
            connections=connections,
            time=server.options.drain_time_s,
        )
        deadline = server.reactor.seconds() + server.options.drain_time_s
        self._draining = LoopingCall(self._look, deadline)
        self._draining.clock = server.reactor
        self._draining.start(DRAIN_STEP)

    def _look(self, deadline: float) -> None:
        server = self.server
        left = server.resources.connections
        if left and server.reactor.seconds() < deadline:
            return
        if self._draining is not None and self._draining.running:
            self._draining.stop()
        log.info("drained: {left} connections are left", left=left)
        server.reactor.stop()

    def stopService(self) -> Deferred[None]:
        """Let go of everything; access logs are written to the end."""
        server = self.server
        for looping in (self._flushing, self._draining):
            if looping is not None and looping.running:
                looping.stop()
        server.tls.secrets.watcher.stop()
        server.resources.stop_listeners()
        server.resources.stop()
        server.close_connections()
        super().stopService()
        done = self.admin.stop()
        # The connections' ends are told, and logged, at the end of a poller's turn.
        closed: Deferred[None] = Deferred()
        server.reactor.callLater(0, lambda: server.reactor.callLater(0, closed.callback, None))

        def close(_: object) -> None:
            server.timers.stop()
            server.poller.stop()
            server.log_files.close()

        return done.addCallback(lambda _: closed).addCallback(close)


def make_service(options: Any, reactor: Any, levels: Any) -> WorkerService:
    """Return the service for the options; raise BadConfig, with all that is wrong."""
    return WorkerService(Server(options, reactor, levels))
