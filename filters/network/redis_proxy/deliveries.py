"""
Messages on their way to subscribers: those of one batch of events go out together.

A write to a socket costs many times what everything else about a message does.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshd.filters.network.redis_proxy.client import Client
    from meshd.filters.network.redis_proxy.pubsub import Topic

#: Bytes that wait at most: what is written to a client that does not read is kept for it alone.
_MOST = 65536

_topic_of = itemgetter(0)


class Deliveries:
    """The messages that have come and have not been passed on."""

    def __init__(self, soon: Callable[[Callable[[], object]], object]) -> None:
        self._soon = soon
        self._waiting: list[tuple[Topic, bytes]] = []
        self._size = 0

    def add(self, topic: Topic, said: bytes) -> None:
        """Pass a message of RESP2 on to who wants the topic, when this batch of events is over."""
        if not self._waiting:
            self._soon(self.flush)
        self._waiting.append((topic, said))
        self._size += len(said)
        if self._size >= _MOST:
            self.flush()

    def flush(self) -> None:
        """Pass on what has come so far: to be called before somebody begins or ceases to want a topic."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        self._size = 0
        runs = [_run(topic, [said for _, said in group]) for topic, group in groupby(waiting, _topic_of)]
        if len(runs) == 1:
            topic, said, push = runs[0]
            for client in list(topic.clients):
                client.write(said if client.protocol == 2 else push)
        else:
            _write_each(runs)


def _run(topic: Topic, messages: list[bytes]) -> tuple[Topic, bytes, bytes]:
    """Return what the subscribers of a topic get of messages in a row, in RESP2 and in RESP3."""
    return topic, b"".join(messages), b"".join([b">" + said[1:] for said in messages])


def _write_each(runs: list[tuple[Topic, bytes, bytes]]) -> None:
    """Write to each client, once, what it wants of messages of several topics, in their order."""
    owed: dict[Client, list[bytes]] = {}
    for topic, said, push in runs:
        for client in topic.clients:
            owed.setdefault(client, []).append(said if client.protocol == 2 else push)
    for client, messages in owed.items():
        client.write(b"".join(messages))
