"""
The ``meshd`` command: ``meshd -c FILE`` is ``twistd -n meshd -c FILE``, and a few chores.

In the foreground there is no pid file, so that two can run in one directory.
"""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

from twisted.logger import ILogObserver, LogEvent, globalLogBeginner
from twisted.python import usage
from twisted.scripts import twistd
from zope.interface import provider

import meshd
from meshd.config import load
from meshd.config.errors import BadConfig
from meshd.discover import KINDS, Plugins, config_type, find_plugins
from meshd.new_filter import BadName, full_name, new_filter
from meshd.options import CommandLine

USAGE = """\
Usage: meshd -c FILE [options]                   relay as FILE says, in the foreground
       meshd validate FILE [--strict]            say what is wrong with FILE, or that it is OK
       meshd expand FILE                         print FILE in Envoy's own form; a .conf is stunnel's
       meshd filters                             list the plugins, and those that failed
       meshd new-filter NAME                     write a filter with its test into this directory
       meshd --version

"""


class FileCommandLine(CommandLine):
    """The options of a chore that is done to one file."""

    def parseArgs(self, *arguments: str) -> None:
        """Take the file."""
        if len(arguments) != 1:
            raise usage.UsageError("name one file")
        self["config-path"] = arguments[0]


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments say, sys.argv's if there are none; return the exit status."""
    some = list(sys.argv[1:] if arguments is None else arguments)
    if some and some[0] in ("-h", "--help"):
        sys.stdout.write(f"{USAGE}Options of meshd -c FILE:\n{options_text()}")
        return 0
    chore = CHORES.get(some[0]) if some else None
    if chore is None:
        return run(some)
    globalLogBeginner.beginLoggingTo([nothing], redirectStandardIO=False)
    try:
        return chore(some[1:])
    except usage.UsageError as error:
        sys.stderr.write(f"error: {error}\n")
    except BadConfig as error:
        sys.stderr.write("".join(f"{problem}\n" for problem in error.problems))
    return 1


@provider(ILogObserver)
def nothing(event: LogEvent) -> None:
    """Log nothing: what Twisted says of plugins that fail is told by the chores themselves."""


def options_text() -> str:
    """Return the list of options, as --help prints it."""
    _, _, text = str(CommandLine()).partition("Options:\n")
    return text


def run(arguments: Sequence[str]) -> int:
    """Run in the foreground until a signal."""
    config = twistd.ServerOptions()  # type: ignore[attr-defined]
    try:
        config.parseOptions(["--nodaemon", "--pidfile=", "meshd", *arguments])
    except usage.UsageError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    twistd.runApp(config)
    return 0


def validate(arguments: Sequence[str]) -> int:
    """Check a file, with everything that it names."""
    from meshd.tap import check

    options = FileCommandLine().read([*arguments, "--mode=validate"])
    return check(options)


def expand(arguments: Sequence[str]) -> int:
    """Print a file in Envoy's form."""
    if arguments and arguments[-1].endswith(".conf"):
        return expand_stunnel(arguments)
    options = FileCommandLine().read(arguments)
    sys.stdout.write(load.expand(options.config_path, find_plugins(), os.environ))
    return 0


def expand_stunnel(arguments: Sequence[str]) -> int:
    """Print a stunnel.conf in Envoy's form."""
    from meshd.stunnel.building import expand as expand_conf
    from meshd.stunnel.syntax import Failure

    if len(arguments) != 1:
        raise usage.UsageError("name one file")
    try:
        sys.stdout.write(expand_conf(arguments[0]))
    except Failure as failure:
        sys.stderr.write("".join(f"{line}\n" for line in (*failure.before, failure.text)))
        return 1
    return 0


def filters(arguments: Sequence[str]) -> int:
    """Print what plugins there are."""
    if arguments:
        raise usage.UsageError("meshd filters takes no arguments")
    sys.stdout.write(filters_text(find_plugins()))
    return 0


def filters_text(plugins: Plugins) -> str:
    """Return the list of plugins by kind, with what their configs are, and of those that failed."""
    lines = []
    for kind in KINDS:
        for found in sorted(
            (each for each in plugins.found if each.kind == kind), key=lambda it: it.plugin.name
        ):
            lines += [
                f"{found.plugin.name}  ({kind.replace('_', ' ')})",
                f"    config  {config_type(found.plugin)}",
                *_wrapped("    serves  ", ", ".join(found.plugin.serves) or "no field"),
                f"    from    {found.origin}",
                "",
            ]
    if plugins.failed:
        lines.append("These cannot be used:")
    for what, reason in plugins.failed:
        lines += [f"  {what}", *_wrapped("    ", reason)]
    return "\n".join(lines).rstrip() + "\n"


def _wrapped(first: str, text: str) -> list[str]:
    indent = " " * len(first)
    return textwrap.wrap(
        text,
        100,
        initial_indent=first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def new(arguments: Sequence[str]) -> int:
    """Write a filter to begin with."""
    if len(arguments) != 1:
        raise usage.UsageError("give the filter a name: meshd new-filter NAME")
    name, here = arguments[0], Path.cwd()
    try:
        filter, test = new_filter(name, here)
    except (BadName, OSError) as error:
        raise usage.UsageError(str(error)) from None
    sys.stdout.write(
        f"{filter.relative_to(here)}: the filter; a config names it {full_name(name)}, or just {name}\n"
        f"{test.relative_to(here)}: its test; run it:    python -m pytest {test.relative_to(here)}\n"
        "to have it found, name this directory:    PYTHONPATH=. meshd filters\n"
    )
    return 0


def version(arguments: Sequence[str]) -> int:
    """Print the version."""
    sys.stdout.write(f"meshd version: {meshd.__version__}\n")
    return 0


CHORES: dict[str, Callable[[Sequence[str]], int]] = {
    "validate": validate,
    "expand": expand,
    "filters": filters,
    "new-filter": new,
    "--version": version,
}


if __name__ == "__main__":
    sys.exit(main())
