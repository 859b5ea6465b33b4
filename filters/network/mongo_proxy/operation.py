"""
What a request asks for, whichever opcode it came by, and what is counted of it.

An Operation lives from its request to its last reply.  What is counted where is
found once for each command and collection (Target), so that a request costs one
walk over its document, and a few additions.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any

from meshd.codec import bson
from meshd.codec.mongo import legacy
from meshd.codec.mongo.message import EXHAUST_ALLOWED, Msg
from meshd.filters.network.mongo_proxy.names import OTHER
from meshd.filters.network.mongo_proxy.stats import ALIASES, Calls, Numbers
from meshd.interfaces import ICounter

HELLO = frozenset(("hello", "isMaster", "ismaster"))
#: Commands that read documents, of which it is asked how long they may take.
READS = frozenset(("find", "aggregate", "count", "distinct"))
#: Commands that say nothing of a collection, though their first element is a string.
_NO_COLLECTION = frozenset(("killCursors", "explain", "saslStart", "authenticate", "abortTransaction"))

#: Targets, comments and retryable writes that are remembered.
REMEMBERED = 4096

#: How MongoDB says that a query looks at every document of a collection: an element of an explain's reply.
COLLECTION_SCAN = b"\x02stage\0\x09\0\0\0COLLSCAN\0"

PRIMARY_KEY, MULTI_GET, SCATTER_GET = range(3)


class Target:
    """Where the calls of a command on a collection are counted."""

    def __init__(self, numbers: Numbers, name: str, collection: str) -> None:
        self.name = name
        self.collection = collection
        self.command: Calls = numbers.command(name, numbers.commands)
        self.known = name in numbers.commands
        #: find is "query", as in the statistics of OP_QUERY.
        self.operation = {"find": "query"}.get(name, name)
        self.calls: Calls | None = None
        if collection and self.known:
            self.calls = numbers.collection(collection, self.operation)
        #: Whether the next request of this name is counted in the same place.
        self.stays = self.calls is None or numbers.collections.get(collection) != OTHER


class Operation:
    """One request, until it is answered; counters are all that it counts in, calls where its answer does."""

    __slots__ = (
        "begun", "calls", "collection", "counters", "cursor", "documents", "id", "is_explain", "is_hello",
        "legacy", "message", "name", "repeats", "size",
    )  # fmt: skip

    def __init__(self, message: Any, name: str, collection: str, begun: float) -> None:
        self.message = message
        self.id: int = message.id
        self.name = name
        self.collection = collection
        self.counters: list[ICounter] = []
        self.calls: tuple[Calls, ...] = ()
        #: Whether another request of this shape counts in the same.
        self.repeats = False
        #: When it came, in seconds of the clock.
        self.begun = begun
        #: Of the answers so far: documents, and their bytes.
        self.documents = 0
        self.size = 0
        #: The cursor that an answer opened, 0 if none has.
        self.cursor = 0
        self.is_hello = name in HELLO
        self.is_explain = False
        self.legacy = False

    @property
    def database(self) -> str:
        """The database that it is about; nothing if that cannot be read."""
        message = self.message
        if isinstance(message, Msg):
            return _text(message.data, message.fields.get(b"$db"))
        return str(message.collection.partition(".")[0])

    @classmethod
    def unread(cls, message: Msg | legacy.Query, now: float) -> Operation:
        """Return what a request asks for that is not counted, as it was refused."""
        if isinstance(message, legacy.Query):
            made = cls(message, "find", message.collection.partition(".")[2], now)
            made.legacy = True
            return made
        return cls(message, message.name, _text(message.data, next(iter(message.fields.values()), None)), now)

    def add(self, calls: Calls, shape: int = PRIMARY_KEY) -> None:
        """Count it among these calls, with how it looks for documents."""
        self.calls = (*self.calls, calls)
        self.counters.append(calls.total)
        if shape == SCATTER_GET:
            self.counters.append(calls.scatter_get)
        elif shape == MULTI_GET:
            self.counters.append(calls.multi_get)

    def count(self) -> None:
        """Count it."""
        for counter in self.counters:
            counter.value += 1


class Operations:
    """Makes the operations of all connections of a filter chain, and counts what their requests tell."""

    def __init__(self, numbers: Numbers) -> None:
        self.numbers = numbers
        self._targets: dict[tuple[bytes, bytes], Target] = {}
        self._functions: dict[str, str] = {}
        self._writes: OrderedDict[bytes, None] = OrderedDict()
        self._options = (
            (b"tailable", numbers.op_query_tailable_cursor),
            (b"noCursorTimeout", numbers.op_query_no_cursor_timeout),
            (b"awaitData", numbers.op_query_await_data),
        )
        self._flags = (
            (legacy.TAILABLE, numbers.op_query_tailable_cursor),
            (legacy.NO_CURSOR_TIMEOUT, numbers.op_query_no_cursor_timeout),
            (legacy.AWAIT_DATA, numbers.op_query_await_data),
            (legacy.EXHAUST, numbers.op_query_exhaust),
        )

    # OP_MSG.

    def of_msg(self, message: Msg, application: str, now: float) -> Operation:
        """Return what an OP_MSG asks for, and count it; raise BsonError."""
        numbers, fields = self.numbers, message.fields
        target = self._target(message)
        operation = Operation(message, target.name, target.collection, now)
        operation.repeats = target.stays
        counters = operation.counters
        counters.append(numbers.op_msg)
        operation.add(target.command)
        shape = PRIMARY_KEY
        if target.name == "find":
            shape = self._find(message, counters)
        if message.flags & EXHAUST_ALLOWED and not operation.is_hello:
            counters.append(numbers.op_query_exhaust)
        if target.calls is not None:
            operation.add(target.calls, shape)
            callsite = self._callsite(message.data, fields.get(b"comment")) or application
            if callsite:
                operation.add(numbers.callsite(target.collection, callsite, target.operation), shape)
                operation.repeats = operation.repeats and numbers.has_place(target.collection, callsite)
        if target.name in READS and b"maxTimeMS" not in fields:
            counters.append(numbers.op_query_no_max_time)
        if b"txnNumber" in fields:
            self._transaction(message)
        if target.name == "getMore":
            counters.append(numbers.cursor_continued)
        elif not target.known:
            self._seldom(operation, message)
        if b"explain" in fields:
            operation.is_explain = True
        operation.count()
        return operation

    def _target(self, message: Msg) -> Target:
        data, fields = message.data, message.fields
        name = next(iter(fields), b"")
        if not name:
            raise bson.BsonError("a command without a name")
        place: bson.Place | None = fields[name]
        if name == b"getMore":
            place = fields.get(b"collection")
        collection = b""
        if place is not None and place[0] == bson.STRING:
            at = place[1]
            end = at + 4 + int.from_bytes(data[at : at + 4], "little")
            collection = data[at + 4 : end - 1]
        found = self._targets.get((name, collection))
        return found if found is not None else self._make_target(name, collection)

    def _make_target(self, name: bytes, collection: bytes) -> Target:
        command = name.decode("utf-8", "replace")
        command = ALIASES.get(command, command)
        place = "" if command in _NO_COLLECTION else collection.decode("utf-8", "replace")
        target = Target(self.numbers, command, place)
        if target.stays and len(name) + len(collection) < 300:
            if len(self._targets) >= REMEMBERED:
                self._targets.clear()
            self._targets[name, collection] = target
        return target

    def _find(self, message: Msg, counters: list[ICounter]) -> int:
        """Count how a find looks for its documents; return that."""
        numbers, fields, data = self.numbers, message.fields, message.data
        shape = SCATTER_GET
        at = bson.document(fields.get(b"filter"))
        if at is not None:
            shape = _shape(bson.fields(data, at))
        if shape:
            counters.append(
                numbers.op_query_scatter_get if shape == SCATTER_GET else numbers.op_query_multi_get
            )
        for name, counter in self._options:
            if name in fields and bson.number(data, fields[name]):
                counters.append(counter)
        return shape

    def _transaction(self, message: Msg) -> None:
        """Count the beginning of a transaction, or a write that was sent before."""
        fields, data = message.fields, message.data
        if bson.number(data, fields.get(b"startTransaction")):
            self.numbers.transaction_started.value += 1
        session = bson.document(fields.get(b"lsid"))
        if b"autocommit" in fields or session is None:
            return
        # Which transaction number of which session: so a server knows a write again.
        at = fields[b"txnNumber"][1]
        key = data[session : session + bson.length_at(data, session)] + data[at : at + 8]
        if key in self._writes:
            self.numbers.retried_writes.value += 1
            return
        self._writes[key] = None
        if len(self._writes) > REMEMBERED:
            self._writes.popitem(last=False)

    def _seldom(self, operation: Operation, message: Msg) -> None:
        """Count what few commands are."""
        if operation.name == "killCursors":
            place = message.fields.get(b"cursors")
            if place is not None and place[0] == bson.ARRAY:
                self.numbers.cursor_killed.value += len(bson.fields(message.data, place[1]))
        elif operation.name == "explain":
            operation.is_explain = True
            at = bson.document(message.fields.get(b"explain"))
            if at is not None:
                inner = bson.fields(message.data, at)
                operation.collection = bson.text(message.data, next(iter(inner.values()), None)) or ""

    # Callsites.

    def _callsite(self, data: bytes, place: bson.Place | None) -> str:
        if place is None or place[0] != bson.STRING:
            return ""
        comment = bson.text(data, place) or ""
        found = self._functions.get(comment)
        if found is None:
            found = calling_function(comment)
            if len(self._functions) >= REMEMBERED:
                self._functions.clear()
            if len(comment) < 1024:
                self._functions[comment] = found
        return found

    # OP_QUERY.

    def of_query(self, query: legacy.Query, now: float) -> Operation:
        """Return what an OP_QUERY asks for, and count it, as Envoy does; raise BsonError."""
        data = query.query
        fields = bson.fields(data)
        inner, at = fields, 0
        place = fields.get(b"$query")
        if place is not None and place[0] == bson.DOCUMENT:
            at = place[1]
            inner = bson.fields(data, at)
        if "$cmd" in query.collection:
            return self._legacy_command(query, inner, now)
        _, dot, collection = query.collection.partition(".")
        if not dot:
            raise bson.BsonError("a collection without a database")
        shape = _shape(fields)
        if shape == SCATTER_GET and inner is not fields:
            shape = _shape(inner)
        most = bson.number(data, fields.get(b"$maxTimeMS") or fields.get(b"maxTimeMS"))
        callsite = self._callsite(data, fields.get(b"$comment"))
        limited = isinstance(most, int) and most >= 1
        return self._legacy_query(query, collection, callsite, shape, now, limited)

    def _legacy_command(self, query: legacy.Query, fields: dict[bytes, bson.Place], now: float) -> Operation:
        if not fields:
            raise bson.BsonError("a command without a name")
        numbers, data = self.numbers, query.query
        raw, place = next(iter(fields.items()))
        name = raw.decode("utf-8", "replace")
        if name == "find":
            collection = bson.text(data, place)
            if collection is None:
                raise bson.BsonError("find without a collection")
            at = bson.document(fields.get(b"filter"))
            # Of its maxTimeMS Envoy takes no notice.
            shape = _shape(bson.fields(data, at)) if at is not None else SCATTER_GET
            callsite = self._callsite(data, fields.get(b"comment"))
            return self._legacy_query(query, collection, callsite, shape, now, limited=False)
        name = ALIASES.get(name, name)
        operation = Operation(query, name, bson.text(data, place) or "", now)
        operation.legacy = True
        operation.counters.append(numbers.op_query)
        operation.add(numbers.command(name, numbers.legacy_commands))
        operation.count()
        return operation

    def _legacy_query(
        self, query: legacy.Query, collection: str, callsite: str, shape: int, now: float, limited: bool
    ) -> Operation:
        numbers = self.numbers
        operation = Operation(query, "find", collection, now)
        operation.legacy = True
        counters = operation.counters
        counters.append(numbers.op_query)
        counters += [counter for bit, counter in self._flags if query.flags & bit]
        operation.add(numbers.collection(collection), shape)
        operation.repeats = numbers.collections.get(collection) != OTHER
        if callsite:
            operation.add(numbers.callsite(collection, callsite), shape)
            operation.repeats = operation.repeats and numbers.has_place(collection, callsite)
        if not limited:
            counters.append(numbers.op_query_no_max_time)
        if shape:
            counters.append(
                numbers.op_query_scatter_get if shape == SCATTER_GET else numbers.op_query_multi_get
            )
        operation.count()
        return operation


def _text(data: bytes, place: bson.Place | None) -> str:
    try:
        return bson.text(data, place) or ""
    except bson.BsonError:
        return ""


def _shape(fields: dict[bytes, bson.Place]) -> int:
    """Return how documents are looked for by a filter: by an _id, by several, or by anything else."""
    place = fields.get(b"_id")
    if place is None:
        return SCATTER_GET
    return MULTI_GET if place[0] in (bson.DOCUMENT, bson.ARRAY) else PRIMARY_KEY


def calling_function(comment: str) -> str:
    """Return the callingFunction of a comment that is a JSON object; else nothing."""
    if not comment.startswith("{"):
        return ""
    try:
        found = json.loads(comment)
    except (ValueError, RecursionError):
        return ""
    name = found.get("callingFunction") if isinstance(found, dict) else None
    return name if isinstance(name, str) else ""
