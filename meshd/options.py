"""
The command line: Envoy's options, with Envoy's meaning.

Options holds the values, one attribute for each option of that name; its fields
are the only list of them.  CommandLine reads them for twistd.  Three are
meshd's own: --allow-unserved, and what --concurrency and --log-format add.
Options of Envoy's that are not here are errors: none is taken and ignored.
"""

from __future__ import annotations

import getopt
import re
import sys
from collections.abc import Sequence
from dataclasses import Field, asdict, dataclass, field, fields
from typing import Any, NoReturn

from twisted.python import usage

import meshd

LEVELS = ("trace", "debug", "info", "warning", "error", "critical", "off")

#: Options that are taken, but whose effect comes in a later version: what each waits for.
LATER = {
    "concurrency": "worker processes",  # above 1
    "base_id": "hot restart",
    "use_dynamic_base_id": "hot restart",
    "base_id_path": "hot restart",
    "restart_epoch": "hot restart",
    "parent_shutdown_time_s": "hot restart",
    "disable_hot_restart": "hot restart",
    "skip_hot_restart_on_no_parent": "hot restart",
    "skip_hot_restart_parent_stats": "hot restart",
    "drain_strategy": "protocols that can be asked to close",
    "reject_unknown_dynamic_fields": "xDS",
    "ignore_unknown_dynamic_fields": "xDS",
}


def _option(default: Any, text: str, short: str | None = None, read: Any = str) -> Any:
    return field(default=default, metadata={"text": text, "short": short, "read": read})


def _flag(text: str) -> Any:
    return field(default=False, metadata={"text": text, "short": None, "read": None})


def _number(value: str) -> int:
    if not re.fullmatch("[0-9]{1,10}", value) or int(value) > 0xFFFFFFFF:
        raise usage.UsageError(f"'{value}' is not a number from 0 to 4294967295")
    return int(value)


def _level(value: str) -> str:
    level = "warning" if value == "warn" else value
    if level not in LEVELS:
        raise usage.UsageError(f"invalid log level specified '{value}'; there are {', '.join(LEVELS)}")
    return level


def _levels(value: str) -> tuple[tuple[str, str], ...]:
    pairs = []
    for each in value.split(","):
        name, colon, level = each.rpartition(":")
        if not colon or not name:
            raise usage.UsageError(f"component log level not correctly specified '{each}'")
        pairs.append((name, _level(level)))
    return tuple(pairs)


def _mode(value: str) -> str:
    if value not in ("serve", "validate"):
        raise usage.UsageError(f"unknown mode '{value}'")
    return value


def _strategy(value: str) -> str:
    if value not in ("gradual", "immediate"):
        raise usage.UsageError(f"unknown drain-strategy '{value}'")
    return value


def _tag(value: str) -> tuple[str, str]:
    tag = re.fullmatch("([A-Za-z0-9]+):([^.]+)", value)
    if tag is None:
        raise usage.UsageError(f"misformatted stats-tag '{value}'")
    return tag[1], tag[2]


@dataclass
class Options:
    """The values of the command line's options; times are in the unit that the name ends in."""

    config_path: str = _option("", "The configuration: YAML or JSON.", "c")
    config_yaml: str = _option("", "More configuration, as YAML; it is merged over --config-path.")
    stunnel: str = _option("", "A stunnel.conf, to be served as meshd-stunnel does, instead of the above.")
    mode: str = _option("serve", "serve, or validate: check the configuration and exit.", read=_mode)
    concurrency: int = _option(1, "How many workers; 0: this process does the work.", read=_number)
    log_level: str = _option("info", f"One of {', '.join(LEVELS)}.", "l", read=_level)
    component_log_level: tuple[tuple[str, str], ...] = _option(
        (), "Levels of parts of the log, as in upstream:debug,config:trace.", read=_levels
    )
    log_path: str = _option("", "The log goes to this file instead of stderr.")
    log_format: str = _option("", "The form of a line, by %-patterns as Envoy's; json: JSON lines.")
    file_flush_interval_msec: int = _option(10000, "How often access logs are written.", read=_number)
    file_flush_min_size_kb: int = _option(64, "At what size access logs are written.", read=_number)
    drain_time_s: int = _option(600, "How long connections have to end at shutdown.", read=_number)
    drain_strategy: str = _option("gradual", "gradual or immediate.", read=_strategy)
    parent_shutdown_time_s: int = _option(900, "When a hot restart ends the parent.", read=_number)
    service_cluster: str = _option("", "The name of the cluster that this node is of.")
    service_node: str = _option("", "The name of this node.")
    service_zone: str = _option("", "The zone of this node.")
    admin_address_path: str = _option("", "The address of the admin page is written to this file.")
    allow_unknown_static_fields: bool = _flag("Fields that Envoy's API has not are warnings, not errors.")
    strict: bool = _flag("With --mode validate: what is warned of is an error.")
    allow_unserved: bool = _flag("Fields that meshd does not serve are warnings, not errors.")
    reject_unknown_dynamic_fields: bool = _flag("Unknown fields in what xDS sends are errors.")
    ignore_unknown_dynamic_fields: bool = _flag("Unknown fields in what xDS sends are not counted.")
    stats_tag: tuple[tuple[str, str], ...] = _option((), "tag:value for all statistics; may be repeated.")
    base_id: int = _option(0, "Tells apart several on one machine, for hot restart.", read=_number)
    use_dynamic_base_id: bool = _flag("Choose a base id that is free.")
    base_id_path: str = _option("", "The base id is written to this file.")
    restart_epoch: int = _option(0, "The how-manieth hot restart this is.", read=_number)
    disable_hot_restart: bool = _flag("Do without hot restart.")
    skip_hot_restart_on_no_parent: bool = _flag("A hot restart without a parent is a start.")
    skip_hot_restart_parent_stats: bool = _flag("Do not take over the parent's statistics.")

    def given(self) -> dict[str, Any]:
        """Return the values that are not the default ones."""
        return {
            each.name: value for each in fields(self) if (value := getattr(self, each.name)) != each.default
        }

    def notices(self) -> list[str]:
        """Return a line for the log for each option that was given and has no effect yet."""
        lines = []
        for name, value in self.given().items():
            if name in LATER and (name, value) != ("concurrency", 0):
                lines.append(f"--{_dashed(name)} has no effect yet: it will come with {LATER[name]}")
        return lines

    def as_dict(self) -> dict[str, Any]:
        """Return all values by name."""
        return asdict(self)


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _reader(option: Field[Any]) -> Any:
    """Return what reads the option's value, with its name in the error."""

    def read(value: str) -> Any:
        try:
            return option.metadata["read"](value)
        except usage.UsageError as error:
            raise usage.UsageError(f"--{_dashed(option.name)}: {error}") from None

    return read


_SINGLE = [each for each in fields(Options) if each.name != "stats_tag"]


class CommandLine(usage.Options):
    """What follows ``twistd meshd``; the attribute options has the values once they are read."""

    synopsis = "[options]"
    longdesc = "A service-mesh proxy.  The options are Envoy's; times are in the unit that the name ends in."
    optFlags = [
        [_dashed(each.name), each.metadata["short"], each.metadata["text"]]
        for each in _SINGLE
        if each.metadata["read"] is None
    ]
    optParameters = [
        [
            _dashed(each.name),
            each.metadata["short"],
            each.default or None,
            each.metadata["text"],
            _reader(each),
        ]
        for each in _SINGLE
        if each.metadata["read"] is not None
    ]

    #: twistd's own options, when twistd reads these.
    parent: Any = None
    options: Options

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, str]] = []

    def opt_stats_tag(self, value: str) -> None:
        """A tag for all statistics, as tag:value; may be repeated."""
        name, text = _tag(value)
        if name in dict(self.tags):
            raise usage.UsageError(f"--stats-tag: the tag '{name}' is given twice")
        self.tags.append((name, text))

    def opt_version(self) -> NoReturn:
        """Print the version and exit."""
        sys.stdout.write(f"meshd version: {meshd.__version__}\n")
        sys.exit(0)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Read the arguments; as Envoy, end with status 1 after a line on stderr if they are wrong."""
        arguments = list(sys.argv[1:] if options is None else options)
        try:
            self.read(arguments)
        except usage.UsageError as error:
            sys.stderr.write(f"error: {error}\n")
            sys.exit(1)

    def read(self, arguments: Sequence[str]) -> Options:
        """Return the options; raise UsageError if they are wrong."""
        super().parseOptions(self._in_order(arguments))
        values = {each.name: self[_dashed(each.name)] for each in _SINGLE}
        values |= {each.name: bool(values[each.name]) for each in _SINGLE if each.metadata["read"] is None}
        values = {name: value for name, value in values.items() if value is not None}
        self.options = Options(**values, stats_tag=tuple(self.tags))
        _check(self.options)
        return self.options

    def _in_order(self, arguments: Sequence[str]) -> list[str]:
        """Return the arguments with the options first, each as --name=value; none may be there twice."""
        try:
            pairs, rest = getopt.gnu_getopt(list(arguments), self.shortOpt, self.longOpt)
        except getopt.GetoptError as error:
            raise usage.UsageError(str(error)) from None
        ordered, seen = [], set()
        for option, value in pairs:
            name = self.synonyms[option.lstrip("-")].replace("_", "-")
            if name in seen and name != "stats-tag":
                raise usage.UsageError(f"--{name} is given twice")
            seen.add(name)
            ordered.append(f"--{name}={value}" if f"{name}=" in self.longOpt else f"--{name}")
        return [*ordered, "--", *rest]

    def parseArgs(self, *arguments: str) -> None:
        """Take no arguments but options."""
        if arguments:
            raise usage.UsageError(f"'{arguments[0]}' is not an option; -c FILE names the configuration")


def read_options(arguments: Sequence[str]) -> Options:
    """Return the options that the arguments say; raise usage.UsageError if they are wrong."""
    return CommandLine().read(arguments)


def _check(options: Options) -> None:
    if options.use_dynamic_base_id and options.restart_epoch:
        raise usage.UsageError(
            f"cannot use --restart-epoch={options.restart_epoch} with --use-dynamic-base-id"
        )
    if options.stunnel and (options.config_path or options.config_yaml):
        raise usage.UsageError("--stunnel stands instead of --config-path and --config-yaml")
    if not options.config_path and not options.config_yaml and not options.stunnel:
        raise usage.UsageError("one of --config-path (-c) and --config-yaml must be given")
