"""
SOCKS 5 (RFC 1928, without authentication), 4 and 4a, and Tor's RESOLVE (its socks-extensions).

The server refuses targets on the loopback of its own machine, by name too: who
may use it as a proxy is not to reach what listens there for nobody else.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Generator
from typing import Any

from meshd.codec.dialogue.script import (
    CLIENT,
    SERVER,
    Exactly,
    Failed,
    Outcome,
    Resolve,
    Say,
    Script,
    Side,
    Target,
    Until,
    Want,
)

CONNECT, RESOLVE = 1, 0xF0
V4, NAME, V6 = 1, 3, 4
#: Replies of version 5.
SUCCEEDED, NOT_ALLOWED, UNREACHABLE, UNSUPPORTED = 0, 2, 4, 7
#: Replies of version 4.
GRANTED, REJECTED = 0x5A, 0x5B
_NOWHERE = b"\x01" + bytes(6)
#: Bytes of a user's or host's name of version 4.
_NAME_LIMIT = 255


def client(host: str, port: int) -> Script:
    """Ask a server for a connection."""
    yield Say(SERVER, b"\x05\x01\0")
    answer: bytes = yield Exactly(SERVER, 2)
    if answer != b"\x05\0":
        raise Failed("the SOCKS server wants authentication", reset=False)
    yield Say(SERVER, bytes((5, CONNECT, 0)) + _packed(host) + port.to_bytes(2, "big"))
    head: bytes = yield Exactly(SERVER, 4)
    if head[0] != 5 or head[1] != SUCCEEDED:
        raise Failed(f"the SOCKS server refuses: reply {head[1]}", reset=False)
    yield from _address(SERVER, head[3])
    return Outcome.DONE


def _packed(host: str) -> bytes:
    """Return an address type and address."""
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        name = host.encode("idna")
        if len(name) > 255:
            raise Failed("the name of the target is too long") from None
        return bytes((NAME, len(name))) + name
    return bytes((V4 if ip.version == 4 else V6,)) + ip.packed


def _address(side: Side, kind: int) -> Generator[Want, Any, tuple[str, int, bytes]]:
    """Read address and port; return them, and their bytes with the type (a name's are none)."""
    if kind in (V4, V6):
        packed: bytes = yield Exactly(side, 4 if kind == V4 else 16)
        port: bytes = yield Exactly(side, 2)
        host = socket.inet_ntop(socket.AF_INET if kind == V4 else socket.AF_INET6, packed)
        return host, int.from_bytes(port, "big"), bytes((kind,)) + packed + port
    if kind != NAME:
        if side == CLIENT:
            yield Say(CLIENT, bytes((5, UNSUPPORTED, 0)) + _NOWHERE)
        raise Failed(f"SOCKS address type {kind} is not known", reset=False)
    size: bytes = yield Exactly(side, 1)
    name: bytes = yield Exactly(side, size[0])
    port = yield Exactly(side, 2)
    return name.decode("ascii", "replace"), int.from_bytes(port, "big"), _NOWHERE


def server(allow_loopback: bool = False) -> Script:
    """Find out where a client wants to go."""
    version: bytes = yield Exactly(CLIENT, 1)
    if version == b"\x05":
        return (yield from _server_5(allow_loopback))
    if version == b"\x04":
        return (yield from _server_4(allow_loopback))
    raise Failed(f"SOCKS version {version[0]} is not known")


def _server_5(allow_loopback: bool) -> Script:
    count: bytes = yield Exactly(CLIENT, 1)
    methods: bytes = yield Exactly(CLIENT, count[0])
    if 0 not in methods:
        yield Say(CLIENT, b"\x05\xff")
        raise Failed("the SOCKS client wants authentication", reset=False)
    yield Say(CLIENT, b"\x05\0")
    head: bytes = yield Exactly(CLIENT, 4)
    if head[0] != 5:
        raise Failed("the SOCKS client's request is malformed")
    command = head[1]
    if command not in (CONNECT, RESOLVE):
        yield Say(CLIENT, bytes((5, UNSUPPORTED, 0)) + _NOWHERE)
        raise Failed(f"SOCKS command {command} is not served", reset=False)
    host, port, bound = yield from _address(CLIENT, head[3])
    found: list[str] = yield Resolve(host)
    if not found:
        yield Say(CLIENT, bytes((5, UNREACHABLE, 0)) + _NOWHERE)
        raise Failed(f"the SOCKS client's target {host} has no address", reset=False)
    if command == RESOLVE:
        yield Say(CLIENT, bytes((5, SUCCEEDED, 0)) + _packed(found[0]) + bytes(2))
        raise Failed("the SOCKS client only asked for an address", reset=False)
    if not allow_loopback and any(map(is_own, found)):
        yield Say(CLIENT, bytes((5, NOT_ALLOWED, 0)) + bound)
        raise Failed("the SOCKS client's target is the loopback", reset=False)
    yield Target(tuple(found), port)
    yield Say(CLIENT, bytes((5, SUCCEEDED, 0)) + bound)
    return Outcome.DONE


def _server_4(allow_loopback: bool) -> Script:
    head: bytes = yield Exactly(CLIENT, 7)
    command, port, address = head[0], int.from_bytes(head[1:3], "big"), head[3:]
    yield Until(CLIENT, _NAME_LIMIT)
    host = socket.inet_ntop(socket.AF_INET, address)
    if address[:3] == bytes(3) and address[3]:  # 4a: the name follows
        host = (yield Until(CLIENT, _NAME_LIMIT)).decode("ascii", "replace")
    refusal = Say(CLIENT, bytes((0, REJECTED)) + head[1:])
    if command not in (CONNECT, RESOLVE):
        yield refusal
        raise Failed(f"SOCKS command {command} is not served", reset=False)
    found: list[str] = [each for each in (yield Resolve(host)) if ":" not in each]
    if not found:
        yield refusal
        raise Failed(f"the SOCKS client's target {host} has no address", reset=False)
    if command == RESOLVE:
        yield Say(CLIENT, bytes((0, GRANTED, 0, 0)) + socket.inet_aton(found[0]))
        raise Failed("the SOCKS client only asked for an address", reset=False)
    if not allow_loopback and any(map(is_own, found)):
        yield refusal
        raise Failed("the SOCKS client's target is the loopback", reset=False)
    yield Target(tuple(found), port)
    yield Say(CLIENT, bytes((0, GRANTED)) + head[1:])
    return Outcome.DONE


def is_own(address: str) -> bool:
    """Whether an IP address is this machine's loopback, or unspecified (which connects to it)."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return ip.is_loopback or ip.is_unspecified
