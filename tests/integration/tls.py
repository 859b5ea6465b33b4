"""What the tests of TLS have in common: configs, certificates, clients."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Any

from tests.integration.test_real_traffic import where
from tests.interop.oracle import Proxy
from tests.interop.yaml_parts import Part, bootstrap, chain, cluster, listener, network, tcp_proxy
from tests.ports import free_port
from tests.tls.authority import Authority, Owner

NAME = "good.example"
GIGABYTE = 1 << 30
TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"
ROOT = Authority()
LEAF = ROOT.issue("server", dns=[NAME])
CLIENT = ROOT.issue("client", uri=["spiffe://td/client"])
CA = {"trusted_ca": {"inline_string": ROOT.alone.decode()}}
BLOCK = bytes(range(256)) * 256


def downstream(tls_context: Part | None = None, **fields: Any) -> Part:
    """Return a server's transport socket; it shows LEAF unless told otherwise."""
    context = {"tls_certificates": [LEAF.inline()], **(tls_context or {})}
    typed = {"@type": f"{TLS}.DownstreamTlsContext", "common_tls_context": context, **fields}
    return {"name": "envoy.transport_sockets.tls", "typed_config": typed}


def upstream(tls_context: Part | None = None, **fields: Any) -> Part:
    """Return a client's transport socket; it demands a certificate of NAME unless told otherwise."""
    context = {"validation_context": CA, **(tls_context or {})}
    typed = {"@type": f"{TLS}.UpstreamTlsContext", "common_tls_context": context, "sni": NAME}
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {**typed, "auto_sni_san_validation": True, **fields},
    }


def terminated(*filters: Part, socket_config: Part | None = None, **fields: Any) -> Part:
    """Return a filter chain that terminates TLS."""
    return {**chain(*filters), "transport_socket": socket_config or downstream(), **fields}


def echo_server(socket_config: Part | None = None, **fields: Any) -> Part:
    """Return a bootstrap that echoes what comes by TLS."""
    echoing = network("echo", "Echo")
    return bootstrap(listener(terminated(echoing, socket_config=socket_config, **fields)))


class Somewhere:
    """A port that is known before anybody listens there."""

    def __init__(self) -> None:
        self.port = free_port()


def tunnel(backend: Any, version: str = "TLSv1_3") -> Part:
    """Return a bootstrap with both ends of a tunnel: clear text to front, TLS between, clear text out."""
    between = Somewhere()
    params = {
        "tls_params": {"tls_minimum_protocol_version": version, "tls_maximum_protocol_version": version}
    }
    mutual = {"validation_context": CA, **params}
    accepting = downstream(mutual, require_client_certificate=True)
    connecting = upstream({"tls_certificates": [CLIENT.inline()], **params})
    return bootstrap(
        listener(tcp_proxy("tunnel", access_log=[])),
        listener(
            terminated(tcp_proxy("c", access_log=[]), socket_config=accepting), name="end", port=between.port
        ),
        clusters=[
            cluster(between, name="tunnel", transport_socket=connecting),
            cluster(backend),
        ],
    )


def trusting(**settings: Any) -> ssl.SSLContext:
    """Return what a client trusts: ROOT, and no other."""
    context = ssl.create_default_context(cadata=ROOT.alone.decode())
    for name, value in settings.items():
        setattr(context, name, value)
    return context


def connect(proxy: Proxy, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
    """Return a connection with its handshake done."""
    raw = socket.create_connection(where(proxy), 20)
    return (context or trusting()).wrap_socket(raw, server_hostname=NAME)


def read_all(made: ssl.SSLSocket, size: int) -> bytes:
    """Read so many bytes, or to the end."""
    got = b""
    while len(got) < size and (data := made.recv(size - len(got))):
        got += data
    return got


def files(directory: Path, owner: Owner, name: str = "it") -> tuple[str, str, str]:
    """Write the CA, a chain and its key; return the paths."""
    ca = directory / "ca.pem"
    ca.write_bytes(ROOT.alone)
    return (str(ca), *owner.write(directory, name))
