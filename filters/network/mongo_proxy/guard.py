"""
One connection that is not only watched: requests may be refused, delayed or failed, answers to hello changed.

A request waits until all of it is there, and goes on only when it may.  An
answer of our own is written between two messages of the server.  A connection
whose framing is lost is closed: nobody could say any more what passes.
"""

from __future__ import annotations

from collections import deque
from functools import partial

from meshd.codec import bson
from meshd.codec.mongo import legacy, message, wire
from meshd.codec.mongo.framing import HEADER, LONGEST, Framer, ProtocolError
from meshd.codec.mongo.message import MORE_TO_COME, OP_MSG, Msg
from meshd.codec.mongo.wire import Skipped
from meshd.filters.network.mongo_proxy import rules
from meshd.filters.network.mongo_proxy.config import Error
from meshd.filters.network.mongo_proxy.handshake import rewrite
from meshd.filters.network.mongo_proxy.operation import Operation
from meshd.filters.network.mongo_proxy.settings import Settings
from meshd.filters.network.mongo_proxy.sniffer import Sniffer
from meshd.interfaces import ITimer

#: Bytes of an answer to hello that is changed; a longer one is none.
LONGEST_HELLO = 1 << 20


class Guard(Sniffer):
    """Watches a connection, and has a say in it."""

    _delayed_by: ITimer | None = None
    _client_ended = False

    def __init__(self, shared: Settings) -> None:
        super().__init__(shared)
        self._whole = Framer(shared.held)
        self._waiting: deque[bytes] = deque()
        self._answers: list[bytes] = []
        self._next_id = 1
        self._hello_bytes = b""
        self._to_pass = 0
        self._rewrites = bool(shared.hosts)

    # Requests.

    def dataReceived(self, data: bytes) -> None:
        if not self.shared.rules.any:
            super().dataReceived(data)
            return
        try:
            self._waiting.extend(self._whole.receive(data))
        except ProtocolError:
            self.lost()
            self.connection.info.local_close_reason = "mongo_framing_lost"
            self.loseConnection()
            return
        self._go_on()

    def readConnectionLost(self) -> None:
        if self._waiting or self._delayed_by is not None:
            self._client_ended = True
        else:
            super().readConnectionLost()

    def _go_on(self) -> None:
        """Judge the requests that wait, until one is delayed."""
        while self._waiting and self._delayed_by is None and not self._ended_here:
            self._judge(self._waiting.popleft())
        if self._client_ended and not self._waiting and self._delayed_by is None:
            self._client_ended = False
            super().readConnectionLost()

    def _judge(self, frame: bytes) -> None:
        shared = self.shared
        if not shared.enabled("mongo.proxy_enabled"):
            self._pass(frame)
            return
        found = wire.read(frame, shared.held)
        try:
            verdict = self._verdict(frame, found)
        except bson.BsonError:
            verdict = rules.Verdict(rules.UNREADABLE_ERROR, "refused") if shared.rules.strict else rules.PASS
        act = partial(self._answer, frame, found, verdict) if verdict.error else partial(self._pass, frame)
        if not verdict.delay:
            act()
            return
        self.numbers.delays_injected.inc()
        self.connection.pause(self._waiting_for_time)
        self._delayed_by = shared.timers.call_later(verdict.delay, partial(self._time_is_over, act))
        self.connection.on_close(self._delayed_by.cancel)

    def _waiting_for_time(self) -> None:
        """Stand for a delay among those who paused the connection."""

    def _time_is_over(self, act: partial[None]) -> None:
        self._delayed_by = None
        self.connection.resume(self._waiting_for_time)
        act()
        self._go_on()

    def _verdict(self, frame: bytes, found: wire.Message) -> rules.Verdict:
        if wire.header(frame)[0] > len(frame):
            raise bson.BsonError("longer than what may be held")
        if isinstance(found, Skipped):
            raise bson.BsonError(found.detail)
        request = rules.of_msg(found) if isinstance(found, Msg) else rules.of_legacy(found)
        return self.shared.rules.judge(request)

    def _pass(self, frame: bytes) -> None:
        """Let a request go on, and look at it."""
        super().dataReceived(frame)

    # Answers of our own.

    def _answer(self, frame: bytes, found: wire.Message, verdict: rules.Verdict) -> None:
        """Answer in the server's place."""
        error = verdict.error
        assert error is not None
        getattr(self.numbers, verdict.counted).inc()
        self.numbers.error(error.code_name).inc()
        self._log_refused(found, error)
        if not self.sniffing:
            # It is not known where an answer would come to stand.
            self.abortConnection()
            return
        made = self._made(frame, found, error)
        if made is None:
            return
        if self.replies.inside or self._hello_bytes or self._to_pass:
            self._answers.append(made)
        else:
            self.transport.write(made)

    def _log_refused(self, found: wire.Message, error: Error) -> None:
        if isinstance(found, Msg | legacy.Query):
            operation = Operation.unread(found, self.shared.now())
            self.log_operation(operation, 0.0, f"{error.code_name}: {error.message}")

    def _made(self, frame: bytes, found: wire.Message, error: Error) -> bytes | None:
        """Return the bytes of an error as the answer to a request; None if it wants none."""
        document: dict[str, bson.Value] = {
            "ok": 0.0,
            "errmsg": error.message,
            "code": error.code,
            "codeName": error.code_name,
        }
        if error.labels:
            document["errorLabels"] = list(error.labels)
        self._next_id += 1
        request = found.id
        if isinstance(found, Msg):
            if found.flags & MORE_TO_COME:
                return None
            return message.encode(self._next_id, request, bson.encode(document))
        if isinstance(found, Skipped):
            return self._made_for_unread(frame, found, document)
        if isinstance(found, legacy.Query | legacy.GetMore):
            command = isinstance(found, legacy.Query) and "$cmd" in found.collection
            if not command:
                document = {"$err": error.message, "code": error.code}
            flags = 0 if command else legacy.QUERY_FAILURE
            return legacy.encode(
                legacy.Reply(self._next_id, request, flags, 0, 0, 1, [bson.encode(document)])
            )
        if isinstance(found, legacy.Command):
            empty = bson.encode({})
            return legacy.encode(
                legacy.CommandReply(self._next_id, request, empty, bson.encode(document), [])
            )
        return None

    def _made_for_unread(self, frame: bytes, found: Skipped, document: dict[str, bson.Value]) -> bytes | None:
        if found.opcode == OP_MSG and len(frame) > HEADER and frame[HEADER] & MORE_TO_COME:
            return None
        if found.why == "opcode" or found.opcode == legacy.OP_REPLY:
            # Whoever speaks so may wait for ever.
            self.loseConnection()
            return None
        return message.encode(self._next_id, found.id, bson.encode(document))

    # From the server.

    def write(self, data: bytes) -> None:
        if self._rewrites:
            self._write_changed(data)
        else:
            super().write(data)
        if self._answers and not (self.replies.inside or self._hello_bytes or self._to_pass):
            made, self._answers = self._answers, []
            self.transport.write(b"".join(made))

    def _write_changed(self, data: bytes) -> None:
        """Write on what the server says, answers to hello with other addresses."""
        data, self._hello_bytes = self._hello_bytes + data, b""
        while data:
            if not self._to_pass:
                if len(data) < HEADER:
                    break
                size = wire.header(data)[0]
                if not HEADER <= size <= LONGEST:
                    self._rewrites = False
                    super().write(data)
                    return
                if self.is_hello(data[8:12]) and size <= LONGEST_HELLO:
                    if len(data) < size:
                        break
                    super().write(self._changed(data[:size]))
                    data = data[size:]
                    continue
                self._to_pass = size
            part, data = data[: self._to_pass], data[self._to_pass :]
            self._to_pass -= len(part)
            super().write(part)
        self._hello_bytes = data

    def _changed(self, frame: bytes) -> bytes:
        """Return an answer to hello with the addresses that clients are to have."""
        found = wire.read(frame, LONGEST_HELLO)
        hosts = self.shared.hosts
        made = None
        try:
            if isinstance(found, Msg):
                body = rewrite(found.data, found.body, hosts)
                made = message.with_body(found, body) if body is not None else None
            elif isinstance(found, legacy.Reply) and found.documents:
                body = rewrite(found.documents[0], 0, hosts)
                if body is not None:
                    found.documents[0] = body
                    made = legacy.encode(found)
        except bson.BsonError:
            return frame
        if made is None:
            return frame
        self.numbers.hello_rewritten.inc()
        return made
