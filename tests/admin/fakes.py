"""A server that runs nothing, for the tests of the admin page."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from envoy.extensions.filters.network.echo.v3.echo_pb2 import Echo
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from google.protobuf.json_format import ParseDict
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from meshd.admin.site import site
from meshd.config.runtime import Runtime
from meshd.interfaces import SocketAddress
from meshd.observe.log import Levels
from meshd.observe.stats import Store
from meshd.options import Options
from meshd.tls.registry import Registry
from meshd.tls.secrets import Secrets, Unreadable
from meshd.upstream.host import Host, Locality
from meshd.upstream.limits import read_limits

ECHO = f"type.googleapis.com/{Echo.DESCRIPTOR.full_name}"
PROXY = f"type.googleapis.com/{TcpProxy.DESCRIPTOR.full_name}"

CONFIG: dict[str, Any] = {
    "node": {"id": "n1", "cluster": "c1", "locality": {"region": "r", "zone": "z"}},
    "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 9901}}},
    "static_resources": {
        "listeners": [
            {
                "name": "front",
                "address": {"socket_address": {"address": "127.0.0.1", "port_value": 19902}},
                "filter_chains": [
                    {
                        "filters": [
                            {
                                "name": "envoy.filters.network.tcp_proxy",
                                "typed_config": {"@type": PROXY, "stat_prefix": "front", "cluster": "back"},
                            }
                        ]
                    }
                ],
            },
            {
                "name": "side",
                "address": {"socket_address": {"address": "::1", "port_value": 19903}},
                "filter_chains": [
                    {"filters": [{"name": "envoy.filters.network.echo", "typed_config": {"@type": ECHO}}]}
                ],
            },
        ],
        "clusters": [
            {
                "name": "back",
                "type": "STATIC",
                "connect_timeout": "0.250s",
                "circuit_breakers": {"thresholds": [{"max_connections": 7}]},
            },
            {"name": "dns", "type": "STRICT_DNS", "lb_policy": "LEAST_REQUEST"},
        ],
    },
}


class FakeCluster:
    """A cluster with the hosts that it is given."""

    warmed = True

    def __init__(self, config: Any, hosts: list[Host]) -> None:
        self.name = config.name
        self.config = config
        self.hosts = hosts
        scope = Store().scope(f"cluster.{config.name}")
        self.limits, self.high_limits = read_limits(config.circuit_breakers, scope)


@dataclass
class FakeListener:
    """A listener that is said to listen."""

    name: str
    stat_prefix: str
    addresses: list[SocketAddress]
    config: Any


@dataclass
class FakeServer:
    """A server with two listeners and two clusters; calls has what it was told to do."""

    stats: Any = field(default_factory=Store)
    runtime: Any = None
    bootstrap: Any = field(default_factory=lambda: ParseDict(CONFIG, Bootstrap()))
    options: Any = field(default_factory=lambda: Options(config_path="demo.yaml"))
    plugins: Any = field(
        default_factory=lambda: SimpleNamespace(network={}, listener={}, transport_socket={})
    )
    levels: Levels = field(default_factory=Levels)
    state: str = "LIVE"
    started: float = field(default_factory=lambda: time.time() - 5)
    calls: list[Any] = field(default_factory=list)
    pages: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tls = SimpleNamespace(secrets=Secrets(self._read_secrets, Store()), registry=Registry())
        if self.runtime is None:
            self.runtime = Runtime(None, Store())
        front, side = self.bootstrap.static_resources.listeners
        back, dns = self.bootstrap.static_resources.clusters
        self.listeners = {
            "front": FakeListener("front", "127.0.0.1_19902", [("127.0.0.1", 19902)], front),
            "side": FakeListener("side", "[__1]_19903", [("::1", 19903), "/tmp/side.sock"], side),
        }
        hosts = [
            Host(("127.0.0.1", 19911), hostname="bob"),
            Host(("::1", 19912)),
            Host(("127.0.0.1", 19913), weight=3, priority=1, locality=Locality("r1", "z1")),
        ]
        failed = Host(("127.0.0.1", 19914), hostname="localhost", health_flags={"failed_eds_health"})
        self.clusters = {"back": FakeCluster(back, hosts), "dns": FakeCluster(dns, [failed])}

    def _read_secrets(self, path: str) -> Any:
        raise Unreadable(f"{path}: there is no file")

    def drain_listeners(self, graceful: bool, inbound_only: bool, skip_exit: bool) -> None:
        self.calls.append(("drain_listeners", graceful, inbound_only, skip_exit))

    def fail_health_checks(self) -> None:
        self.state = "DRAINING"

    def pass_health_checks(self) -> None:
        self.state = "LIVE"

    def quit(self) -> None:
        self.calls.append("quit")

    def reopen_logs(self) -> None:
        self.calls.append("reopen_logs")


@dataclass
class Response:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: str


class Client:
    """A connection to the admin page of server, over no network, at a time that only clock moves."""

    def __init__(self, server: Any) -> None:
        self.clock = Clock()
        self.channel: Any = site(server, self.clock).buildProtocol(None)
        self.transport: Any = StringTransport()
        self.channel.makeConnection(self.transport)

    def send(self, data: bytes) -> bytes:
        """Send raw bytes; return what has come back since."""
        self.channel.dataReceived(data)
        return self.received()

    def received(self) -> bytes:
        """Return what has come back, once."""
        data: bytes = self.transport.value()
        self.transport.clear()
        return data

    def ask(self, path: str, method: str = "GET", body: str = "", **headers: str) -> Response:
        """Make a request; the names of headers may have underscores for dashes."""
        lines = [f"{method} {path} HTTP/1.1", "host: admin"]
        if body:
            lines += [f"content-length: {len(body)}", "content-type: application/x-www-form-urlencoded"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return parse("\r\n".join([*lines, "", body]).encode(), self)


def parse(request: bytes, client: Client) -> Response:
    """Send the request, and read the response."""
    head, _, body = client.send(request).decode().partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(": ")
        headers[name.lower()] = value
    return Response(int(first.split()[1]), headers, body)


def get(server: Any, path: str, method: str = "GET", body: str = "", **headers: str) -> Response:
    """Make one request to the admin page of server."""
    return Client(server).ask(path, method, body, **headers)


def post(server: Any, path: str, body: str = "", **headers: str) -> Response:
    """POST one request to the admin page of server."""
    return get(server, path, "POST", body, **headers)
