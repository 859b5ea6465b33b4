"""
The candidates of the rows of TLS: how each is configured to terminate TLS and relay what is in it.

All show the same certificate (RSA, 2048 bits) and speak TLS 1.3 alone; which
cipher is used the client says.  Session tickets are as each has them by default.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.bench.programs import file_limit
from tests.bench.proxies import HAPROXY, Prepare, envoy_command, meshd_command, program, relay_file
from tests.tls.authority import Authority

STUNNEL = """\
foreground = yes
pid =
debug = err
sslVersionMin = TLSv1.3
cert = {chain}
key = {key}
[relay]
accept = 127.0.0.1:{port}
connect = 127.0.0.1:{backend}
"""


def certificate(directory: Path) -> tuple[str, str]:
    """Write a certificate and its key; return both paths."""
    return Authority().issue("bench.example", dns=["bench.example"], kind="rsa2048").write(directory, "it")


def tls_file(directory: Path, port: int, backend: int) -> str:
    """Write the configuration that meshd and Envoy share; return its path."""
    file = Path(relay_file(directory, port, backend))
    chain, key = certificate(directory)
    config = yaml.safe_load(file.read_text())
    config["static_resources"]["listeners"][0]["filter_chains"][0]["transport_socket"] = {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {
                "tls_params": {
                    "tls_minimum_protocol_version": "TLSv1_3",
                    "tls_maximum_protocol_version": "TLSv1_3",
                },
                "tls_certificates": [
                    {"certificate_chain": {"filename": chain}, "private_key": {"filename": key}}
                ],
            },
        },
    }
    file.write_text(yaml.safe_dump(config))
    return str(file)


def meshd(directory: Path, port: int, backend: int) -> list[str]:
    """Run meshd of this checkout."""
    return meshd_command(tls_file(directory, port, backend))


def envoy(directory: Path, port: int, backend: int) -> list[str]:
    """Run Envoy."""
    return envoy_command(tls_file(directory, port, backend))


def haproxy(directory: Path, port: int, backend: int) -> list[str]:
    """Run HAProxy with one thread."""
    path = program("haproxy")
    chain, key = certificate(directory)
    both = directory / "both.pem"
    both.write_bytes(Path(chain).read_bytes() + Path(key).read_bytes())
    text = HAPROXY.format(connections=(file_limit() - 110) // 2, port=port, backend=backend, options="")
    text = text.replace("backlog 4096", f"backlog 4096 ssl crt {both} ssl-min-ver TLSv1.3")
    file = directory / "haproxy.cfg"
    file.write_text(text)
    return [path, "-db", "-f", str(file)]


def stunnel(directory: Path, port: int, backend: int) -> list[str]:
    """Run stunnel, which has a thread for each connection."""
    path = program("stunnel4")
    chain, key = certificate(directory)
    file = directory / "stunnel.conf"
    file.write_text(STUNNEL.format(chain=chain, key=key, port=port, backend=backend))
    return [path, str(file)]


CANDIDATES: dict[str, Prepare] = {"meshd": meshd, "envoy": envoy, "haproxy": haproxy, "stunnel": stunnel}
