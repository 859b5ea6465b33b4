"""The commands that change something: log levels, runtime values, health, counters, drain, exit."""

from __future__ import annotations

from collections.abc import Sequence

from meshd.admin.query import OK, Answer, BadRequest, Query, Server, as_json
from meshd.observe.log import LEVELS, Levels

LOGGING_USAGE = """\
usage: /logging?<name>=<level> (change single level)
usage: /logging?paths=name1:level1,name2:level2,... (change multiple levels)
usage: /logging?level=<level> (change all levels)
usage: /logging?group=<group_name>:<level> (change group of loggers)
levels: trace debug info warning error critical off \n"""

RUNTIME_USAGE = (
    "usage: /runtime_modify?key1=value1&key2=value2&keyN=valueN\n"
    "       or send the parameters as form values\n"
    "use an empty value to remove a previously added override"
)


def drain_listeners(server: Server, query: Query) -> Answer:
    """Answer /drain_listeners."""
    server.drain_listeners(query.has("graceful"), query.has("inboundonly"), query.has("skip_exit"))
    return OK


def healthcheck_fail(server: Server, query: Query) -> Answer:
    """Answer /healthcheck/fail."""
    server.fail_health_checks()
    return OK


def healthcheck_ok(server: Server, query: Query) -> Answer:
    """Answer /healthcheck/ok."""
    server.pass_health_checks()
    return OK


def quitquitquit(server: Server, query: Query) -> Answer:
    """Answer /quitquitquit: exit once the answer is sent."""
    return Answer("OK\n", after=server.quit)


def reopen_logs(server: Server, query: Query) -> Answer:
    """Answer /reopen_logs."""
    server.reopen_logs()
    return OK


def reset_counters(server: Server, query: Query) -> Answer:
    """Answer /reset_counters."""
    server.stats.reset_counters()
    return OK


def runtime(server: Server, query: Query) -> Answer:
    """Answer /runtime: each key with the value that each layer gives it."""
    layers, entries = server.runtime.layers, server.runtime.entries()
    shown = {
        key: {"layer_values": [values.get(layer, "") for layer in layers], "final_value": final}
        for key, (values, final) in entries.items()
    }
    return as_json({"layers": list(layers), "entries": shown})


def runtime_modify(server: Server, query: Query) -> Answer:
    """Answer /runtime_modify: set or take back values of the admin layer."""
    if not query.pairs:
        raise BadRequest(RUNTIME_USAGE)
    if not server.runtime.modifiable:
        raise BadRequest("No admin layer specified", 503)
    for key, value in query.pairs:
        server.runtime.modify(key, value)
    return OK


def logging(server: Server, query: Query) -> Answer:
    """Answer /logging: change levels, all at once or none, and list them."""
    try:
        _set_levels(server.levels, query)
    except ValueError as error:
        return Answer(f"error: {error}\n\n{LOGGING_USAGE}{_level_list(server)}", 400)
    return Answer(_level_list(server))


def _level_list(server: Server) -> str:
    lines = [f"  {name}: {level}\n" for name, level in server.levels.get_all().items()]
    return "".join(["active loggers:\n", *lines])


def _set_levels(levels: Levels, query: Query) -> None:
    """Do what query asks; ValueError, with Envoy's words, if that cannot be done."""
    asked = [(name, value) for name, value in query.pairs if value]
    if not asked:
        return
    if len(asked) > 1:
        raise ValueError("invalid number of parameters")
    [(name, value)] = asked
    if name == "level":
        levels.set_all(_level(value))
        return
    if name == "group":
        raise ValueError("group parameter requires fine-grain logging to be enabled")
    wanted = _pairs(value) if name == "paths" else [(name, _level(value))]
    known = levels.get_all()
    # A namespace may have a level of its own before it is heard of.
    if any(each not in known and not each.startswith("meshd.") for each, _ in wanted):
        raise ValueError("unknown logger name")
    for each, level in wanted:
        levels.set(each, level)


def _pairs(text: str) -> Sequence[tuple[str, str]]:
    pairs = []
    for part in text.split(","):
        name, _, level = part.partition(":")
        if not name or not level:
            raise ValueError("empty logger name or empty logger level")
        pairs.append((name, _level(level)))
    return pairs


def _level(text: str) -> str:
    if text not in LEVELS:
        raise ValueError("unknown logger level")
    return text
