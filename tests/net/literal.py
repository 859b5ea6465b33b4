"""
Envoy's rules of filter chain matching, read literally and slowly, to compare with.

At each criterion, of the chains that are left, those stay that have the most
specific entry that fits.
"""

import ipaddress
from typing import Any

from meshd.interfaces import SocketAddress
from meshd.net.match import is_local


def _fit_port(ports: Any, address: SocketAddress) -> int | None:
    if not ports:
        return 0
    return 1 if not isinstance(address, str) and address[1] in ports else None


def _fit_range(each: Any, address: SocketAddress) -> int | None:
    if not each:
        return 0
    if isinstance(address, str):
        return None
    ip = ipaddress.ip_address(address[0])
    networks = [
        ipaddress.ip_network((item.address_prefix, item.prefix_len.value), strict=False) for item in each
    ]
    lengths = [net.prefixlen + 1 for net in networks if net.version == ip.version and ip in net]
    return max(lengths, default=None)


def _fit_name(names: Any, name: str) -> int | None:
    if not names:
        return 0
    fits = [
        1000 if each == name else len(each)
        for each in names
        if each == name or (each.startswith("*.") and name.endswith(each[1:]))
    ]
    return max(fits, default=None)


def _fit_application(protocols: Any, offered: Any) -> int | None:
    if not protocols:
        return 0
    return max((len(offered) - offered.index(each) for each in protocols if each in offered), default=None)


def literal(chains: list[tuple[Any, str]], info: Any) -> str | None:
    """Choose as the documentation of FilterChainMatch says."""
    criteria: list[Any] = [
        lambda m: _fit_port([m.destination_port.value] if m.HasField("destination_port") else [], info.local),
        lambda m: _fit_range(m.prefix_ranges, info.local),
        lambda m: _fit_name(m.server_names, info.server_name),
        lambda m: (
            0
            if not m.transport_protocol
            else (m.transport_protocol == (info.transport_protocol or "raw_buffer")) or None
        ),
        lambda m: _fit_application(m.application_protocols, info.application_protocols),
        lambda m: _fit_range(m.direct_source_prefix_ranges, info.direct_remote),
        lambda m: 0 if not m.source_type else (m.source_type == (1 if is_local(info) else 2)) or None,
        lambda m: _fit_range(m.source_prefix_ranges, info.remote),
        lambda m: _fit_port(m.source_ports, info.remote),
    ]
    for fit in criteria:
        fits = [(fit(match), match, name) for match, name in chains]
        best = max((each for each, _, _ in fits if each is not None), default=None)
        chains = [(match, name) for each, match, name in fits if each is not None and each == best]
    return chains[0][1] if chains else None
