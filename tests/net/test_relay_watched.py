"""Tests for meshd.net.relay, where somebody watches the bytes."""

from __future__ import annotations

import socket

from tests.net.loop import fill, some_bytes
from tests.net.relayed import MEGABYTE, RelayCase, drain


class WatchedTests(RelayCase):
    """Somebody is shown what goes there, and what comes back."""

    def setUp(self) -> None:
        super().setUp()
        self.there: list[bytes] = []
        self.back: list[bytes] = []
        self.it = self.relayed.join((self.there.append, self.back.append))

    def test_small(self) -> None:
        """Messages arrive, and are shown one by one; what is shown is kept unchanged."""
        it = self.it
        for number in range(20):
            it.client.sendall(b"question %d" % number)
            it.loop.turn()
            self.assertEqual(it.server.recv(100), b"question %d" % number)
            it.server.sendall(b"answer %d" % number)
            it.loop.turn()
            self.assertEqual(it.client.recv(100), b"answer %d" % number)
        self.assertEqual(self.there, [b"question %d" % number for number in range(20)])
        self.assertEqual(self.back, [b"answer %d" % number for number in range(20)])
        self.assertEqual(it.client_side.data + it.server_side.data, b"")

    def test_bulk(self) -> None:
        """Bulk is shown whole and in order, though the server reads slowly: it does not go through a pipe."""
        it, data = self.it, some_bytes(3 * MEGABYTE)
        rest, got = data, b""
        it.server.setblocking(False)
        while len(got) < len(data):
            rest = rest[fill(it.client, rest) :] if rest else rest
            it.loop.turn()
            try:
                got += it.server.recv(65536)
            except BlockingIOError:
                pass
        self.assertEqual(got, data)
        self.assertEqual(b"".join(self.there), data)
        self.assertIsNone(it.to_server._pipe)

    def test_counted(self) -> None:
        """What is shown is counted as if it were not."""
        self.it.client.sendall(b"x" * 100)
        self.it.loop.turn()
        self.it.relays.collect()
        self.assertEqual((self.it.there.bytes, self.it.up.bytes_written), (100, 100))

    def test_half_close(self) -> None:
        """A FIN is passed on after the data."""
        self.it.client.sendall(b"question")
        self.it.client.shutdown(socket.SHUT_WR)
        self.assertEqual(drain(self.it, self.it.server), (b"question", "FIN"))
        self.assertEqual(self.there, [b"question"])


class RaisingTests(RelayCase):
    """Somebody who watches raises."""

    def test_ends(self) -> None:
        """The connection is ended, and the protocol told why."""

        def raises(data: bytes) -> None:
            raise ValueError("no")

        for size in (10, 100_000):
            it = self.make().join((raises, raises))
            it.client.sendall(b"x" * size)
            it.loop.turn(3)
            self.assertTrue(it.down.closed)
