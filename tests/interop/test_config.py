"""
What a config may be, against Envoy: each text is shown to `envoy --mode validate` and to meshd.

AGREED has the texts that both accept or both refuse; STRICTER those that only
meshd refuses, on purpose; and EXPANDED short configs whose long form Envoy takes.
"""

import subprocess
from pathlib import Path

import pytest

from meshd.config.errors import BadConfig
from meshd.config.load import expand, load
from meshd.discover import Plugins, find_plugins
from tests.interop.oracle import find_envoy

FILTER = "type.googleapis.com/envoy.extensions.filters.network"
TCP = f"'@type': {FILTER}.tcp_proxy.v3.TcpProxy"
ECHO = f"{{name: e, typed_config: {{'@type': {FILTER}.echo.v3.Echo}}}}"
REPLY = f"'@type': {FILTER}.direct_response.v3.Config"
LIMIT = (
    f"{{name: c, typed_config: {{'@type': {FILTER}.connection_limit.v3.ConnectionLimit, "
    "stat_prefix: a, max_connections: 1}}"
)
STRUCT = f"'@type': type.googleapis.com/xds.type.v3.TypedStruct, type_url: {FILTER}.tcp_proxy.v3.TcpProxy"
LB = "type.googleapis.com/envoy.extensions.load_balancing_policies"


def cluster(line: str) -> str:
    """Return a config of one cluster with this line."""
    return f"static_resources:\n  clusters:\n  - name: a\n    {line}\n"


def listener(line: str) -> str:
    """Return a config of a listener with this line, and a cluster a."""
    address = "{socket_address: {address: 127.0.0.1, port_value: 1}}"
    rest = f"  listeners:\n  - name: l\n    address: {address}\n    {line}\n"
    return f"static_resources:\n  clusters: [{{name: a}}]\n{rest}"


def chain(*filters: str) -> str:
    """Return a config of one chain of filters."""
    return listener(f"filter_chains: [{{filters: [{', '.join(filters)}]}}]")


def tcp(fields: str) -> str:
    """Return a config of a tcp_proxy with these fields."""
    return chain(f"{{name: t, typed_config: {{{TCP}, {fields}}}}}")


def address(text: str) -> str:
    """Return a config of a listener at this address."""
    return f"static_resources: {{listeners: [{{address: {text}, filter_chains: [{{}}]}}]}}"


YAML = [
    "{}", "~", "[]", "foo", "node: {id: a}\n---\nfoo: 1\n", "node: {id: a}\nnode: {id: b}\n",
    "{\t'node':\t{'id': 'a'}}",
    "!ignore a: &a {id: x}\nnode: *a\n", "!ignore a: &a {id: x}\nnode: {<<: *a}\n",
    "a: &a {id: x}\nnode: *a\n",
    "node: {id: !!str 5}", "node: {id: ! 5}", "node: {id: !!int '5'}", "1: 2", "[a]: 2", "~: 2",
    "node: {id: 'a}",
    "node: {id: *b}", "node:\r\n  id: a\r\n", "static_resources: {}\nadmin: {}\n",
]  # fmt: skip
STRINGS = [
    "5",
    "5.5",
    "5000000000",
    "true",
    "y",
    "Y",
    "yEs",
    "null",
    "[a]",
    "{a: b}",
    "'5'",
    "08",
    "8_0",
    "1:30",
    "2026-01-01",
]
ENUMS = [
    "static",
    "StRict_Dns",
    "1",
    "'1'",
    "'01'",
    "99",
    "-1",
    "1.0",
    "foo",
    "strict-dns",
    "null",
    "true",
    "[STATIC]",
]
DURATIONS = [
    "1s", "{seconds: 1}", "{seconds: '1'}", "{seconds: 1, foo: 1}", "1", "'1'", "1m", "1e0s", ".5s", "1.s",
    "0.5s", "+1s", "-1s",
    "1 s", "0.1234567891s", "0.123456789s", "1000ms", "315576000001s", "null", "[1s]", "01s", "0s",
]  # fmt: skip
BOOLS = ["true", "'true'", "'True'", "'yes'", "1", "'1'", "0", "'t'", "on", "y", "null", "maybe", "{}"]
INTEGERS = [
    "80", "'80'", "80.0", "0x50", "0120", "8_0", "+80", "' 80'", "'80 '", "'0x50'", "8e1", "8.5", "-1",
    "4294967295",
    "4294967296", "'8e1'", "true", "'+80'", "08", "'-0'", "1e400", "0b11", "0o17", "1:30", "null", "''",
    "0X50", "'080'",
    "{value: 80}", "{}", "{valeu: 80}", "[80]",
]  # fmt: skip
NUMBERS = ["50", "'5.5'", "5.5", "'0x10'", ".inf", "true", "101", "-1", "null", "1e1"]

AGREED = [
    *YAML,
    *(f"node: {{id: {value}}}" for value in STRINGS),
    *(cluster(f"type: {value}") for value in ENUMS),
    *(cluster(f"connect_timeout: {value}") for value in DURATIONS),
    *(cluster(f"respect_dns_ttl: {value}") for value in BOOLS),
    *(cluster(f"per_connection_buffer_limit_bytes: {value}") for value in INTEGERS),
    *(cluster(f"common_lb_config: {{healthy_panic_threshold: {{value: {value}}}}}") for value in NUMBERS),
    # Shapes.
    "node: ab",
    "node: [{id: a}]",
    "node: {client_features: a}",
    "node: {client_features: [null]}",
    "node: {foo: a}",
    "node: {'@type': foo, id: b}",
    "static_resources: {clusters: {name: a}}",
    "static_resources: {clusters: [null]}",
    "staticResources: {clusters: [{name: a, connectTimeout: 1s}]}",
    cluster("metadata: {filter_metadata: {true: {a: b}}}"),
    cluster("metadata: {filter_metadata: [{a: b}]}"),
    cluster("metadata: {filter_metadata: {a: null}}"),
    cluster("metadata: {filter_metadata: {a: x}}"),
    cluster("upstream_bind_config: {socket_options: {level: 1, name: 1, int_value: 1, state: 0}}"),
    # Rules.
    "static_resources: {clusters: [{connect_timeout: 1s}]}",
    cluster("load_assignment: {endpoints: []}"),
    cluster("load_assignment: {cluster_name: a, endpoints: [{priority: 129}]}"),
    cluster("dns_refresh_rate: 0s"),
    cluster("dns_refresh_rate: 0.0005s"),
    cluster("least_request_lb_config: {choice_count: 1}"),
    cluster(
        f"load_balancing_policy: {{policies: {{typed_extension_config: {{name: a, typed_config: "
        f"{{'@type': {LB}.random.v3.Random}}}}}}}}"
    ),
    address("{socket_address: {address: 127.0.0.1, port_value: 70000}}"),
    address("{socket_address: {address: '', port_value: 1}}"),
    address("{socket_address: {address: 127.0.0.1}}"),
    address("{socket_address: {address: localhost, port_value: 1}}"),
    address("{pipe: {path: ''}}"),
    address("{}"),
    # Extensions.
    chain(ECHO),
    chain(LIMIT, ECHO),
    chain(LIMIT),
    chain(ECHO, ECHO),
    chain(),
    chain("{name: envoy.filters.network.eco}"),
    chain("{name: foo, typed_config: {}}"),
    chain(ECHO.replace("name: e, ", "")),
    chain("{name: foo, typed_config: {'@type': type.googleapis.com/envoy.ext.Foo}}"),
    chain("{name: foo, typed_config: {'@type': envoy.extensions.filters.network.echo.v3.Echo}}"),
    chain("{name: foo, typed_config: {'@type': type.googleapis.com/envoy.config.core.v3.Node}}"),
    chain("{name: foo, typed_config: {'@type': type.googleapis.com/google.protobuf.Duration, value: 1s}}"),
    chain(
        f"{{name: foo, typed_config: {{{STRUCT}, value: {{stat_prefix: a, cluster: a, "
        f"max_connect_attempts: 3}}}}}}"
    ),
    chain(f"{{name: foo, typed_config: {{{STRUCT}, value: {{stat_prefix: a, clustr: a}}}}}}"),
    chain(f"{{name: foo, typed_config: {{{STRUCT}, value: {{cluster: a}}}}}}"),
    chain(f"{{name: r, typed_config: {{{REPLY}, response: {{inline_bytes: aGk}}}}}}"),
    chain(f"{{name: r, typed_config: {{{REPLY}, response: {{inline_bytes: '_-8='}}}}}}"),
    chain(f"{{name: r, typed_config: {{{REPLY}, response: {{inline_bytes: '!!'}}}}}}"),
    chain(f"{{name: r, typed_config: {{{REPLY}, response: {{inline_bytes: 1234}}}}}}"),
    tcp("stat_prefix: a, cluster: a"),
    tcp("stat_prefix: a"),
    tcp("cluster: a"),
    tcp("stat_prefix: a, cluster: a, weighted_clusters: {clusters: [{name: a, weight: 1}]}"),
    tcp("stat_prefix: a, weighted_clusters: {clusters: []}"),
    tcp("stat_prefix: a, weighted_clusters: {clusters: [{name: a}]}"),
    tcp("stat_prefix: a, cluster: a, max_connect_attempts: 0"),
    tcp("stat_prefix: a, cluster: a, hash_policy: [{source_ip: {}}, {source_ip: {}}]"),
    # Across.
    listener("filter_chains: []"),
    "static_resources: {clusters: [{name: a}, {name: a}]}",
    "static_resources: {listeners: [{name: a, filter_chains: [{}]}]}",
    cluster(
        "load_assignment: {cluster_name: a, endpoints: [{lb_endpoints: [{endpoint: "
        "{address: {socket_address: {address: foo.bar, port_value: 1}}}}]}]}"
    ),
]

STRICTER = {
    tcp("stat_prefix: a, cluster: zz"): "unknown cluster",
    "static_resources: {listeners: [{name: a, address: {socket_address: {address: 127.0.0.1, "
    "port_value: 1}}, "
    "filter_chains: [{}]}, {name: a, address: {socket_address: {address: 127.0.0.1, port_value: 2}}, "
    "filter_chains: [{}]}]}": "duplicate listener",
    listener(
        "filter_chains: [{name: x, filter_chain_match: {destination_port: 1}}, {name: x}]"
    ): "duplicate filter chain",
    "static_resources: {}\nstaticResources: {}\n": "is given too",
    "node: {id: '${MESHD_NONE}'}": "is not set",
    cluster("outlier_detection: {}"): "meshd does not serve",
}

EXPANDED = [
    "admin: 127.0.0.1:0\nlisteners: {'127.0.0.1:1, [::1]:1': [tcp_proxy: {stat_prefix: a, cluster: "
    "a, access_log: /dev/null}]}\n"
    "clusters: {a: [10.0.0.1:80, {address: '[::1]:80', weight: 2, priority: 1}], b: {hosts: localhost:80}}\n",
    "listeners:\n  front:\n    address: 127.0.0.1:1\n    listener_filters: [proxy_protocol]\n    "
    "filter_chains:\n"
    "    - match: {prefix_ranges: 10.0.0.0/8, server_names: a.example}\n      filters: [echo]\n"
    "    default_filter_chain: [connection_limit: {stat_prefix: a, max_connections: 1}, "
    'direct_response: {response: "y\\n"}]\n',
]


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    """Return the plugins that meshd ships."""
    return find_plugins()


def envoy_accepts(text: str) -> bool:
    """Return whether Envoy validates text."""
    arguments = ["--mode", "validate", "--use-dynamic-base-id", "-l", "off", "--config-yaml", text]
    done = subprocess.run([find_envoy(), *arguments], capture_output=True, timeout=60, check=False)
    return done.returncode == 0


def refusal(text: str, plugins: Plugins) -> str:
    """Return why meshd refuses text; empty if it does not."""
    try:
        load(None, text, plugins, environ={})
    except BadConfig as error:
        return str(error)
    return ""


@pytest.mark.parametrize("text", AGREED)
def test_agreed(text: str, plugins: Plugins) -> None:
    """What Envoy accepts meshd accepts, and what Envoy refuses meshd refuses."""
    refused = refusal(text, plugins)
    assert envoy_accepts(text) is not bool(refused), refused


@pytest.mark.parametrize("text", STRICTER)
def test_stricter(text: str, plugins: Plugins) -> None:
    """Some of what Envoy lets pass, and finds out later or never, meshd refuses."""
    assert envoy_accepts(text)
    assert STRICTER[text] in refusal(text, plugins)


@pytest.mark.parametrize("text", EXPANDED)
def test_expanded(text: str, plugins: Plugins, tmp_path: Path) -> None:
    """The long form of a short config is one for Envoy."""
    path = tmp_path / "short.yaml"
    path.write_text(text)
    long = expand(str(path), plugins, {})
    assert envoy_accepts(long), long
    assert (
        load(None, long, plugins, environ={}).bootstrap
        == load(str(path), None, plugins, environ={}).bootstrap
    )


def test_name_only(plugins: Plugins) -> None:
    """A filter without typed_config is found by its name in meshd; Envoy wants the type."""
    text = chain("{name: envoy.filters.network.echo}")
    assert not envoy_accepts(text)
    assert refusal(text, plugins) == ""
