"""How the answers of several hosts to one command become one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from random import choice
from typing import Any

from meshd.codec.resp_reply import Map, Verbatim, decode, encode

Merge = Callable[[list[Any]], Any]


def _first(values: list[Any]) -> Any:
    return values[0]


def _total(values: list[Any]) -> Any:
    return sum(values)


def _chain(values: list[Any]) -> Any:
    """Return all elements, those of the first host first."""
    return type(values[0])(item for value in values for item in value)


def _union(values: list[Any]) -> Any:
    """Return all elements once."""
    found: dict[bytes, Any] = {}
    for value in values:
        for item in value:
            found.setdefault(encode(item, 3), item)
    return type(values[0])(found.values())


def _known(values: list[Any]) -> Any:
    """Return all that hosts list, once; or what the first says, if it lists nothing."""
    return _union(values) if isinstance(values[0], list) else values[0]


def _any(values: list[Any]) -> Any:
    there = [value for value in values if value is not None]
    return choice(there) if there else None


def _all_have(values: list[Any]) -> Any:
    """Return for each script whether all hosts have it."""
    return [min(each) for each in zip(*values, strict=True)]


def _pairs(value: Any) -> Iterable[tuple[Any, Any]]:
    return value if isinstance(value, Map) else zip(value[::2], value[1::2], strict=True)


def _unpaired(like: Any, pairs: Iterable[tuple[Any, Any]]) -> Any:
    return Map(pairs) if isinstance(like, Map) else [item for pair in pairs for item in pair]


def _sum_by_name(values: list[Any]) -> Any:
    """Add up the numbers behind each name."""
    sums: dict[Any, int] = {}
    for value in values:
        for name, number in _pairs(value):
            sums[name] = sums.get(name, 0) + number
    return _unpaired(values[0], sums.items())


def _settings(values: list[Any]) -> Any:
    """Tell each setting once; where hosts differ, each value that there is."""
    found: dict[Any, Any] = {}
    for value in values:
        for pair in _pairs(value):
            found.setdefault(tuple(map(bytes, pair)), pair)
    return _unpaired(values[0], found.values())


#: Fields of INFO that are told as the sum of all hosts'.
_SUMMED = frozenset(
    """
    connected_clients blocked_clients tracking_clients clients_in_timeout_table used_memory
    used_memory_rss used_memory_peak used_memory_lua used_memory_dataset maxmemory total_system_memory
    total_connections_received total_commands_processed instantaneous_ops_per_sec total_net_input_bytes
    total_net_output_bytes rejected_connections expired_keys evicted_keys keyspace_hits keyspace_misses
    pubsub_channels pubsub_patterns pubsubshard_channels used_cpu_sys used_cpu_user total_reads_processed
    total_writes_processed total_error_replies connected_slaves rdb_changes_since_last_save
    """.split()
)


def merge_info(values: list[Any]) -> Any:
    """
    Return one INFO for all hosts: counts and sizes are added up, the keyspaces too; the rest is the first's.

    redis_hosts, the first field, says how many hosts it is about.
    """
    merged: dict[str, dict[str, str]] = {}
    for value in values:
        text = bytes(value[4:] if isinstance(value, Verbatim) else value).decode("utf-8", "replace")
        section = merged.setdefault("", {})
        for line in text.splitlines():
            if line.startswith("#"):
                section = merged.setdefault(line[1:].strip(), {})
            elif ":" in line:
                name, _, field = line.partition(":")
                section[name] = _add_field(name, section.get(name), field)
    lines = []
    for title, fields in merged.items():
        if fields:
            lines += [f"# {title}", *(f"{name}:{field}" for name, field in fields.items()), ""]
    if lines:
        lines.insert(1, f"redis_hosts:{len(values)}")
    data = "\r\n".join(lines).encode()
    return Verbatim(b"txt:" + data) if isinstance(values[0], Verbatim) else data


def _add_field(name: str, before: str | None, field: str) -> str:
    if before is None:
        return field
    try:
        if name in _SUMMED:
            return f"{float(before) + float(field):.6f}" if "." in field else str(int(before) + int(field))
        if name.startswith("db") and name[2:].isdigit():
            old, new = (dict(each.split("=", 1) for each in part.split(",")) for part in (before, field))
            return ",".join(
                f"{key}={int(number) + int(new.get(key, 0)) if key in ('keys', 'expires') else number}"
                for key, number in old.items()
            )
    except ValueError:
        return before
    return before


MERGES: dict[str, Merge] = {
    "keys": _chain,
    "dbsize": _total,
    "randomkey": _any,
    "script|load": _first,
    "script|exists": _all_have,
    "config|get": _settings,
    "pubsub|channels": _union,
    "pubsub|shardchannels": _union,
    "pubsub|numsub": _sum_by_name,
    "pubsub|shardnumsub": _sum_by_name,
    "pubsub|numpat": _total,
    "wait": min,
    "waitaof": lambda values: [min(each) for each in zip(*values, strict=True)],
    "slowlog|get": _chain,
    "slowlog|len": _total,
    "lastsave": min,
    "info": merge_info,
    "function|list": _union,
    "ft._list": _union,
    "ft.config": _known,
    # Every host has all of a dictionary; where one had a part already it counts less.
    "ft.dictadd": max,
    "ft.dictdel": max,
    "ft.dictdump": _union,
    "module|list": _union,
    "publish": _total,
    "latency|latest": _chain,
    "latency|history": _chain,
    "latency|reset": _total,
    "ts.queryindex": _union,
    "ts.mget": _chain,
    "ts.mrange": _chain,
    "ts.mrevrange": _chain,
}


def merge(name: str, protocol: int, replies: Sequence[bytes]) -> bytes:
    """Return one reply for the replies of all hosts to the command name; an error, if any has one."""
    if len(replies) == 1:
        return replies[0]
    for reply in replies:
        if reply[0] == 45:
            return reply
    function = MERGES.get(name)
    if function is None:
        return replies[0]
    values = [decode(reply) for reply in replies]
    try:
        merged = function(values)
    except (TypeError, ValueError):
        return b"-upstream protocol error\r\n"
    return encode(merged, protocol)
