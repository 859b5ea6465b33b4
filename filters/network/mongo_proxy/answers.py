"""
What replies tell: how many documents, of what size, which cursor, which error.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from meshd.codec import bson
from meshd.codec.mongo.message import Msg

#: Errors that have no codeName where they are told, as in writeErrors.
CODES = {
    6: "HostUnreachable", 7: "HostNotFound", 11: "UserNotFound", 13: "Unauthorized",
    18: "AuthenticationFailed",
    20: "IllegalOperation", 26: "NamespaceNotFound", 43: "CursorNotFound", 50: "MaxTimeMSExpired",
    59: "CommandNotFound", 64: "WriteConcernFailed", 89: "NetworkTimeout", 91: "ShutdownInProgress",
    112: "WriteConflict", 121: "DocumentValidationFailure", 189: "PrimarySteppedDown",
    251: "NoSuchTransaction", 262: "ExceededTimeLimit", 10107: "NotWritablePrimary", 11000: "DuplicateKey",
    11600: "InterruptedAtShutdown", 11602: "InterruptedDueToReplStateChange",
    13435: "NotPrimaryNoSecondaryOk", 13436: "NotPrimaryOrSecondary",
}  # fmt: skip
CURSOR_NOT_FOUND = 43

_ONE = struct.pack("<d", 1.0)


class Answer(NamedTuple):
    """One reply; cursor is the number of a cursor that has more, 0 if there is none."""

    documents: int
    size: int
    cursor: int
    has_cursor: bool


class Error(NamedTuple):
    """Why a command failed."""

    code: int
    name: str
    text: str


def read(message: Msg) -> Answer:
    """Return what an answer holds: its cursor's batch, or itself as one document.  Raise BsonError."""
    data, fields = message.data, message.fields
    place = fields.get(b"cursor")
    if place is None or place[0] != bson.DOCUMENT:
        return Answer(1, bson.length_at(data, message.body), 0, False)
    cursor = bson.fields(data, place[1])
    batch = cursor.get(b"firstBatch") or cursor.get(b"nextBatch")
    documents, size = bson.count(data, batch[1]) if batch and batch[0] == bson.ARRAY else (0, 0)
    number = bson.number(data, cursor.get(b"id"))
    return Answer(documents, size, int(number or 0), True)


def failed(message: Msg) -> bool:
    """Whether an answer says that the command failed."""
    place = message.fields.get(b"ok")
    if place is None:
        return False  # it is cut off, or not there
    kind, at = place
    if kind == bson.DOUBLE and message.data[at : at + 8] == _ONE:
        return False
    return not bson.number(message.data, place)


def error_of(data: bytes, fields: dict[bytes, bson.Place]) -> Error:
    """Return the error that a document tells of; raise BsonError."""
    code = int(bson.number(data, fields.get(b"code")) or 0)
    name = bson.text(data, fields.get(b"codeName")) or CODES.get(code) or f"code_{code}"
    return Error(code, name, bson.text(data, fields.get(b"errmsg")) or "")


def write_errors(message: Msg) -> list[Error]:
    """Return the errors of single writes in an answer that is otherwise well; raise BsonError."""
    data, found = message.data, []
    place = message.fields.get(b"writeErrors")
    if place is not None and place[0] == bson.ARRAY:
        for number, (_, kind, at, _) in enumerate(bson.walk(data, place[1])):
            if kind == bson.DOCUMENT and number < 100:
                found.append(error_of(data, bson.fields(data, at)))
    at_concern = bson.document(message.fields.get(b"writeConcernError"))
    if at_concern is not None:
        found.append(error_of(data, bson.fields(data, at_concern)))
    return found
