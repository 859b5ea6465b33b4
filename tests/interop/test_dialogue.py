"""The dialogues before TLS: what client and server are told by stunnel4 is what they are told by meshd."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.interop.stunnel_side import END, TLS, Lines, Scene, Steps, World

HELLO = b"220 mx.example ESMTP ready\r\n"
ONE, TWO, THREE = Lines(1), Lines(2), Lines(3)
AFTER: list[bytes | int | str] = [TLS, b"hello in TLS\r\n", 9]
INSIDE: list[bytes | int | str] = [14, b"an answer"]
SSL_REQUEST = b"\0\0\0\x08\x04\xd2\x16\x2f"
IMAP = b"* OK [CAPABILITY IMAP4rev1] ready.\r\n"

#: Server mode: protocol, what the client does, what the backend does.
SERVERS: dict[str, tuple[str, Steps, Steps]] = {
    "smtp": (
        "smtp",
        [ONE, b"EHLO me\r\n", TWO, b"STARTTLS\r\n", ONE, *AFTER],
        [HELLO, *INSIDE],
    ),
    "smtp of many lines": (
        "smtp",
        [TWO, b"ehlo me\n", TWO, b"starttls\n", ONE, *AFTER],
        [b"220-mx A\r\n220 two\r\n", *INSIDE],
    ),
    "smtp, TLS at once": ("smtp", [*AFTER[:2], 9 + len(HELLO)], [HELLO, *INSIDE]),
    "smtp, no EHLO": ("smtp", [ONE, b"HELO me\r\n", END], [HELLO]),
    "smtp, no STARTTLS": ("smtp", [ONE, b"EHLO me\r\n", TWO, b"MAIL FROM:<a>\r\n", END], [HELLO]),
    "smtp, no service": ("smtp", [END], [b"554 no\r\n"]),
    "pop3": (
        "pop3",
        [ONE, b"CAPA\r\n", THREE, b"STLS\r\n", ONE, *AFTER],
        [b"+OK ready\r\n", *INSIDE],
    ),
    "pop3, no STLS": ("pop3", [ONE, b"USER me\r\n", END], [b"+OK ready\r\n"]),
    "imap": (
        "imap",
        [ONE, b"a STARTTLS\r\n", ONE, *AFTER],
        [IMAP, *INSIDE],
    ),
    "imap, capabilities": (
        "imap",
        [ONE, b"a CAPABILITY\r\n", TWO, b"b STARTTLS\r\n", ONE, *AFTER],
        [IMAP, ONE, b"* CAPABILITY IMAP4rev1\r\na OK done\r\n", *INSIDE],
    ),
    "imap, logout": (
        "imap",
        [ONE, b"a LOGOUT\r\n", END],
        [IMAP, ONE, b"* BYE\r\nstunnel OK bye\r\n"],
    ),
    "imap, password": (
        "imap",
        [ONE, b"a LOGIN me secret\r\n", END],
        [IMAP, ONE, b"* BYE\r\nstunnel OK bye\r\n"],
    ),
    "imap, no service": ("imap", [END], [b"* BYE\r\n"]),
    "pgsql": ("pgsql", [SSL_REQUEST, 1, *AFTER], INSIDE),
    "pgsql, GSSAPI": ("pgsql", [b"\0\0\0\x08\x04\xd2\x16\x30", END], []),
    "pgsql, clear text": ("pgsql", [b"\0\0\0\x08\0\x03\0\0", END], []),
    "cifs": ("cifs", [b"\x81\0\0\x04abcd", 5, *AFTER], INSIDE),
    "cifs, no request": ("cifs", [b"\0\0\0\0", END], []),
    "connect": (
        "connect",
        [b"CONNECT 127.0.0.1:BACKEND HTTP/1.1\r\nHost: x\r\n\r\n", THREE, *AFTER],
        INSIDE,
    ),
    "connect, other method": ("connect", [b"GET / HTTP/1.1\r\n\r\n", END], []),
    "connect, other protocol": ("connect", [b"CONNECT 127.0.0.1:BACKEND\r\n\r\n", END], []),
    "connect, no port": ("connect", [b"CONNECT localhost HTTP/1.1\r\n\r\n", END], []),
    "socks 5, loopback": (
        "socks",
        [TLS, b"\5\1\0", 2, b"\5\1\0\1\x7f\0\0\1\x12\x67", 10],
        [],
    ),
    "socks 5, loopback by name": (
        "socks",
        [TLS, b"\5\1\0", 2, b"\5\1\0\3\x09localhost\x12\x67", 10],
        [],
    ),
    "socks 5, authentication": ("socks", [TLS, b"\5\1\2", 2], []),
    "socks 5, bind": ("socks", [TLS, b"\5\1\0", 2, b"\5\2\0\1\x7f\0\0\1\x12\x67", 10], []),
    "socks 5, resolve": ("socks", [TLS, b"\5\1\0", 2, b"\5\xf0\0\3\x09localhost\0\0", 10], []),
    "socks 4, loopback": ("socks", [TLS, b"\4\1\x12\x67\x7f\0\0\1me\0", 8], []),
    "socks 4a, loopback by name": ("socks", [TLS, b"\4\1\x12\x67\0\0\0\1me\0localhost\0", 8], []),
    "socks 4a, resolve": ("socks", [TLS, b"\4\xf0\0\0\0\0\0\1me\0localhost\0", 8], []),
}


SECURED: list[bytes | int | str] = [b"220 mx\r\n", ONE, b"250 mx\r\n", ONE, b"220 go\r\n", TLS]
#: Client mode: protocol, options of stunnel, fields of meshd, what the client does, what the server does.
CLIENTS: dict[str, tuple[str, list[str], dict[str, Any], Steps, Steps]] = {
    "smtp": (
        "smtp",
        [],
        {},
        [TWO, b"EHLO me\r\n", 4],
        [
            b"220-mx\r\n220 ready\r\n",
            ONE,
            b"250-mx\r\n250 ok\r\n",
            ONE,
            b"220 go\r\n",
            TLS,
            ONE,
            b"yes\n",
        ],
    ),
    "smtp, name": (
        "smtp",
        ["protocolHost = my.name"],
        {"host": "my.name"},
        [ONE, b"EHLO me\r\n", 4],
        [b"220 mx\r\n", ONE, b"250 mx\r\n", ONE, b"220 go\r\n", TLS, ONE, b"yes\n"],
    ),
    "smtp, PLAIN": (
        "smtp",
        ["protocolUsername = user", "protocolPassword = pass"],
        {"username": "user", "password": "pass"},
        [ONE, b"MAIL\r\n", 4],
        [*SECURED, ONE, b"250 mx\r\n", ONE, b"235 ok\r\n", ONE, b"yes\n"],
    ),
    "smtp, LOGIN": (
        "smtp",
        ["protocolUsername = user", "protocolPassword = pass", "protocolAuthentication = login"],
        {"username": "user", "password": "pass", "authentication": "login"},
        [ONE, b"MAIL\r\n", 4],
        [
            *SECURED,
            ONE,
            b"250 mx\r\n",
            ONE,
            b"334 a\r\n",
            ONE,
            b"334 b\r\n",
            ONE,
            b"235 ok\r\n",
            ONE,
            b"yes\n",
        ],
    ),
    "smtp, PLAIN refused": (
        "smtp",
        ["protocolUsername = user", "protocolPassword = pass"],
        {"username": "user", "password": "pass"},
        [ONE, END],
        [*SECURED, ONE, b"250 mx\r\n", ONE, b"535 no\r\n"],
    ),
    "smtp, no EHLO": ("smtp", [], {}, [ONE, END], [b"220 mx\r\n", ONE, b"502 no\r\n"]),
    "smtp, no STARTTLS": (
        "smtp",
        [],
        {},
        [ONE, END],
        [b"220 mx\r\n", ONE, b"250 mx\r\n", ONE, b"454 no\r\n"],
    ),
    "pop3": ("pop3", [], {}, [ONE, b"USER\r\n", 4], [b"+OK hi\r\n", ONE, b"+OK go\r\n", TLS, ONE, b"+OK\n"]),
    "pop3, no STLS": ("pop3", [], {}, [ONE, END], [b"+OK hi\r\n", ONE, b"-ERR\r\n"]),
    "pop3, no service": ("pop3", [], {}, [END], [b"-ERR\r\n"]),
    "imap": ("imap", [], {}, [ONE, b"a\r\n", 4], [IMAP, ONE, b"stunnel OK\r\n", TLS, ONE, b"yes\n"]),
    "imap, no STARTTLS": ("imap", [], {}, [END], [IMAP, ONE, b"stunnel NO\r\n"]),
    "imap, no service": ("imap", [], {}, [END], [b"* BYE\r\n"]),
    "nntp": ("nntp", [], {}, [ONE, b"LIST\r\n", 4], [b"201 hi\r\n", ONE, b"382 go\r\n", TLS, ONE, b"yes\n"]),
    "nntp, no STARTTLS": ("nntp", [], {}, [ONE, END], [b"200 hi\r\n", ONE, b"580 no\r\n"]),
    "ldap": (
        "ldap",
        [],
        {},
        [b"x", 4],
        [31, bytes.fromhex("300c02010178070a010004000400"), TLS, 1, b"yes\n"],
    ),
    "ldap, refused": ("ldap", [], {}, [END], [31, bytes.fromhex("300c02010178070a013404000400")]),
    "pgsql": ("pgsql", [], {}, [b"x", 4], [8, b"S", TLS, 1, b"yes\n"]),
    "pgsql, refused": ("pgsql", [], {}, [END], [8, b"N"]),
    "cifs": ("cifs", [], {}, [b"x", 4], [4, b"\x83\0\0\x01\x8e", TLS, 1, b"yes\n"]),
    "cifs, refused": ("cifs", [], {}, [END], [4, b"\x83\0\0\x01\x80"]),
    "connect": (
        "connect",
        ["protocolHost = there.example:443"],
        {"host": "there.example:443"},
        [b"x", 4],
        [THREE, b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n", TLS, 1, b"yes\n"],
    ),
    "connect, Basic": (
        "connect",
        [
            "protocolHost = there.example:443",
            "protocolUsername = user",
            "protocolPassword = pass",
            "protocolHeader = X-A: b",
        ],
        {"host": "there.example:443", "username": "user", "password": "pass", "headers": ["X-A: b"]},
        [b"x", 4],
        [Lines(5), b"HTTP/1.0 200\r\n\r\n", TLS, 1, b"yes\n"],
    ),
    "connect, refused": (
        "connect",
        ["protocolHost = there.example:443"],
        {"host": "there.example:443"},
        [END],
        [THREE, b"HTTP/1.1 403 No\r\n\r\n"],
    ),
}


def scenes() -> dict[str, Scene]:
    """Return all scenes by name."""
    made = {}
    for name, (protocol, client, server) in SERVERS.items():
        fields = {"product": "stunnel/5.68"} if protocol == "connect" else None
        made[f"server: {name}"] = Scene(protocol, client, server, fields=fields)
    for name, (protocol, options, values, client, server) in CLIENTS.items():
        made[f"client: {name}"] = Scene(protocol, client, server, options, values, client_mode=True)
    return made


SCENES = scenes()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """All scenes, on one stunnel4 and one meshd."""
    made = World(tmp_path_factory.mktemp("dialogue"), SCENES)
    try:
        yield made
    finally:
        made.close()


def said(heard: list[Any]) -> bytes:
    """Return all the bytes that were heard."""
    return b"".join(each for each in heard if isinstance(each, bytes))


@pytest.mark.parametrize("name", SCENES)
def test_dialogue(name: str, world: World) -> None:
    """The client hears the same and sees the same end; the server hears the same."""
    theirs = world.on_stunnel(name)
    ours = world.on_meshd(name)
    assert ours[0] == theirs[0]
    assert said(ours[1]) == said(theirs[1])
