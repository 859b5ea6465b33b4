"""Tests for meshd.codec.dialogue.cifs; the bytes are those of stunnel 5.68, recorded."""

from __future__ import annotations

import pytest

from meshd.codec.dialogue import cifs
from meshd.codec.dialogue.script import CLIENT, SERVER, Outcome
from tests.codec.dialogue.talking import meet, talk


class TestClient:
    """Asking a server for TLS."""

    def test_tls(self) -> None:
        """The server says that TLS is to be used."""
        made = talk(cifs.client(), (SERVER, b"\x83\0\0\x01\x8e"))
        assert made.heard[SERVER] == b"\x81\0\0\0"
        assert made.end is Outcome.START_TLS

    @pytest.mark.parametrize("answer", [b"\x83\0\0\x01\x80", b"\x82\0\0\0\0"])
    def test_no_tls(self, answer: bytes) -> None:
        """Any other answer fails the dialogue."""
        assert talk(cifs.client(), (SERVER, answer)).failed is not None


class TestServer:
    """Telling a client."""

    def test_tls(self) -> None:
        """A session request is taken whole, and answered."""
        made = talk(cifs.server(), (CLIENT, b"\x81\0\0\x44" + b"x" * 0x44 + b"\x16"))
        assert made.heard[CLIENT] == b"\x83\0\0\x01\x8e"
        assert made.end is Outcome.START_TLS
        assert made.rest()[0] == b"\x16"

    def test_no_request(self) -> None:
        """Anything else is answered with a refusal."""
        made = talk(cifs.server(), (CLIENT, b"\0\0\0\x04abcd"))
        assert made.heard[CLIENT] == b"\x83\0\0\x01\x81"
        assert made.failed is not None and made.failed.reset


def test_meet() -> None:
    """The two sides understand each other."""
    client, server = meet(cifs.client(), cifs.server())
    assert client.end is Outcome.START_TLS is server.end
