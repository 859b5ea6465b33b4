"""
SMTP with STARTTLS (RFC 3207), and AUTH PLAIN or LOGIN (RFC 4954) for those who cannot themselves.
"""

from __future__ import annotations

from base64 import b64encode

from meshd.codec.dialogue.script import (
    CLIENT,
    LINES_LIMIT,
    SERVER,
    Failed,
    First,
    Line,
    Outcome,
    Script,
    last_of,
    say,
    starts,
)


def client(host: str = "") -> Script:
    """Ask a server for TLS; its greeting is for the client.  host: what EHLO says of us."""
    for _ in range(LINES_LIMIT):
        line: bytes = yield Line(SERVER)
        yield say(CLIENT, line)
        if not line.startswith(b"220-"):
            break
    yield say(SERVER, f"EHLO {host or 'localhost'}")
    line = yield from last_of(SERVER, b"250-")
    if not line.startswith(b"250 "):
        raise Failed("the SMTP server does not take EHLO (RFC 1425)")
    yield say(SERVER, "STARTTLS")
    line = yield from last_of(SERVER, b"220-")
    if not line.startswith(b"220 "):
        raise Failed("the SMTP server does not take STARTTLS (RFC 2487)")
    return Outcome.START_TLS


def login(username: str, password: str, method: str = "plain", host: str = "") -> Script:
    """Authenticate to a server, inside of TLS; method is plain or login."""
    yield say(SERVER, f"HELO {host or 'localhost'}")
    line = yield from last_of(SERVER, b"250-")
    if not line.startswith(b"250"):
        raise Failed("the SMTP server does not take HELO")
    if method == "login":
        yield say(SERVER, "AUTH LOGIN")
        for secret in (username, password):
            line = yield Line(SERVER)
            if not line.startswith(b"334"):
                raise Failed("LOGIN authentication failed")
            yield say(SERVER, b64encode(secret.encode()))
    else:
        secrets = b64encode(f"\0{username}\0{password}".encode())
        yield say(SERVER, b"AUTH PLAIN " + secrets)
    line = yield Line(SERVER)
    if not line.startswith(b"235"):
        raise Failed(f"{method.upper()} authentication failed")
    return Outcome.DONE


def server(patience: float = 0.2) -> Script:
    """
    Offer TLS to a client, for a backend whose greeting it gets.

    A client that says something within patience seconds, before it was greeted,
    speaks TLS from the first byte.
    """
    if (yield First(patience)):
        return Outcome.START_TLS
    domain = b""
    for number in range(LINES_LIMIT):
        line: bytes = yield Line(SERVER)
        if line[:4] not in (b"220 ", b"220-"):
            raise Failed("unknown greeting of the SMTP server")
        if not number:
            domain, space, words = line[4:].partition(b" ")
            yield say(CLIENT, line[:4] + domain + b" stunnel" + (b" for " + words if space else b""))
        else:
            yield say(CLIENT, line)
        if line.startswith(b"220 "):
            break
    line = yield Line(CLIENT)
    if not starts(line, b"EHLO "):
        raise Failed("the SMTP client does not begin with EHLO")
    yield say(CLIENT, b"250-" + domain, b"250 STARTTLS")
    line = yield Line(CLIENT)
    if not starts(line, b"STARTTLS"):
        raise Failed("the SMTP client does not want TLS")
    yield say(CLIENT, "220 Go ahead")
    return Outcome.START_TLS
