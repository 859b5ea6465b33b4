"""A server of MongoDB's protocol before version 3.6, as a script for a Backend, and what its clients send."""

from __future__ import annotations

import struct
from typing import Any

import bson

from meshd.codec.mongo import legacy
from tests.interop.peers import Peer

ANSWER = {"_id": 1, "name": "Ada", "tags": ["a", "b"]}


def read_message(peer: Peer) -> bytes:
    """Receive a whole message; b"" at the end."""
    head = peer.read(4)
    if len(head) < 4:
        return b""
    return head + peer.read(struct.unpack("<i", head)[0] - 4)


def answer_to(message: bytes) -> bytes:
    """Answer an OP_QUERY or OP_GET_MORE; what a query wants of it is in its document's field "answer"."""
    _, request, _, opcode = struct.unpack_from("<iiii", message)
    if opcode not in (legacy.OP_QUERY, legacy.OP_GET_MORE):
        return b""
    wanted: dict[str, Any] = {}
    if opcode == legacy.OP_QUERY:
        query = legacy.decode(message, opcode, request, 0)
        assert isinstance(query, legacy.Query)
        found = bson.decode(query.query)
        wanted = found.get("answer") or found.get("$query", {}).get("answer") or {}
    if wanted.get("never"):
        return b""
    documents = [bson.encode(ANSWER)] * wanted.get("documents", 1)
    flags, cursor = wanted.get("flags", 8), wanted.get("cursor", 0)
    return legacy.encode(legacy.Reply(1000 + request, request, flags, cursor, 0, len(documents), documents))


def old_server(peer: Peer) -> None:
    """Answer each query until the client ends."""
    while message := read_message(peer):
        made = answer_to(message)
        if made:
            peer.send(made)


def query(
    collection: str,
    document: dict[str, Any],
    request: int = 1,
    flags: int = 0,
    answer: dict[str, Any] | None = None,
) -> bytes:
    """An OP_QUERY; answer says what the server is to give."""
    if answer:
        document = {**document, "answer": answer}
    return legacy.encode(legacy.Query(request, 0, flags, collection, 0, 10, bson.encode(document)))


def ask(peer: Peer, message: bytes) -> bytes:
    """Send a message, and receive its answer."""
    peer.send(message)
    return read_message(peer)
