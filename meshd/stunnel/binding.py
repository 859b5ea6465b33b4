"""
The listening sockets of the services: opened, taken over from systemd or from the config before.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from meshd.interfaces import SocketAddress
from meshd.net.end import plain_address
from meshd.net.sockets import ListenOptions, close_listening, listening_socket
from meshd.stunnel.model import DEBUG, INFO, NOTICE, Configuration, Service
from meshd.stunnel.syntax import Failure

Say = Callable[[int, str], None]


def shown(address: SocketAddress) -> str:
    """Return an address as stunnel writes it."""
    return address if isinstance(address, str) else f"{address[0]}:{address[1]}"


@attrs.define
class Sockets:
    """Sockets that are open already: from systemd in their order, from the config before by address."""

    activated: list[socket.socket] = attrs.field(factory=list)
    kept: dict[SocketAddress, socket.socket] = attrs.field(factory=dict)

    def close(self) -> None:
        """Close those that nobody wanted."""
        for sock in (*self.activated, *self.kept.values()):
            close_listening(sock)
        self.activated.clear()
        self.kept.clear()


def bind(found: Configuration, listeners: Iterable[Any], sockets: Sockets, say: Say) -> None:
    """Give each listener its sockets; raise Failure if one gets none."""
    by_name = {each.name: each for each in found.services}
    for listener in listeners:
        service = by_name.get(listener.name)
        if service is None or not listener.setup.bind:
            _say_unbound(listener.name, service, say)
            continue
        say(DEBUG, f"Binding service [{listener.name}]")
        socks = [
            sock
            for address, options in listener.setup.addresses
            if (sock := _one(service, address, options, sockets, say)) is not None
        ]
        if not socks:
            raise Failure(f"Binding service [{listener.name}] failed")
        listener.adopt(socks)


def _say_unbound(name: str, service: Service | None, say: Say) -> None:
    if service is not None and service.exec:
        say(DEBUG, f"Skipped exec+connect service [{name}]")
        say(DEBUG, f"Starting exec+connect service [{name}]")


def _one(
    service: Service, address: SocketAddress, options: ListenOptions, sockets: Sockets, say: Say
) -> socket.socket | None:
    """Return a socket for one address; say why if there is none."""
    if sockets.activated:
        sock = sockets.activated.pop(0)
        say(DEBUG, f"Listening file descriptor received from systemd (FD={sock.fileno()})")
    elif address in sockets.kept:
        sock = sockets.kept.pop(address)
    else:
        try:
            sock = listening_socket(address, options)
            _give_away(service, address)
        except OSError as error:
            errno = error.errno or 0
            reason = f"{os.strerror(errno)} ({errno})"
            say(NOTICE, f"Binding service [{service.name}] to {shown(address)}: {reason}")
            return None
        say(DEBUG, f"Listening file descriptor created (FD={sock.fileno()})")
    where = shown(plain_address(sock.getsockname()))
    say(INFO, f"Service [{service.name}] (FD={sock.fileno()}) bound to {where}")
    return sock


def _give_away(service: Service, address: SocketAddress) -> None:
    """Give a unix socket to the user and group that its section names."""
    if isinstance(address, str) and (service.setuid is not None or service.setgid is not None):
        user, group = service.setuid, service.setgid
        os.chown(address, -1 if user is None else user, -1 if group is None else group)


def taken(listeners: Iterable[Any]) -> dict[SocketAddress, socket.socket]:
    """Take the sockets of listeners that end, still listening, by their address as configured."""
    found: dict[SocketAddress, socket.socket] = {}
    for listener in listeners:
        socks = listener.give_up_sockets()
        addresses = [address for address, _ in listener.setup.addresses]
        if len(socks) != len(addresses):  # not all could be had
            addresses = [plain_address(sock.getsockname()) for sock in socks]
        found.update(zip(addresses, socks, strict=True))
    return found
