"""Who is let in: passwords, and which RESP version they have to speak."""

from __future__ import annotations

from hmac import compare_digest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshd.filters.network.redis_proxy.client import Client, Gate
    from meshd.filters.network.redis_proxy.settings import Settings
    from meshd.filters.network.redis_proxy.table import Entry

NOAUTH = b"-NOAUTH Authentication required.\r\n"
NOPROTO = b"-NOPROTO unsupported protocol version\r\n"
_NO_PASSWORD = b"-ERR Client sent AUTH, but no password is set\r\n"
_NO_PAIR = b"-ERR Client sent AUTH, but no username-password pair is set\r\n"
_WRONG = b"-ERR invalid password\r\n"
_WRONG_PAIR = b"-WRONGPASS invalid username-password pair\r\n"

#: What may be said before the password, or before HELLO 3.
_FIRST = frozenset({"auth", "hello", "quit", "reset"})


class Lock:
    """The gate that lets nobody in without a password; behind it is the gate that is next."""

    def __init__(self, behind: Gate | None) -> None:
        self.behind = behind

    def __call__(self, client: Client, entry: Entry | None, arguments: list[bytes], raw: bytes) -> bool:
        if entry is None or entry.name in _FIRST:
            return False  # that there is no such command is said first, as Redis does
        client.reply(NOAUTH)
        return True


def first_gate(settings: Settings, client: Client) -> Gate | None:
    """Return the gate of a client that has just connected."""
    gate = no_protocol if client.options.protocol == "RESP3" else None
    return Lock(gate) if settings.passwords or settings.external is not None else gate


def lock(client: Client) -> None:
    """Let a client in no more, until it has a password."""
    if not isinstance(client.gate, Lock):
        client.gate = Lock(client.gate)


def unlock(client: Client, username: bytes) -> None:
    """Let a client in, as the user of that name."""
    client.user = username or b"default"
    if isinstance(client.gate, Lock):
        client.gate = client.gate.behind


def no_protocol(client: Client, entry: Entry | None, arguments: list[bytes], raw: bytes) -> bool:
    """Let nobody in who does not speak RESP3."""
    if entry is not None and entry.name in _FIRST:
        return False
    client.shared.stats.rq_noproto.inc()
    client.reply(NOPROTO)
    return True


def _is_any(given: bytes, passwords: tuple[bytes, ...]) -> bool:
    # All are compared, so that the time does not tell which one is near.
    return sum(compare_digest(given, each) for each in passwords) > 0


def log_in(client: Client, words: list[bytes]) -> bytes:
    """Take the arguments of AUTH; return the error, b"" if the client is let in."""
    settings = client.shared
    if len(words) == 1:
        if not settings.passwords:
            return _NO_PASSWORD
        return _let(client, _is_any(words[0], settings.passwords), settings.username, _WRONG)
    username, password = words
    if not settings.passwords:
        return _NO_PAIR
    known = compare_digest(username, settings.username or b"default")
    return _let(client, _is_any(password, settings.passwords) and known, username, _WRONG_PAIR)


def _let(client: Client, right: bool, username: bytes, error: bytes) -> bytes:
    if not right:
        lock(client)
        return error
    unlock(client, username)
    return b""
