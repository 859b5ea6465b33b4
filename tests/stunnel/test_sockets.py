"""Tests for meshd.stunnel.sockets."""

from __future__ import annotations

import struct

from meshd.stunnel import sockets
from meshd.stunnel.model import SocketOption


class TestSockets:
    """Options of the three kinds of sockets."""

    def test_chosen(self) -> None:
        """Defaults are there unless a later line says otherwise; sides do not mix."""
        options = [SocketOption("l", "TCP_NODELAY", 0), SocketOption("r", "SO_KEEPALIVE", 1)]
        assert sockets.chosen(options, "l") == {"TCP_NODELAY": 0}
        assert sockets.chosen(options, "r") == {"TCP_NODELAY": 1, "SO_KEEPALIVE": 1}
        assert sockets.chosen(options, "a") == {"SO_REUSEADDR": 1}

    def test_packed(self) -> None:
        """Pairs are structures, texts bytes."""
        assert sockets.packed("SO_LINGER", (1, 60)) == struct.pack("ii", 1, 60)
        assert sockets.packed("SO_RCVTIMEO", (1, 2)) == struct.pack("ll", 1, 2)
        assert sockets.packed("SO_BINDTODEVICE", "lo") == b"lo"
        assert sockets.packed("SO_SNDBUF", 7) == 7

    def test_table(self) -> None:
        """Every option has its row."""
        assert all(f"    {name:<20}|" in sockets.table() for name in sockets.OPTIONS)
