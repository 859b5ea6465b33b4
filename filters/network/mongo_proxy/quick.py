"""
The short way of a request and its answer: what was seen before is counted, and not read.

Most of what a program sends is of few shapes (meshd.codec.mongo.shapes).  A Plan
is what a shape's requests have in common: all that they count in.  How many
there were, and how they were answered, is added up here, and to the statistics
when somebody reads them.
"""

from __future__ import annotations

import struct

from meshd.codec import bson
from meshd.codec.mongo import legacy, shapes
from meshd.codec.mongo.framing import HEADER
from meshd.codec.mongo.message import OP_MSG, Msg
from meshd.filters.network.mongo_proxy import answers
from meshd.filters.network.mongo_proxy.operation import Operation
from meshd.interfaces import ICounter

#: Different answers that are kept of a plan before they are added to the statistics.
ANSWERS = 4096

#: Shapes that are remembered of an application.
PLANS = 2 * shapes.KEYS

#: Names whose values say something that is counted.
_KEPT = frozenset(
    (b"comment", b"$comment", b"maxTimeMS", b"$maxTimeMS", b"tailable", b"awaitData", b"noCursorTimeout")
)
_DEEPER = frozenset((b"filter", b"$query"))
#: Requests with these are always read: they tell more than their shape.
_READ = frozenset((b"txnNumber", b"startTransaction", b"explain", b"client"))
_READ_COMMANDS = frozenset(("getMore", "killCursors", "explain", "hello", "isMaster"))

#: The beginning of an answer with a cursor: size, response to, opcode to kind, length, name, length, name,
#: length of the batch, the name of its first element, length of that.
CURSOR = struct.Struct("<i4x4s9si8si12si3si").unpack_from
CURSOR_SIZE = 60
CURSOR_HEAD = struct.pack("<iIb", OP_MSG, 0, 0)
CURSOR_NAME, FIRST_BATCH, FIRST = b"\3cursor\0", b"\4firstBatch\0", b"\x030\0"
#: Where the batch of such an answer begins.
BATCH = 49
#: By these bytes after the batch what follows is looked for: the cursor's number, the collection; no value
#: that changes begins within them.
TAIL = 40

#: The beginning of an OP_REPLY: size, response to, opcode, flags, cursor, documents, length of the first.
REPLY = struct.Struct("<i4x4siIq4xii").unpack_from
REPLY_SIZE = 40
#: Where its documents begin.
DOCUMENTS = 36


class Plan:
    """What the requests of one shape count in, and how many there were."""

    __slots__ = ("_calls", "_counters", "_first", "_reply", "answers", "count")

    def __init__(self, first: Operation, reply: ICounter) -> None:
        self._first = first
        self._counters = tuple(first.counters)
        self._calls = first.calls
        self._reply = reply
        self.count = 0
        #: How many answers had so many documents, of so many bytes, after so many ms.
        self.answers: dict[tuple[int, int, int], int] = {}

    def operation(self, begun: float) -> Operation:
        """Return a request of this plan as one that was read."""
        first = self._first
        made = Operation(first.message, first.name, first.collection, begun)
        made.calls = first.calls
        made.legacy = first.legacy
        return made

    def settle(self) -> None:
        """Add what there was to the statistics."""
        count, self.count = self.count, 0
        if count:
            for counter in self._counters:
                counter.value += count
        found, self.answers = self.answers, {}
        if not found:
            return
        documents: dict[int, int] = {}
        sizes: dict[int, int] = {}
        times: dict[int, int] = {}
        for (number, size, time), count in found.items():
            self._reply.value += count
            documents[number] = documents.get(number, 0) + count
            sizes[size] = sizes.get(size, 0) + count
            times[time] = times.get(time, 0) + count
        for calls in self._calls:
            calls.answered_often(documents, sizes, times)


class Known:
    """The shapes that are known of one application's requests; lasting says if connections share it."""

    def __init__(self, lasting: bool) -> None:
        self.lasting = lasting
        self.requests: shapes.Shapes[Plan] = shapes.Shapes()
        self._plans: list[Plan] = []

    def learn(self, frame: bytes, operation: Operation, reply: ICounter) -> None:
        """Remember the shape of a request, if that says all and it is seen often."""
        if not self.requests.wants(frame):
            return
        try:
            without = _gaps(frame, operation)
        except bson.BsonError:
            return
        if without is None:
            return
        plan = Plan(operation, reply)
        if self.requests.learn(frame, [(4, 8), *without], plan):
            self._plans.append(plan)

    def settle(self) -> None:
        """Add what all plans have to the statistics."""
        for plan in self._plans:
            plan.settle()
        if len(self._plans) > 2 * PLANS:
            self.forget()

    def forget(self) -> None:
        """Begin to learn anew."""
        self.requests.by_key.clear()
        del self._plans[:]


def _gaps(frame: bytes, operation: Operation) -> list[shapes.Gap] | None:
    """Return the gaps of a request's shape; None if it has to be read each time."""
    message = operation.message
    if operation.name in _READ_COMMANDS or not operation.repeats or len(frame) != message.size:
        return None
    if isinstance(message, Msg):
        if message.flags or message.sequences or not _READ.isdisjoint(message.fields):
            return None
        first = next(iter(message.fields))
        return shapes.gaps(frame, message.body, _KEPT | {first}, _DEEPER)
    if not isinstance(message, legacy.Query) or "$cmd" in message.collection:
        return None
    numbers = frame.index(0, HEADER + 4) + 1
    query = numbers + 8
    if frame[:4] != len(frame).to_bytes(4, "little"):
        return None
    without = [(numbers, query), *shapes.gaps(frame, query, _KEPT, _DEEPER)]
    if message.selector:
        without.append((query + len(message.query) + 4, len(frame)))
    return without


class Tails:
    """
    What comes after the batch in answers that went well and left no cursor open.

    It is the same each time, but for times and signatures.
    """

    def __init__(self) -> None:
        self.by_key: dict[bytes, list[shapes.Match]] = {}
        self._sightings = shapes.Sightings()

    def learn(self, message: Msg) -> None:
        """Remember how an answer ends, if it is one of those, and seen often."""
        data = message.data
        if len(data) != message.size or message.sequences or message.flags or data[25:33] != CURSOR_NAME:
            return
        if data[37:BATCH] != FIRST_BATCH:
            return
        end = BATCH + bson.length_at(data, BATCH)
        tail = data[end:]
        known = self.by_key.get(tail[:TAIL], ())
        if len(known) >= shapes.SHAPES or len(tail) > shapes.LONGEST:
            return
        if self._sightings.often((tail[:TAIL], len(tail))) and _went_well(message):
            # The number of the cursor and whether it went well are what is known of all of these.
            inner = [gap for gap in shapes.gaps(data, message.body, (b"ok", b"cursor")) if gap[0] >= end]
            self._add(tail, [(begin - end, stop - end) for begin, stop in inner])

    def _add(self, tail: bytes, without: list[shapes.Gap]) -> None:
        if len(self.by_key) >= shapes.KEYS:
            self.by_key.clear()
            self._sightings.doubt()
        self.by_key.setdefault(tail[:TAIL], []).append(shapes.pattern(tail, without))


def _went_well(message: Msg) -> bool:
    """Whether an answer tells of nothing but a first batch that is all there is."""
    data, fields = message.data, message.fields
    cursor = bson.fields(data, fields[b"cursor"][1])
    if next(iter(cursor), b"") != b"firstBatch" or not {b"id", b"ns"}.issuperset(list(cursor)[1:]):
        return False
    number = bson.number(data, cursor.get(b"id"))
    return not (answers.failed(message) or number or b"writeConcernError" in fields)
