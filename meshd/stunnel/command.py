"""
The ``meshd-stunnel`` command: stunnel's command line.

    meshd-stunnel [--NAME=VALUE ...] [FILE] | -fd N | -help | -version | -sockets | -options

The status is 0 after a good end, 1 if the service could not begin.  --NAME=VALUE
are the options that stunnel has not (meshd.stunnel.extras).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from twisted.logger import globalLogBeginner

from meshd.stunnel import banner, process, tls_names
from meshd.stunnel import sockets as socket_options
from meshd.stunnel.binding import Sockets
from meshd.stunnel.building import Source, tell
from meshd.stunnel.log import StunnelLog
from meshd.stunnel.model import ERR, NOTICE, Configuration
from meshd.stunnel.opening import open_log
from meshd.stunnel.syntax import Failure

DEFAULT = "/etc/stunnel/stunnel.conf"


def main(arguments: Sequence[str] | None = None, systemd: dict[str, str] | None = None) -> int:
    """
    Do what the arguments say, sys.argv's if there are none; return the exit status.

    systemd has the variables by which it hands sockets over.
    """
    extras, rest = _extras(list(sys.argv[1:] if arguments is None else arguments))
    word = rest[0].lower() if rest else ""
    log = StunnelLog()
    if word in ("-help", "-version", "-sockets", "-options"):
        return _inform(word)
    for line in banner.lines():
        log.say(NOTICE, line)
    try:
        source = _source(rest, extras, log)
    except Failure as failure:
        return _refuse(failure, log)
    return run(source, log, systemd or {})


def _extras(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    """Return the options that stunnel has not, and the other arguments."""
    extras, rest = {}, []
    for each in arguments:
        if each.startswith("--"):
            name, _, value = each[2:].partition("=")
            extras[name.replace("-", "_").lower()] = value
        else:
            rest.append(each)
    return extras, rest


def _inform(word: str) -> int:
    text = "\n".join(banner.lines()) + "\n"
    if word == "-help":
        text += banner.help_text()
    elif word == "-version":
        text += banner.defaults_text()
    else:
        text += " \n" + (socket_options.table() if word == "-sockets" else tls_names.table())
    sys.stderr.write(text)
    return 0


def _source(rest: Sequence[str], extras: dict[str, str], log: StunnelLog) -> Source:
    """Return where the configuration is; raise Failure."""
    if rest and rest[0].lower() == "-fd":
        return _from_descriptor(rest[1:], extras, log)
    path = rest[0] if rest else DEFAULT
    try:
        return Source(os.path.realpath(path, strict=True), extras=extras)
    except OSError as error:
        reason = f"realpath: {error.strerror} ({error.errno})"
        log.say(ERR, f'Invalid configuration file name "{path}"')
        raise Failure(reason) from None


def _from_descriptor(rest: Sequence[str], extras: dict[str, str], log: StunnelLog) -> Source:
    if not rest:
        return _usage("No file descriptor specified", log, fails=False)
    if not rest[0].isdecimal():
        log.say(NOTICE, f"Reading configuration from descriptor {rest[0]}")
        return _usage("Invalid file descriptor number", log)
    try:
        with os.fdopen(int(rest[0]), "rb") as file:
            return Source(rest[0], file.read(), extras)
    except OSError:
        log.say(NOTICE, f"Reading configuration from descriptor {rest[0]}")
        return _usage("Cannot open configuration file", log)


def _usage(text: str, log: StunnelLog, fails: bool = True) -> Source:
    """Say what is wrong, and how the command is used; raise Failure."""
    log.say(ERR, text)
    for line in banner.USAGE:
        log.say(NOTICE, line)
    raise Failure("Configuration failed" if fails else "")


def _refuse(failure: Failure, log: StunnelLog) -> int:
    tell(failure, log)
    log.refuse()
    return 1


def run(source: Source, log: StunnelLog, systemd: dict[str, str]) -> int:
    """Run the configuration until a signal ends it; return the exit status."""
    from meshd.process.reactor import the_reactor
    from meshd.stunnel.service import make

    sockets = Sockets(process.from_systemd(systemd, os.getpid(), log.say))
    reactor: Any = the_reactor()
    globalLogBeginner.beginLoggingTo([log], redirectStandardIO=False, discardBuffer=True)
    try:
        service = make(source, log, reactor)
    except Failure as failure:
        tell(failure, log)
        return _refuse(Failure("Configuration failed"), log)
    found = service.found
    try:
        service.bind(sockets)
        service.open()
        _settle(found, log)
        pid = process.PidFile(found.globals.pid, log.say)
        pid.write()
    except Failure as failure:
        return _refuse(failure, log)
    service.at_end = pid.remove
    service.take_signals()
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    reactor.run()
    return 0


def _settle(found: Configuration, log: StunnelLog) -> None:
    """Root directory, user, log, background: in this order."""
    process.change_root(found.globals, log.say)
    process.drop_privileges(found.globals)
    sinks, level, as_json = open_log(found, found.inetd)
    if found.globals.foreground == "no" and not found.inetd:
        process.go_to_background()
    log.accept(sinks, level, as_json)
