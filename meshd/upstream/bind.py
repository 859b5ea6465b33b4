"""
Where the connections to upstreams come from, and with which socket options.

Reads a BindConfig into plain values; meshd.upstream.connect applies them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.abstract import isIPv6Address

from meshd.interfaces import SocketAddress
from meshd.plugin import ConfigError
from meshd.upstream.endpoints import is_ip


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
    if config.HasField("local_address_selector"):
        raise ConfigError("meshd does not serve the field local_address_selector", "local_address_selector")
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
        if not options and not freebind:
            return None
        sources = [Source(None, options)]
    _check_families(sources, whose)
    return Bind(tuple(sources), freebind)


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
