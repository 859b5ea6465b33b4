"""
CIFS as Samba did it before 3.0: the NetBIOS session request is answered with "use TLS".

RFC 1002 section 4.3: 81 is a session request, 83 a negative response.
"""

from __future__ import annotations

from meshd.codec.dialogue.script import CLIENT, SERVER, Exactly, Failed, Outcome, Say, Script

REQUEST = b"\x81\0\0\0"
USE_TLS = b"\x83\0\0\x01\x8e"
NOT_LISTENING = b"\x83\0\0\x01\x81"


def client() -> Script:
    """Ask a server for TLS."""
    yield Say(SERVER, REQUEST)
    answer: bytes = yield Exactly(SERVER, 5)
    if answer != USE_TLS:
        raise Failed("the CIFS server does not want TLS")
    return Outcome.START_TLS


def server() -> Script:
    """Tell a client to use TLS."""
    head: bytes = yield Exactly(CLIENT, 4)
    if head[0] != 0x81:
        yield Say(CLIENT, NOT_LISTENING)
        raise Failed("the CIFS client sent no session request")
    yield Exactly(CLIENT, int.from_bytes(head[2:], "big"))
    yield Say(CLIENT, USE_TLS)
    return Outcome.START_TLS
