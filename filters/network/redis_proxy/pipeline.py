"""Pipelines the short way: commands of one client that came together are sent together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from meshd.codec.resp_uniform import Uniform, uniform
from meshd.filters.network.redis_proxy.spread import spread
from meshd.filters.network.redis_proxy.train import Load, Train

if TYPE_CHECKING:
    from meshd.codec.resp import Request as Parsed
    from meshd.filters.network.redis_proxy.client import Client
    from meshd.filters.network.redis_proxy.lane import Lane
    from meshd.filters.network.redis_proxy.link import Link
    from meshd.filters.network.redis_proxy.table import Entry

#: Fewer commands than that go one by one.
LEAST = 4


def send_uniform(client: Client, lane: Lane, data: bytes) -> bool:
    """Send commands that look alike together, if data is such; return whether it was."""
    parser = client.parser
    if client.gate is not None or client.held or parser.buffered or parser.error is not None:
        return False
    alike = uniform(data)
    if alike is None or alike.count < LEAST or not lane.current:
        return False
    kinds = _kinds(client, alike.columns[0])
    if kinds is None:
        return False
    client.now = client.seconds()
    sent = _send_kinds(client, lane, alike, kinds)
    if sent:
        client.flush()
        client.pause_if_full()
    return sent


def _kinds(client: Client, names: list[bytes]) -> dict[bytes, Entry] | None:
    """Return the entries of commands that may go together, by name."""
    find = client.table.spelt.get
    found: dict[bytes, Entry] = {}
    for name in set(names):
        entry = find(name)
        if entry is None or not (entry.quick or entry.gathers):
            return None
        found[name] = entry
    return found


def _send_kinds(client: Client, lane: Lane, alike: Uniform, kinds: dict[bytes, Entry]) -> bool:
    names, entries = alike.columns[0], list(kinds.values())
    if any(entry.gathers for entry in entries) and lane.sole() is None:
        return len(set(entries)) == 1 and _gather(client, lane, alike, entries[0])
    links = lane.links(alike.columns[1], entries)
    if links is None:
        return False
    stats = client.shared.stats
    stats.rq_total.value += alike.count
    stats.rq_active.value += alike.count
    counts: dict[Entry, int] = {}
    for name, entry in kinds.items():  # GET and get are one
        counts[entry] = counts.get(entry, 0) + names.count(name)
    _depart(Train(client, counts, lambda place: kinds[names[place]], alike), links)
    return True


def _gather(client: Client, lane: Lane, alike: Uniform, entry: Entry) -> bool:
    """Send MGETs to several hosts."""
    if lane.pool.may_redirect:
        return False
    links = lane.links(alike.arguments(), (entry,))
    if links is None:
        return False
    spread(client, entry, links, alike.bulks(), len(alike.columns) - 1)
    return True


def send_first(client: Client, lane: Lane, requests: Sequence[Parsed]) -> int:
    """Send the first commands together, as far as they have one key each; return how many those are."""
    if not lane.current:
        return 0
    find = client.table.spelt.get
    entries, keys, raws = [], [], []
    for arguments, raw in requests:
        entry = find(arguments[0]) if arguments else None
        if entry is None or not entry.quick or len(arguments) < 2:
            break
        entries.append(entry)
        keys.append(arguments[1])
        raws.append(raw)
    counts = Counter(entries)
    links = lane.links(keys, list(counts)) if len(raws) >= LEAST else None
    if links is None:
        return 0
    _depart(Train(client, counts, entries.__getitem__, Load(raws)), links)
    return len(raws)


def _depart(train: Train, links: Sequence[Link]) -> None:
    client = train.client
    client.queue.append(train)
    client.in_trains += train.owed - 1
    train.couple(links)
