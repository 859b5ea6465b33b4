"""Opens the log as a configuration says."""

from __future__ import annotations

from meshd.stunnel.model import Configuration
from meshd.stunnel.sinks import Descriptor, File, Sink, Syslog
from meshd.stunnel.syntax import Failure

STDERR = 2


def open_log(found: Configuration, inetd: bool) -> tuple[list[Sink], int, bool]:
    """Return where the log goes, up to which level, and whether as JSON; raise Failure."""
    options = found.globals
    sinks: list[Sink] = []
    if options.syslog:
        sinks.append(Syslog(found.defaults.name, options.facility))
    if options.output:
        try:
            sinks.append(File(options.output, options.overwrite_log))
        except OSError as error:
            reason = f"{options.output}: {error.strerror} ({error.errno})"
            raise Failure(f"Cannot open log file: {options.output}", (reason,)) from None
    if options.foreground == "yes" and not inetd:
        sinks.append(Descriptor(STDERR))
    return sinks, found.defaults.level, found.extras.get("log", "text").lower() == "json"
