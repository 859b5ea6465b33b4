"""
What ``twistd meshd`` runs: from the command line to a service.

The log is meshd's own, in the foreground to stderr, in the background to the
file that twistd's --logfile names, or --log-path in either; unless --logger or
--syslog of twistd's ask for something else.  This is the only module that
twistd knows, and, with meshd.process, the only one that imports the reactor.
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.logger import ILogObserver, Logger, globalLogPublisher
from twisted.python.components import Componentized

from meshd.config.errors import BadConfig
from meshd.observe.log import Bridge, Levels, Log
from meshd.observe.log_format import DEFAULT
from meshd.options import CommandLine
from meshd.options import Options as Values

log = Logger(namespace="meshd.main")

#: What twistd makes to read the options that follow the word meshd.
Options = CommandLine


class OwnLog(Levels):
    """The log, as the admin page and SIGUSR1 see it: levels that can be changed, a file to open anew."""

    def __init__(self, options: Values, path: str | None) -> None:
        """Log to path, or to stderr; raise OSError, ValueError or KeyError if the options do not let us."""
        super().__init__(options.log_level)
        for name, level in options.component_log_level:
            self.set(name, level)
        self.observer = Log(self, options.log_format or DEFAULT, path)

    def all(self) -> dict[str, str]:
        """Return the level of each component by its name."""
        return self.get_all()

    def reopen(self) -> None:
        """Open the log's file anew."""
        self.observer.reopen()


class Application(MultiService):
    """The service, and the log that twistd is to use while it runs."""

    def __init__(self, options: Values, observer: ILogObserver | None, foreground: bool) -> None:
        """Without observer, twistd's own log is used."""
        super().__init__()
        self.options = options
        self.observer = observer
        self.foreground = foreground
        self.bridge = Bridge(globalLogPublisher)

    def setServiceParent(self, parent: Any) -> None:
        """Join twistd's application, and give it our log: it asks there before it makes its own."""
        if self.observer is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self.observer)
        super().setServiceParent(parent)

    def privilegedStartService(self) -> None:
        """Open the sockets; if that fails in the foreground, say why as of any wrong configuration."""
        try:
            super().privilegedStartService()
        except BadConfig as error:
            if not self.foreground:
                raise  # twistd tells the process that waits for the start
            _print_problems(error)
            sys.exit(1)

    def startService(self) -> None:
        """Start; first tell which options have no effect yet."""
        self.bridge.start()
        for notice in self.options.notices():
            log.warn("{notice}", notice=notice)
        super().startService()

    def stopService(self) -> Any:
        """Stop."""
        self.bridge.stop()
        return super().stopService()


def makeService(command_line: CommandLine) -> IService:
    """
    Return the service that the options ask for.

    Exit with status 1, after a line on stderr for each problem, if the
    configuration cannot be served; with 0 after --mode validate found none.
    """
    from twisted.internet import reactor

    from meshd.process.worker import make_service

    options = command_line.options
    if options.mode == "validate":
        sys.exit(check(options))
    twistd = command_line.parent or {}
    foreground = bool(twistd.get("nodaemon"))
    if options.stunnel:
        return _stunnel(options, reactor, foreground)
    logfile = twistd.get("logfile") or ("-" if foreground else "twistd.log")
    own = _log(options, logfile)
    try:
        service = make_service(options, reactor, own)
    except BadConfig as error:
        _print_problems(error)
        sys.exit(1)
    other = twistd.get("logger") or twistd.get("syslog")
    application = Application(options, None if other else own.observer, foreground)
    service.setServiceParent(application)
    return application


def _stunnel(options: Values, reactor: Any, foreground: bool) -> IService:
    """
    Return the service for --stunnel.

    What the file says of daemon, pid file, root directory and user is twistd's here.
    """
    from meshd.stunnel.twistd import make

    service, observer = make(options.stunnel, reactor, foreground)
    application = Application(options, observer, foreground)
    service.setServiceParent(application)
    return application


def check(options: Values) -> int:
    """
    Read the configuration and make everything of it, but open no socket.

    Print that it is OK, or a line on stderr for each problem; return the exit status.
    """
    from twisted.internet import reactor

    from meshd.process.worker import make_service

    try:
        service = make_service(options, reactor, _log(options, "-"))
    except BadConfig as error:
        _print_problems(error)
        return 1
    warnings = service.server.document.warnings
    if warnings and options.strict:
        _print_problems(BadConfig(warnings))
        return 1
    for warning in warnings:
        sys.stderr.write(f"warning: {warning}\n")
    sys.stdout.write(f"configuration '{options.config_path}' OK\n")
    return 0


def _log(options: Values, logfile: str) -> OwnLog:
    """Return meshd's own log, to --log-path or else to logfile (- is stderr); exit if it cannot be had."""
    path = options.log_path or (None if logfile == "-" else logfile)
    try:
        return OwnLog(options, path)
    except KeyError as error:
        sys.stderr.write(f"error: --component-log-level: invalid component specified {error}\n")
    except (OSError, ValueError) as error:
        sys.stderr.write(f"error: cannot log as the options say: {error}\n")
    sys.exit(1)


def _print_problems(error: BadConfig) -> None:
    # twistd may have put the log in the place of stderr by now.
    stderr = sys.__stderr__ or sys.stderr
    stderr.write("".join(f"{problem}\n" for problem in error.problems))
