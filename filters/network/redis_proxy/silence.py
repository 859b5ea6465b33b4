"""
CLIENT REPLY: replies that are not sent, though the commands are done, and in order.

Messages, invalidations and acknowledgements of subscriptions are sent nevertheless, as by Redis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshd.filters.network.redis_proxy.ledger import look_at, look_away
from meshd.filters.network.redis_proxy.request import Acknowledgement, Slot

if TYPE_CHECKING:
    from meshd.filters.network.redis_proxy.client import Client

OK = b"+OK\r\n"


class Mute(Slot):
    """Stands for a slot whose reply is not sent."""

    __slots__ = ("slot",)

    def __init__(self, slot: Slot) -> None:
        self.slot = slot

    @property
    def reply(self) -> bytes | None:  # type: ignore[override]
        """Nothing, once the reply is there."""
        return None if self.slot.reply is None else b""

    def abandon(self) -> None:
        self.slot.abandon()


class Silence:
    """What a client that said CLIENT REPLY OFF or SKIP has: SKIP is about one command only."""

    def __init__(self, client: Client, skips: bool) -> None:
        self._client = client
        self._skips = skips
        client.silence = self
        look_at(client, self._look)

    @property
    def lasts(self) -> bool:
        """Whether it is that of OFF."""
        return not self._skips

    def _look(self, slot: Slot) -> Slot:
        if self._skips:
            self.end()
        return slot if isinstance(slot, Acknowledgement) else Mute(slot)

    def end(self) -> None:
        """Let replies be sent again."""
        self._client.silence = None
        look_away(self._client, self._look)


def client_reply(client: Client, arguments: list[bytes]) -> bytes | None:
    """Do CLIENT REPLY; return the reply, None if there is none."""
    mode = arguments[2].upper()
    if mode not in (b"ON", b"OFF", b"SKIP"):
        return b"-ERR syntax error\r\n"
    if mode != b"ON":
        client.reply(b"")
    silence = client.silence
    if silence is not None and (mode != b"SKIP" or not silence.lasts):
        silence.end()
    if mode == b"ON":
        return OK
    if client.silence is None:
        Silence(client, mode == b"SKIP")
    return None
