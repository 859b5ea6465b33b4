"""IMAP with STARTTLS (RFC 2595; RFC 9051 section 6.2.1)."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from meshd.codec.dialogue.script import (
    CLIENT,
    LINES_LIMIT,
    SERVER,
    Failed,
    First,
    Line,
    Outcome,
    Script,
    Want,
    say,
    starts,
)


def client() -> Script:
    """Ask a server for TLS; the client gets a greeting of our own."""
    line: bytes = yield Line(SERVER)
    if not line.startswith(b"* OK"):
        raise Failed("unknown greeting of the IMAP server")
    yield say(CLIENT, "* OK Connected.")
    yield say(SERVER, "stunnel STARTTLS")
    for _ in range(LINES_LIMIT):
        line = yield Line(SERVER)
        if not line.startswith(b"* "):
            break
    if not line.startswith(b"stunnel OK"):
        yield say(CLIENT, "* BYE stunnel: Server does not support TLS")
        raise Failed("the IMAP server does not do TLS", reset=False)
    return Outcome.START_TLS


def server(patience: float = 0.2) -> Script:
    """
    Offer TLS to a client, for a backend whose greeting and capabilities it gets.

    A client that says something within patience seconds, before it was greeted,
    speaks TLS from the first byte.
    """
    if (yield First(patience)):
        return Outcome.START_TLS
    line: bytes = yield Line(SERVER)
    if not line.startswith(b"* OK"):
        raise Failed("unknown greeting of the IMAP server")
    # What the backend can do without TLS must not be taken for what it can do here.
    yield say(CLIENT, line.replace(b"CAPABILITY", b"KAPABILITY", 1) + b" (stunnel)")
    for _ in range(LINES_LIMIT):
        line = yield Line(CLIENT)
        tag, _, command = line.partition(b" ")
        if starts(command, b"STARTTLS"):
            yield say(CLIENT, tag + b" OK Begin TLS negotiation now")
            return Outcome.START_TLS
        if not starts(command, b"CAPABILITY"):
            break
        yield say(SERVER, line)
        yield from _capabilities(tag)
    if starts(command, b"LOGOUT"):
        yield say(CLIENT, b"* BYE server terminating", tag + b" OK LOGOUT completed")
        yield from _log_out("the IMAP client logged out before TLS")
    if command:
        yield say(CLIENT, b"* BYE stunnel: unexpected command", tag + b" BAD " + command + b" unexpected")
    yield from _log_out("the IMAP client does not want TLS")
    raise AssertionError("logging out fails the dialogue")


def _capabilities(tag: bytes) -> Generator[Want, Any, None]:
    """Hand on the backend's answer to CAPABILITY, with STARTTLS added."""
    for _ in range(LINES_LIMIT):
        line: bytes = yield Line(SERVER)
        listed = starts(line, b"* CAPABILITY ")
        yield say(CLIENT, line + b" STARTTLS" if listed else line)
        if not line.startswith(b"* "):
            break
    if not starts(line, tag.upper() + b" OK"):
        yield say(CLIENT, "* BYE unexpected server response")
        yield from _log_out("unexpected answer of the IMAP server to CAPABILITY")


def _log_out(why: str) -> Generator[Want, Any, None]:
    """Take leave of the backend, and end the dialogue."""
    yield say(SERVER, "stunnel LOGOUT")
    for _ in range(LINES_LIMIT):
        line: bytes = yield Line(SERVER)
        if not line.startswith(b"* "):
            break
    raise Failed(why, reset=False)
