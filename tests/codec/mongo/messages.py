"""Messages of every kind, for the tests of the codec and the filter."""

from __future__ import annotations

from typing import Any

import bson

from meshd.codec.mongo import legacy, message


def msg(body: dict[str, Any], request: int = 1, to: int = 0, flags: int = 0, **sequences: Any) -> bytes:
    """An OP_MSG; a keyword is a sequence: documents=[{...}]."""
    parts = tuple((name, b"".join(map(bson.encode, each))) for name, each in sequences.items())
    return message.encode(request, to, bson.encode(body), parts, flags)


def query(
    collection: str, document: dict[str, Any], request: int = 1, flags: int = 0, **selector: Any
) -> bytes:
    """An OP_QUERY; keywords are its field selector."""
    fields = bson.encode(selector) if selector else b""
    return legacy.encode(legacy.Query(request, 0, flags, collection, 0, 10, bson.encode(document), fields))


def reply(to: int, *documents: dict[str, Any], flags: int = 0, cursor: int = 0, request: int = 100) -> bytes:
    """An OP_REPLY."""
    found = [bson.encode(each) for each in documents]
    return legacy.encode(legacy.Reply(request, to, flags, cursor, 0, len(found), found))


#: One of each opcode, and some variants.
DOCUMENT = {"_id": bson.ObjectId("0123456789abcdef01234567"), "name": "Ada", "tags": ["a", {"b": 1.5}]}
RAW = bson.encode(DOCUMENT)
LEGACY: list[legacy.Legacy] = [
    legacy.Query(1, 0, 4, "db.users", 0, 10, RAW),
    legacy.Query(1, 0, 4, "db.users", 0, 10, RAW, bson.encode({"a": 1})),
    legacy.Reply(2, 1, 8, 77, 0, 2, [RAW, RAW]),
    legacy.GetMore(3, 0, "db.users", 5, 77),
    legacy.Insert(4, 0, 1, "db.users", [RAW, RAW]),
    legacy.Update(5, 0, "db.users", 2, RAW, RAW),
    legacy.Delete(6, 0, "db.users", 1, RAW),
    legacy.KillCursors(7, 0, [1, -2, 1 << 62]),
    legacy.Command(8, 0, "db", "ping", RAW, RAW, [RAW]),
    legacy.CommandReply(9, 8, RAW, RAW, []),
]
MESSAGES = [
    msg({"find": "users", "filter": {"_id": 1}, "$db": "db"}),
    msg({"insert": "users", "$db": "db"}, 2, flags=message.MORE_TO_COME, documents=[DOCUMENT, DOCUMENT]),
    msg({"ping": 1, "$db": "admin"}, 3, flags=message.CHECKSUM_PRESENT),
    msg({"cursor": {"id": bson.Int64(7), "ns": "db.users", "firstBatch": [DOCUMENT] * 3}, "ok": 1.0}, 4, 1),
]
WIRES = [*MESSAGES, *(legacy.encode(each) for each in LEGACY)]
