"""
The PROXY protocol, version 1 and 2: who connected to the proxy in front of us.

Follows HAProxy's doc/proxy-protocol.txt of 2020-03-05.  decode() looks at the
first bytes of a connection, encode() makes them.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Address = tuple[str, int] | str
Family = Literal["unspec", "inet", "inet6", "unix"]
Tlvs = tuple[tuple[int, bytes], ...]

V1_SIGNATURE = b"PROXY "
V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
#: The longest version 1 line, CRLF included: 107 by the document, 108 as Envoy has it.
V1_LIMIT = 108
V2_HEAD = 16
#: The longest header there is.
LIMIT = V2_HEAD + 0xFFFF

# Registered TLV types, and those of clouds.
ALPN, AUTHORITY, CRC32C, NOOP, UNIQUE_ID, SSL, NETNS = 0x01, 0x02, 0x03, 0x04, 0x05, 0x20, 0x30
AWS, AZURE = 0xEA, 0xEE

_FAMILIES: tuple[Family, ...] = ("unspec", "inet", "inet6", "unix")
_ADDRESS_SIZE = {"unspec": 0, "inet": 12, "inet6": 36, "unix": 216}
_UNIX_PATH = 108


class ProtocolError(Exception):
    """
    These bytes are no PROXY header.

    version is that of the header whose signature was seen; None if there was none.
    """

    def __init__(self, reason: str, version: int | None = None) -> None:
        super().__init__(reason)
        self.version = version


@dataclass(frozen=True, slots=True)
class Header:
    """
    A PROXY header.

    source and destination are None if it names none: version 1's UNKNOWN,
    version 2's family unspec, and local (the proxy speaks for itself, as in a
    health check).  datagram is true if the client spoke UDP.
    """

    version: int
    source: Address | None = None
    destination: Address | None = None
    tlvs: Tlvs = ()
    local: bool = False
    datagram: bool = False

    @property
    def family(self) -> Family:
        """Return the address family that holds both addresses."""
        if self.local or self.source is None or self.destination is None:
            return "unspec"
        if isinstance(self.source, str) or isinstance(self.destination, str):
            return "unix"
        return "inet6" if ":" in self.source[0] + self.destination[0] else "inet"


def version_of(data: bytes) -> int | None:
    """
    Return 1 or 2 for the version whose signature data begins with, 0 if it may still become one.

    None says that data is no PROXY header.
    """
    for version, signature in ((1, V1_SIGNATURE), (2, V2_SIGNATURE)):
        if data.startswith(signature):
            return version
        if signature.startswith(data):
            return 0
    return None


def decode(data: bytes) -> tuple[Header, int] | None:
    """
    Return the header that data begins with and its size in bytes; None if it is not all there.

    Raise ProtocolError as soon as it cannot become a header.  What a local
    header says of addresses, and its TLVs, are skipped, as the document wants.
    """
    version = version_of(data)
    if version is None:
        raise ProtocolError("no PROXY header")
    if version == 1:
        return _decode_v1(data)
    if version == 2 and len(data) >= V2_HEAD:
        return _decode_v2(data)
    return None


def encode(header: Header, checksum: bool = False) -> bytes:
    """
    Return the bytes of a header; with checksum (version 2 only), a CRC32C TLV at their end.

    A CRC32C among the TLVs is left out, and made anew.  Raise ValueError for what
    that version cannot say: version 1 has no TLVs, a unix path has up to 108
    bytes, all of it fits 65535 bytes.
    """
    return _encode_v2(header, checksum) if header.version == 2 else _encode_v1(header)


# Version 1: a line of text.


def _decode_v1(data: bytes) -> tuple[Header, int] | None:
    end = data.find(b"\r\n", 0, V1_LIMIT)
    if end < 0:
        if len(data) > V1_LIMIT:
            raise ProtocolError("the PROXY line is too long", 1 if b"\r\n" in data else None)
        return None
    words = data[:end].rstrip().split(b" ")
    if len(words) > 1 and words[1] == b"UNKNOWN":
        return Header(1), end + 2
    if len(words) != 6 or words[1] not in (b"TCP4", b"TCP6"):
        raise ProtocolError("the PROXY line is malformed", 1)
    family = socket.AF_INET if words[1] == b"TCP4" else socket.AF_INET6
    return Header(
        1, _v1_address(family, words[2], words[4]), _v1_address(family, words[3], words[5])
    ), end + 2


def _v1_address(family: int, host: bytes, port: bytes) -> Address:
    try:
        text = socket.inet_ntop(family, socket.inet_pton(family, host.decode("ascii")))
    except (OSError, ValueError):
        raise ProtocolError("the PROXY line has no such address", 1) from None
    if not port.isdigit() or len(port) > 5 or int(port) > 0xFFFF:
        raise ProtocolError("the PROXY line has no such port", 1)
    return text, int(port)


def _encode_v1(header: Header) -> bytes:
    if header.tlvs:
        raise ValueError("version 1 has no TLVs")
    source, destination = header.source, header.destination
    if header.family not in ("inet", "inet6") or isinstance(source, str) or isinstance(destination, str):
        return b"PROXY UNKNOWN\r\n"
    assert source is not None and destination is not None
    family, name = (socket.AF_INET, "TCP4") if header.family == "inet" else (socket.AF_INET6, "TCP6")
    hosts = [socket.inet_ntop(family, _packed(family, host)) for host in (source[0], destination[0])]
    return f"PROXY {name} {hosts[0]} {hosts[1]} {source[1]} {destination[1]}\r\n".encode("ascii")


def _packed(family: int, host: str) -> bytes:
    """Return the bytes of an IP address; a v4 address among v6 ones is mapped."""
    if family == socket.AF_INET6 and ":" not in host:
        host = "::ffff:" + host
    try:
        return socket.inet_pton(family, host.partition("%")[0])
    except OSError:
        raise ValueError(f"{host!r} is no IP address") from None


# Version 2: binary, with TLVs.


def _decode_v2(data: bytes) -> tuple[Header, int] | None:
    command, kind, length = struct.unpack_from("!BBH", data, len(V2_SIGNATURE))
    if command >> 4 != 2 or command & 0xF > 1:
        raise ProtocolError(f"no such version or command: {command:#04x}", 2)
    end = V2_HEAD + length
    if command & 0xF == 0:
        return (Header(2, local=True), end) if len(data) >= end else None
    if kind not in (0x00, 0x11, 0x12, 0x21, 0x22, 0x31, 0x32):
        raise ProtocolError(f"no such family or transport: {kind:#04x}", 2)
    family = _FAMILIES[kind >> 4]
    start = V2_HEAD + _ADDRESS_SIZE[family]
    if start > end:
        raise ProtocolError("the header is shorter than its addresses", 2)
    if len(data) < end:
        return None
    tlvs = tuple(_read_tlvs(data, start, end))
    source, destination = _v2_addresses(family, data[V2_HEAD:start])
    return Header(2, source, destination, tlvs, datagram=kind & 0xF == 2), end


def _read_tlvs(data: bytes, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    while start < end:
        if end - start < 3:
            raise ProtocolError("a TLV is cut off", 2)
        kind, length = struct.unpack_from("!BH", data, start)
        start += 3
        if start + length > end:
            raise ProtocolError("a TLV is longer than the header", 2)
        if kind == CRC32C and not _sums_up(data[:end], start, length):
            raise ProtocolError("the checksum is wrong", 2)
        yield kind, data[start : start + length]
        start += length


def _sums_up(header: bytes, at: int, length: int) -> bool:
    """Whether the checksum at that place is that of the header with zeros in its place."""
    blank = header[:at] + bytes(length) + header[at + length :]
    return length == 4 and struct.unpack_from("!I", header, at)[0] == crc32c(blank)


def _v2_addresses(family: Family, data: bytes) -> tuple[Address | None, Address | None]:
    if family == "unspec":
        return None, None
    if family == "unix":
        return _unix_path(data[:_UNIX_PATH]), _unix_path(data[_UNIX_PATH:])
    kind, size = (socket.AF_INET, 4) if family == "inet" else (socket.AF_INET6, 16)
    ports = struct.unpack_from("!HH", data, 2 * size)
    return (
        (socket.inet_ntop(kind, data[:size]), ports[0]),
        (socket.inet_ntop(kind, data[size : 2 * size]), ports[1]),
    )


def _unix_path(field: bytes) -> str:
    """Return a path; an abstract name keeps its leading NUL."""
    return (field[:1] + field[1:].partition(b"\0")[0]).rstrip(b"\0").decode("utf-8", "surrogateescape")


def _encode_v2(header: Header, checksum: bool) -> bytes:
    family = header.family
    kind = 0 if family == "unspec" else _FAMILIES.index(family) << 4 | (2 if header.datagram else 1)
    tlvs = [tlv for tlv in header.tlvs if tlv[0] != CRC32C]
    checksum = checksum or len(tlvs) < len(header.tlvs)
    body = _addresses(header, family)
    body += b"".join(struct.pack("!BH", kind, len(value)) + value for kind, value in tlvs)
    if checksum:
        body += struct.pack("!BHI", CRC32C, 4, 0)
    if len(body) > 0xFFFF:
        raise ValueError("the header is longer than 65535 bytes")
    wire = V2_SIGNATURE + struct.pack("!BBH", 0x20 if header.local else 0x21, kind, len(body)) + body
    return wire[:-4] + struct.pack("!I", crc32c(wire)) if checksum else wire


def _addresses(header: Header, family: Family) -> bytes:
    source, destination = header.source, header.destination
    if family == "unspec" or source is None or destination is None:
        return b""
    if isinstance(source, str) or isinstance(destination, str):
        return _unix_field(source) + _unix_field(destination)
    kind = socket.AF_INET if family == "inet" else socket.AF_INET6
    return (
        _packed(kind, source[0])
        + _packed(kind, destination[0])
        + struct.pack("!HH", source[1], destination[1])
    )


def _unix_field(address: Address) -> bytes:
    path = address.encode("utf-8", "surrogateescape") if isinstance(address, str) else b""
    if len(path) > _UNIX_PATH:
        raise ValueError("a unix path is longer than 108 bytes")
    return path.ljust(_UNIX_PATH, b"\0")


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return tuple(table)


_CRC = _crc_table()


def crc32c(data: bytes) -> int:
    """Return the Castagnoli checksum of RFC 4960, appendix B."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF
