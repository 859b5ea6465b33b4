"""
The topology of a Redis Cluster: which node is the primary of which slots, and which are its replicas.

Read from the answers to CLUSTER SLOTS and CLUSTER SHARDS, as their pages at
https://redis.io/docs/latest/commands/ describe them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from meshd.codec.redis_slot import SLOTS


class BadTopology(Exception):
    """An answer that tells no topology."""


class Node(NamedTuple):
    """Where a node is: a name or an IP address, and a port; and its zone, if it was told (Valkey)."""

    host: str
    port: int
    zone: str = ""


#: The first and the last of some slots.
Range = tuple[int, int]


@dataclass(frozen=True)
class Shard:
    """The slots that a primary serves, and its replicas."""

    slots: tuple[Range, ...]
    primary: Node
    replicas: tuple[Node, ...]


Topology = tuple[Shard, ...]


def read_slots(answer: Any, asked: str) -> Topology:
    """
    Read the answer to CLUSTER SLOTS of the node at the address asked.

    Raise BadTopology.  Of entries of one primary the first tells its replicas, as in Envoy.
    """
    found: dict[Node, tuple[list[Range], tuple[Node, ...]]] = {}
    for entry in _list(answer):
        first, last, primary, *others = _list(entry, 3)
        node = _slot_node(primary, asked)
        if node is None:
            raise BadTopology(f"nobody can tell where the primary of slot {first!r} is")
        replicas = (_slot_node(each, asked) for each in others)
        slots, _ = found.setdefault(node, ([], tuple(each for each in replicas if each)))
        slots.append(_range(first, last))
    return _sorted(Shard(tuple(sorted(slots)), node, replicas) for node, (slots, replicas) in found.items())


def read_shards(answer: Any, asked: str, tls: bool = False) -> Topology:
    """
    Read the answer to CLUSTER SHARDS of the node at the address asked.

    tls says that the ports for TLS are wanted.  Raise BadTopology.
    """
    return _sorted(
        each for each in (_read_shard(_pairs(entry), asked, tls) for entry in _list(answer)) if each
    )


def _read_shard(shard: dict[bytes, Any], asked: str, tls: bool) -> Shard | None:
    numbers = _list(shard.get(b"slots"), 0)
    if not numbers:
        return None  # a primary that has no slots yet serves nothing
    if len(numbers) % 2:
        raise BadTopology(f"{str(numbers)[:80]} are no pairs of slots")
    slots = tuple(_range(*pair) for pair in zip(numbers[::2], numbers[1::2], strict=False))
    primary, replicas = None, []
    for each in _list(shard.get(b"nodes")):
        facts = _pairs(each)
        node = _shard_node(facts, asked, tls)
        if facts.get(b"role") == b"master":
            primary = node
        elif node is not None and facts.get(b"health") != b"failed":
            replicas.append(node)
    if primary is None:
        raise BadTopology("a shard has no primary")
    return Shard(tuple(sorted(slots)), primary, tuple(replicas))


def _sorted(shards: Iterable[Shard]) -> Topology:
    topology = tuple(sorted(shards, key=lambda shard: shard.slots))
    if not topology:
        raise BadTopology("the cluster has no slots")
    return topology


def _list(value: Any, least: int = 1) -> Sequence[Any]:
    if not isinstance(value, list) or len(value) < least:
        raise BadTopology(f"{str(value)[:80]} is not what was asked for")
    return value


def _range(first: Any, last: Any) -> Range:
    if not (isinstance(first, int) and isinstance(last, int) and 0 <= first <= last < SLOTS):
        raise BadTopology(f"{first!r} to {last!r} are no slots")
    return first, last


def _pairs(value: Any) -> dict[bytes, Any]:
    """Read a map, which RESP2 writes as a list of keys and values in turn."""
    items = _list(value)
    keys = items[::2]
    if not all(isinstance(key, bytes) for key in keys):
        raise BadTopology(f"{str(value)[:80]} is no map")
    return dict(zip(keys, items[1::2], strict=False))


def _slot_node(value: Any, asked: str) -> Node | None:
    """Read a node of CLUSTER SLOTS: its preferred endpoint, its port, its id, and more of where it is."""
    host, port, *more = _list(value, 2)
    facts = _pairs(more[1]) if len(more) > 1 and more[1] else {}
    if host == b"?":  # a name is preferred, and it has none
        host = facts.get(b"ip", b"?")
    return _node(host, port, asked, facts)


def _shard_node(facts: dict[bytes, Any], asked: str, tls: bool) -> Node | None:
    host = facts.get(b"endpoint")
    if host == b"?":
        host = facts.get(b"ip")
    return _node(host, facts.get(b"tls-port" if tls else b"port"), asked, facts)


def _node(host: Any, port: Any, asked: str, facts: dict[bytes, Any]) -> Node | None:
    """Return the node, None if nobody can tell where it is; without a host it is where we asked."""
    if not isinstance(port, int) or not 0 < port < 1 << 16 or not isinstance(host, bytes | None):
        raise BadTopology(f"{host!r}:{port!r} is no address")
    if host == b"?":
        return None
    zone = facts.get(b"availability-zone")
    return Node(
        host.decode("utf-8", "replace") if host else asked,
        port,
        zone.decode("utf-8", "replace") if isinstance(zone, bytes) else "",
    )
