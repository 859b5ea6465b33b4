"""
Where the connections to upstreams come from, and with which socket options.

Reads a BindConfig into plain values, and applies them to sockets.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from errno import EADDRINUSE, EAFNOSUPPORT
from typing import Any

import attrs
from twisted.internet.abstract import isIPv6Address

from meshd.config.unpack import open_record
from meshd.interfaces import SocketAddress
from meshd.net.sockets import IP_BIND_ADDRESS_NO_PORT, IP_FREEBIND, IPV6_FREEBIND
from meshd.plugin import ConfigError
from meshd.upstream.endpoints import is_ip

#: The local_address_selector by which connections come from the address of the client that they are for.
CLIENT = "meshd.local_address_selectors.client"
#: Linux: a socket may be bound to an address that is not this machine's.
IP_TRANSPARENT = 19
IPV6_TRANSPARENT = 75


@attrs.frozen
class ClientAddress:
    """The config of meshd.local_address_selectors.client; there is nothing to say."""


@dataclass(frozen=True)
class SocketOption:
    """What setsockopt is called with; bound says that it is called after bind, not before."""

    level: int
    name: int
    value: int | bytes
    bound: bool = False


@dataclass(frozen=True)
class Source:
    """A local address to bind to (None: whichever), and the options of its sockets."""

    address: tuple[str, int] | None
    options: tuple[SocketOption, ...] = ()


@dataclass(frozen=True)
class Bind:
    """The sources of a cluster's connections; the first is the one meant."""

    sources: tuple[Source, ...]
    freebind: bool = False
    #: Whether connections come from the client's address.
    from_client: bool = False

    def source(self, target: SocketAddress) -> Source | None:
        """
        Return where to bind for a connection to target.

        That is the first source of the target's family, else simply the first
        (and then bind fails, as in Envoy); None for a unix socket.
        """
        if isinstance(target, str):
            return None
        v6 = isIPv6Address(target[0])
        for each in self.sources:
            if each.address is not None and isIPv6Address(each.address[0]) == v6:
                return each
        return self.sources[0]


def read_bind(config: Any, whose: str) -> Bind | None:
    """
    Read a BindConfig; None if it asks for nothing.

    whose names it in errors as Envoy does: "Bootstrap" or "Cluster <name>".
    Raises ConfigError.
    """
    from_client = _reads_selector(config)
    extra = config.extra_source_addresses
    additional = config.additional_source_addresses
    _check_sources(config, extra, additional, whose)
    options = read_options(config.socket_options, "socket_options")
    sources: list[Source] = []
    if config.HasField("source_address"):
        sources.append(Source(_ip(config.source_address, "source_address"), options))
    for index, each in enumerate(extra):
        path = ("extra_source_addresses", index)
        own = options
        if each.HasField("socket_options"):
            own = read_options(each.socket_options.socket_options, *path, "socket_options", "socket_options")
        sources.append(Source(_ip(each.address, *path, "address"), own))
    for index, each in enumerate(additional):
        sources.append(Source(_ip(each, "additional_source_addresses", index), options))
    freebind = bool(config.freebind.value)
    if not sources:
        if not options and not freebind and not from_client:
            return None
        sources = [Source(None, options)]
    _check_families(sources, whose)
    return Bind(tuple(sources), freebind, from_client)


def _reads_selector(config: Any) -> bool:
    """Whether the source is chosen for each connection, by its client."""
    if not config.HasField("local_address_selector"):
        return False
    if config.HasField("source_address"):
        raise ConfigError("there is a source_address already", "local_address_selector")
    try:
        open_record(config.local_address_selector.typed_config, CLIENT, ClientAddress)
    except ConfigError as error:
        raise error.under("local_address_selector", "typed_config") from None
    return True


def read_options(options: Sequence[Any], *path: str | int) -> tuple[SocketOption, ...]:
    """Read SocketOption messages; ConfigError for a state that a connecting socket never has."""
    found = []
    for index, option in enumerate(options):
        if option.HasField("type") and option.type.HasField("datagram"):
            continue
        if option.state == 2:
            raise ConfigError("a connecting socket never listens", *path, index, "state")
        value = option.buf_value if option.WhichOneof("value") == "buf_value" else option.int_value
        found.append(SocketOption(option.level, option.name, value, option.state == 1))
    return tuple(found)


def _ip(message: Any, *path: str | int) -> tuple[str, int]:
    if not is_ip(message.address):
        raise ConfigError(f"malformed IP address: {message.address}", *path, "address")
    return (message.address, message.port_value)


def _check_sources(config: Any, extra: Any, additional: Any, whose: str) -> None:
    if extra and additional:
        raise ConfigError(
            "Can't specify both `extra_source_addresses` and `additional_source_addresses`"
            f" in the {whose}'s upstream binding config",
            "additional_source_addresses",
        )
    for name, addresses in (("extra_source_addresses", extra), ("additional_source_addresses", additional)):
        if len(addresses) > 1:
            raise ConfigError(
                f"{whose}'s upstream binding config has more than one extra/additional source addresses."
                " Only one extra/additional source can be supported in BindConfig's"
                " extra_source_addresses/additional_source_addresses field",
                name,
                1,
            )
    if (extra or additional) and not config.HasField("source_address"):
        raise ConfigError(
            f"{whose}'s upstream binding config has extra/additional source addresses but no"
            " source_address. Extra/additional addresses cannot be specified if source_address"
            " is not set."
        )


def _check_families(sources: Sequence[Source], whose: str) -> None:
    families = [isIPv6Address(each.address[0]) for each in sources if each.address is not None]
    if len(families) != len(set(families)):
        raise ConfigError(
            f"{whose}'s upstream binding config has two same IP version source addresses. Only two"
            " different IP version source addresses can be supported in BindConfig's source_address"
            " and extra_source_addresses/additional_source_addresses fields"
        )


def bind_source(
    sock: socket.SocketType, bind: Bind, target: SocketAddress, client: SocketAddress = ""
) -> None:
    """
    Bind sock to where the config wants connections to target to come from; raise OSError if it fails.

    client is the address of whom the connection is for.
    """
    source = bind.source(target)
    if source is None:
        return
    if bind.freebind:
        v6 = sock.family == socket.AF_INET6
        sock.setsockopt(
            socket.IPPROTO_IPV6 if v6 else socket.IPPROTO_IP, IPV6_FREEBIND if v6 else IP_FREEBIND, 1
        )
    for option in source.options:
        if not option.bound:
            sock.setsockopt(option.level, option.name, option.value)
    if bind.from_client:
        _bind_to_client(sock, client)
    elif source.address is not None:
        if not source.address[1]:
            # The kernel chooses the port at connect: it may then share one between different targets.
            sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind(source.address)
    for option in source.options:
        if option.bound:
            sock.setsockopt(option.level, option.name, option.value)


def _bind_to_client(sock: socket.SocketType, client: SocketAddress) -> None:
    """Bind sock to the client's address: to its port too, unless something has that already."""
    if isinstance(client, str):
        raise OSError(EAFNOSUPPORT, "the client has no IP address")
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_TRANSPARENT, 1)
    try:
        sock.bind(client)
    except OSError as error:
        if error.errno != EADDRINUSE:
            raise
        sock.bind((client[0], 0))
