"""Tests for meshd.codec.dialogue.nntp; the bytes are those of stunnel 5.68, recorded."""

from __future__ import annotations

import pytest

from meshd.codec.dialogue import nntp
from meshd.codec.dialogue.script import CLIENT, SERVER, Outcome
from tests.codec.dialogue.talking import talk


@pytest.mark.parametrize("greeting", [b"200 hi\r\n", b"201 hi\r\n"])
def test_tls(greeting: bytes) -> None:
    """The client gets the greeting; the server is asked for TLS."""
    made = talk(nntp.client(), (SERVER, greeting), (SERVER, b"382 go\r\n"))
    assert made.heard == {CLIENT: greeting, SERVER: b"STARTTLS\r\n"}
    assert made.end is Outcome.START_TLS


@pytest.mark.parametrize(("words", "heard"), [(b"502 hi\r\n", b""), (b"200 hi\r\n580 no\r\n", b"200 hi\r\n")])
def test_no_tls(words: bytes, heard: bytes) -> None:
    """A server that will not is left."""
    made = talk(nntp.client(), (SERVER, words))
    assert made.failed is not None and made.failed.reset
    assert made.heard[CLIENT] == heard
