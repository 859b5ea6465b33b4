"""Tests for meshd.config.references."""

from twisted.trial.unittest import SynchronousTestCase

from tests.config.doubles import TYPE, cluster, echo, filters, listener, problems, tcp

LIMIT = (
    f"- {{name: c, typed_config: {{'@type': {TYPE}.connection_limit.v3.ConnectionLimit, stat_prefix: "
    f"a, max_connections: 1}}}}"
)


def listeners(*addresses: str, more: str = "") -> str:
    """Return a config of listeners l0, l1 ... at these addresses."""
    lines = [
        f"  - {{name: l{n}, address: {each}, filter_chains: [{{}}]{more}}}"
        for n, each in enumerate(addresses)
    ]
    return "static_resources:\n  listeners:\n" + "\n".join(lines) + "\n"


def at(host: str, port: int) -> str:
    """Return an address."""
    return f"{{socket_address: {{address: '{host}', port_value: {port}}}}}"


def asks(target: str) -> str:
    """Return a filter that asks a gRPC service."""
    typed = f"{{'@type': {TYPE}.ext_authz.v3.ExtAuthz, stat_prefix: a, grpc_service: {{{target}}}}}"
    return f"- {{name: e, typed_config: {typed}}}"


class ClusterTests(SynchronousTestCase):
    """References to clusters."""

    def test_unknown(self) -> None:
        """A cluster that is not there is an error at the reference, with the nearest that is."""
        text = filters(tcp("stat_prefix: a, cluster: mong")) + "  clusters: [{name: mongo}]\n"
        (line,) = problems(text)
        self.assertRegex(
            line, r"^7:\d+: .*typed_config\.cluster: unknown cluster 'mong'; did you mean 'mongo'\?$"
        )

    def test_weighted(self) -> None:
        """So it is in a list of weighted clusters."""
        text = filters(
            tcp("stat_prefix: a, weighted_clusters: {clusters: [{name: a, weight: 1}, {name: b, weight: 1}]}")
        )
        (line,) = problems(text + "  clusters: [{name: a}]\n")
        self.assertIn("weighted_clusters.clusters[1].name: unknown cluster 'b'", line)

    def test_grpc(self) -> None:
        """So it is in a gRPC service."""
        (line,) = problems(
            filters(asks("envoy_grpc: {cluster_name: b}"), echo()) + "  clusters: [{name: a}]\n"
        )
        self.assertIn("typed_config.grpc_service.envoy_grpc.cluster_name: unknown cluster 'b'", line)

    def test_google_grpc(self) -> None:
        """Google's gRPC client is not served: an error at its place."""
        (line,) = problems(filters(asks("google_grpc: {target_uri: a, stat_prefix: b}"), echo()))
        self.assertIn(
            "grpc_service.google_grpc: meshd does not serve the field google_grpc of envoy.config.core.v3",
            line,
        )

    def test_typed_struct(self) -> None:
        """So it is in a TypedStruct that stands for a message."""
        struct = (
            f"{{'@type': a/xds.type.v3.TypedStruct, type_url: {TYPE}.tcp_proxy.v3.TcpProxy, value: "
            f"{{stat_prefix: a, cluster: b}}}}"
        )
        (line,) = problems(filters(f"- {{name: t, typed_config: {struct}}}"))
        self.assertIn("typed_config.value.cluster: unknown cluster 'b'", line)

    def test_twice(self) -> None:
        """Two clusters of one name are an error that says where the first is."""
        (line,) = problems("static_resources:\n  clusters:\n  - name: a\n  - name: a\n")
        self.assertEqual(
            line,
            "4:11: static_resources.clusters[1].name: duplicate cluster 'a', the first is at --config-yaml:3",
        )

    def test_names(self) -> None:
        """A name is no address of a static cluster; of others it is."""
        endpoint = f"{{endpoint: {{address: {at('db', 1)}}}}}"
        hosts = f"load_assignment: {{cluster_name: a, endpoints: [{{lb_endpoints: [{endpoint}]}}]}}"
        (line,) = problems(cluster(hosts))
        self.assertIn("malformed IP address: db (a cluster of type STRICT_DNS", line)
        self.assertEqual(problems(cluster(hosts, "type: LOGICAL_DNS")), [])


class ListenerTests(SynchronousTestCase):
    """Listeners beside each other."""

    def test_names(self) -> None:
        """Two of one name are refused; many may have none."""
        text = listeners(at("127.0.0.1", 1), at("127.0.0.1", 2))
        (line,) = problems(text.replace("l1", "l0"))
        self.assertIn("duplicate listener 'l0'", line)
        self.assertEqual(problems(text.replace("name: l0, ", "").replace("name: l1, ", "")), [])

    def test_addresses(self) -> None:
        """Two at one address are refused, however it is written; port 0 is a new one each time."""
        (line,) = problems(listeners(at("::1", 80), at("0:0::1", 80)))
        self.assertRegex(
            line,
            r"^4:\d+: .*listeners\[1\]\.address: duplicate address '\[::1\]:80', which the listener 'l0' has",
        )
        self.assertIn("/x", problems(listeners("{pipe: {path: /x}}", "{pipe: {path: /x}}"))[0])
        self.assertEqual(problems(listeners(at("127.0.0.1", 0), at("127.0.0.1", 0))), [])

    def test_additional(self) -> None:
        """The further addresses of a listener count as well."""
        more = f", additional_addresses: [{{address: {at('127.0.0.1', 1)}}}]"
        (line,) = problems(listeners(at("127.0.0.1", 1), more=more))
        self.assertIn("additional_addresses[0].address: duplicate address", line)

    def test_not_ip(self) -> None:
        """A listener is at an IP address."""
        (line,) = problems(listeners(at("localhost", 1)))
        self.assertIn("address.socket_address.address: malformed IP address: localhost", line)

    def test_missing(self) -> None:
        """An address and a filter chain there must be."""
        self.assertIn("no filter chains specified", problems(listener())[0])
        self.assertIn(
            "address is necessary", problems("static_resources: {listeners: [{filter_chains: [{}]}]}")[0]
        )


class ChainTests(SynchronousTestCase):
    """Chains of filters."""

    def test_behind(self) -> None:
        """Nothing stands behind a terminal filter."""
        (line,) = problems(filters(echo("a"), echo("b")))
        self.assertTrue(
            line.startswith(
                "7:9: static_resources.listeners[0].filter_chains[0].filters[0]: terminal filter "
                "named a of type envoy.filters.network.echo must be the last filter in a network "
                "filter chain"
            ),
            line,
        )

    def test_not_terminal(self) -> None:
        """A chain ends with a terminal filter; the error says which those are."""
        (line,) = problems(filters(LIMIT))
        self.assertIn(
            "non-terminal filter named c of type envoy.filters.network.connection_limit is the last "
            "filter in a network filter chain (the terminal ones are direct_response, echo, tcp_proxy)",
            line,
        )

    def test_right(self) -> None:
        """A chain of several with the terminal one at the end is right, and so is one of none."""
        self.assertEqual(problems(filters(LIMIT, echo())), [])
        self.assertEqual(problems(listener("filter_chains: [{}]")), [])

    def test_names(self) -> None:
        """Two chains of one name are refused, the default one among them."""
        (line,) = problems(listener("filter_chains: [{name: x}]", "default_filter_chain: {name: x}"))
        self.assertIn("default_filter_chain.name: duplicate filter chain 'x'", line)

    def test_default(self) -> None:
        """The default chain is checked as the others."""
        (line,) = problems(listener("default_filter_chain:", "  filters:", f"  {LIMIT}"))
        self.assertIn("default_filter_chain.filters[0]: non-terminal", line)
