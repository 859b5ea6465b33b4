"""A few plugins, and ways to load a text, for the tests of the config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
from attrs import validators
from envoy.config.core.v3.base_pb2 import TransportSocket
from envoy.extensions.filters.listener.proxy_protocol.v3.proxy_protocol_pb2 import ProxyProtocol
from envoy.extensions.filters.network.connection_limit.v3.connection_limit_pb2 import ConnectionLimit
from envoy.extensions.filters.network.direct_response.v3.config_pb2 import Config as DirectResponse
from envoy.extensions.filters.network.echo.v3.echo_pb2 import Echo
from envoy.extensions.filters.network.ext_authz.v3.ext_authz_pb2 import ExtAuthz
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from envoy.extensions.transport_sockets.raw_buffer.v3.raw_buffer_pb2 import RawBuffer

from meshd.config.errors import BadConfig
from meshd.config.load import YAML_OPTION, Document, load
from meshd.discover import Plugins
from meshd.plugin import ListenerFilterPlugin, NetworkFilterPlugin, TransportSocketPlugin

TYPE = "type.googleapis.com/envoy.extensions.filters.network"


@attrs.frozen
class Greeting:
    """The config of a third party's filter."""

    text: str = attrs.field(validator=validators.min_len(1))
    times: int = attrs.field(default=1, validator=validators.ge(1))
    loud: bool = False
    socket: TransportSocket | None = None


def _never(config: Any, context: Any) -> Any:
    raise AssertionError("nothing is configured by loading")


_WEIGHTED = ("weighted_clusters.clusters.name", "weighted_clusters.clusters.weight")


def make_plugins() -> Plugins:
    """Return plugins that can be named, and do nothing."""
    plugins = Plugins()
    for plugin in (
        NetworkFilterPlugin(
            "envoy.filters.network.tcp_proxy",
            TcpProxy,
            _never,
            ("stat_prefix", "cluster", *_WEIGHTED, "idle_timeout", "access_log", "max_connect_attempts"),
            terminal=True,
        ),
        NetworkFilterPlugin("envoy.filters.network.echo", Echo, _never, (), terminal=True),
        NetworkFilterPlugin(
            "envoy.filters.network.direct_response", DirectResponse, _never, ("response",), terminal=True
        ),
        NetworkFilterPlugin(
            "envoy.filters.network.connection_limit",
            ConnectionLimit,
            _never,
            ("stat_prefix", "max_connections"),
        ),
        NetworkFilterPlugin(
            "envoy.filters.network.ext_authz", ExtAuthz, _never, ("stat_prefix", "grpc_service")
        ),
        NetworkFilterPlugin("acme.filters.greeting", Greeting, _never, ("text", "times", "loud", "socket")),
        ListenerFilterPlugin(
            "envoy.filters.listener.proxy_protocol",
            ProxyProtocol,
            _never,
            ("allow_requests_without_proxy_protocol",),
        ),
        TransportSocketPlugin("envoy.transport_sockets.raw_buffer", RawBuffer, _never, ()),
    ):
        plugins.add(plugin, "tests")
    plugins.failed.clear()
    return plugins


PLUGINS = make_plugins()


def load_text(text: str, environ: Mapping[str, str] | None = None, **options: bool) -> Document:
    """Load text as the option --config-yaml."""
    return load(None, text, PLUGINS, environ=environ or {}, **options)


def problems(text: str, environ: Mapping[str, str] | None = None, **options: bool) -> list[str]:
    """Return what is wrong with text, one line each without the file; empty if nothing is."""
    try:
        load_text(text, environ, **options)
    except BadConfig as error:
        return [str(each).removeprefix(f"{YAML_OPTION}:") for each in error.problems]
    return []


def cluster(*lines: str) -> str:
    """Return a config of one cluster, a, with more lines."""
    return "static_resources:\n  clusters:\n  - name: a\n" + "".join(f"    {line}\n" for line in lines)


def listener(*lines: str) -> str:
    """Return a config of one listener with more lines, which begin in line 5, column 5."""
    head = "static_resources:\n  listeners:\n  - name: l\n    address: "
    head += "{socket_address: {address: 127.0.0.1, port_value: 1}}\n"
    return head + "".join(f"    {line}\n" for line in lines)


def filters(*lines: str) -> str:
    """Return a config of one chain of filters, which begin in line 7, column 9."""
    return listener("filter_chains:", "- filters:", *(f"  {line}" for line in lines))


def echo(name: str = "e") -> str:
    """Return one filter in YAML."""
    return f"- {{name: {name}, typed_config: {{'@type': {TYPE}.echo.v3.Echo}}}}"


def tcp(fields: str) -> str:
    """Return a tcp_proxy in YAML, with these fields."""
    return f"- {{name: t, typed_config: {{'@type': {TYPE}.tcp_proxy.v3.TcpProxy, {fields}}}}}"
