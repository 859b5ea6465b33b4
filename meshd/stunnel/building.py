"""
From a file's bytes to a server that can run, with stunnel's words for what is wrong.
"""

from __future__ import annotations

import json
import re
from typing import Any

import attrs
import yaml

from meshd.config.env import escape
from meshd.config.errors import BadConfig, Problem
from meshd.options import Options
from meshd.stunnel.listeners import bootstrap
from meshd.stunnel.log import StunnelLog
from meshd.stunnel.model import ERR, INFO, NOTICE, Configuration
from meshd.stunnel.reading import Reader, read_file
from meshd.stunnel.syntax import Failure

_PLACE = re.compile(r"static_resources\.(listeners|clusters)\[([0-9]+)\]")


@attrs.frozen
class Source:
    """Where the configuration is: a file, or the number of a descriptor (data is what it held)."""

    path: str
    data: bytes | None = None
    #: Extra options of the command line.
    extras: dict[str, str] = attrs.field(factory=dict)

    def read(self) -> bytes:
        """Return what it holds; raise Failure."""
        if self.data is not None:
            return self.data
        try:
            return read_file(self.path)
        except OSError as error:
            reason = f"{self.path}: {error.strerror} ({error.errno})"
            raise Failure("Cannot open configuration file", (reason,)) from None


def configuration(source: Source, log: StunnelLog) -> Configuration:
    """Read a configuration; raise Failure, after having said all that comes before it."""
    log.say(INFO, "Initializing inetd mode configuration")
    kind = "descriptor" if source.data is not None else "file"
    log.say(NOTICE, f"Reading configuration from {kind} {source.path}")
    return Reader(log.say, extras=source.extras).configuration(source.read(), source.path)


def yaml_of(found: Configuration) -> str:
    """Return the configuration as meshd reads it; raise Failure if it cannot be served."""
    return escape(json.dumps(bootstrap(found), ensure_ascii=False))


def options_for(text: str) -> Options:
    """Return the options of a server that runs the configuration."""
    return Options(config_yaml=text, drain_time_s=0)


def explain(error: BadConfig, text: str) -> Failure:
    """Return what is wrong as stunnel would say it: of a section's TLS, mostly."""
    problem = error.problems[0]
    name = _section(problem, json.loads(text.replace("$${", "${")))
    if name is None:
        return Failure(problem.message)
    what = "Failed to initialize TLS context" if "transport_socket" in problem.path else problem.message
    lines = (problem.message,) if what != problem.message else ()
    return Failure(f"Service [{name}]: {what}", lines)


def _section(problem: Problem, message: dict[str, Any]) -> str | None:
    place = _PLACE.match(problem.path)
    if place is None:
        return None
    kind, number = place.groups()
    name: str = message["static_resources"][kind][int(number)]["name"]
    return name.removesuffix(" redirect")


def expand(path: str) -> str:
    """Return a stunnel.conf in Envoy's form, as YAML; raise Failure."""
    log = StunnelLog()
    found = configuration(Source(path), log)
    return yaml.safe_dump(bootstrap(found), sort_keys=False, allow_unicode=True, width=100)


def tell(failure: Failure, log: StunnelLog) -> None:
    """Log a failure, with what comes before it."""
    for line in failure.before:
        log.say(ERR, line)
    if failure.text:
        log.say(ERR, failure.text)
