"""
The socket options that ``socket =`` knows: their numbers, how their values are read, their defaults.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence

import attrs

from meshd.stunnel.model import SocketOption

Value = int | str | tuple[int, int]

_SOL, _TCP, _IP, _IP6 = socket.SOL_SOCKET, socket.IPPROTO_TCP, socket.IPPROTO_IP, socket.IPPROTO_IPV6
#: Linux's number; the socket module of Python 3.11 does not name it.
IP_FREEBIND = 15


@attrs.frozen
class Option:
    """One option: kind is flag, number, linger, time or text."""

    level: int
    name: int
    kind: str = "number"


OPTIONS: dict[str, Option] = {
    "SO_DEBUG": Option(_SOL, socket.SO_DEBUG, "flag"),
    "SO_DONTROUTE": Option(_SOL, socket.SO_DONTROUTE, "flag"),
    "SO_KEEPALIVE": Option(_SOL, socket.SO_KEEPALIVE, "flag"),
    "SO_LINGER": Option(_SOL, socket.SO_LINGER, "linger"),
    "SO_OOBINLINE": Option(_SOL, socket.SO_OOBINLINE, "flag"),
    "SO_RCVBUF": Option(_SOL, socket.SO_RCVBUF),
    "SO_SNDBUF": Option(_SOL, socket.SO_SNDBUF),
    "SO_RCVLOWAT": Option(_SOL, socket.SO_RCVLOWAT),
    "SO_SNDLOWAT": Option(_SOL, socket.SO_SNDLOWAT),
    "SO_RCVTIMEO": Option(_SOL, socket.SO_RCVTIMEO, "time"),
    "SO_SNDTIMEO": Option(_SOL, socket.SO_SNDTIMEO, "time"),
    "SO_REUSEADDR": Option(_SOL, socket.SO_REUSEADDR, "flag"),
    "SO_BINDTODEVICE": Option(_SOL, socket.SO_BINDTODEVICE, "text"),
    "TCP_KEEPCNT": Option(_TCP, socket.TCP_KEEPCNT),
    "TCP_KEEPIDLE": Option(_TCP, socket.TCP_KEEPIDLE),
    "TCP_KEEPINTVL": Option(_TCP, socket.TCP_KEEPINTVL),
    "IP_TOS": Option(_IP, socket.IP_TOS),
    "IP_TTL": Option(_IP, socket.IP_TTL),
    "TCP_NODELAY": Option(_TCP, socket.TCP_NODELAY, "flag"),
    "IP_FREEBIND": Option(_IP, IP_FREEBIND, "flag"),
    "IPV6_V6ONLY": Option(_IP6, socket.IPV6_V6ONLY, "flag"),
}

#: What is set unless the config says otherwise, on the accepting, the local and the remote socket.
DEFAULTS: dict[str, dict[str, Value]] = {
    "a": {"SO_REUSEADDR": 1},
    "l": {"TCP_NODELAY": 1},
    "r": {"TCP_NODELAY": 1},
}


def read_value(name: str, text: str) -> Value:
    """Read an option's value; raise ValueError."""
    kind = OPTIONS[name].kind
    if kind == "text":
        return text
    if kind == "flag":
        return {"yes": 1, "no": 0, "1": 1, "0": 0}[text.lower()] if text.lower() in _FLAGS else _fail(text)
    if kind == "number":
        return int(text)
    first, colon, second = text.partition(":")
    if not colon:
        _fail(text)
    return int(first), int(second)


_FLAGS = ("yes", "no", "1", "0")


def _fail(text: str) -> int:
    raise ValueError(text)


def chosen(options: Sequence[SocketOption], side: str) -> dict[str, Value]:
    """Return what to set on a side's sockets; later lines win."""
    found = dict(DEFAULTS[side])
    found.update({each.name: each.value for each in options if each.side == side})
    return found


def packed(name: str, value: Value) -> int | bytes:
    """Return what setsockopt takes."""
    kind = OPTIONS[name].kind
    if isinstance(value, tuple):
        return struct.pack("ii" if kind == "linger" else "ll", *value)
    return value.encode() if isinstance(value, str) else value


def _shown(name: str, value: Value | None) -> str:
    if value is None:
        return "    --    "
    kind = OPTIONS[name].kind
    if isinstance(value, tuple):
        return f"{value[0]}:{value[1]}".rjust(10)
    if kind == "flag":
        return ("yes" if value else "no").rjust(10)
    return str(value).rjust(10)


def _system_default(name: str) -> Value | None:
    """Return what the kernel says of a new TCP socket; None if it does not know the option."""
    option = OPTIONS[name]
    family = socket.AF_INET6 if option.level == _IP6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        try:
            if option.kind in ("linger", "time"):
                form = "ii" if option.kind == "linger" else "ll"
                data = sock.getsockopt(option.level, option.name, struct.calcsize(form))
                first, second = struct.unpack(form, data)
                return first, second
            if option.kind == "text":
                return sock.getsockopt(option.level, option.name, 16).rstrip(b"\0").decode()
            return sock.getsockopt(option.level, option.name)
        except OSError:
            return None


def table() -> str:
    """Return what -sockets prints."""
    lines = [
        "Socket option defaults:",
        "    Option Name         |  Accept  |   Local  |  Remote  |OS default",
        "    --------------------+----------+----------+----------+----------",
    ]
    for name in OPTIONS:
        columns = [_shown(name, DEFAULTS[side].get(name)) for side in "alr"]
        columns.append(_shown(name, _system_default(name)))
        lines.append(f"    {name:<20}|{'|'.join(columns)}")
    return "\n".join(lines) + "\n"
