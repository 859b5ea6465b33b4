"""
A whole stunnel.conf as Envoy's Bootstrap.

A section that accepts is a listener; those that its ``sni`` sends elsewhere are
further filter chains of it.
"""

from __future__ import annotations

import resource
from collections.abc import Sequence
from typing import Any

import attrs

from meshd.stunnel import extras, sockets, tls, values
from meshd.stunnel.clusters import clusters, program, redirect_name, socket_value
from meshd.stunnel.model import Address, Configuration, Service
from meshd.stunnel.syntax import Failure

_FILTERS = f"{tls.TYPES}/envoy.extensions.filters"
#: stunnel's smtp, pop3 and imap servers, and what else is said before TLS on the server side.
STARTTLS = ("smtp", "pop3", "imap", "pgsql", "cifs", "connect")
#: How CONNECT clients know us.
PRODUCT = "stunnel/5.75"
#: How often a connection tries another address; there is no host any more long before.
_ATTEMPTS = 256


def bootstrap(found: Configuration) -> dict[str, Any]:
    """Return the Bootstrap message of a configuration, as JSON has it; raise Failure if it cannot be."""
    services = found.services or [found.defaults]
    made: dict[str, Any] = {
        "static_resources": {
            "listeners": [_listener(each, found) for each in services if not _is_secondary(each)],
            "clusters": [one for each in services for one in clusters(each, found.globals.environment)],
        },
        "overload_manager": _limit(found),
    }
    if "admin" in found.extras:
        host, port = extras.where(found.extras["admin"])
        made["admin"] = {"address": {"socket_address": {"address": host, "port_value": port}}}
    return made


def client_limit(found: Configuration) -> int:
    """Return how many clients there may be at a time: as stunnel, by the number of open files."""
    if "max_clients" in found.extras:
        return int(found.extras["max_clients"])
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files == resource.RLIM_INFINITY:
        files = 2**20
    return max(1, files * 125 // 256)


def _limit(found: Configuration) -> dict[str, Any]:
    name = "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
    return {
        "resource_monitors": [
            {
                "name": "envoy.resource_monitors.global_downstream_max_connections",
                "typed_config": {
                    "@type": f"{tls.TYPES}/{name}",
                    "max_active_downstream_connections": client_limit(found),
                },
            }
        ]
    }


def _is_secondary(service: Service) -> bool:
    return not service.client and bool(service.sni_patterns)


def _secondaries(primary: Service, found: Configuration) -> list[tuple[Service, list[str]]]:
    """Return the sections that the primary's clients are sent to, with their patterns."""
    some = []
    for service in found.services:
        if _is_secondary(service):
            pairs = [pattern.partition(":") for pattern in service.sni_patterns]
            patterns = [pattern for name, _, pattern in pairs if name.lower() == primary.name.lower()]
            if patterns:
                some.append((service, patterns))
    return some


def _listener(service: Service, found: Configuration) -> dict[str, Any]:
    listener: dict[str, Any] = {"name": service.name, "stat_prefix": service.name}
    options = _accept_options(service)
    if service.accept:
        first, *more = [_address(one, service) for each in service.accept for one in _resolved(each, service)]
        listener["address"] = first
        if more:
            listener["additional_addresses"] = [{"address": each} for each in more]
        listener["enable_reuse_port"] = False
        if options:
            listener["socket_options"] = options
    else:
        listener.update(_without_accept(service, found))
    secondaries = _secondaries(service, found)
    listener["listener_filters"] = _listener_filters(service, inspect=bool(secondaries))
    if secondaries:
        listener["filter_chains"] = [_chain(each, patterns) for each, patterns in _distinct(secondaries)]
        listener["default_filter_chain"] = _chain(service, virtual=True)
    else:
        listener["filter_chains"] = [_chain(service)]
    return listener


def _distinct(secondaries: Sequence[tuple[Service, list[str]]]) -> list[tuple[Service, list[str]]]:
    """Return them without patterns that an earlier section has already: the first one wins."""
    seen: set[str] = set()
    result = []
    for service, patterns in secondaries:
        fresh = [each for each in patterns if each.lower() not in seen]
        seen.update(each.lower() for each in fresh)
        if fresh:
            result.append((service, fresh))
    return result


def _without_accept(service: Service, found: Configuration) -> dict[str, Any]:
    """Return what stands for the address where there is none: a program, or what inetd has opened."""
    nowhere = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    if found.inetd:
        metadata: dict[str, Any] = {"meshd.inetd": {"input": 0, "output": 1}}
    else:
        running = program(service, found.globals.environment)
        if service.retry is not None:
            running["retry"] = f"{service.retry / 1000}s"
        metadata = {"meshd.exec": running}
    return {
        "address": nowhere,
        "bind_to_port": False,
        "metadata": {"filter_metadata": metadata},
    }


def _resolved(address: Address, service: Service) -> list[Address]:
    """Return the address, or those that its host's name stands for."""
    if address.path:
        return [address]
    try:
        return [attrs.evolve(address, host=ip) for ip in values.resolve(address.host)]
    except values.Bad as bad:
        raise Failure(f"Service [{service.name}]: Cannot resolve accept target", bad.lines) from None


def _address(address: Address, service: Service) -> dict[str, Any]:
    if address.path:
        return {"pipe": {"path": address.path}}
    where: dict[str, Any] = {"address": address.host or "::", "port_value": address.port}
    if ":" in where["address"] and not _v6_only(service):
        where["ipv4_compat"] = True
    return {"socket_address": where}


def _v6_only(service: Service) -> bool:
    return bool(sockets.chosen(service.sockets, "a").get("IPV6_V6ONLY", 0))


def _accept_options(service: Service) -> list[dict[str, Any]]:
    """Return the options of the listening socket: its own, and those that accepted ones inherit from it."""
    wanted = {
        **sockets.chosen(service.sockets, "l"),
        **sockets.chosen(service.sockets, "a"),
    }
    for name, value in (("SO_REUSEADDR", 1), ("TCP_NODELAY", 1)):
        if wanted.get(name) == value:
            del wanted[name]  # is always set
    wanted.pop("IPV6_V6ONLY", None)
    return [
        {
            "level": sockets.OPTIONS[name].level,
            "name": sockets.OPTIONS[name].name,
            **socket_value(sockets.packed(name, value)),
        }
        for name, value in wanted.items()
    ]


def _listener_filters(service: Service, inspect: bool) -> list[dict[str, Any]]:
    filters = [
        tls.extension(
            "meshd.filters.listener.stunnel",
            service=service.name,
            client=service.client,
            level=service.level,
            log_id=service.log_id,
            timeout_busy=f"{service.timeout_busy}s",
            verifies=service.tls.require_cert or service.tls.request_cert,
            program=bool(service.exec) and not service.accept,
            libwrap=service.libwrap,
            ident=service.ident,
            timeout_connect=f"{max(1, service.timeout_connect)}s",
            reset=service.reset,
        )
    ]
    if service.extras.get("accept_proxy", "no").lower() == "yes":
        filters.append(
            {
                "name": "envoy.filters.listener.proxy_protocol",
                "typed_config": {"@type": f"{_FILTERS}.listener.proxy_protocol.v3.ProxyProtocol"},
            }
        )
    if inspect:
        filters.append(
            {
                "name": "envoy.filters.listener.tls_inspector",
                "typed_config": {"@type": f"{_FILTERS}.listener.tls_inspector.v3.TlsInspector"},
            }
        )
    return filters


def _chain(service: Service, patterns: Sequence[str] = (), virtual: bool = False) -> dict[str, Any]:
    """Return the filter chain of a section; patterns are of server names; virtual: others go by these."""
    chain: dict[str, Any] = {"name": service.name, "filters": _filters(service, patterns, virtual)}
    if patterns:
        for each in patterns:
            if "*" in each and not (each.startswith("*.") and "*" not in each[1:]):
                raise Failure(
                    f'Service [{service.name}]: the pattern "{each}" is not supported: meshd matches server'
                    ' names that are written out, or "*." and a domain'
                )
        chain["filter_chain_match"] = {"server_names": [each.lower() for each in patterns]}
    if not service.client:
        context = tls.downstream(service)
        if service.protocol.name in STARTTLS:
            chain["transport_socket"] = {
                "name": "envoy.transport_sockets.starttls",
                "typed_config": {
                    "@type": f"{tls.TYPES}/envoy.extensions.transport_sockets.starttls.v3.StartTlsConfig",
                    "tls_socket_config": context,
                },
            }
            chain["transport_socket"]["typed_config"]["tls_socket_config"].pop("@type")
        else:
            chain["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": context}
    return chain


def _persistence(service: Service) -> dict[str, Any]:
    """Return for how long it is known where sessions went, if that is what decides."""
    tls = service.tls
    if service.client or not service.connect or service.exec or not tls.session_resume:
        return {}
    if service.goes_where_clients_want or "balance" in service.extras:
        return {}
    return {
        "persistence": True,
        "session_cache_size": tls.session_cache_size,
        "session_timeout": f"{tls.session_timeout}s",
    }


def _original(service: Service) -> bool:
    """Whether it matters where the client wanted to go: that is what SOCKS servers are asked for, too."""
    protocol = service.protocol
    asks_socks = service.client and protocol.name == "socks" and not protocol.host
    return service.transparent_destination or asks_socks


def _filters(service: Service, patterns: Sequence[str], virtual: bool) -> list[dict[str, Any]]:
    relay = tls.extension(
        "meshd.filters.network.stunnel",
        service=service.name,
        client=service.client,
        level=service.level,
        timeout_busy=f"{service.timeout_busy}s",
        timeout_close=f"{service.timeout_close}s",
        timeout_idle=f"{service.timeout_idle}s",
        reset=service.reset,
        redirect=redirect_name(service),
        server_name=tls.server_name(service) if service.client else "",
        verifies=service.tls.verify_chain or service.tls.verify_peer,
        pattern=patterns[0] if patterns else "",
        virtual=virtual,
        ocsp=bool(service.tls.ocsp_url or service.tls.ocsp_aia) and service.tls.ocsp_require,
        original_destination=_original(service),
        **_persistence(service),
        tlvs=service.extras.get("send_proxy", "").lower() == "v2",
    )
    name = service.protocol.name if not service.client else ""
    dialogue = []
    if name in (*STARTTLS, "socks"):
        fields = {
            "stat_prefix": service.name,
            "protocol": name,
            "timeout": f"{max(1, service.timeout_busy)}s",
            "product": PRODUCT,
            "reset": service.reset,
        }
        dialogue.append(tls.extension("meshd.filters.network.dialogue", **fields))
    proxy = {
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {
            "@type": f"{_FILTERS}.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": service.name,
            "cluster": service.name,
            "idle_timeout": "0s",
            "max_connect_attempts": _ATTEMPTS,
        },
    }
    return [*dialogue, relay, proxy]
