"""
Where a section connects to, as clusters.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from glob import glob
from typing import Any

from meshd.stunnel import extras, sockets, tls
from meshd.stunnel.model import Address, Service
from meshd.stunnel.syntax import Failure
from meshd.upstream.dialogue import MEANT, METHODS
from meshd.upstream.endpoints import is_ip
from meshd.upstream.failover import FAILOVER

#: Names that are looked up once are looked up again after a year.
_NEVER_AGAIN = "31536000s"
#: Which protocols a client speaks before TLS, or right after it began.
#: Where stunnel's packages have the library by which a program sees the client as its peer.
PRELOADED = tuple(f"/usr/{lib}/stunnel/libstunnel.so" for lib in ("lib/*", "lib", "lib64", "local/lib"))
_PROXY = "envoy.transport_sockets.upstream_proxy_protocol"
_PROXY_TYPE = (
    f"{tls.TYPES}/envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport"
)
_RAW = {
    "name": "envoy.transport_sockets.raw_buffer",
    "typed_config": {"@type": f"{tls.TYPES}/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"},
}


def clusters(service: Service, environment: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the cluster that a section connects to, and that of its redirect."""
    found = [_main(service, environment)]
    if service.redirect:
        found.append(_to(service, redirect_name(service), service.redirect))
    return found


def redirect_name(service: Service) -> str:
    """Return the name of the cluster of a section's redirect; empty if there is none."""
    return f"{service.name} redirect" if service.redirect else ""


def _main(service: Service, environment: Mapping[str, str]) -> dict[str, Any]:
    if service.exec and (service.accept_names or not service.connect):
        cluster = _own_type(service, "meshd.clusters.exec", program(service, environment))
    elif service.goes_where_clients_want:
        cluster = _own_type(service, "meshd.clusters.named_target", {})
        cluster["dns_lookup_family"] = "ALL"
    else:
        cluster = _to(service, service.name, service.connect)
    if socket := _transport(service):
        cluster["transport_socket"] = socket
    return cluster


def program(service: Service, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return what of a section says which program is run."""
    return {
        "program": service.exec,
        "arguments": service.exec_args or [service.exec],
        "environment": {**environment, **_preloaded(service)},
        "pty": service.pty,
    }


def _preloaded(service: Service) -> dict[str, str]:
    """Return what makes a program believe that its connection is the client's own; raise Failure."""
    if not service.transparent_source:
        return {}
    found = [path for pattern in PRELOADED for path in sorted(glob(pattern))]
    if not found:
        raise Failure(
            f'Service [{service.name}]: "transparent = {service.transparent}" with "exec" needs'
            " stunnel's libstunnel.so, which is not installed"
        )
    return {"LD_PRELOAD": found[0]}


def _own_type(service: Service, kind: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": service.name,
        "cluster_type": tls.extension(kind, **fields),
        "connect_timeout": _seconds(service.timeout_connect),
        **_bind(service),
    }


def _seconds(time: int) -> str:
    """Return a duration; what is for ever in stunnel is ten years."""
    return f"{time if time >= 0 else 315360000}s"


def _to(service: Service, name: str, addresses: Sequence[Address]) -> dict[str, Any]:
    """Return a cluster of the addresses."""
    named = any(not each.path and not is_ip(each.host) for each in addresses)
    cluster: dict[str, Any] = {
        "name": name,
        "type": "STRICT_DNS" if named else "STATIC",
        "connect_timeout": _seconds(max(1, service.timeout_connect)),
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [_endpoint(each, service) for each in addresses]}],
        },
        **_policy(service),
        **_bind(service),
    }
    if named:
        cluster.update(_dns(service))
    return cluster


def _endpoint(address: Address, service: Service) -> dict[str, Any]:
    if address.path:
        where: dict[str, Any] = {"pipe": {"path": address.path}}
    else:
        where = {"socket_address": {"address": address.host, "port_value": address.port}}
    return {"endpoint": {"address": where}}


def _dns(service: Service) -> dict[str, Any]:
    """Return how names are looked up: once, or as their time to live says."""
    fields: dict[str, Any] = {
        "dns_lookup_family": "ALL",
        "dns_failure_refresh_rate": {"base_interval": "1s", "max_interval": "10s"},
    }
    if service.delay or service.extras.get("dns", "once").lower() == "follow":
        fields["respect_dns_ttl"] = True
    else:
        fields["dns_refresh_rate"] = _NEVER_AGAIN
    return fields


def _policy(service: Service) -> dict[str, Any]:
    balance = service.extras.get("balance")
    if balance is not None:
        return {"lb_policy": extras.POLICIES[balance.lower()]}
    # Names that are looked up late have no order to go round in, as in stunnel.
    rotate = service.round_robin and not service.delay
    policy = tls.extension(FAILOVER, **({"rotate": True} if rotate else {}))
    return {"load_balancing_policy": {"policies": [{"typed_extension_config": policy}]}}


def _bind(service: Service) -> dict[str, Any]:
    """Return where connections come from, and their socket options."""
    options = [
        {
            "level": sockets.OPTIONS[name].level,
            "name": sockets.OPTIONS[name].name,
            **socket_value(sockets.packed(name, value)),
        }
        for name, value in sockets.chosen(service.sockets, "r").items()
        if (name, value) != ("TCP_NODELAY", 1)  # is always set
    ]
    config: dict[str, Any] = {}
    if service.transparent_source:
        config["local_address_selector"] = tls.extension("meshd.local_address_selectors.client")
    elif service.local:
        config["source_address"] = {"address": service.local, "port_value": 0}
    if options:
        config["socket_options"] = options
    return {"upstream_bind_config": config} if config else {}


def socket_value(value: int | bytes) -> dict[str, Any]:
    """Return the value of a SocketOption message."""
    if isinstance(value, int):
        return {"int_value": value}
    return {"buf_value": base64.b64encode(value).decode()}


def _transport(service: Service) -> dict[str, Any] | None:
    """Return the cluster's transport socket: TLS of a client, and what goes before it."""
    socket: dict[str, Any] | None = None
    if service.client:
        socket = {"name": "envoy.transport_sockets.tls", "typed_config": tls.upstream(service)}
        if service.protocol.name:
            socket = _dialogue(service, socket)
    version = service.extras.get("send_proxy", "").upper()
    if service.protocol.name == "proxy":
        version = version or "V1"
    if version:
        socket = {
            "name": _PROXY,
            "typed_config": {
                "@type": _PROXY_TYPE,
                "config": {"version": version, **({"pass_through_tlvs": {}} if version == "V2" else {})},
                "transport_socket": socket or _RAW,
            },
        }
    return socket


def _dialogue(service: Service, inside: dict[str, Any]) -> dict[str, Any]:
    protocol = service.protocol
    host = protocol.host
    if protocol.name == "connect" and not host:
        raise Failure(f"Service [{service.name}]: protocolHost not specified")
    fields = {
        "protocol": protocol.name,
        "host": host,
        "username": protocol.username,
        "password": protocol.password,
        "authentication": protocol.authentication,
        "domain": protocol.domain,
        "headers": protocol.headers,
    }
    # stunnel ignores what means nothing to the protocol, and a method that it does not know.
    given = {
        name: value
        for name, value in fields.items()
        if value and (name not in MEANT or protocol.name in MEANT[name])
    }
    if protocol.authentication not in METHODS.get(protocol.name, ()):
        given.pop("authentication", None)
    return tls.extension("meshd.transport_sockets.dialogue", **given, transport_socket=inside)
