"""
Messages as text, for logs: in the form that Envoy's mongo_proxy writes, or with the values left out.

Arrays are written as objects, as Envoy does ({"0": 1, "1": 2}).  Unlike Envoy's,
the text is always JSON: strings are escaped by JSON's rules, and types that
Envoy cannot read have a text too.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable

from meshd.codec import bson
from meshd.codec.mongo import legacy

#: Levels of documents that are written; what is deeper is "...".
LEVELS = 16
#: Different elements of an array that are written, redacted.
SHAPES = 16

_quote = json.encoder.encode_basestring


def _number(code: str) -> Callable[[bytes], str]:
    unpack = struct.Struct(code).unpack_from
    return lambda value: str(unpack(value)[0])


def _double(value: bytes) -> str:
    (number,) = struct.unpack_from("<d", value)
    # JSON has no infinity.
    return f"{number:.6f}" if number - number == 0 else _quote(str(number))


def _string(value: bytes) -> str:
    return _quote(value[4:-1].decode("utf-8", "replace"))


def _binary(value: bytes) -> str:
    return _quote(value[5:].decode("latin-1"))


def _regex(value: bytes) -> str:
    pattern, _, options = value[:-1].partition(b"\0")
    return f"[{_quote(pattern.decode('utf-8', 'replace'))}, {_quote(options.decode('utf-8', 'replace'))}]"


_WRITERS: dict[int, Callable[[bytes], str]] = {
    bson.DOUBLE: _double,
    bson.STRING: _string,
    bson.SYMBOL: _string,
    bson.CODE: _string,
    bson.BINARY: _binary,
    bson.OBJECT_ID: lambda value: f'"{value.hex()}"',
    bson.BOOL: lambda value: "true" if value[0] else "false",
    bson.DATETIME: _number("<q"),
    bson.TIMESTAMP: _number("<q"),
    bson.INT64: _number("<q"),
    bson.INT32: _number("<i"),
    bson.NULL: lambda value: "null",
    bson.UNDEFINED: lambda value: "null",
    bson.REGEX: _regex,
    bson.MIN_KEY: lambda value: '"MinKey"',
    bson.MAX_KEY: lambda value: '"MaxKey"',
}


def document(data: bytes, at: int = 0, redact: bool = False, levels: int = LEVELS) -> str:
    """
    Return a document as text; with redact every value is "?", and names stay.

    Of a redacted array, elements that are alike are written once.
    Raise BsonError.
    """
    parts = []
    for name, kind, begin, end in bson.walk(data, at):
        key = _quote(name.decode("utf-8", "replace"))
        if kind in (bson.DOCUMENT, bson.ARRAY):
            inside = document(data, begin, redact, levels - 1) if levels > 1 else '"..."'
            if redact and kind == bson.ARRAY:
                inside = shapes(data, begin, levels)
            parts.append(f"{key}: {inside}")
        elif redact:
            parts.append(f'{key}: "?"')
        else:
            writer = _WRITERS.get(kind)
            parts.append(f"{key}: {writer(data[begin:end]) if writer else _quote(data[begin:end].hex())}")
    return f"{{{', '.join(parts)}}}"


def shapes(data: bytes, at: int, levels: int = LEVELS) -> str:
    """Return an array as text, values redacted: of elements that are alike then, one."""
    found: dict[str, None] = {}
    for _, kind, begin, _ in bson.walk(data, at):
        if kind in (bson.DOCUMENT, bson.ARRAY):
            found[document(data, begin, True, levels - 1) if levels > 1 else '"..."'] = None
        else:
            found['"?"'] = None
        if len(found) >= SHAPES:
            break
    return f"[{', '.join(found)}]"


def documents(found: Iterable[bytes]) -> str:
    """Return documents as text."""
    return f"[{', '.join(map(document, found))}]"


# The messages, field by field in Envoy's order; numbers in quotes are where Envoy has them so.


def _query(m: legacy.Query) -> str:
    return (
        f'{{"opcode": "OP_QUERY", "id": {m.id}, "response_to": {m.response_to}, "flags": "{m.flags:#x}", '
        f'"collection": {_quote(m.collection)}, "skip": {m.skip}, "return": {m.limit}, '
        f'"query": {document(m.query)}, "fields": {document(m.selector) if m.selector else "{}"}}}'
    )


def _reply(m: legacy.Reply) -> str:
    return (
        f'{{"opcode": "OP_REPLY", "id": {m.id}, "response_to": {m.response_to}, "flags": "{m.flags:#x}", '
        f'"cursor": "{m.cursor}", "from": {m.start}, "returned": {m.returned}, '
        f'"documents": {len(m.documents)}}}'
    )


def _get_more(m: legacy.GetMore) -> str:
    return (
        f'{{"opcode": "OP_GET_MORE", "id": {m.id}, "response_to": {m.response_to}, '
        f'"collection": {_quote(m.collection)}, "return": {m.limit}, "cursor": {m.cursor}}}'
    )


def _insert(m: legacy.Insert) -> str:
    return (
        f'{{"opcode": "OP_INSERT", "id": {m.id}, "response_to": {m.response_to}, "flags": "{m.flags:#x}", '
        f'"collection": {_quote(m.collection)}, "documents": {documents(m.documents)}}}'
    )


def _update(m: legacy.Update) -> str:
    return (
        f'{{"opcode": "OP_UPDATE", "id": {m.id}, "response_to": {m.response_to}, "flags": "{m.flags:#x}", '
        f'"collection": {_quote(m.collection)}, "query": {document(m.query)}, '
        f'"update": {document(m.update)}}}'
    )


def _delete(m: legacy.Delete) -> str:
    return (
        f'{{"opcode": "OP_DELETE", "id": {m.id}, "response_to": {m.response_to}, "flags": "{m.flags:#x}", '
        f'"collection": {_quote(m.collection)}, "query": {document(m.query)}}}'
    )


def _kill_cursors(m: legacy.KillCursors) -> str:
    return (
        f'{{"opcode": "KILL_CURSORS", "id": {m.id}, "response_to": "{m.response_to:#x}", '
        f'"num_cursors": "{len(m.cursors)}", "cursors": [{", ".join(map(str, m.cursors))}]}}'
    )


def _command(m: legacy.Command) -> str:
    return (
        f'{{"opcode": "OP_COMMAND", "id": {m.id}, "response_to": {m.response_to}, '
        f'"database": {_quote(m.database)}, "commandName": {_quote(m.name)}, '
        f'"metadata": {document(m.metadata)}, "commandArgs": {document(m.arguments)}, '
        f'"inputDocs": {documents(m.documents)}}}'
    )


def _command_reply(m: legacy.CommandReply) -> str:
    return (
        f'{{"opcode": "OP_COMMANDREPLY", "id": {m.id}, "response_to": {m.response_to}, '
        f'"metadata": {document(m.metadata)}, "commandReply": {document(m.reply)}, '
        f'"outputDocs":{documents(m.documents)}}} '
    )


_MESSAGES: dict[type, Callable[..., str]] = {
    legacy.Query: _query,
    legacy.Reply: _reply,
    legacy.GetMore: _get_more,
    legacy.Insert: _insert,
    legacy.Update: _update,
    legacy.Delete: _delete,
    legacy.KillCursors: _kill_cursors,
    legacy.Command: _command,
    legacy.CommandReply: _command_reply,
}


def message(value: legacy.Legacy) -> str:
    """Return a legacy message as Envoy logs it; raise BsonError if its documents are damaged."""
    return _MESSAGES[type(value)](value)
