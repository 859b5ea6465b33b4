"""
The log lines: those of messages, in Envoy's form, and those of operations.

An operation is one line, when its last reply has come: so it has its latency, its
documents and its error.  Which operations are logged is the config's: all, a
sample, or the slow ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from envoy.config.core.v3.base_pb2 import RuntimeFractionalPercent

from meshd.codec import bson
from meshd.codec.mongo import legacy
from meshd.codec.mongo.message import Msg
from meshd.filters.network.mongo_proxy import text
from meshd.filters.network.mongo_proxy.config import ALL, Log, Percentage
from meshd.filters.network.mongo_proxy.operation import Operation
from meshd.interfaces import IFactoryContext

_quote = json.encoder.encode_basestring

#: The fields of a command that tell what it looks for, in the order in which they are looked at.
_FILTERS = (b"filter", b"query", b"q", b"pipeline", b"updates", b"deletes", b"key")


def fraction(percentage: Percentage, key: str = "") -> Any:
    """Return a percentage as the message that the runtime throws dice for."""
    made = RuntimeFractionalPercent(runtime_key=key)
    made.default_value.numerator = percentage.numerator
    made.default_value.denominator = {"HUNDRED": 0, "TEN_THOUSAND": 1, "MILLION": 2}[percentage.denominator]
    return made


def _time(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def line(now: float, message: str, upstream: str) -> str:
    """Return a line of a message's text; now is in seconds since the epoch."""
    return f'{{"time": "{_time(now)}", "message": {message}, "upstream_host": "{upstream}"}}\n'


class OperationLog:
    """One file of operations."""

    def __init__(self, config: Log, context: IFactoryContext) -> None:
        """Raise ConfigError if the file cannot be opened."""
        self.write = context.log_file(config.path).write
        self.slower_than = config.slower_than.total_seconds()
        self._redact = config.redact
        self._max_length = config.max_length
        self._chosen: Callable[[], bool] = lambda: True
        if config.sampling != ALL:
            sampled, share = context.runtime.sampled, fraction(config.sampling)
            self._chosen = lambda: sampled(share)

    def wants(self, seconds: float) -> bool:
        """Whether an operation that took so long is logged."""
        return seconds >= self.slower_than and self._chosen()

    def log(self, operation: Operation, seconds: float, error: str, now: float, upstream: str) -> None:
        """Write an operation's line."""
        self.write(line(now, self._describe(operation, seconds, error), upstream))

    def _describe(self, operation: Operation, seconds: float, error: str) -> str:
        message = operation.message
        opcode = "OP_QUERY" if operation.legacy else "OP_MSG"
        parts = [
            f'"opcode": "{opcode}", "id": {message.id}, "response_to": {message.response_to}',
            f'"flags": "{message.flags:#x}", "command": {_quote(operation.name)}',
            f'"database": {_quote(operation.database)}, "collection": {_quote(operation.collection)}',
            f'"filter": {self._filter(message)}',
            f'"latency_ms": {seconds * 1000:.3f}, "documents": {operation.documents}',
            f'"request_bytes": {message.size}, "reply_bytes": {operation.size}',
            f'"error": {_quote(error)}',
        ]
        return f"{{{', '.join(parts)}}}"

    def _filter(self, message: Msg | legacy.Query) -> str:
        try:
            if isinstance(message, legacy.Query):
                return self._text(message.query, 0, bson.DOCUMENT)
            found = self._looked_for(message)
        except bson.BsonError:
            return '"damaged"'
        return found

    def _looked_for(self, message: Msg) -> str:
        for name in _FILTERS:
            place = message.fields.get(name)
            if place is not None and place[0] in (bson.DOCUMENT, bson.ARRAY):
                return self._text(message.data, place[1], place[0])
        for sequence in message.sequences:
            if sequence.name.encode("utf-8", "surrogateescape") in _FILTERS and sequence.documents:
                return self._text(sequence.documents, 0, bson.DOCUMENT)
        return "{}"

    def _text(self, data: bytes, at: int, kind: int) -> str:
        if bson.length_at(data, at) > 16 * self._max_length + 4096:
            return '"too long"'
        alike = kind == bson.ARRAY and self._redact
        made = text.shapes(data, at) if alike else text.document(data, at, self._redact)
        return made if len(made) <= self._max_length else _quote(made[: self._max_length] + "...")
