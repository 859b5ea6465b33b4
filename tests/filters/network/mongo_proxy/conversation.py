"""A client, the filter and a server, for tests: whole messages, or a byte at a time."""

from __future__ import annotations

from typing import Any

import bson

from meshd.codec.mongo import message, wire
from meshd.filters.network.mongo_proxy import mongo
from meshd.filters.network.mongo_proxy.config import Config
from meshd.testing import FakeClient, FakeContext
from tests.codec.mongo.messages import msg

Document = dict[str, Any]

HELLO = {
    "isMaster": 1,
    "client": {"application": {"name": "shop"}, "driver": {"name": "PyMongo", "version": "4.6.0"}},
    "$db": "admin",
}


def found(*documents: Document, cursor: int = 0, batch: str = "firstBatch", **more: Any) -> Document:
    """A server's answer with a cursor."""
    return {"cursor": {batch: list(documents), "id": bson.Int64(cursor), "ns": "db.users"}, "ok": 1.0, **more}


def failure(code: int, name: str, text: str = "no") -> Document:
    """A server's answer that something went wrong."""
    return {"ok": 0.0, "errmsg": text, "code": code, "codeName": name}


class Conversation:
    """One connection through the filter, and its statistics under the prefix m."""

    def __init__(self, context: FakeContext | None = None, slow: bool = False, **fields: Any) -> None:
        self.context = context or FakeContext()
        if slow:
            # Runtime's value, though it changes nothing, has each message read.
            self.context.runtime.values["mongo.proxy_enabled"] = "100"
        self.build = mongo.configure(Config(stat_prefix="m", **fields), self.context)
        self.pieces = False
        self.connect()

    def connect(self) -> FakeClient:
        """Connect (again)."""
        self.filter: Any = self.build()
        self.client = FakeClient(self.filter)
        self.requests = 0
        return self.client

    def send(self, data: bytes) -> None:
        """Send bytes as the client."""
        if self.pieces:
            self.client.send(data)
        else:
            self.client.dataReceived(data)

    def reply(self, data: bytes) -> None:
        """Send bytes as the server."""
        for piece in [data[at : at + 1] for at in range(len(data))] if self.pieces else [data]:
            self.client.upstream.transport.write(piece)

    def ask(self, command: Document, flags: int = 0, **sequences: Any) -> int:
        """Send a command by OP_MSG; return its request id."""
        self.requests += 1
        self.send(msg({**command, "$db": command.get("$db", "db")}, self.requests, 0, flags, **sequences))
        return self.requests

    def answer(self, document: Document, to: int | None = None, request: int = 5000, flags: int = 0) -> None:
        """Answer the last command, or another."""
        self.reply(msg(document, request, self.requests if to is None else to, flags))

    def call(self, command: Document, document: Document | None = None, seconds: float = 0.0) -> None:
        """Send a command, let time pass, and answer it."""
        self.ask(command)
        self.context.clock.advance(seconds)
        self.answer({"ok": 1.0} if document is None else document)

    def __getitem__(self, name: str) -> int:
        """The statistic of that name below the prefix."""
        return self.context.stats[f"mongo.m.{name}"]

    def values(self, name: str) -> list[float]:
        """The values of a histogram below the prefix."""
        return self.context.stats.histograms[f"mongo.m.{name}"].values

    def all(self) -> tuple[dict[str, int], dict[str, list[float]]]:
        """All statistics that are not 0."""
        histograms = self.context.stats.histograms
        numbers = self.context.stats.numbers
        return (
            {name: number.value for name, number in sorted(numbers.items()) if number.value},
            {name: sorted(each.values) for name, each in sorted(histograms.items()) if each.values},
        )

    @property
    def passed(self) -> bytes:
        """What reached the server."""
        return self.client.upstream.received

    def told(self) -> list[Document]:
        """The bodies of the messages that the client got."""
        decoder = wire.Decoder()
        return [
            bson.decode(
                each.data[each.body : each.body + int.from_bytes(each.data[each.body :][:4], "little")]
            )
            for each in decoder.receive(self.client.received)
            if isinstance(each, message.Msg)
        ]
