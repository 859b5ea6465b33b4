"""Tests for meshd.codec.dialogue.pop3; the bytes are those of stunnel 5.68, recorded."""

from __future__ import annotations

import pytest

from meshd.codec.dialogue import pop3
from meshd.codec.dialogue.script import CLIENT, SERVER, Outcome
from tests.codec.dialogue.talking import meet, talk


class TestClient:
    """Asking a server for TLS."""

    def test_tls(self) -> None:
        """The client gets the greeting; the server is asked for TLS."""
        made = talk(pop3.client(), (SERVER, b"+OK hi\r\n"), (SERVER, b"+OK go\r\n"))
        assert made.heard == {CLIENT: b"+OK hi\r\n", SERVER: b"STLS\r\n"}
        assert made.end is Outcome.START_TLS

    @pytest.mark.parametrize(("words", "heard"), [(b"-ERR hi\r\n", b""), (b"+OK\r\n-ERR no\r\n", b"+OK\r\n")])
    def test_no_tls(self, words: bytes, heard: bytes) -> None:
        """A server that will not is left."""
        made = talk(pop3.client(), (SERVER, words))
        assert made.failed is not None and made.failed.reset
        assert made.heard[CLIENT] == heard


class TestServer:
    """Offering TLS."""

    def test_tls(self) -> None:
        """The greeting is marked; the one capability is STLS."""
        made = talk(
            pop3.server(),
            (SERVER, b"+OK ready <1@x>\r\n"),
            (CLIENT, b"capa\r\n"),
            (CLIENT, b"STLS\r\n"),
        )
        assert made.heard == {
            CLIENT: b"+OK ready <1@x> + stunnel\r\n"
            b"+OK Stunnel capability list follows\r\nSTLS\r\n.\r\n"
            b"+OK Stunnel starts TLS negotiation\r\n",
            SERVER: b"",
        }
        assert made.end is Outcome.START_TLS

    @pytest.mark.parametrize("line", [b"USER x\r\n", b"CAPA\r\nQUIT\r\n", b"\x16\x03\x01\r\n"])
    def test_no_tls(self, line: bytes) -> None:
        """A client that does not want TLS gets none of the server."""
        failed = talk(pop3.server(), (SERVER, b"+OK\r\n"), (CLIENT, line)).failed
        assert failed is not None and failed.reset


def test_meet() -> None:
    """The two sides understand each other."""
    client, server = meet(pop3.client(), pop3.server(), b"+OK ready\r\n")
    assert client.end is Outcome.START_TLS is server.end
