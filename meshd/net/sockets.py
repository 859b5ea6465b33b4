"""
Listening sockets: made from a listener's config, with the options it asks for.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from meshd.interfaces import SocketAddress
from meshd.observe.info import address_text
from meshd.plugin import ConfigError

#: SocketOption.SocketState: when an option is set.
PREBIND, BOUND, LISTENING = 0, 1, 2
# Linux's numbers; the socket module of Python 3.11 does not name them.
IP_FREEBIND, IPV6_FREEBIND = 15, 78
IP_BIND_ADDRESS_NO_PORT = 24
IP_TRANSPARENT, IPV6_TRANSPARENT = 19, 75


class SocketOption(NamedTuple):
    """What setsockopt is called with, and when."""

    level: int
    name: int
    value: int | bytes
    state: int = PREBIND


def read_socket_options(options: Sequence[Any], field: str = "socket_options") -> tuple[SocketOption, ...]:
    """Read a repeated SocketOption field; raise ConfigError for one that says no value."""
    read = []
    for index, each in enumerate(options):
        if each.WhichOneof("value") is None:
            raise ConfigError("one of int_value and buf_value is needed", field, index)
        value = each.int_value if each.WhichOneof("value") == "int_value" else each.buf_value
        read.append(SocketOption(each.level, each.name, value, each.state))
    return tuple(read)


class ListenOptions(NamedTuple):
    """How the sockets of a listener are made."""

    backlog: int = 128
    reuse_port: bool = True
    transparent: bool | None = None
    freebind: bool | None = None
    options: tuple[SocketOption, ...] = ()
    fast_open: int | None = None
    ipv4_compat: bool = False
    #: The permissions of a unix socket.
    mode: int = 0


def read_address(address: Any) -> tuple[SocketAddress, int, bool]:
    """
    Return where an Address message says, a unix socket's mode, and whether IPv4 may come to an IPv6 socket.

    Raise ConfigError for what is no IP address, port number or path.
    """
    if address.HasField("pipe"):
        path = address.pipe.path
        return ("\0" + path[1:] if path.startswith("@") else path), address.pipe.mode, False
    if not address.HasField("socket_address"):
        raise ConfigError("only socket_address and pipe can be listened on")
    where = address.socket_address
    if where.WhichOneof("port_specifier") == "named_port":
        raise ConfigError("named ports need a resolver; give port_value", "socket_address", "named_port")
    if where.protocol != 0:
        raise ConfigError("meshd listens on TCP only", "socket_address", "protocol")
    family = socket.AF_INET6 if ":" in where.address else socket.AF_INET
    try:
        socket.inet_pton(family, where.address.split("%")[0])
    except OSError:
        raise ConfigError(f"malformed IP address: {where.address}", "socket_address", "address") from None
    return (where.address, where.port_value), 0, where.ipv4_compat


def _set(sock: socket.socket, options: Sequence[SocketOption], state: int) -> None:
    for each in options:
        if each.state == state:
            sock.setsockopt(each.level, each.name, each.value)


def _prepare(sock: socket.socket, options: ListenOptions) -> None:
    """Set what must be set before bind."""
    v6 = sock.family == socket.AF_INET6
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Linux gives it to the sockets that are accepted: a call less for each.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if options.reuse_port:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if v6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not options.ipv4_compat)
    level = socket.IPPROTO_IPV6 if v6 else socket.IPPROTO_IP
    if options.transparent is not None:
        sock.setsockopt(level, IPV6_TRANSPARENT if v6 else IP_TRANSPARENT, options.transparent)
    if options.freebind is not None:
        sock.setsockopt(level, IPV6_FREEBIND if v6 else IP_FREEBIND, options.freebind)


def _unlink_stale(path: str) -> None:
    """Remove a unix socket that a process left behind; never a file of another kind."""
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.stat(path).st_mode):
            os.unlink(path)


def listening_socket(address: SocketAddress, options: ListenOptions, listen: bool = True) -> socket.socket:
    """Return a bound, listening, non-blocking socket; raise OSError if there can be none."""
    if isinstance(address, str):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    else:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        if isinstance(address, str):
            if not address.startswith("\0"):
                _unlink_stale(address)
        else:
            _prepare(sock, options)
        _set(sock, options.options, PREBIND)
        sock.bind(address)
        if isinstance(address, str) and options.mode and not address.startswith("\0"):
            os.chmod(address, options.mode)
        _set(sock, options.options, BOUND)
        if options.fast_open is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, options.fast_open)
        if listen:
            sock.listen(options.backlog)
        _set(sock, options.options, LISTENING)
    except OSError as error:
        sock.close()
        why = f"cannot bind '{address_text(address)}': {os.strerror(error.errno or 0)}"
        raise OSError(error.errno, why) from None
    return sock


def close_listening(sock: socket.socket) -> None:
    """Close it, and remove the path of a unix socket."""
    with suppress(OSError):
        path = sock.getsockname()
        if isinstance(path, str) and path:
            os.unlink(path)
    sock.close()
