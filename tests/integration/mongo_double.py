"""
What stands for MongoDB servers where nx-27017 lacks something; each really speaks the protocol.

Member is one of a replica set: it knows hello, ping, insert, find and getMore
(by exhaust too: it streams its batches), transactions, and keeps documents in memory.  Shim
stands before another server and speaks compressed with the client.
"""

from __future__ import annotations

import itertools
import socket
import struct
import threading
from typing import Any

import bson

from meshd.codec import bson as raw
from meshd.codec.mongo import compressed, legacy, message, wire
from tests.interop.mongo_wire import read_message
from tests.interop.peers import Backend, Peer

Document = dict[str, Any]
_ids = itertools.count(100)


def body_of(found: message.Msg) -> Document:
    """Return the body of a message, with its sequences as fields."""
    document: Document = bson.decode(found.data[found.body :][: raw.length_at(found.data, found.body)])
    for each in found.sequences:
        document[each.name] = list(bson.decode_iter(each.documents))
    return document


class Member:
    """A member of a replica set, by the address that it has there; all members share their documents."""

    def __init__(self, name: str, hosts: list[str], documents: list[Document], primary: bool) -> None:
        self.name, self.hosts, self.documents, self.primary = name, hosts, documents, primary
        self.commands: list[str] = []
        self.backend = Backend(self.serve)
        self.port = self.backend.port

    def hello(self) -> Document:
        """The answer to hello."""
        return {
            "helloOk": True,
            "ismaster": self.primary,
            "isWritablePrimary": self.primary,
            "secondary": not self.primary,
            "setName": "rs",
            "setVersion": 1,
            "hosts": self.hosts,
            "primary": self.hosts[0],
            "me": self.name,
            "minWireVersion": 0,
            "maxWireVersion": 21,
            "maxBsonObjectSize": 16777216,
            "maxMessageSizeBytes": 48000000,
            "maxWriteBatchSize": 100000,
            "logicalSessionTimeoutMinutes": 30,
            "topologyVersion": {"processId": bson.ObjectId("0" * 24), "counter": bson.Int64(1)},
            "ok": 1.0,
        }

    def serve(self, peer: Peer) -> None:
        """Answer until the client ends."""
        while data := read_message(peer):
            found = wire.read(data, 1 << 24)
            if isinstance(found, legacy.Query):
                answer = bson.encode(self.hello())
                peer.send(legacy.encode(legacy.Reply(next(_ids), found.id, 8, 0, 0, 1, [answer])))
            elif isinstance(found, message.Msg):
                self.commands.append(found.name)
                self.answer(peer, found, body_of(found))

    def answer(self, peer: Peer, found: message.Msg, command: Document) -> None:
        """Answer one command; one that may be answered by many messages is."""
        streams = bool(found.flags & message.EXHAUST_ALLOWED)
        if found.name == "hello" and streams:
            # An answer that the server streams, and then nothing more, as when nothing changes.
            peer.send(
                message.encode(next(_ids), found.id, bson.encode(self.hello()), (), message.MORE_TO_COME)
            )
            return
        to = found.id
        answers = list(self.answers(found.name, command, streams))
        for number, each in enumerate(answers, 1):
            request, more = next(_ids), message.MORE_TO_COME if number < len(answers) else 0
            if not found.flags & message.MORE_TO_COME:
                peer.send(message.encode(request, to, bson.encode(each), (), more))
            to = request

    def answers(self, name: str, command: Document, streams: bool) -> Any:
        """Return the bodies of the answers to a command."""
        if name in ("hello", "isMaster", "ismaster"):
            yield self.hello()
        elif name == "insert":
            self.documents += command["documents"]
            yield {"n": len(command["documents"]), "ok": 1.0}
        elif name == "find":
            size = command.get("batchSize", 101)
            batch = self.documents[:size]
            more = len(self.documents) > size and not command.get("singleBatch")
            yield self.cursor("firstBatch", batch, 7 if more else 0)
        elif name == "getMore":
            size = command.get("batchSize", 101)
            starts = range(size, len(self.documents), size)
            for start in starts if streams else starts[:1]:
                last = start + size >= len(self.documents) or not streams
                yield self.cursor("nextBatch", self.documents[start : start + size], 0 if last else 7)
        else:
            yield {"ok": 1.0}

    def cursor(self, batch: str, documents: list[Document], number: int) -> Document:
        """A cursor's answer."""
        return {"cursor": {batch: documents, "id": bson.Int64(number), "ns": "db.users"}, "ok": 1.0}

    def finish(self) -> None:
        """Nothing waits for it."""

    def close(self) -> None:
        """Stop."""
        self.backend.close()


class Shim:
    """Speaks compressed, by one compressor, with the clients of a server that cannot."""

    def __init__(self, server: int, compressor: int) -> None:
        self.server, self.compressor = server, compressor
        self.seen = 0
        self.backend = Backend(self.serve)
        self.port = self.backend.port

    def serve(self, peer: Peer) -> None:
        """Relay a connection."""
        upstream = Peer(socket.create_connection(("127.0.0.1", self.server)))
        was_compressed: dict[int, bool] = {}
        back = threading.Thread(target=self._back, args=(upstream, peer, was_compressed), daemon=True)
        back.start()
        while data := read_message(peer):
            squeezed = struct.unpack_from("<i", data, 12)[0] == compressed.OP_COMPRESSED
            if squeezed:
                assert compressed.compressor_of(data) == self.compressor
                self.seen += 1
                data = compressed.expand(data, 1 << 26)
            was_compressed[struct.unpack_from("<i", data, 4)[0]] = squeezed
            upstream.send(data)
        upstream.sock.shutdown(socket.SHUT_RDWR)
        back.join(10)
        upstream.close()

    def _back(self, upstream: Peer, peer: Peer, was_compressed: dict[int, bool]) -> None:
        while data := read_message(upstream):
            found = wire.read(data, 1 << 26)
            if isinstance(found, legacy.Reply):
                found.documents[0] = self._offer(bson.decode(found.documents[0]))
                data = legacy.encode(found)
            elif isinstance(found, message.Msg) and b"maxWireVersion" in found.fields:
                data = message.with_body(found, self._offer(body_of(found)))
            if was_compressed.get(struct.unpack_from("<i", data, 8)[0]):
                data = compressed.compress(data, self.compressor)
            if not peer.try_send(data):
                return

    def _offer(self, hello: Document) -> bytes:
        return bson.encode({**hello, "compression": [compressed.NAMES[self.compressor]]})

    def finish(self) -> None:
        """Nothing waits for it."""

    def close(self) -> None:
        """Stop."""
        self.backend.close()
