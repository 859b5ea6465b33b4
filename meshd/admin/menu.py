"""The commands of the admin page as they are listed: path, help, parameters; mostly in Envoy's words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Parameter:
    """A parameter of a command; choices, if there are any, are all that it may be."""

    name: str
    help: str
    choices: tuple[str, ...] = ()
    #: It is there or not, and has no value.
    flag: bool = False


@dataclass(frozen=True)
class Command:
    """A command; post says that it changes something, and must be POSTed."""

    path: str
    help: str
    parameters: tuple[Parameter, ...] = ()
    post: bool = False


_FILTER = Parameter("filter", "Regular expression for filtering stats")
_INVERT = Parameter("invert_filter", "Invert the filter regex", flag=True)
_USED = Parameter("usedonly", "Only include stats that have been written by system since restart", flag=True)

_LEVELS = ("", "trace", "debug", "info", "warning", "error", "critical", "off")

_PROMETHEUS = (
    _USED,
    Parameter("text_readouts", "Render text_readouts as gauges with the value 0", flag=True),
    _FILTER,
    _INVERT,
    Parameter("histogram_buckets", "Histogram bucket display mode", ("cumulative",)),
)

MENU = (
    Command("/", "Admin home page"),
    Command("/certs", "print certs on machine"),
    Command(
        "/clusters",
        "upstream cluster status",
        (
            Parameter("filter", "Regular expression for filtering clusters by name"),
            Parameter("format", "File format to use", ("text", "json")),
        ),
    ),
    Command(
        "/config_dump",
        "dump current meshd configs",
        (
            Parameter("resource", "The resource to dump"),
            Parameter(
                "mask",
                "The mask to apply. When both resource and mask are specified, the mask is applied to "
                "every element in the desired repeated field so that only a subset of fields are "
                "returned. The mask is parsed as a Protobuf::FieldMask",
            ),
            Parameter(
                "name_regex",
                "Dump only the currently loaded configurations whose names match the specified regex. Can be "
                "used with both resource and mask query parameters.",
            ),
            Parameter("include_eds", "Dump currently loaded configuration including EDS", flag=True),
        ),
    ),
    Command("/contention", "dump current mutex contention stats (meshd has no mutexes)"),
    Command(
        "/drain_listeners",
        "drain listeners",
        (
            Parameter(
                "graceful",
                "When draining listeners, enter a graceful drain period prior to closing listeners, "
                "as long as --drain-time-s says",
                flag=True,
            ),
            Parameter(
                "skip_exit",
                "When draining listeners, drain the connections but never stop the listeners. The graceful "
                "parameter has no effect when this is set, since the drain period only delays stopping the "
                "listeners",
                flag=True,
            ),
            Parameter(
                "inboundonly",
                "Drains all inbound listeners. The traffic_direction of the listener says whether it is "
                "inbound or outbound.",
                flag=True,
            ),
        ),
        post=True,
    ),
    Command("/healthcheck/fail", "cause the server to fail health checks", post=True),
    Command("/healthcheck/ok", "cause the server to pass health checks", post=True),
    Command("/help", "print out list of admin commands"),
    Command("/hot_restart_version", "print the hot restart compatibility version"),
    Command(
        "/init_dump",
        "dump what the start is waiting for",
        (Parameter("mask", "The desired component to dump unready targets, such as listener"),),
    ),
    Command(
        "/listeners", "print listener info", (Parameter("format", "File format to use", ("text", "json")),)
    ),
    Command(
        "/logging",
        "query/change logging levels",
        (
            Parameter(
                "paths",
                "Change multiple logging levels by setting to "
                "<logger_name1>:<desired_level1>,<logger_name2>:<desired_level2>.",
            ),
            Parameter("level", "desired logging level, this will change all loggers's level", _LEVELS),
        ),
        post=True,
    ),
    Command("/memory", "print current allocation/heap usage"),
    # Where Prometheus looks if it is not told; Envoy has no such path.
    Command("/metrics", "print server stats in prometheus format", _PROMETHEUS),
    Command("/quitquitquit", "exit the server", post=True),
    Command("/ready", "print server state, return 200 if LIVE, otherwise return 503"),
    Command("/reopen_logs", "reopen access logs", post=True),
    Command("/reset_counters", "reset all counters to zero", post=True),
    Command("/runtime", "print runtime values"),
    Command(
        "/runtime_modify",
        "Adds or modifies runtime values as passed in query parameters. To delete a previously added key, "
        "use an empty string as the value. Note that deletion only applies to overrides added via this "
        "endpoint; values loaded from disk can be modified via override but not deleted. "
        "E.g. ?key1=value1&key2=value2...",
        post=True,
    ),
    Command("/server_info", "print server version/status information"),
    Command(
        "/stats",
        "print server stats",
        (
            _USED,
            _FILTER,
            _INVERT,
            Parameter("format", "Format to use", ("html", "active-html", "text", "json")),
            Parameter(
                "type", "Stat types to include.", ("All", "Counters", "Histograms", "Gauges", "TextReadouts")
            ),
            Parameter(
                "histogram_buckets",
                "Histogram bucket display mode",
                ("cumulative", "disjoint", "detailed", "summary"),
            ),
        ),
    ),
    Command("/stats/prometheus", "print server stats in prometheus format", _PROMETHEUS),
)

BY_PATH = {command.path: command for command in MENU}


def help_text() -> str:
    """Return the list that /help prints, and a wrong path gets."""
    lines = ["admin commands are:"]
    for command in MENU:
        lines.append(f"  {command.path}{' (POST)' if command.post else ''}: {command.help}")
        for parameter in command.parameters:
            choices = f"; One of ({', '.join(parameter.choices)})" if parameter.choices else ""
            lines.append(f"      {parameter.name}: {parameter.help}{choices}")
    return "\n".join(lines) + "\n"
