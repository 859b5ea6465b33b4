"""
One end of a connection, as its socket knows it: where it is, and its TCP options.

This is what ITCPTransport asks of a transport beside moving bytes.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Any

from meshd.interfaces import SocketAddress
from meshd.observe.info import twisted_address

#: How an IPv6 socket writes the address of an IPv4 peer.
_MAPPED = "::ffff:"
#: Linux' netfilter: where a connection that was redirected was going to (the same number for IPv4 and IPv6).
SO_ORIGINAL_DST = 80


def plain_address(name: Any) -> SocketAddress:
    """
    Return what the socket module calls an address as (IP, port), or as the path of a unix socket.

    An abstract unix socket's path begins with a null character.  IPv4 that came
    to an IPv6 socket is IPv4.  Flow label and scope of IPv6 are left out, but
    the scope that is part of a link-local IP stays.
    """
    if isinstance(name, tuple):
        ip: str = name[0]
        if ip.startswith(_MAPPED) and "." in ip:
            ip = ip[len(_MAPPED) :]
        return ip, name[1]
    if isinstance(name, bytes):
        return os.fsdecode(name)
    return name or ""


class SocketEnd:
    """Our end, and what it knows of the peer's; sock is the socket."""

    __slots__ = ()

    sock: socket.SocketType

    def local_address(self) -> SocketAddress:
        """Ask the kernel where this end is."""
        return plain_address(self.sock.getsockname())

    def remote_address(self) -> SocketAddress:
        """Ask the kernel where the other end is; empty if it is gone."""
        try:
            return plain_address(self.sock.getpeername())
        except OSError:
            return ""

    def original_destination(self) -> tuple[str, int]:
        """
        Ask the kernel where the peer wanted to go before netfilter redirected it; raise OSError.

        Of a connection that was not redirected that is our own address, where
        the kernel follows connections at all.
        """
        sock = self.sock
        if sock.family == socket.AF_INET6 and ":" in self.local_address()[0]:
            data = sock.getsockopt(socket.IPPROTO_IPV6, SO_ORIGINAL_DST, 28)
            return socket.inet_ntop(socket.AF_INET6, data[8:24]), struct.unpack_from("!H", data, 2)[0]
        data = sock.getsockopt(socket.IPPROTO_IP, SO_ORIGINAL_DST, 16)
        return socket.inet_ntop(socket.AF_INET, data[4:8]), struct.unpack_from("!H", data, 2)[0]

    def getHost(self) -> Any:
        return twisted_address(self.local_address())

    def getPeer(self) -> Any:
        return twisted_address(self.remote_address())

    def getTcpNoDelay(self) -> bool:
        return bool(self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, enabled)

    def getTcpKeepAlive(self) -> bool:
        return bool(self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, enabled)
