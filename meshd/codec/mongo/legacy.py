"""
The opcodes before OP_MSG.

Layouts: MongoDB's manual, "Wire Protocol" and its page of legacy opcodes;
OP_COMMAND and OP_COMMANDREPLY, which only MongoDB 3.2 to 4.0 spoke among
themselves, as Envoy's mongo_proxy reads them.  Documents are the bytes that
they have in the message.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from meshd.codec import bson
from meshd.codec.mongo.framing import HEADER
from meshd.codec.mongo.message import Damaged

OP_REPLY, OP_UPDATE, OP_INSERT, OP_QUERY = 1, 2001, 2002, 2004
OP_GET_MORE, OP_DELETE, OP_KILL_CURSORS = 2005, 2006, 2007
OP_COMMAND, OP_COMMANDREPLY = 2010, 2011

TAILABLE, NO_CURSOR_TIMEOUT, AWAIT_DATA, EXHAUST = 0x02, 0x10, 0x20, 0x40
CURSOR_NOT_FOUND, QUERY_FAILURE = 0x01, 0x02

_int32 = struct.Struct("<i").unpack_from
_two = struct.Struct("<ii").unpack_from
_reply = struct.Struct("<Iqii").unpack_from
_more = struct.Struct("<iq").unpack_from


@dataclass(slots=True)
class Query:
    """OP_QUERY."""

    id: int
    response_to: int
    flags: int
    collection: str
    skip: int
    limit: int
    query: bytes
    selector: bytes = b""
    size: int = 0


@dataclass(slots=True)
class Reply:
    """OP_REPLY; returned is what it says, documents are those that are there."""

    id: int
    response_to: int
    flags: int
    cursor: int
    start: int
    returned: int
    documents: list[bytes]
    size: int = 0


@dataclass(slots=True)
class GetMore:
    """OP_GET_MORE."""

    id: int
    response_to: int
    collection: str
    limit: int
    cursor: int
    size: int = 0


@dataclass(slots=True)
class Insert:
    """OP_INSERT."""

    id: int
    response_to: int
    flags: int
    collection: str
    documents: list[bytes]
    size: int = 0


@dataclass(slots=True)
class Update:
    """OP_UPDATE."""

    id: int
    response_to: int
    collection: str
    flags: int
    query: bytes
    update: bytes
    size: int = 0


@dataclass(slots=True)
class Delete:
    """OP_DELETE."""

    id: int
    response_to: int
    collection: str
    flags: int
    query: bytes
    size: int = 0


@dataclass(slots=True)
class KillCursors:
    """OP_KILL_CURSORS."""

    id: int
    response_to: int
    cursors: list[int]
    size: int = 0


@dataclass(slots=True)
class Command:
    """OP_COMMAND."""

    id: int
    response_to: int
    database: str
    name: str
    metadata: bytes
    arguments: bytes
    documents: list[bytes]
    size: int = 0


@dataclass(slots=True)
class CommandReply:
    """OP_COMMANDREPLY."""

    id: int
    response_to: int
    metadata: bytes
    reply: bytes
    documents: list[bytes]
    size: int = 0


Legacy = Query | Reply | GetMore | Insert | Update | Delete | KillCursors | Command | CommandReply


def _string(data: bytes, at: int) -> tuple[str, int]:
    zero = data.find(0, at)
    if zero < 0:
        raise Damaged("a name has no end")
    return data[at:zero].decode("utf-8", "surrogateescape"), zero + 1


def _document(data: bytes, at: int) -> tuple[bytes, int]:
    try:
        end = at + bson.length_at(data, at)
    except bson.BsonError as error:
        raise Damaged(str(error)) from None
    if end > len(data) or data[end - 1]:
        raise Damaged("a document is cut off")
    return data[at:end], end


def _documents(data: bytes, at: int, most: int = 1 << 31) -> list[bytes]:
    found: list[bytes] = []
    while at < len(data) and len(found) < most:
        document, at = _document(data, at)
        found.append(document)
    return found


def _query(data: bytes, request: int, to: int) -> Query:
    (flags,) = _int32(data, HEADER)
    collection, at = _string(data, HEADER + 4)
    skip, limit = _two(data, at)
    query, at = _document(data, at + 8)
    selector = _document(data, at)[0] if at < len(data) else b""
    return Query(request, to, flags & 0xFFFFFFFF, collection, skip, limit, query, selector, len(data))


def _read_reply(data: bytes, request: int, to: int) -> Reply:
    flags, cursor, start, returned = _reply(data, HEADER)
    documents = _documents(data, HEADER + 20, max(returned, 0))
    if len(documents) < returned:
        raise Damaged("documents are missing")
    return Reply(request, to, flags, cursor, start, returned, documents, len(data))


def _get_more(data: bytes, request: int, to: int) -> GetMore:
    collection, at = _string(data, HEADER + 4)
    limit, cursor = _more(data, at)
    return GetMore(request, to, collection, limit, cursor, len(data))


def _insert(data: bytes, request: int, to: int) -> Insert:
    (flags,) = _int32(data, HEADER)
    collection, at = _string(data, HEADER + 4)
    return Insert(request, to, flags & 0xFFFFFFFF, collection, _documents(data, at), len(data))


def _update(data: bytes, request: int, to: int) -> Update:
    collection, at = _string(data, HEADER + 4)
    (flags,) = _int32(data, at)
    query, at = _document(data, at + 4)
    return Update(request, to, collection, flags & 0xFFFFFFFF, query, _document(data, at)[0], len(data))


def _delete(data: bytes, request: int, to: int) -> Delete:
    collection, at = _string(data, HEADER + 4)
    (flags,) = _int32(data, at)
    return Delete(request, to, collection, flags & 0xFFFFFFFF, _document(data, at + 4)[0], len(data))


def _kill_cursors(data: bytes, request: int, to: int) -> KillCursors:
    _, number = _two(data, HEADER)
    if not 0 <= number <= (len(data) - HEADER - 8) // 8:
        raise Damaged(f"{number} cursors")
    return KillCursors(request, to, list(struct.unpack_from(f"<{number}q", data, HEADER + 8)), len(data))


def _command(data: bytes, request: int, to: int) -> Command:
    database, at = _string(data, HEADER)
    name, at = _string(data, at)
    metadata, at = _document(data, at)
    arguments, at = _document(data, at)
    return Command(request, to, database, name, metadata, arguments, _documents(data, at), len(data))


def _command_reply(data: bytes, request: int, to: int) -> CommandReply:
    metadata, at = _document(data, HEADER)
    reply, at = _document(data, at)
    return CommandReply(request, to, metadata, reply, _documents(data, at), len(data))


READERS: dict[int, Callable[[bytes, int, int], Legacy]] = {
    OP_REPLY: _read_reply,
    OP_UPDATE: _update,
    OP_INSERT: _insert,
    OP_QUERY: _query,
    OP_GET_MORE: _get_more,
    OP_DELETE: _delete,
    OP_KILL_CURSORS: _kill_cursors,
    OP_COMMAND: _command,
    OP_COMMANDREPLY: _command_reply,
}


def decode(data: bytes, opcode: int, request: int, response_to: int) -> Legacy:
    """Read a whole message of one of READERS' opcodes; raise Damaged."""
    try:
        return READERS[opcode](data, request, response_to)
    except struct.error:
        raise Damaged("the message is too short") from None


def _name(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape") + b"\0"


def _inside(message: Legacy) -> tuple[int, bytes]:
    """Return opcode and payload."""
    pack = struct.pack
    if isinstance(message, Query):
        head = (
            pack("<I", message.flags) + _name(message.collection) + pack("<ii", message.skip, message.limit)
        )
        return OP_QUERY, head + message.query + message.selector
    if isinstance(message, Reply):
        head = pack("<Iqii", message.flags, message.cursor, message.start, message.returned)
        return OP_REPLY, head + b"".join(message.documents)
    if isinstance(message, GetMore):
        tail = pack("<iq", message.limit, message.cursor)
        return OP_GET_MORE, bytes(4) + _name(message.collection) + tail
    if isinstance(message, Insert):
        head = pack("<I", message.flags) + _name(message.collection)
        return OP_INSERT, head + b"".join(message.documents)
    if isinstance(message, KillCursors):
        number = len(message.cursors)
        return OP_KILL_CURSORS, pack(f"<ii{number}q", 0, number, *message.cursors)
    if isinstance(message, Update | Delete):
        head = bytes(4) + _name(message.collection) + pack("<I", message.flags) + message.query
        return (OP_UPDATE, head + message.update) if isinstance(message, Update) else (OP_DELETE, head)
    if isinstance(message, Command):
        head = _name(message.database) + _name(message.name) + message.metadata + message.arguments
        return OP_COMMAND, head + b"".join(message.documents)
    return OP_COMMANDREPLY, message.metadata + message.reply + b"".join(message.documents)


def encode(message: Legacy) -> bytes:
    """Return the bytes of a message; its size is made anew."""
    opcode, inside = _inside(message)
    return struct.pack("<iiii", HEADER + len(inside), message.id, message.response_to, opcode) + inside
