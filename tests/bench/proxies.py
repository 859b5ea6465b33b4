"""
The candidates: how each is configured as a plain TCP relay and started.

Each function writes what it needs into a directory and returns the command;
it raises Failed when the program is not there.  meshd and Envoy read the same
file, with counters and the admin page on; all have one worker, long time-outs
and no access log.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench.programs import Failed, file_limit
from tests.ports import free_port

CHECKOUT = Path(__file__).resolve().parents[2]

Prepare = Callable[[Path, int, int], list[str]]

RELAY = """\
admin:
  address: {{ socket_address: {{ address: 127.0.0.1, port_value: {admin} }} }}
static_resources:
  listeners:
  - name: relay
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    tcp_backlog_size: 4096
    filter_chains:
    - filters:{filters}
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: relay
          cluster: backend
  clusters:
  - name: backend
    type: STATIC
    connect_timeout: 5s
    lb_policy: ROUND_ROBIN
    circuit_breakers:
      thresholds:
      - {{ max_connections: 100000, max_pending_requests: 100000 }}
    load_assignment:
      cluster_name: backend
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {backend} }} }} }}
"""

MONGO_FILTER = """
      - name: envoy.filters.network.mongo_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.mongo_proxy.v3.MongoProxy
          stat_prefix: db"""

HAPROXY = """\
global
    nbthread 1
    maxconn {connections}
    maxpipes 20
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    {options}
listen relay
    bind 127.0.0.1:{port} backlog 4096
    server backend 127.0.0.1:{backend}
"""

NGINX_HEAD = """\
daemon off;
worker_processes 1;
worker_rlimit_nofile {files};
pid {directory}/nginx.pid;
error_log stderr crit;
{user}
{modules}
events {{ worker_connections {connections}; }}
"""

NGINX_STREAM = """\
stream {{
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        proxy_pass 127.0.0.1:{backend};
        proxy_timeout 1h;
    }}
}}
"""

NGINX_BACKEND = """\
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 1h;
    keepalive_requests 1000000000;
    client_header_timeout 1h;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        {listen}
        location / {{ default_type text/plain; return 200 "ok\\n"; }}
        location = /big {{ alias {directory}/big; }}
    }}
}}
"""


def program(name: str) -> str:
    """Return the path of a program on PATH or where Debian keeps daemons. Raises Failed."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise Failed(f"{name} is not installed")
    return found


def relay_file(directory: Path, port: int, backend: int, filters: str = "") -> str:
    """Write the configuration that meshd and Envoy share; return its path."""
    file = directory / "relay.yaml"
    file.write_text(RELAY.format(admin=free_port(), port=port, backend=backend, filters=filters))
    return str(file)


def meshd(directory: Path, port: int, backend: int, filters: str = "") -> list[str]:
    """Run meshd of this checkout by twistd, in the interpreter that runs this."""
    return meshd_command(relay_file(directory, port, backend, filters))


def meshd_command(file: str) -> list[str]:
    """Run meshd with this configuration."""
    if not (CHECKOUT / "meshd" / "tap.py").exists():
        raise Failed("meshd has no tap.py in this checkout")
    twistd = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile="]
    return [*twistd, "meshd", "-c", file, "--concurrency", "1", "-l", "warning"]


def envoy(directory: Path, port: int, backend: int, filters: str = "") -> list[str]:
    """Run Envoy, with the same file."""
    return envoy_command(relay_file(directory, port, backend, filters))


def envoy_command(file: str) -> list[str]:
    """Run Envoy with this configuration: that of MESHD_ENVOY, of .venv-envoy in the checkout, or on PATH."""
    beside = CHECKOUT / ".venv-envoy" / "bin" / "envoy"
    path = os.environ.get("MESHD_ENVOY") or (str(beside) if beside.exists() else program("envoy"))
    if not Path(path).exists():
        raise Failed(f"MESHD_ENVOY names {path}, which is not there")
    return [path, "-c", file, "--concurrency", "1", "--disable-hot-restart", "-l", "error"]


def meshd_mongo(directory: Path, port: int, backend: int) -> list[str]:
    """Run meshd with the mongo_proxy filter."""
    return meshd(directory, port, backend, MONGO_FILTER)


def envoy_mongo(directory: Path, port: int, backend: int) -> list[str]:
    """Run Envoy with the mongo_proxy filter."""
    return envoy(directory, port, backend, MONGO_FILTER)


def haproxy(directory: Path, port: int, backend: int, options: str = "") -> list[str]:
    """Run HAProxy with one thread."""
    path = program("haproxy")
    file = directory / "haproxy.cfg"
    connections = (file_limit() - 110) // 2
    file.write_text(HAPROXY.format(connections=connections, port=port, backend=backend, options=options))
    return [path, "-db", "-f", str(file)]


def haproxy_splice(directory: Path, port: int, backend: int) -> list[str]:
    """Run HAProxy allowed to splice, which is off unless asked for."""
    return haproxy(directory, port, backend, "option splice-auto")


def _nginx_head(directory: Path, stream: bool) -> str:
    module = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
    return NGINX_HEAD.format(
        files=file_limit(),
        directory=directory,
        user="user root;" if os.geteuid() == 0 else "",
        modules=f"load_module {module};" if stream and module.exists() else "",
        connections=file_limit(),  # a relayed one counts twice
    )


def nginx(directory: Path, port: int, backend: int) -> list[str]:
    """Run nginx's stream module with one worker."""
    path = program("nginx")
    file = directory / "stream.conf"
    file.write_text(_nginx_head(directory, True) + NGINX_STREAM.format(port=port, backend=backend))
    return [path, "-p", str(directory), "-c", str(file), "-e", "stderr"]


def portforward(directory: Path, port: int, backend: int) -> list[str]:
    """Run Twisted's own relay, twisted.protocols.portforward."""
    text = (
        "from twisted.internet import epollreactor; epollreactor.install()\n"
        "from twisted.internet import reactor\n"
        "from twisted.protocols.portforward import ProxyFactory\n"
        f"reactor.listenTCP({port}, ProxyFactory('127.0.0.1', {backend}), 4096, '127.0.0.1')\n"
        "reactor.run()\n"
    )
    return [sys.executable, "-c", text]


def backend_command(directory: Path, ports: Sequence[int], big: int) -> list[str]:
    """Run nginx as the HTTP server behind them all: / is "ok", /big a file of so many bytes."""
    path = program("nginx")
    with (directory / "big").open("wb") as file:
        file.truncate(big)
    config = directory / "backend.conf"
    listen = " ".join(f"listen 127.0.0.1:{port} backlog=4096;" for port in ports)
    config.write_text(
        _nginx_head(directory, False) + NGINX_BACKEND.format(directory=directory, listen=listen)
    )
    return [path, "-p", str(directory), "-c", str(config), "-e", "stderr"]


CANDIDATES: dict[str, Prepare] = {
    "meshd": meshd,
    "envoy": envoy,
    "haproxy": haproxy,
    "haproxy-splice": haproxy_splice,
    "nginx": nginx,
    "portforward": portforward,
}

#: The candidates of the rows for MongoDB, under the names that they have in these.
MONGO: dict[str, Prepare] = {
    "meshd": meshd_mongo,
    "envoy": envoy_mongo,
    "bare relay": meshd,
    "bare envoy": envoy,
}

#: Candidates that are worth a place in some rows only.
ONLY_IN = {"haproxy-splice": ("bulk",)}
