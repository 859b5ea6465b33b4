"""A stunnel.conf under twistd, which sees to daemon, pid file, root directory and user."""

from __future__ import annotations

import os
import sys
from typing import Any

from twisted.application.service import IService
from twisted.logger import ILogObserver

from meshd.stunnel import banner
from meshd.stunnel.building import Source, tell
from meshd.stunnel.log import StunnelLog
from meshd.stunnel.model import NOTICE
from meshd.stunnel.opening import open_log
from meshd.stunnel.service import make as make_service
from meshd.stunnel.syntax import Failure


def make(path: str, reactor: Any, foreground: bool) -> tuple[IService, ILogObserver]:
    """Return the service for the file and its log; exit with status 1 if it cannot be served."""
    log = StunnelLog()
    for line in banner.lines():
        log.say(NOTICE, line)
    try:
        service = make_service(Source(os.path.realpath(path)), log, reactor)
        # In the background twistd has closed stderr.
        service.found.globals.foreground = "yes" if foreground else "no"
        log.accept(*open_log(service.found, inetd=False))
    except Failure as failure:
        tell(failure, log)
        tell(Failure("Configuration failed"), log)
        log.refuse()
        sys.exit(1)
    return service, log
