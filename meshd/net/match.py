"""
Chooses the filter chain that serves a connection.

As Envoy does it (Envoy's documentation of FilterChainMatch): nine criteria in a
fixed order, at each the most specific entry that fits, and no way back: a
chain that loses at one criterion does not come into question again, even if
the one that won fails at a later one.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from meshd.interfaces import IStreamInfo, SocketAddress
from meshd.plugin import ConfigError

#: FilterChainMatch.ConnectionSourceType
ANY, LOCAL, EXTERNAL = 0, 1, 2

Find = Callable[[IStreamInfo], Any]
Key = Any
#: What a chain says of one criterion: its values, or (None,) for any.
Values = Callable[[Any], Sequence[Key]]


def _packed(address: SocketAddress) -> tuple[int, int] | None:
    """Return (bits, number) of an address's IP; None for a unix socket."""
    if isinstance(address, str):
        return None
    if ":" in address[0]:
        return 128, int.from_bytes(socket.inet_pton(socket.AF_INET6, address[0].split("%")[0]))
    return 32, int.from_bytes(socket.inet_pton(socket.AF_INET, address[0]))


class _Ranges:
    """The longest of some CIDR ranges that an address is in."""

    def __init__(self, table: dict[Key, Find]) -> None:
        self._any = table.get(None)
        self._ranges: dict[tuple[int, int], dict[int, Find]] = {}
        for key, find in table.items():
            if key is not None:
                bits, number, length = key
                self._ranges.setdefault((bits, length), {})[number >> bits - length] = find
        self._lengths = sorted(self._ranges, reverse=True)

    def find(self, address: SocketAddress) -> Find | None:
        """Return what the longest range has, else what any address has."""
        packed = _packed(address)
        if packed is not None:
            bits, number = packed
            for kind, length in self._lengths:
                if kind == bits:
                    found = self._ranges[kind, length].get(number >> bits - length)
                    if found is not None:
                        return found
        return self._any


def _range_keys(ranges: Iterable[Any], field: str) -> list[Key]:
    keys: list[Key] = []
    for index, each in enumerate(ranges):
        try:
            address = ipaddress.ip_address(each.address_prefix)
        except ValueError:
            raise ConfigError(
                f"invalid ip/mask combo '{each.address_prefix}/{each.prefix_len.value}'", field, index
            ) from None
        bits = address.max_prefixlen
        length = min(each.prefix_len.value, bits) if each.HasField("prefix_len") else 0
        keys.append((bits, int(address) >> bits - length << bits - length, length))
    return keys or [None]


def _names(match: Any) -> list[Key]:
    names: list[Key] = []
    for index, name in enumerate(match.server_names):
        if "*" in name and not (name.startswith("*.") and "*" not in name[1:]):
            raise ConfigError('partial wildcards are not supported in "server_names"', "server_names", index)
        names.append(name.lower())
    return names or [None]


def _by_port(table: dict[Key, Find], port: Callable[[IStreamInfo], SocketAddress]) -> Find:
    other = table.get(None)

    def find(info: IStreamInfo) -> Any:
        address = port(info)
        chosen = table.get(address[1], other) if not isinstance(address, str) else other
        return chosen(info) if chosen is not None else None

    return find


def _by_range(table: dict[Key, Find], address: Callable[[IStreamInfo], SocketAddress]) -> Find:
    ranges = _Ranges(table)

    def find(info: IStreamInfo) -> Any:
        chosen = ranges.find(address(info))
        return chosen(info) if chosen is not None else None

    return find


def _by_server_name(table: dict[Key, Find], _: Any) -> Find:
    other = table.get(None)

    def find(info: IStreamInfo) -> Any:
        name = info.server_name.lower()
        chosen = table.get(name) if name else None
        while chosen is None and "." in name:
            name = name.partition(".")[2]
            chosen = table.get("*." + name)
        chosen = chosen or other
        return chosen(info) if chosen is not None else None

    return find


def _by_transport(table: dict[Key, Find], _: Any) -> Find:
    other = table.get(None)

    def find(info: IStreamInfo) -> Any:
        chosen = table.get(info.transport_protocol or "raw_buffer", other)
        return chosen(info) if chosen is not None else None

    return find


def _by_application(table: dict[Key, Find], _: Any) -> Find:
    other = table.get(None)

    def find(info: IStreamInfo) -> Any:
        for protocol in info.application_protocols:
            if protocol in table:
                return table[protocol](info)
        return other(info) if other is not None else None

    return find


def is_local(info: IStreamInfo) -> bool:
    """Tell whether the client is this host: a loopback address, the same address, or a unix socket."""
    remote = info.remote
    if isinstance(remote, str):
        return True
    if not isinstance(info.local, str) and remote[0] == info.local[0]:
        return True
    return ipaddress.ip_address(remote[0].split("%")[0]).is_loopback


def _by_source_type(table: dict[Key, Find], _: Any) -> Find:
    here, there, other = table.get(LOCAL), table.get(EXTERNAL), table.get(ANY)

    def find(info: IStreamInfo) -> Any:
        chosen = other
        if here is not None or there is not None:
            chosen = (here if is_local(info) else there) or other
        return chosen(info) if chosen is not None else None

    return find


def _local(info: IStreamInfo) -> SocketAddress:
    return info.local


def _remote(info: IStreamInfo) -> SocketAddress:
    return info.remote


def _direct_remote(info: IStreamInfo) -> SocketAddress:
    return info.direct_remote


#: The criteria in Envoy's order: what a match says of each, what looks it up, and in what.
CRITERIA: tuple[tuple[Values, Callable[[dict[Key, Find], Any], Find], Any], ...] = (
    (lambda m: [m.destination_port.value] if m.HasField("destination_port") else [None], _by_port, _local),
    (lambda m: _range_keys(m.prefix_ranges, "prefix_ranges"), _by_range, _local),
    (_names, _by_server_name, None),
    (lambda m: [m.transport_protocol or None], _by_transport, None),
    (lambda m: list(m.application_protocols) or [None], _by_application, None),
    (
        lambda m: _range_keys(m.direct_source_prefix_ranges, "direct_source_prefix_ranges"),
        _by_range,
        _direct_remote,
    ),
    (lambda m: [m.source_type], _by_source_type, None),
    (lambda m: _range_keys(m.source_prefix_ranges, "source_prefix_ranges"), _by_range, _remote),
    (lambda m: list(m.source_ports) or [None], _by_port, _remote),
)


def _compile(chains: Sequence[tuple[Any, Any]], level: int) -> Find:
    """Return what finds the chain among those that are left at this criterion."""
    if level == len(CRITERIA):
        if len(chains) > 1:
            raise ConfigError("multiple filter chains with overlapping matching rules are defined")
        chain = chains[0][1]
        return lambda info: chain
    values, look_up, argument = CRITERIA[level]
    groups: dict[Key, list[tuple[Any, Any]]] = {}
    for match, chain in chains:
        for key in dict.fromkeys(values(match)):
            groups.setdefault(key, []).append((match, chain))
    table = {key: _compile(group, level + 1) for key, group in groups.items()}
    # Nobody asks anything of this criterion.
    if list(groups) == ([ANY] if look_up is _by_source_type else [None]):
        return next(iter(table.values()))
    return look_up(table, argument)


def _check(chains: Sequence[tuple[Any, Any]]) -> None:
    """Raise ConfigError, with the chain's place, for what Envoy refuses."""
    seen: dict[bytes, str] = {}
    for index, (match, chain) in enumerate(chains):
        for field in ("address_suffix", "suffix_len"):
            if match.HasField(field) if field == "suffix_len" else getattr(match, field):
                raise ConfigError("matching by suffix is not implemented, in Envoy neither", index, field)
        for values, _, _ in CRITERIA:
            try:
                values(match)
            except ConfigError as error:
                raise error.under(index, "filter_chain_match") from None
        key = match.SerializeToString(deterministic=True)
        if key in seen:
            raise ConfigError(
                f"filter chain '{chain.name}' has the same matching rules defined as '{seen[key]}'. "
                f"duplicate matcher is: {{{' '.join(str(match).split())}}}",
                index,
            )
        seen[key] = chain.name


def compile_matches(chains: Sequence[tuple[Any, Any]]) -> Find:
    """
    Return what finds the chain for a connection's info, None if there is none.

    chains are pairs of a FilterChainMatch message and the chain (with a name).
    Raise ConfigError with the place below the list of chains.
    """
    if not chains:
        return lambda info: None
    _check(chains)
    return _compile(chains, 0)
