"""POP3 with STLS (RFC 2595) and CAPA (RFC 2449)."""

from __future__ import annotations

from meshd.codec.dialogue.script import (
    CLIENT,
    LINES_LIMIT,
    SERVER,
    Failed,
    Line,
    Outcome,
    Script,
    say,
    starts,
)


def client() -> Script:
    """Ask a server for TLS; its greeting is for the client."""
    line: bytes = yield Line(SERVER)
    if not line.startswith(b"+OK"):
        raise Failed("unknown greeting of the POP3 server")
    yield say(CLIENT, line)
    yield say(SERVER, "STLS")
    line = yield Line(SERVER)
    if not line.startswith(b"+OK"):
        raise Failed("the POP3 server does not do TLS")
    return Outcome.START_TLS


def server() -> Script:
    """Offer TLS to a client, for a backend whose greeting it gets."""
    line: bytes = yield Line(SERVER)
    yield say(CLIENT, line + b" + stunnel")
    for _ in range(LINES_LIMIT):
        line = yield Line(CLIENT)
        if not starts(line, b"CAPA"):
            break
        yield say(CLIENT, "+OK Stunnel capability list follows", "STLS", ".")
    if not starts(line, b"STLS"):
        raise Failed("the POP3 client does not want TLS")
    yield say(CLIENT, "+OK Stunnel starts TLS negotiation")
    return Outcome.START_TLS
