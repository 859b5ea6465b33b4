"""Tests for meshd.config.short."""

import re
from pathlib import Path
from typing import Any

import yaml
from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from google.protobuf.json_format import ParseDict
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from meshd.config.errors import BadConfig, Place, Report
from meshd.config.load import compose, expand, load
from meshd.config.nodes import from_plain, plain
from meshd.config.short import dump, is_short
from meshd.discover import find_plugins
from tests.config.doubles import PLUGINS, load_text, problems

DOCS = Path(__file__).parent.parent.parent / "docs"

SHORT = """\
admin: 127.0.0.1:9901
listeners:
  0.0.0.0:27017:
  - connection_limit: {stat_prefix: db, max_connections: 100}
  - tcp_proxy: {stat_prefix: db, cluster: mongo}
clusters:
  mongo: {hosts: [10.0.0.1:27017, 10.0.0.2:27017], connect_timeout: 0.25s, lb_policy: LEAST_REQUEST}
"""

LONG = """\
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 9901}}}
static_resources:
  listeners:
  - name: 0.0.0.0:27017
    address: {socket_address: {address: 0.0.0.0, port_value: 27017}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.connection_limit
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit
          stat_prefix: db
          max_connections: 100
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: db
          cluster: mongo
  clusters:
  - name: mongo
    connect_timeout: 0.25s
    lb_policy: LEAST_REQUEST
    load_assignment:
      cluster_name: mongo
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: 10.0.0.1, port_value: 27017}}}
        - endpoint: {address: {socket_address: {address: 10.0.0.2, port_value: 27017}}}
"""


def bootstrap(text: str, **environ: str) -> Any:
    """Return the message of a text."""
    return load_text(text, environ).bootstrap


class FormTests(SynchronousTestCase):
    """Which form a file is of."""

    def form(self, text: str) -> bool:
        """Return whether a text is of the short form."""
        return is_short(compose(text, "f", {}, Report()))

    def test_told_apart(self) -> None:
        """The keys tell."""
        for text in (
            "listeners: {}",
            "clusters: {}",
            "admin: 1.2.3.4:5",
            "admin: {address: 1.2.3.4:5}",
            "node: {}\nclusters: {}",
        ):
            self.assertTrue(self.form(text), text)
        for text in (
            "static_resources: {}",
            "node: {}",
            "{}",
            "[]",
            "x",
            "admin: {address: {pipe: {path: /x}}}",
            "static_resources: {}\nadmin: x",
        ):
            self.assertFalse(self.form(text), text)

    def test_mixed(self) -> None:
        """A file of both forms is an error at the part that does not belong."""
        (line,) = problems("clusters: {}\nstatic_resources: {clusters: []}\n")
        self.assertEqual(
            line,
            "2:1: static_resources: static_resources is of the v3 form: a file is of the short form "
            "(listeners, clusters) or of the v3 form (static_resources)",
        )

    def test_unknown(self) -> None:
        """A key that no form has is an error with a suggestion."""
        (line,) = problems("clusters: {}\nlistenrs: {}\n")
        self.assertEqual(line, "2:1: listenrs: the short form has no 'listenrs'; did you mean 'listeners'?")

    def test_two_files(self) -> None:
        """A file and --config-yaml may be of different forms: each is read as what it is."""
        path = self.mktemp()
        Path(path).write_text(LONG)
        both = load(path, "clusters: {b: [1.2.3.4:5]}", PLUGINS, environ={}).bootstrap
        self.assertEqual([each.name for each in both.static_resources.clusters], ["mongo", "b"])


class ShortTests(SynchronousTestCase):
    """What the short form means."""

    def test_example(self) -> None:
        """The example of the documentation is the long one."""
        self.assertEqual(bootstrap(SHORT), bootstrap(LONG))

    def test_rest_of_bootstrap(self) -> None:
        """What is not a listener or cluster is v3."""
        found = bootstrap("node: {id: a}\nstats_flush_interval: 1s\nlisteners: {}\n")
        self.assertEqual((found.node.id, found.stats_flush_interval.seconds), ("a", 1))

    def test_listeners(self) -> None:
        """Listeners by address or name, with all that a Listener has."""
        text = """\
listeners:
  "127.0.0.1:80, [::1]:80": [echo]
  /run/x: [echo]
  front:
    address: 127.0.0.1:81
    per_connection_buffer_limit_bytes: 1000
    listener_filters: [proxy_protocol]
    access_log: stdout
    filter_chains:
    - match: {prefix_ranges: 10.0.0.0/8, server_names: a.example}
      filters: [echo]
      transport_socket: raw_buffer
    default_filter_chain: [direct_response: {response: hi}]
"""
        first, second, third = bootstrap(text).static_resources.listeners
        self.assertEqual(first.additional_addresses[0].address.socket_address.address, "::1")
        self.assertEqual(second.address.pipe.path, "/run/x")
        self.assertEqual((third.name, third.per_connection_buffer_limit_bytes.value), ("front", 1000))
        self.assertEqual(third.listener_filters[0].name, "envoy.filters.listener.proxy_protocol")
        self.assertEqual(third.access_log[0].name, "envoy.access_loggers.stdout")
        match = third.filter_chains[0].filter_chain_match
        self.assertEqual(
            (match.prefix_ranges[0].prefix_len.value, list(match.server_names)), (8, ["a.example"])
        )
        self.assertEqual(third.filter_chains[0].transport_socket.name, "envoy.transport_sockets.raw_buffer")
        self.assertIn(b"hi", third.default_filter_chain.filters[0].typed_config.value)

    def test_within_filters(self) -> None:
        """The spellings of messages hold in the configs of filters."""
        text = (
            "listeners: {'127.0.0.1:1': [tcp_proxy: {stat_prefix: a, cluster: a, access_log: "
            "/x}]}\nclusters: {a: []}\n"
        )
        self.assertIn(
            b"FileAccessLog",
            bootstrap(text).static_resources.listeners[0].filter_chains[0].filters[0].typed_config.value,
        )

    def test_clusters(self) -> None:
        """Clusters with hosts, with options, or with nothing."""
        text = """\
clusters:
  a: [10.0.0.1:80]
  b: db.example:80
  c:
  d: {hosts: 10.0.0.1:80, upstream_bind_config: {source_address: 127.0.0.2}}
  e: {load_assignment: {cluster_name: e, endpoints: [lb_endpoints: [endpoint: {address: 10.0.0.1:80}]]}}
"""
        found = {each.name: each for each in bootstrap(text).static_resources.clusters}
        self.assertEqual([each.type for each in found.values()], [0, 1, 0, 0, 0])
        self.assertEqual(found["d"].upstream_bind_config.source_address.address, "127.0.0.2")
        for name in "ade":
            host = found[name].load_assignment.endpoints[0].lb_endpoints[0].endpoint
            self.assertEqual(host.address.socket_address.port_value, 80)

    def test_lists(self) -> None:
        """Listeners and clusters may be lists, with names and addresses."""
        found = bootstrap(
            "listeners: [{name: a, address: 127.0.0.1:1, filters: [echo]}]\nclusters: [{name: b, hosts: []}]"
        )
        self.assertEqual(found.static_resources.listeners[0].address.socket_address.port_value, 1)
        self.assertEqual(found.static_resources.clusters[0].load_assignment.cluster_name, "b")

    def test_environment(self) -> None:
        """Variables stand anywhere, also in the addresses that are keys."""
        text = "listeners:\n  ${HOST:-127.0.0.1}:${PORT}: [echo]\n"
        address = bootstrap(text, PORT="81").static_resources.listeners[0].address.socket_address
        self.assertEqual((address.address, address.port_value), ("127.0.0.1", 81))


class ErrorTests(SynchronousTestCase):
    """Errors of a file in the short form."""

    def assert_bad(self, text: str, *expected: str) -> None:
        """Text has just these problems, each beginning so."""
        found = problems(text)
        self.assertEqual(len(found), len(expected), found)
        for line, start in zip(found, expected, strict=True):
            self.assertTrue(line.startswith(start), line)

    def test_lines(self) -> None:
        """They show the line and the names of the short form, whoever finds them."""
        text = SHORT.replace("cluster: mongo", "clustr: mongo").replace(
            "max_connections: 100", "max_connections: 0"
        )
        text = text.replace("0.25s", "5").replace("LEAST_REQUEST", "EDS")
        self.assert_bad(
            text,
            '4:58: listeners["0.0.0.0:27017"][0].connection_limit.max_connections: value must be',
            '5:34: listeners["0.0.0.0:27017"][1].tcp_proxy.clustr: envoy.extensions.filters.',
            "7:69: clusters.mongo.connect_timeout: expected a duration",
            "7:83: clusters.mongo.lb_policy: expected one of ROUND_ROBIN",
        )

    def test_references(self) -> None:
        """So do those that go across."""
        self.assert_bad(
            SHORT.replace("cluster: mongo", "cluster: mango"),
            "5:43: listeners[\"0.0.0.0:27017\"][1].tcp_proxy.cluster: unknown cluster 'mango'; did you mean",
        )
        self.assert_bad(
            "listeners: {'[::1]:1': [echo], a: {address: '[0::1]:1', filters: [echo]}}",
            "1:45: listeners.a.address: duplicate address '[::1]:1'",
        )

    def test_missing(self) -> None:
        """What is missing is told of the nearest that is there."""
        self.assert_bad(
            "listeners:\n  127.0.0.1:1:\n  - tcp_proxy: {cluster: a}\nclusters: {a: []}",
            '3:16: listeners["127.0.0.1:1"][0].tcp_proxy.stat_prefix: value length must be at least 1',
        )

    def test_spellings(self) -> None:
        """What cannot be read in short is told once, and hides nothing else."""
        self.assert_bad(
            "listeners:\n  nowhere: [eco]\n",
            "2:3: listeners.nowhere: expected ADDRESS:PORT",
            "2:13: listeners.nowhere[0]: meshd has no network filter 'eco'; did you mean 'echo'?",
        )
        self.assert_bad(
            "listeners:\n  127.0.0.1:1: 5\nclusters:\n  a: {hosts: [{}]}\n  b: 7\n",
            '2:16: listeners["127.0.0.1:1"]: expected',
            "4:15: clusters.a.hosts[0]: this host needs",
            "5:6: clusters.b: expected a cluster",
        )
        self.assert_bad(
            "clusters: 5\nlisteners: [5]\n",
            "1:11: clusters: expected an object",
            "2:13: listeners[0]: expected",
        )

    def test_names(self) -> None:
        """The key of a cluster is its name."""
        self.assert_bad(
            "clusters: {a: {name: b}}", "1:16: clusters.a.name: the name of this cluster is 'a' already"
        )

    def test_document(self) -> None:
        """Later errors find their lines by the path in the message."""
        document = load_text(SHORT)
        problem = document.problem(
            "bad",
            "static_resources",
            "listeners",
            0,
            "filter_chains",
            0,
            "filters",
            1,
            "typed_config",
            "cluster",
        )
        self.assertEqual(
            str(problem), '--config-yaml:5:43: listeners["0.0.0.0:27017"][1].tcp_proxy.cluster: bad'
        )
        problem = document.problem(
            "bad", "static_resources", "clusters", 0, "load_assignment", "endpoints", 0, "lb_endpoints", 1
        )
        self.assertEqual((problem.line, problem.column, problem.path), (7, 35, "clusters.mongo.hosts[1]"))


class ExpandTests(SynchronousTestCase):
    """Writing the long form."""

    def expand(self, text: str, **environ: str) -> str:
        """Return the long form of text."""
        path = self.mktemp()
        Path(path).write_text(text)
        return expand(path, PLUGINS, environ)

    def test_same(self) -> None:
        """What is written means the same, and to a plain YAML parser too."""
        long = self.expand(SHORT)
        self.assertEqual(bootstrap(long), bootstrap(LONG))
        self.assertEqual(ParseDict(yaml.safe_load(long), Bootstrap()), bootstrap(LONG))

    def test_order(self) -> None:
        """Names come first, lists are lists."""
        long = self.expand("clusters: {a: 10.0.0.1:80}")
        self.assertTrue(long.startswith("static_resources:\n  clusters:\n  - name: a\n"), long)
        self.assertNotIn("{", long)

    def test_v3(self) -> None:
        """A v3 file comes out as v3."""
        self.assertEqual(bootstrap(self.expand(LONG)), bootstrap(LONG))

    def test_errors(self) -> None:
        """What cannot be read is BadConfig."""
        self.assertRaises(BadConfig, self.expand, "clusters: {a: {hosts: 5}}")
        self.assertRaises(BadConfig, self.expand, "a: [")

    def test_environment(self) -> None:
        """Variables are replaced, and what looks like one then is escaped."""
        long = self.expand("node: {id: '${A}$${B}'}\nclusters: {}\n", A="x")
        self.assertEqual(bootstrap(long).node.id, "x${B}")

    @given(
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-(2**31), 2**31 - 1)
            | st.text()
            | st.sampled_from(["y", "0x5", "5", "1.5", "~", "<<", "null", "${A}", " a", "a: b"]),
            lambda inner: (
                st.lists(inner)
                | st.dictionaries(st.text(st.characters(codec="utf-8", categories=["L"]), min_size=1), inner)
            ),
            max_leaves=8,
        )
    )
    def test_dump(self, value: Any) -> None:
        """Whatever is written is read back as it was."""
        node = from_plain(value, Place("f", 1, 1))
        report = Report()
        self.assertEqual(plain(compose(dump(node), "f", {}, report)), value)


class DocumentationTests(SynchronousTestCase):
    """docs/short_config.rst."""

    def test_examples(self) -> None:
        """Every example loads with the plugins that meshd ships; the long one of a pair means the same."""
        plugins = find_plugins()
        text = (DOCS / "short_config.rst").read_text()
        blocks = re.findall(r"^\.\. code-block:: yaml\n\n((?:    .*\n|\n)+)", text, re.MULTILINE)
        self.assertGreater(len(blocks), 5)
        for block in blocks:
            example = re.sub("^    ", "", block, flags=re.MULTILINE)
            load(None, example, plugins, environ={"BACKEND": "10.0.0.1:80"})
