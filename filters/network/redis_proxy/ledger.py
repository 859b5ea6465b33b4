"""
A client's queue that looks at what is added: for what CLIENT REPLY and CLIENT CACHING say of later commands.

Clients have a plain deque, which costs less, as long as nobody looks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from meshd.filters.network.redis_proxy.request import Barrier, Slot

if TYPE_CHECKING:
    from meshd.filters.network.redis_proxy.client import Client

#: Gets what is added to the queue, and returns what takes its place there.
Look = Callable[[Slot], Slot]


class Ledger(deque[Slot]):
    """The queue of one client; looks are called in their order, the first added last."""

    def __init__(self, client: Client) -> None:
        super().__init__(client.queue)
        self._client = client
        self.looks: list[Look] = []

    def append(self, slot: Slot) -> None:
        if not isinstance(slot, Barrier):
            for look in list(self.looks):
                slot = look(slot)
        if self._client.queue is self:
            super().append(slot)
        else:
            self._client.queue.append(slot)  # nobody looks any more

    def extend(self, slots: Iterable[Slot]) -> None:
        for slot in slots:
            self.append(slot)


def look_at(client: Client, look: Look) -> None:
    """Let look see what is added to the queue of client from now on, before all others that do."""
    queue = client.queue
    if not isinstance(queue, Ledger):
        queue = client.queue = Ledger(client)
        client.keep_apart(True)
    if look not in queue.looks:
        queue.looks.insert(0, look)


def look_away(client: Client, look: Look) -> None:
    """Let look see no more."""
    queue = client.queue
    if isinstance(queue, Ledger) and look in queue.looks:
        queue.looks.remove(look)
        if not queue.looks:
            client.queue = deque(queue)
            client.keep_apart(False)
