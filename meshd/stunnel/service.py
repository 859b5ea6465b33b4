"""
The running server, with stunnel's signals: HUP reloads, USR1 opens the log anew, USR2 lists the connections.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from meshd.config.errors import BadConfig
from meshd.process.replace import prepare
from meshd.process.server import Server
from meshd.process.worker import WorkerService
from meshd.stunnel import building
from meshd.stunnel.binding import Sockets, bind, taken
from meshd.stunnel.building import Source, explain, tell, yaml_of
from meshd.stunnel.log import StunnelLog
from meshd.stunnel.model import DEBUG, EMERG, ERR, INFO, NOTICE, WARNING, Configuration
from meshd.stunnel.opening import open_log
from meshd.stunnel.syntax import Failure

#: Seconds before a listening socket that could not be had is tried again, at first and at most.
RETRY = (0.01, 10.0)
#: Seconds between two looks whether clients were turned away.
LOOK = 1.0


class StunnelService(WorkerService):
    """Runs the services of a stunnel.conf."""

    def __init__(self, server: Server, source: Source, found: Configuration, log: StunnelLog) -> None:
        super().__init__(server)
        self.source = source
        self.found = found
        self.log = log
        #: What is called when it ends: the pid file goes.
        self.at_end: Callable[[], object] | None = None
        self._turned_away = 0
        self._bound = False
        self._wait = RETRY[0]

    # Start.

    def bind(self, sockets: Sockets) -> None:
        """Make the listening sockets; raise Failure."""
        self._bound = True
        bind(self.found, self.server.listeners.values(), sockets, self.log.say)

    def open(self) -> None:
        """Make the sockets that are not there yet: the services' own, and the admin page's."""
        if not self._opened:
            self._opened = True
            try:
                if not self._bound:
                    self.bind(Sockets())
                self.admin.open()
            except Failure as failure:
                raise BadConfig([self.server.document.problem(failure.text)]) from None
            except OSError as error:
                raise BadConfig([self.server.document.problem(str(error), "admin", "address")]) from None

    def warm(self) -> None:
        """Accept connections, once the signals are ours."""
        super().warm()
        self.server.reactor.callWhenRunning(self.accepting)

    def accepting(self) -> None:
        """Say so, and watch for clients that are too many."""
        self.log.say(INFO, "Accepting new connections")
        self.server.reactor.callLater(LOOK, self._look_for_refused)

    def take_signals(self) -> None:
        """Take the signals over."""
        reactor = self.server.reactor

        def on(number: int, call: Callable[[], object]) -> None:
            signal.signal(number, lambda *_: reactor.callFromThread(call))

        on(signal.SIGHUP, self.reload)
        on(signal.SIGUSR1, self.reopen)
        on(signal.SIGUSR2, self.list_connections)
        for number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT):
            on(number, self.terminate)

    # Signals.

    def reopen(self) -> None:
        """Open the log anew."""
        self.log.say(DEBUG, "Processing SIGNAL_REOPEN_LOG")
        self.server.reopen_logs()
        self.log.say(NOTICE, "Log file reopened")

    def list_connections(self) -> None:
        """Log the connections that there are."""
        self.log.say(EMERG, "Active connections:")
        tunnels: list[Any] = [
            connection.info.witness
            for listener in self.server.all_listeners()
            for connection in listener.connections
            if connection.info.witness is not None
        ]
        for number, tunnel in enumerate(tunnels, 1):
            sums = f"{tunnel.to_tls} byte(s) sent to TLS, {tunnel.to_socket} byte(s) sent to socket"
            self.log.say(EMERG, f"Active connection {number}: Service [{tunnel.service}], {sums}")
        self.log.say(EMERG, f"Listed {len(tunnels)} active connection(s)")

    def terminate(self) -> None:
        """End, connections and all."""
        self.log.say(DEBUG, "Processing SIGNAL_TERMINATE")
        self.log.say(NOTICE, "Terminated")
        self.server.reactor.stop()

    def reload(self) -> None:
        """Put a new configuration in the place of the old one; keep the old one if it is wrong."""
        log = self.log
        log.say(DEBUG, "Processing SIGNAL_RELOAD_CONFIG")
        log.keep()
        try:
            found = building.configuration(self.source, log)
            text = yaml_of(found)
            try:
                new = prepare(self.server, building.options_for(text))
            except BadConfig as error:
                raise explain(error, text) from None
            sinks, level, as_json = open_log(found, inetd=False)
        except Failure as failure:
            tell(failure, log)
            log.say(ERR, "Configuration failed")
            log.say(ERR, "Failed to reload the configuration file")
            log.give_back()
            return
        log.say(NOTICE, "Configuration successful")
        log.accept(sinks, level, as_json)
        self.found = found
        sockets = Sockets(kept=taken(self.server.listeners.values()))
        new.commit()
        self._wait = RETRY[0]
        self._bind_again(sockets)

    def _bind_again(self, sockets: Sockets) -> None:
        """Give the new listeners their sockets; those that can be had now, the others later."""
        missing = False
        listeners = [each for each in self.server.listeners.values() if not each.sockets]
        for listener in listeners:
            try:
                bind(self.found, [listener], sockets, self.log.say)
            except Failure as failure:
                tell(failure, self.log)
                missing = True
            else:
                listener.start()
        sockets.close()
        if missing:
            self.server.timers.call_later(self._wait, lambda: self._bind_again(Sockets()))
            self._wait = min(RETRY[1], self._wait * 2)

    def _look_for_refused(self) -> None:
        """Warn if clients were turned away because there are too many."""
        count = sum(each.stats.global_overflow.value for each in self.server.listeners.values())
        if count > self._turned_away:
            limit = self.server.count.limit
            self.log.say(WARNING, f"Connection rejected: too many clients (>={limit})")
        self._turned_away = count
        self.server.reactor.callLater(LOOK, self._look_for_refused)

    # End.

    def stopService(self) -> Deferred[None]:
        """Let go of everything."""
        if self.at_end is not None:
            self.at_end()
            self.at_end = None
        return super().stopService()


def make(source: Source, log: StunnelLog, reactor: Any) -> StunnelService:
    """Return the service for a configuration; raise Failure, after having said what comes before it."""
    found = building.configuration(source, log)
    text = yaml_of(found)
    try:
        server = Server(building.options_for(text), reactor, log)
        # What there is to warn of was said, in stunnel's words.
        server.document.warnings.clear()
        service = StunnelService(server, source, found, log)
    except BadConfig as error:
        raise explain(error, text) from None
    log.say(NOTICE, "Configuration successful")
    return service
