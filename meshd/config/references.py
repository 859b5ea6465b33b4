"""
What must hold across the parts of a Bootstrap.

Envoy lets pass a tcp_proxy to a cluster that does not exist and two listeners
of one name, and finds out when a connection comes; meshd says so at once.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from typing import Any

from envoy.config.cluster.v3.cluster_pb2 import Cluster

from meshd.config.check import Where, parts_of
from meshd.config.errors import did_you_mean
from meshd.config.unpack import find, open_any
from meshd.plugin import ConfigError

#: Messages, and where they are.
Parts = list[tuple[Any, Where]]
#: Takes note that a part is wrong.
Note = Callable[[Where, str], None]

#: What names a cluster without being called so.
_OTHERS = {("ClusterWeight", "name"), ("EnvoyGrpc", "cluster_name")}


def check_references(bootstrap: Any, plugins: Any, where: Where, note: Note) -> None:
    """Note duplicates, chains that cannot work, and clusters that are named and not there."""
    static = bootstrap.static_resources
    where = where.child("static_resources")
    clusters = _parts(static.clusters, where.child("clusters"))
    _names(clusters, "cluster", note)
    for cluster, at in clusters:
        _static_hosts(cluster, at, note)
    listeners = _parts(static.listeners, where.child("listeners"))
    _names(listeners, "listener", note)
    _addresses(listeners, note)
    known = None
    if not bootstrap.dynamic_resources.HasField("cds_config"):
        known = frozenset(each.name for each in static.clusters)
    for listener, at in listeners:
        _listener(listener, at, note)
        for chain, at_chain in _chains(listener, at):
            _chain(chain, plugins, at_chain, note)
            for each, at_filter in _parts(chain.filters, at_chain.child("filters")):
                message = open_any(each.typed_config)
                if message is not None and known is not None:
                    _clusters_of(message, at_filter.child("typed_config"), known, note)


def _parts(items: Any, where: Where) -> Parts:
    return [(each, where.child(number)) for number, each in enumerate(items)]


def _names(parts: Parts, what: str, note: Note) -> None:
    first: dict[str, Where] = {}
    for each, where in parts:
        at = where.child("name")
        if each.name and each.name in first:
            place = first[each.name].spot.place
            note(at, f"duplicate {what} {each.name!r}, the first is at {place.file}:{place.line}")
        first.setdefault(each.name, at)


def _addresses(listeners: Parts, note: Note) -> None:
    first: dict[str, str] = {}
    for listener, where in listeners:
        for at, address in _addresses_of(listener, where):
            text = _address_text(address)
            if text in first:
                note(at, f"duplicate address '{text}', which the listener {first[text]!r} has already")
            elif text:
                first[text] = listener.name


def _addresses_of(listener: Any, where: Where) -> Iterator[tuple[Where, Any]]:
    if listener.HasField("address"):
        yield where.child("address"), listener.address
    for number, each in enumerate(listener.additional_addresses):
        yield where.child("additional_addresses", number, "address"), each.address


def _address_text(address: Any) -> str:
    """Return an address in one spelling; empty if it can be used twice (port 0), or is none."""
    if address.WhichOneof("address") == "pipe":
        return str(address.pipe.path)
    socket = address.socket_address
    if not socket.port_value:
        return ""
    try:
        found = ipaddress.ip_address(socket.address)
    except ValueError:
        return ""
    return f"[{found}]:{socket.port_value}" if found.version == 6 else f"{found}:{socket.port_value}"


def _listener(listener: Any, where: Where, note: Note) -> None:
    if not listener.HasField("address"):
        note(where, "address is necessary")
    for at, address in _addresses_of(listener, where):
        socket = address.socket_address
        if address.WhichOneof("address") == "socket_address" and not _is_ip(socket.address):
            note(at.child("socket_address", "address"), f"malformed IP address: {socket.address}")
    if not listener.filter_chains and not listener.HasField("default_filter_chain"):
        note(where, "no filter chains specified")
    _names(_chains(listener, where), "filter chain", note)


def _chains(listener: Any, where: Where) -> Parts:
    chains = _parts(listener.filter_chains, where.child("filter_chains"))
    if listener.HasField("default_filter_chain"):
        chains.append((listener.default_filter_chain, where.child("default_filter_chain")))
    return chains


def _chain(chain: Any, plugins: Any, where: Where, note: Note) -> None:
    """Note a terminal filter with something behind it, and a chain that ends with another."""
    filters = _parts(chain.filters, where.child("filters"))
    for number, (each, at) in enumerate(filters):
        is_last = number == len(filters) - 1
        try:
            plugin = find(plugins, "network", each)
        except ConfigError:
            continue
        name = f"filter named {each.name} of type {plugin.name}"
        if plugin.terminal and not is_last:
            note(at, f"terminal {name} must be the last filter in a network filter chain")
        if is_last and not plugin.terminal:
            terminals = _terminals(plugins)
            note(at, f"non-terminal {name} is the last filter in a network filter chain{terminals}")


def _terminals(plugins: Any) -> str:
    names = sorted(each.name.rpartition(".")[2] for each in plugins.network.values() if each.terminal)
    return f" (the terminal ones are {', '.join(names)})" if names else ""


def _clusters_of(message: Any, where: Where, clusters: frozenset[str], note: Note) -> None:
    """Note the clusters that a filter's config names and that do not exist."""
    for field, value in message.ListFields():
        below = where.child(field.name)
        if field.message_type is None:
            names_cluster = field.name == "cluster" or (message.DESCRIPTOR.name, field.name) in _OTHERS
            if names_cluster and isinstance(value, str) and value not in clusters:
                note(below, f"unknown cluster {value!r}{did_you_mean(value, clusters)}")
            continue
        for at, each in parts_of(field, value, below):
            inner = open_any(each) if each.DESCRIPTOR.full_name == "google.protobuf.Any" else each
            if inner is not None:
                _clusters_of(inner, at, clusters, note)


def _static_hosts(cluster: Any, where: Where, note: Note) -> None:
    """Note names among the addresses of a cluster that looks none up."""
    if cluster.type != Cluster.STATIC or cluster.HasField("cluster_type"):
        return
    for locality, at in _parts(
        cluster.load_assignment.endpoints, where.child("load_assignment", "endpoints")
    ):
        for host, at_host in _parts(locality.lb_endpoints, at.child("lb_endpoints")):
            address = host.endpoint.address
            if address.WhichOneof("address") == "socket_address" and not _is_ip(
                address.socket_address.address
            ):
                note(
                    at_host.child("endpoint", "address", "socket_address", "address"),
                    f"malformed IP address: {address.socket_address.address}"
                    " (a cluster of type STRICT_DNS or LOGICAL_DNS takes names)",
                )


def _is_ip(text: str) -> bool:
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return False
