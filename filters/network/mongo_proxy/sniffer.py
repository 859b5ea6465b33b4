"""
The messages of a watched connection: what they say is counted and logged.

Whatever the bytes are, they pass.  A message that cannot be read is counted and
stepped over; when the framing is lost, nothing more is looked at.  What was seen
before goes the short way (quick.py), which counts the same.
"""

from __future__ import annotations

import struct
from typing import Any

from meshd.codec import bson
from meshd.codec.mongo import legacy, wire
from meshd.codec.mongo.compressed import OP_COMPRESSED
from meshd.codec.mongo.framing import Framer, ProtocolError
from meshd.codec.mongo.message import MORE_TO_COME, Msg
from meshd.codec.mongo.wire import Skipped
from meshd.filters.network.mongo_proxy import answers, quick
from meshd.filters.network.mongo_proxy.handshake import read_client
from meshd.filters.network.mongo_proxy.operation import COLLECTION_SCAN, Operation
from meshd.filters.network.mongo_proxy.settings import Settings
from meshd.filters.network.mongo_proxy.watch import ACTIVE, Watch

#: The key of the dynamic metadata.
NAME = "envoy.filters.network.mongo_proxy"


class Sniffer(Watch):
    """Watches a connection."""

    def __init__(self, shared: Settings) -> None:
        super().__init__(shared)
        self._known = shared.known("")
        self._by_key = self._known.requests.by_key
        self._tails = shared.tails.by_key
        simple = self._simple
        numbers = self.numbers
        self._on_request: dict[type, Any] = {
            Msg: self._msg,
            legacy.Query: self._query,
            legacy.GetMore: lambda message: simple(message, numbers.op_get_more),
            legacy.Insert: lambda message: simple(message, numbers.op_insert, "insert"),
            legacy.Update: lambda message: simple(message, numbers.op_update, "update"),
            legacy.Delete: lambda message: simple(message, numbers.op_delete, "delete"),
            legacy.KillCursors: lambda message: simple(message, numbers.op_kill_cursors),
            legacy.Command: lambda message: simple(message, numbers.op_command),
            legacy.CommandReply: lambda message: simple(message, numbers.op_command_reply),
            legacy.Reply: self._reply,
            Skipped: self._skipped,
        }
        self._on_reply: dict[type, Any] = {**self._on_request, Msg: self._msg_reply}

    def closed(self) -> None:
        if not self._known.lasting:
            self._known.settle()
        super().closed()

    def lost(self) -> None:
        self._by_key = {}
        super().lost()

    # Bytes.

    def received(self, data: bytes) -> None:
        shared = self.shared
        if shared.quick and not self.requests.seen and len(self.active) < ACTIVE:
            for match, plan in self._by_key.get(data[12:36], ()):
                if match(data):
                    plan.count += 1
                    self.active[data[4:8]] = plan, shared.now()
                    return
        if self.sniffing:
            self._look(self.requests, self._on_request, data)

    def sent(self, data: bytes) -> None:
        shared = self.shared
        waiting = self.active.get(data[8:12])
        if (
            shared.quick
            and not self.replies.seen
            and type(waiting) is tuple
            and self._answered(data, waiting)
        ):
            return
        if self.sniffing:
            self._look(self.replies, self._on_reply, data)

    def _answered(self, data: bytes, waiting: tuple[quick.Plan, float]) -> bool:
        """Count an answer, if it goes the short way."""
        try:
            size, to, head, _, cursor, _, batch, array, first, document = quick.CURSOR(data)
        except struct.error:
            return False
        if size != len(data):
            return False
        documents = 1
        if head == quick.CURSOR_HEAD and cursor == quick.CURSOR_NAME and batch == quick.FIRST_BATCH:
            end = quick.BATCH + array
            if array == 5:
                documents = document = 0
            elif first != quick.FIRST or document != array - 8:
                documents, document = bson.count(data, quick.BATCH)
            for match in self._tails.get(data[end : end + quick.TAIL], ()):
                if match(data, end):
                    break
            else:
                return False
        else:
            _, _, opcode, flags, number, documents, document = quick.REPLY(data)
            alone = documents == 1 and document == size - quick.DOCUMENTS
            if opcode != legacy.OP_REPLY or flags & 3 or number or not alone:
                return False
        plan, begun = waiting
        del self.active[to]
        key = documents, document, int((self.shared.now() - begun) * 1000)
        found = plan.answers
        found[key] = found.get(key, 0) + 1
        if len(found) > quick.ANSWERS:
            plan.settle()
        return True

    def _look(self, framer: Framer, readers: dict[type, Any], data: bytes) -> None:
        """Look at the messages that end within data."""
        shared = self.shared
        try:
            frames = framer.receive(data)
        except ProtocolError:
            self.lost()
            return
        if shared.emit_metadata:
            self.connection.info.metadata[NAME] = {}
        if not frames or not shared.enabled("mongo.proxy_enabled"):
            return
        for frame in frames:
            if frame[12] == OP_COMPRESSED & 0xFF and frame[13] == OP_COMPRESSED >> 8:
                self.numbers.op_compressed.value += 1
            try:
                message = wire.read(frame, shared.keep)
                readers[type(message)](message)
            except bson.BsonError:
                self.numbers.decoding_error.inc()

    def _skipped(self, message: Skipped) -> None:
        numbers = self.numbers
        if message.why == "compressor":
            numbers.op_compressed_unknown.inc()
        elif message.why == "large":
            numbers.message_large.inc()
        else:
            numbers.decoding_error.inc()
            if message.why == "opcode":
                numbers.op_unknown.inc()
        if message.response_to:
            self._finish(self.take(message.response_to), "", None)

    # Requests.

    def _msg(self, message: Msg) -> None:
        shared = self.shared
        if shared.has_delay:
            self.delay()
        operation = shared.operations.of_msg(message, self.application, shared.now())
        if operation.is_hello:
            self._hello(message.data, message.fields)
        if shared.emit_metadata and operation.collection:
            done = "query" if operation.name == "find" else operation.name
            self._note(done, f"{operation.database}.{operation.collection}")
        if message.flags & MORE_TO_COME:
            self.numbers.op_msg_unanswered.value += 1
            self.log_operation(operation, 0.0, "")
            return
        self.begin(operation)
        if shared.quick and operation.repeats:
            self._known.learn(message.data, operation, self.numbers.op_msg_reply)

    def _query(self, message: legacy.Query) -> None:
        shared = self.shared
        if shared.has_delay:
            self.delay()
        if shared.emit_metadata:
            self._note("query", message.collection)
        self.log_message(message)
        operation = shared.operations.of_query(message, shared.now())
        if operation.is_hello:
            self._hello(message.query, bson.fields(message.query))
        self.begin(operation)
        if shared.quick and operation.repeats:
            self._known.learn(legacy.encode(message), operation, self.numbers.op_reply)

    def _simple(self, message: Any, counter: Any, operation: str = "") -> None:
        """Count and log a message that is not matched with another."""
        if self.shared.has_delay:
            self.delay()
        if operation and self.shared.emit_metadata:
            self._note(operation, message.collection)
        counter.value += 1
        self.log_message(message)

    def _note(self, operation: str, collection: str) -> None:
        """Add to the dynamic metadata what is done to a collection."""
        self.connection.info.metadata[NAME].setdefault(collection, []).append(operation)

    def _hello(self, data: bytes, fields: dict[bytes, bson.Place]) -> None:
        client = read_client(data, fields)
        if client is None:
            return
        numbers = self.numbers
        numbers.driver(client.driver, client.version).inc()
        if client.application and not self.application:
            self.application = client.application
            self._known = self.shared.known(client.application)
            self._by_key = self._known.requests.by_key
            application = numbers.application(client.application)
            application.counter("cx_total").inc()
            application.gauge("cx_active").inc()

    # Replies.

    def _msg_reply(self, message: Msg) -> None:
        numbers = self.numbers
        numbers.op_msg_reply.value += 1
        operation = self.take(message.response_to)
        if operation is None:
            numbers.reply_unexpected.value += 1
            return
        answer = answers.read(message)
        operation.documents += answer.documents
        operation.size += answer.size
        if answer.cursor:
            numbers.op_reply_valid_cursor.value += 1
            if operation.name != "getMore" and not operation.cursor:
                numbers.cursor_opened.value += 1
            operation.cursor = answer.cursor
        error = None
        if answers.failed(message):
            error = self._failed(message, operation)
        elif b"writeErrors" in message.fields or b"writeConcernError" in message.fields:
            for each in answers.write_errors(message):
                numbers.write_errors.inc()
                numbers.error(each.name).inc()
        elif answer.has_cursor and self.shared.quick:
            self.shared.tails.learn(message)
        if not answer.has_cursor:
            self._tell(message, operation, error is not None)
        if message.flags & MORE_TO_COME:
            # The next answer will be one to this answer.
            operation.id = message.id
            self._streams_hello = operation.is_hello
            self.begin(operation)
            return
        self._finish(operation, error.name if error else "", error)

    def _failed(self, message: Msg, operation: Operation) -> answers.Error:
        numbers = self.numbers
        error = answers.error_of(message.data, message.fields)
        numbers.error(error.name).inc()
        for each in operation.calls:
            each.errors.value += 1
        if error.code == answers.CURSOR_NOT_FOUND:
            numbers.op_reply_cursor_not_found.inc()
            if operation.name == "getMore":
                numbers.cursor_timed_out.inc()
        elif operation.name in ("find", "getMore"):
            numbers.op_reply_query_failure.inc()
        return error

    def _tell(self, message: Msg, operation: Operation, failed: bool) -> None:
        """Count what the answers of few commands tell."""
        numbers, name = self.numbers, operation.name
        if operation.is_explain:
            if COLLECTION_SCAN in message.data:
                numbers.op_query_collection_scan.inc()
                if operation.collection:
                    numbers.collection(operation.collection).collection_scan.inc()
        elif operation.is_hello:
            self._wire_version(message.data, message.fields, operation)
        elif name == "commitTransaction" and not failed:
            numbers.transaction_committed.inc()
        elif name == "abortTransaction" and not failed:
            numbers.transaction_aborted.inc()

    def _reply(self, message: legacy.Reply) -> None:
        numbers = self.numbers
        numbers.op_reply.value += 1
        self.log_message(message)
        if message.cursor:
            numbers.op_reply_valid_cursor.value += 1
        if message.flags & legacy.CURSOR_NOT_FOUND:
            numbers.op_reply_cursor_not_found.value += 1
        failed = message.flags & legacy.QUERY_FAILURE
        if failed:
            numbers.op_reply_query_failure.value += 1
        operation = self.take(message.response_to)
        if operation is not None:
            operation.documents = len(message.documents)
            operation.size = sum(map(len, message.documents))
            if operation.is_hello and message.documents:
                document = message.documents[0]
                self._wire_version(document, bson.fields(document), operation)
        self._finish(operation, "QueryFailure" if failed else "", None)

    def _wire_version(self, data: bytes, fields: dict[bytes, bson.Place], operation: Operation) -> None:
        """Count, once for a connection, up to which version the server speaks."""
        asked = operation.message
        first = b"client" in (asked.fields if isinstance(asked, Msg) else bson.fields(asked.query))
        version = bson.number(data, fields.get(b"maxWireVersion"))
        if first and version is not None:
            self.numbers.wire_version(int(version)).inc()

    def _finish(self, operation: Operation | None, error: str, told: answers.Error | None) -> None:
        """An operation is over: count it, log it, and close if that was waited for."""
        shared = self.shared
        if operation is not None:
            seconds = shared.now() - operation.begun
            for each in operation.calls:
                each.answered(operation.documents, operation.size, seconds * 1000)
            why = f"{error}: {told.text}" if told and told.text else error
            self.log_operation(operation, seconds, why)
        if shared.draining():
            self.close_if_idle()
