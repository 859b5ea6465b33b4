"""
Clients and a server of MongoDB's protocol, in one process.

It is run as ``python -m tests.bench.mongo KIND PORT BACKEND SECONDS``.

Each of 64 connections sends a find by _id and waits for its answer, a document
of 1 KiB.  KIND is msg, for what pymongo sends, or query, for what drivers sent
before MongoDB 3.6.  Neither side looks at more of a message than its length and
ids, so that the load takes less time than what is measured.  Prints how many
were answered after a second that does not count.
"""

from __future__ import annotations

import os
import selectors
import socket
import struct
import sys
import time
import uuid

import bson
import pymongo.message
from bson.binary import Binary
from bson.codec_options import DEFAULT_CODEC_OPTIONS

CONNECTIONS = 64
WARM = 1.0

_ID = bson.ObjectId()
DOCUMENT = {"_id": _ID, "text": "x" * 980}


def wire(kind: str) -> tuple[bytearray, bytearray]:
    """Return a request and its answer, both whole messages."""
    if kind == "msg":
        session = {"id": Binary(uuid.uuid4().bytes, 4)}
        command = {"find": "users", "filter": {"_id": _ID}, "limit": 1, "singleBatch": True, "lsid": session}
        _, request, _, _ = pymongo.message._op_msg(
            0, {**command, "$db": "shop"}, "shop", None, DEFAULT_CODEC_OPTIONS
        )
        found = {"cursor": {"firstBatch": [DOCUMENT], "id": bson.Int64(0), "ns": "shop.users"}, "ok": 1.0}
        _, answer, _, _ = pymongo.message._op_msg(0, found, "shop", None, DEFAULT_CODEC_OPTIONS)
        return bytearray(request), bytearray(answer)
    inside = struct.pack("<i", 0) + b"shop.users\0" + struct.pack("<ii", 0, -1) + bson.encode({"_id": _ID})
    request = struct.pack("<iiii", 16 + len(inside), 1, 0, 2004) + inside
    inside = struct.pack("<iqii", 8, 0, 0, 1) + bson.encode(DOCUMENT)
    return bytearray(request), bytearray(struct.pack("<iiii", 16 + len(inside), 2, 1, 1) + inside)


class Load:
    """The clients and the server, and how many answers there were."""

    def __init__(self, kind: str, port: int, backend: int) -> None:
        self.request, self.answer = wire(kind)
        self.answered = 0
        self._selector = selectors.EpollSelector()
        self._server = socket.create_server(("127.0.0.1", backend), backlog=512)
        self._server.setblocking(False)
        self._selector.register(self._server, selectors.EVENT_READ, self._accept)
        self._port = port
        self._socks: list[socket.socket] = []

    def connect(self) -> None:
        """Connect all clients; each sends its first request."""
        for number in range(CONNECTIONS):
            sock = socket.create_connection(("127.0.0.1", self._port), 10.0)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socks.append(sock)
            self._add(sock, len(self.answer), self._answered)
            self._ask(sock, number)

    def _accept(self) -> None:
        sock, _ = self._server.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socks.append(sock)
        self._add(sock, len(self.request), self._requested)

    def _add(self, sock: socket.socket, size: int, whole: object) -> None:
        buffer = bytearray()

        def readable() -> None:
            data = sock.recv(65536)
            if not data:
                raise SystemExit("a connection was closed")
            if buffer or len(data) != size:
                buffer.extend(data)
                if len(buffer) < size:
                    return
                data = bytes(buffer)
                buffer.clear()
            whole(sock, data)  # type: ignore[operator]

        self._selector.register(sock, selectors.EVENT_READ, readable)

    def _ask(self, sock: socket.socket, number: int) -> None:
        struct.pack_into("<i", self.request, 4, number)
        sock.send(self.request)

    def _requested(self, sock: socket.socket, data: bytes) -> None:
        self.answer[8:12] = data[4:8]
        sock.send(self.answer)

    def _answered(self, sock: socket.socket, data: bytes) -> None:
        self.answered += 1
        self._ask(sock, self.answered & 0x7FFFFFFF)

    def run(self, seconds: float) -> int:
        """Go on for so long; return how many answers came."""
        before, end = self.answered, time.monotonic() + seconds
        select = self._selector.select
        while time.monotonic() < end:
            for key, _ in select(1.0):
                key.data()
        return self.answered - before


def main(kind: str, port: int, backend: int, seconds: float) -> None:
    """Load the proxy; write "ready", wait for a line, and write how many answers came then."""
    load = Load(kind, port, backend)
    load.connect()
    load.run(WARM)
    print("ready", flush=True)
    sys.stdin.readline()
    print(load.run(seconds), flush=True)
    # The proxy must not see 128 connections end within the time that counts.
    sys.stdin.readline()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
