"""
The hello command, with which every connection begins: what it tells, and what may be changed in its answer.

Servers of a replica set tell clients the addresses of all members; a client
then connects to these, past the proxy, unless the answer is changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from meshd.codec import bson

#: What has an address in an answer, and what has several.
_ONE = frozenset((b"me", b"primary"))
_SEVERAL = frozenset((b"hosts", b"passives", b"arbiters"))


@dataclass(frozen=True, slots=True)
class Client:
    """What a client tells of itself in its first hello."""

    application: str
    driver: str
    version: str


def read_client(data: bytes, fields: dict[bytes, bson.Place]) -> Client | None:
    """Return what the client field of a hello tells; None if it has none.  Raise BsonError."""
    at = bson.document(fields.get(b"client"))
    if at is None:
        return None
    client = bson.fields(data, at)
    application = _within(data, client.get(b"application"), b"name")
    return Client(
        application,
        _within(data, client.get(b"driver"), b"name"),
        _within(data, client.get(b"driver"), b"version"),
    )


def _within(data: bytes, place: bson.Place | None, name: bytes) -> str:
    at = bson.document(place)
    if at is None:
        return ""
    return bson.text(data, bson.fields(data, at).get(name)) or ""


def rewrite(data: bytes, at: int, hosts: Mapping[str, str]) -> bytes | None:
    """
    Return the answer to a hello with other addresses; None if there is nothing to change.

    Addresses are compared without regard to case, as they are names.  Raise BsonError.
    """
    changed = False
    elements = []
    for name, kind, value in bson.split(data, at):
        if name in _ONE and kind == bson.STRING:
            new = _other(value, hosts)
        elif name in _SEVERAL and kind == bson.ARRAY:
            new = _others(value, hosts)
        else:
            new = value
        changed = changed or new != value
        elements.append(bson.Element(name, kind, new))
    return bson.join(elements) if changed else None


def _other(value: bytes, hosts: Mapping[str, str]) -> bytes:
    address = hosts.get(value[4:-1].decode("utf-8", "replace").lower())
    return value if address is None else bson.string(address)


def _others(value: bytes, hosts: Mapping[str, str]) -> bytes:
    return bson.join(
        bson.Element(name, kind, _other(inside, hosts) if kind == bson.STRING else inside)
        for name, kind, inside in bson.split(value)
    )
