"""ClientHellos for tests: made byte by byte, and such as OpenSSL sends."""

from __future__ import annotations

import ssl
import struct
from collections.abc import Sequence
from typing import Any

SNI, GROUPS, POINTS, SIGNATURES, ALPN, TICKET, PSK, VERSIONS = 0, 10, 11, 13, 16, 35, 41, 43
ECH = 0xFE0D
GREASE = 0x0A0A

Extensions = Sequence[tuple[int, bytes]]


def counted(size: int, body: bytes) -> bytes:
    """Return body after its length in size bytes."""
    return len(body).to_bytes(size, "big") + body


def numbers(*values: int) -> bytes:
    """Return 16-bit numbers."""
    return struct.pack(f"!{len(values)}H", *values)


def sni(name: bytes, kind: int = 0) -> tuple[int, bytes]:
    """Return a server_name extension."""
    return SNI, counted(2, bytes([kind]) + counted(2, name))


def alpn(*protocols: bytes) -> tuple[int, bytes]:
    """Return an ALPN extension."""
    return ALPN, counted(2, b"".join(counted(1, each) for each in protocols))


def versions(*values: int) -> tuple[int, bytes]:
    """Return a supported_versions extension."""
    return VERSIONS, counted(1, numbers(*values))


def listed(kind: int, *values: int) -> tuple[int, bytes]:
    """Return an extension that is a list of 16-bit numbers: groups, signature algorithms."""
    return kind, counted(2, numbers(*values))


def points(*values: int) -> tuple[int, bytes]:
    """Return an ec_point_formats extension."""
    return POINTS, counted(1, bytes(values))


def body(
    extensions: Extensions | None = (),
    version: int = 0x0303,
    ciphers: Sequence[int] = (0x1301, 0xC02F),
    session_id: bytes = b"",
    compressions: bytes = b"\0",
    tail: bytes = b"",
) -> bytes:
    """Return the body of a ClientHello message; None for extensions is a hello without the field."""
    made = numbers(version) + bytes(range(32)) + counted(1, session_id)
    made += counted(2, numbers(*ciphers)) + counted(1, compressions)
    if extensions is not None:
        made += counted(2, b"".join(numbers(kind) + counted(2, value) for kind, value in extensions))
    return made + tail


def message(content: bytes, kind: int = 1) -> bytes:
    """Return a handshake message."""
    return bytes([kind]) + counted(3, content)


def records(content: bytes, size: int = 16384, kind: int = 22, version: int = 0x0301) -> bytes:
    """Return content in records of size bytes at most."""
    pieces = [content[start : start + size] for start in range(0, len(content), size)] or [b""]
    return b"".join(bytes([kind]) + numbers(version) + counted(2, piece) for piece in pieces)


def hello(extensions: Extensions | None = (), size: int = 16384, **fields: Any) -> bytes:
    """Return a connection's first bytes: a ClientHello in records of size bytes at most."""
    return records(message(body(extensions, **fields)), size)


def openssl_hello(
    name: str | None = None,
    protocols: Sequence[str] = (),
    lowest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
    highest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
) -> bytes:
    """Return what an OpenSSL client sends first."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.minimum_version, context.maximum_version = lowest, highest
    if protocols:
        context.set_alpn_protocols(list(protocols))
    sent = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=name)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return sent.read()


#: An encrypted_client_hello with nothing in it, as Chrome sends one to servers that have no key.
ECH_GREASE = bytes([0, 0, 1, 0, 1, 42]) + counted(2, bytes(32)) + counted(2, bytes(144))
CHROME_EXTENSIONS: Extensions = (
    (0x8A8A, b""),
    listed(GROUPS, 0xDADA, 0x11EC, 29, 23, 24),
    (45, b"\1\1"),
    points(0),
    (17613, counted(2, counted(1, b"h2"))),
    (18, b""),
    (TICKET, b""),
    listed(SIGNATURES, 0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601),
    (5, b"\1\0\0\0\0"),
    (23, b""),
    (51, counted(2, numbers(0xDADA) + counted(2, b"\0") + numbers(29) + counted(2, bytes(32)))),
    sni(b"www.example.com"),
    versions(0xBABA, 0x0304, 0x0303),
    (0xFF01, b"\0"),
    alpn(b"h2", b"http/1.1"),
    (ECH, ECH_GREASE),
    (27, b"\2\0\2"),
    (0xCACA, b"\0"),
)
CHROME_CIPHERS = (
    *(0x4A4A, 0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0xC013, 0xC014),
    *(0x009C, 0x009D, 0x002F, 0x0035),
)
#: What a Chrome of 2025 sends, but for its random numbers and its key shares, which are shorter.
CHROME = hello(CHROME_EXTENSIONS, ciphers=CHROME_CIPHERS, session_id=bytes(32))
