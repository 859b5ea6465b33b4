"""NNTP with STARTTLS (RFC 4642)."""

from __future__ import annotations

from meshd.codec.dialogue.script import CLIENT, SERVER, Failed, Line, Outcome, Script, say


def client() -> Script:
    """Ask a server for TLS; its greeting is for the client."""
    line: bytes = yield Line(SERVER)
    if line[:4] not in (b"200 ", b"201 "):
        raise Failed("unknown greeting of the NNTP server")
    yield say(CLIENT, line)
    yield say(SERVER, "STARTTLS")
    line = yield Line(SERVER)
    if not line.startswith(b"382 "):
        raise Failed("the NNTP server does not do TLS")
    return Outcome.START_TLS
