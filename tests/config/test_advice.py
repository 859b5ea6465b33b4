"""Tests for meshd.config.advice."""

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from meshd.config.load import YAML_OPTION, load
from meshd.discover import find_plugins
from meshd.plugin import ListenerFilterPlugin


@attrs.frozen
class Sniffer:
    """The config of a listener filter of one's own: nothing."""


def _never(config: Any, context: Any) -> Any:
    raise AssertionError("nothing is configured by loading")


PLUGINS = find_plugins()
PLUGINS.add(ListenerFilterPlugin("acme.sniffer", Sniffer, _never, ()), "this test")

NAMES = "{server_names: [a.example]}"
H2 = "{application_protocols: [h2]}"


def warnings(match: str, *filters: str) -> list[str]:
    """Return the warnings of a listener with such a chain, and these listener filters."""
    text = f"""\
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: 1}}}}
    listener_filters: [{", ".join(f"{{name: {name}}}" for name in filters)}]
    filter_chains:
    - filter_chain_match: {match}
    default_filter_chain: {{}}
"""
    document = load(None, text, PLUGINS, environ={})
    return [str(each).removeprefix(f"{YAML_OPTION}:") for each in document.warnings]


def inspector(name: str) -> str:
    """Return the name of one of Envoy's listener filters."""
    return f"envoy.filters.listener.{name}"


class AdviceTests(SynchronousTestCase):
    """Criteria that no connection can meet."""

    def test_place(self) -> None:
        """The warning has the place of the criterion, and names the filter that is missing."""
        (line,) = warnings(NAMES)
        self.assertRegex(
            line, r"^6:\d+: static_resources.listeners\[0\].filter_chains\[0\].filter_chain_match"
        )
        self.assertIn("tls_inspector", line)

    def test_criteria(self) -> None:
        """Names, TLS and protocols are warned of; clear text and the others are not."""
        for match in (NAMES, H2, "{transport_protocol: tls}"):
            self.assertEqual(len(warnings(match)), 1, match)
            self.assertEqual(len(warnings(match, inspector("proxy_protocol"))), 1, match)
        for match in ("{}", "{transport_protocol: raw_buffer}", "{source_type: EXTERNAL}"):
            self.assertEqual(warnings(match), [], match)

    def test_inspector(self) -> None:
        """With tls_inspector there is no warning, nor with a filter that is not Envoy's."""
        for found in (inspector("tls_inspector"), "acme.sniffer"):
            for match in (NAMES, H2, "{transport_protocol: tls}"):
                self.assertEqual(warnings(match, inspector("proxy_protocol"), found), [], match)

    def test_http(self) -> None:
        """http_inspector finds out the protocols of HTTP, and nothing else."""
        http = inspector("http_inspector")
        self.assertEqual(warnings("{application_protocols: [h2, http/1.1]}", http), [])
        for match in (NAMES, H2, "{transport_protocol: tls}"):
            self.assertEqual(len(warnings(match, http)), 1, match)


CONTEXT = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
RAW = (
    "type.googleapis.com/envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport"
)


def cluster_warnings(socket: str) -> list[str]:
    """Return the warnings of a cluster with such a transport socket."""
    text = f"""\
static_resources:
  clusters:
  - name: db
    transport_socket: {socket}
"""
    document = load(None, text, PLUGINS, environ={})
    return [str(each).removeprefix(f"{YAML_OPTION}:") for each in document.warnings]


class UpstreamTests(SynchronousTestCase):
    """Clusters that speak TLS."""

    def test_anybody(self) -> None:
        """A context without a validation is warned of by the name of the cluster, and its line."""
        (line,) = cluster_warnings(f'{{name: t, typed_config: {{"@type": {CONTEXT}}}}}')
        self.assertRegex(line, r"^4:\d+: static_resources.clusters\[0\].transport_socket")
        self.assertIn("cluster 'db' takes any certificate", line)

    def test_wrapped(self) -> None:
        """So is one inside of another transport socket."""
        inner = f'{{name: t, typed_config: {{"@type": {CONTEXT}}}}}'
        (line,) = cluster_warnings(
            f'{{name: p, typed_config: {{"@type": {RAW}, config: {{}}, transport_socket: {inner}}}}}'
        )
        self.assertIn("cluster 'db'", line)

    def test_checked(self) -> None:
        """One with a validation, or without TLS, is not."""
        checked = "common_tls_context: {validation_context: {trusted_ca: {inline_string: x}}}"
        self.assertEqual(
            cluster_warnings(f'{{name: t, typed_config: {{"@type": {CONTEXT}, {checked}}}}}'), []
        )
        self.assertEqual(cluster_warnings("{name: envoy.transport_sockets.raw_buffer}"), [])
