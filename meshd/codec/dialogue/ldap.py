"""LDAP's StartTLS operation (RFC 4511 section 4.14)."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from meshd.codec.dialogue.script import SERVER, Exactly, Failed, Outcome, Say, Script, Want

OID = b"1.3.6.1.4.1.1466.20037"
#: An LDAPMessage (30) with the id 1 (02) and an ExtendedRequest (77) of that name (80).
REQUEST = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x16" + OID
#: Bytes that a response may have.
LIMIT = 65536


def client() -> Script:
    """Ask a server for TLS."""
    yield Say(SERVER, REQUEST)
    tag, body = yield from _element()
    if tag != 0x30:
        raise Failed("the LDAP response is no sequence")
    tag, number, rest = _split(body)
    if tag != 0x02 or int.from_bytes(number, "big") != 1:
        raise Failed("the LDAP response is to another message")
    tag, response, _ = _split(rest)
    if tag != 0x78:
        raise Failed("the LDAP response is no extended response")
    tag, code, _ = _split(response)
    if tag != 0x0A:
        raise Failed("the LDAP response has no result code")
    if int.from_bytes(code, "big"):
        raise Failed(f"the LDAP server refuses TLS: error {int.from_bytes(code, 'big')}")
    return Outcome.START_TLS


def _element() -> Generator[Want, Any, tuple[int, bytes]]:
    """Read an element of BER: tag and content; lengths may be longer than they need be (as WinLDAP's)."""
    head: bytes = yield Exactly(SERVER, 2)
    size = head[1]
    if head[0] != 0x30:
        return head[0], b""
    if size & 0x80:
        size = int.from_bytes((yield Exactly(SERVER, size & 0x7F)), "big")
    if size > LIMIT:
        raise Failed("the LDAP response is too long")
    return head[0], (yield Exactly(SERVER, size))


def _split(data: bytes) -> tuple[int, bytes, bytes]:
    """Return the tag and content of the first element, and what follows it."""
    if len(data) < 2:
        raise Failed("the LDAP response is cut off")
    size, at = data[1], 2
    if size & 0x80:
        at += size & 0x7F
        size = int.from_bytes(data[2:at], "big")
    if len(data) < at + size:
        raise Failed("the LDAP response is cut off")
    return data[0], data[at : at + size], data[at + size :]
