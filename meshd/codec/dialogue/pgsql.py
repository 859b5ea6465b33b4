"""PostgreSQL's SSLRequest (its manual, "Message Formats")."""

from __future__ import annotations

from meshd.codec.dialogue.script import CLIENT, SERVER, Exactly, Failed, Outcome, Say, Script

SSL_REQUEST = b"\0\0\0\x08\x04\xd2\x16\x2f"
GSS_REQUEST = b"\0\0\0\x08\x04\xd2\x16\x30"

#: ErrorResponse: severity, SQLSTATE (internal error), message.
_REFUSAL = b"SERROR\0CXX000\0MSSL expected but not requested by client\0\0"


def client() -> Script:
    """Ask a server for TLS."""
    yield Say(SERVER, SSL_REQUEST)
    answer: bytes = yield Exactly(SERVER, 1)
    if answer != b"S":
        raise Failed("the PostgreSQL server does not do TLS")
    return Outcome.START_TLS


def server() -> Script:
    """Take a client's wish for TLS; one that wants another encryption is told that it is an error."""
    request: bytes = yield Exactly(CLIENT, 8)
    if request == GSS_REQUEST:
        yield Say(CLIENT, b"E" + (len(_REFUSAL) + 4).to_bytes(4, "big") + _REFUSAL)
        raise Failed("the PostgreSQL client wants GSSAPI encryption", reset=False)
    if request != SSL_REQUEST:
        raise Failed("the PostgreSQL client does not want TLS")
    yield Say(CLIENT, b"S")
    return Outcome.START_TLS
