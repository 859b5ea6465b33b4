"""
Makes the tables of commands from what servers say of themselves (COMMAND).

Run as ``python -m tests.filters.network.redis_proxy.generate PORT ...`` with the
ports of servers on this machine: Redis 7.0 first, then newer ones, then those
with modules.  What an earlier server says goes before what a later one does,
but that the arity is the one of them all that allows the most.  The tables are
written where they belong.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

PLACE = Path(__file__).parents[4] / "filters" / "network" / "redis_proxy"

#: Keys that the servers describe in part only, or (the modules) wrongly; and indexes for keys.
SPECS = {
    "sort": "sort",
    "sort_ro": "1",
    "georadius": "georadius",
    "georadiusbymember": "georadiusbymember",
    "migrate": "migrate",
    "json.mget": "1..-2",
    "cms.merge": "1 2#",
    "tdigest.merge": "1 2#",
    "ts.createrule": "1..2",
    "ts.deleterule": "1..2",
    "clusterscan": "",
}
FIRST_ARGUMENT = ("ft.add", "ft.safeadd", "ft.get", "ft.mget", "ft.del", "ft.dictadd", "ft.dictdel",
                  "ft.dictdump")  # fmt: skip
SECOND_ARGUMENT = ("ft.aliasadd", "ft._aliasaddifnx", "ft.aliasupdate", "bf.debug", "cf.debug")

#: Commands that none of the servers knows that can be had, as src/commands of Redis 8.4 to 8.8 says.
DOCUMENTED = """
arcount 2 readonly,fast array 1
ardel -3 write,fast array 1
ardelrange -4 write array 1
arget 3 readonly,fast array 1
argetrange 4 readonly array 1
argrep -6 readonly array 1
arinfo -2 readonly array 1
arinsert -3 write,denyoom,fast array 1
arlastitems -3 readonly array 1
arlen 2 readonly,fast array 1
armget -3 readonly,fast array 1
armset -4 write,denyoom,fast array 1
arnext 2 readonly,fast array 1
arop -5 readonly array 1
arring -4 write,denyoom array 1
arscan -4 readonly array 1
arseek 3 write,fast array 1
arset -4 write,denyoom,fast array 1
delex -2 write,fast string 1
digest 2 readonly,fast string 1
hotkeys -2 - - -
vrange -1 readonly,module - 1
xcfgset -2 write,fast stream 1
""".split("\n")

#: Parts of modules that are for their own tests, and for talking to each other.
INTERNAL = ("ft.debug|", "timeseries.")

TABLES = {
    "command_table": "What Redis and Valkey say of their commands.",
    "subcommand_table": "What Redis and Valkey say of the subcommands of their commands.",
    "module_table": "What the modules JSON, search, bloom filters, time series and vector sets say.",
}


def ask(port: int) -> list[Any]:
    """Return the answer to COMMAND of the server at port of this machine."""
    text = subprocess.check_output(["redis-cli", "-p", str(port), "-3", "--json", "command"])
    found: list[Any] = json.loads(text)
    return found


def flat(commands: Iterable[Any]) -> Iterator[Any]:
    """Yield the commands, and after each its subcommands."""
    for each in commands:
        yield each
        yield from flat(each[9] if len(each) > 9 else [])


def spec_part(spec: Any) -> str:
    """Write one key specification as meshd.filters.network.redis_proxy.key_specs reads it."""
    begin, find = spec["begin_search"], spec["find_keys"]
    mark = "!" if "not_key" in spec["flags"] else ""
    if begin["type"] == "keyword":
        return f"@{begin['spec']['keyword']}:{begin['spec']['startfrom']}..%{find['spec']['limit']}"
    index = begin["spec"]["index"]
    step = find["spec"]["keystep"]
    steps = f"/{step}" if step > 1 else ""
    if find["type"] == "keynum":
        return f"{mark}{index}#{steps}"
    last = find["spec"]["lastkey"]
    if last:
        return f"{mark}{index}..{last if last < 0 else index + last}{steps}"
    return f"{mark}{index}"


def spec(name: str, specs: list[Any]) -> str:
    """Return where the keys of the command of that name are."""
    if name in SPECS:
        return SPECS[name]
    if name in FIRST_ARGUMENT:
        return "1"
    if name in SECOND_ARGUMENT:
        return "2"
    return " ".join(map(spec_part, specs))


def implied(flags: Iterable[str], groups: Iterable[str]) -> set[str]:
    """Return the ACL categories that follow from flags (Redis: setImplicitACLCategories)."""
    names = set(flags)
    found = {"fast" if "fast" in names else "slow"}
    found |= names & {"write", "admin", "pubsub", "blocking"}
    if "admin" in names:
        found.add("dangerous")
    if "readonly" in names and "scripting" not in groups:
        found.add("read")
    return found


def row(command: Any) -> str:
    """Return the line of a table for an entry of COMMAND."""
    name, arity, flags = command[0].lower(), command[1], sorted(command[2])
    groups = {each.removeprefix("@") for each in command[6]}
    extra = groups - implied(flags, groups)
    keys = spec(name, command[8])
    if "no_mandatory_keys" in flags:
        keys += "?"
    return f"{name} {arity} {','.join(flags) or '-'} {','.join(sorted(extra)) or '-'} {keys or '-'}"


def gather(answers: Iterable[list[Any]]) -> dict[str, Any]:
    """Return the entries of all servers by name."""
    found: dict[str, Any] = {}
    for answer in answers:
        for each in flat(answer):
            name = each[0].lower()
            known = found.setdefault(name, each)
            if -abs(each[1]) > -abs(known[1]) or (abs(each[1]) == abs(known[1]) and each[1] < 0):
                known[1] = each[1]
    return found


def table_of(name: str) -> str:
    """Return which table the command of that name is in."""
    if "." in name or name.startswith("v"):
        return "module_table"
    return "subcommand_table" if "|" in name else "command_table"


def write(entries: dict[str, Any]) -> None:
    """Write the tables."""
    rows = {name: row(each) for name, each in entries.items() if not name.startswith(INTERNAL)}
    for line in DOCUMENTED:
        if line:
            rows.setdefault(line.split()[0], line)
    for table, title in TABLES.items():
        lines = [rows[name] for name in sorted(rows) if table_of(name) == table]
        text = "\n".join(lines)
        (PLACE / f"{table}.py").write_text(
            f'"""\n{title}\n\nMade by tests/filters/network/redis_proxy/generate.py: do not edit.\n'
            "The columns: name, arity, flags, ACL categories that do not follow from the flags, and where\n"
            "the keys are (key_specs).\n"
            f'"""\n\nROWS = """\n{text}\n"""\n'
        )


if __name__ == "__main__":
    write(gather(ask(int(port)) for port in sys.argv[1:]))
