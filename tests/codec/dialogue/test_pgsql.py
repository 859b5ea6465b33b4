"""Tests for meshd.codec.dialogue.pgsql; the bytes are those of stunnel 5.68, recorded."""

from __future__ import annotations

import pytest

from meshd.codec.dialogue import pgsql
from meshd.codec.dialogue.script import CLIENT, SERVER, Outcome
from tests.codec.dialogue.talking import meet, talk


class TestClient:
    """Asking a server for TLS."""

    def test_tls(self) -> None:
        """The server says S."""
        made = talk(pgsql.client(), (SERVER, b"S\x16"))
        assert made.heard[SERVER] == b"\0\0\0\x08\x04\xd2\x16\x2f"
        assert made.end is Outcome.START_TLS
        assert made.rest()[1] == b"\x16"

    @pytest.mark.parametrize("answer", [b"N", b"E\0\0"])
    def test_no_tls(self, answer: bytes) -> None:
        """A server that says anything else does no TLS."""
        assert talk(pgsql.client(), (SERVER, answer)).failed is not None


class TestServer:
    """Taking a client's wish."""

    def test_tls(self) -> None:
        """The client hears S, and what it says then is TLS."""
        made = talk(pgsql.server(), (CLIENT, pgsql.SSL_REQUEST + b"\x16"))
        assert made.heard[CLIENT] == b"S"
        assert made.end is Outcome.START_TLS
        assert made.rest()[0] == b"\x16"

    def test_gss(self) -> None:
        """A client that wants GSSAPI encryption gets an error that it can read."""
        made = talk(pgsql.server(), (CLIENT, pgsql.GSS_REQUEST))
        assert made.heard[CLIENT] == (
            b"E\0\0\0=SERROR\0CXX000\0MSSL expected but not requested by client\0\0"
        )
        assert made.failed is not None and not made.failed.reset

    @pytest.mark.parametrize(
        "request_", [b"\0\0\0\x10\0\x03\0\0user\0a\0\0", b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\1\0\0\0\2"]
    )
    def test_no_tls(self, request_: bytes) -> None:
        """A client that begins in clear text, or cancels so, is reset."""
        made = talk(pgsql.server(), (CLIENT, request_))
        assert made.heard[CLIENT] == b""
        assert made.failed is not None and made.failed.reset


def test_meet() -> None:
    """The two sides understand each other."""
    client, server = meet(pgsql.client(), pgsql.server())
    assert client.end is Outcome.START_TLS is server.end
