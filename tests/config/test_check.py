"""Tests for meshd.config.check."""

from twisted.trial.unittest import SynchronousTestCase

from meshd.config.check import tree
from tests.config import doubles
from tests.config.doubles import TYPE, cluster, echo, filters, listener, make_plugins, problems, tcp

CLUSTER = "  clusters: [{name: a}]\n"


class PluginTests(SynchronousTestCase):
    """What plugins say that they serve."""

    def test_unserved(self) -> None:
        """A field of a filter's config that its plugin does not serve is refused, at its name."""
        (line,) = problems(
            filters(tcp("stat_prefix: a, cluster: a, tunneling_config: {hostname: x}")) + CLUSTER
        )
        self.assertRegex(
            line, r"^7:\d+: .*\.filters\[0\]\.typed_config\.tunneling_config: meshd does not serve the field"
        )

    def test_dotted(self) -> None:
        """A plugin may serve a part of a message within."""
        weighted = "stat_prefix: a, weighted_clusters: {clusters: [{name: a, weight: 1%s}]}"
        self.assertEqual(problems(filters(tcp(weighted % "")) + CLUSTER), [])
        (line,) = problems(filters(tcp(weighted % ", metadata_match: {}")) + CLUSTER)
        self.assertIn("weighted_clusters.clusters[0].metadata_match: meshd does not serve", line)

    def test_tree(self) -> None:
        """A field that is served whole is, also if a part of it is named."""
        self.assertEqual(tree(("a", "b.c", "b.d.e", "a.x")), {"a": None, "b": {"c": None, "d": {"e": None}}})

    def test_core_within(self) -> None:
        """What the core serves of a message holds wherever it is."""
        log = (
            "access_log: {name: x, typed_config: {'@type': "
            "type.googleapis.com/envoy.extensions.access_loggers.%s}}"
        )
        good, bad = (
            "file.v3.FileAccessLog, path: /x",
            "grpc.v3.TcpGrpcAccessLogConfig, common_config: {log_name: x, grpc_service: {envoy_grpc: "
            "{cluster_name: a}}}",
        )
        self.assertEqual(problems(filters(tcp(f"stat_prefix: a, cluster: a, {log % good}")) + CLUSTER), [])
        (line,) = problems(filters(tcp(f"stat_prefix: a, cluster: a, {log % bad}")) + CLUSTER)
        self.assertIn(
            "meshd does not serve envoy.extensions.access_loggers.grpc.v3.TcpGrpcAccessLogConfig here", line
        )

    def test_options_by_protocol(self) -> None:
        """Of the options by protocol those of Redis are served, but for some sources of credentials."""
        options = (
            "typed_extension_protocol_options: {envoy.filters.network.redis_proxy: "
            "{'@type': type.googleapis.com/envoy.extensions.filters.network.%s}}"
        )
        redis = "redis_proxy.v3.RedisProtocolOptions"
        self.assertEqual(problems(cluster(options % f"{redis}, auth_password: {{inline_string: x}}")), [])
        iam = "aws_iam: {cache_name: x, credential_provider: {%s: {}}}"
        self.assertEqual(
            problems(cluster(options % f"{redis}, {iam % 'environment_credential_provider'}")), []
        )
        (line,) = problems(cluster(options % f"{redis}, {iam % 'config_credential_provider'}"))
        self.assertIn("meshd does not serve the field config_credential_provider", line)
        (line,) = problems(cluster(options % "echo.v3.Echo"))
        self.assertIn("meshd does not serve envoy.extensions.filters.network.echo.v3.Echo here", line)

    def test_cluster_types(self) -> None:
        """Of the types of clusters that are extensions that of Redis is served."""
        kind = (
            "cluster_type: {name: x, typed_config: {'@type': "
            "type.googleapis.com/envoy.extensions.clusters.%s}}"
        )
        self.assertEqual(problems(cluster(kind % "redis.v3.RedisClusterConfig")), [])
        (line,) = problems(cluster(kind % "aggregate.v3.ClusterConfig, clusters: [a]"))
        self.assertIn("meshd does not serve envoy.extensions.clusters.aggregate.v3.ClusterConfig here", line)

    def test_policies(self) -> None:
        """Of the messages of load_balancing_policy five are served."""
        policy = (
            "load_balancing_policy: {policies: [{typed_extension_config: {name: x, typed_config: "
            "{'@type': type.googleapis.com/envoy.extensions.load_balancing_policies.%s}}}]}"
        )
        self.assertEqual(problems(cluster(policy % "random.v3.Random")), [])
        (line,) = problems(cluster(policy % "cluster_provided.v3.ClusterProvided"))
        self.assertIn(
            "meshd does not serve "
            "envoy.extensions.load_balancing_policies.cluster_provided.v3.ClusterProvided here",
            line,
        )

    def test_unserved_is_validated(self) -> None:
        """What is not served has to be right all the same, if it is allowed."""
        self.assertIn(
            "health_check is required", problems(cluster("health_checks: [{}]"), allow_unserved=True)[0]
        )


class ExtensionTests(SynchronousTestCase):
    """Filters by type and name."""

    def test_type(self) -> None:
        """A filter is found by its type, whatever its name; a name there must be."""
        self.assertEqual(problems(filters(echo("anything"))), [])
        self.assertIn(".name: value length must be at least 1", problems(filters(echo("''")))[0])

    def test_not_a_filter(self) -> None:
        """A message that no plugin takes is refused, with the nearest that one does."""
        (line,) = problems(
            filters(f"- {{name: e, typed_config: {{'@type': {TYPE}.tcp_bandwidth.v3.TcpProxy}}}}")
        )
        self.assertIn("no message type", line)
        (line,) = problems(
            filters(f"- {{name: e, typed_config: {{'@type': {TYPE}.sni_cluster.v3.SniCluster}}}}")
        )
        self.assertIn(
            "typed_config.@type: meshd has no network filter "
            "'envoy.extensions.filters.network.sni_cluster.v3.SniCluster'",
            line,
        )

    def test_by_name(self) -> None:
        """Without a typed_config the name says which it is."""
        self.assertEqual(problems(filters("- name: envoy.filters.network.echo")), [])
        (line,) = problems(filters("- name: envoy.filters.network.eco"))
        self.assertIn("did you mean 'envoy.filters.network.echo'?", line)

    def test_failed(self) -> None:
        """The plugins that could not be imported are named: it may be one of them."""
        plugins = make_plugins()
        plugins.failed.append(("acme.eco", "ImportError: no luck"))
        self.patch(doubles, "PLUGINS", plugins)
        (line,) = problems(filters("- name: envoy.filters.network.eco"))
        self.assertIn("these plugins failed to import: acme.eco (ImportError: no luck)", line)

    def test_kinds(self) -> None:
        """A listener filter is no network filter, and a transport socket neither."""
        proxy = (
            "{name: p, typed_config: {'@type': "
            "type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol}}"
        )
        self.assertEqual(problems(listener("filter_chains: [{}]", f"listener_filters: {proxy}")), [])
        self.assertIn("no network filter", problems(filters(f"- {proxy}"))[0])
        raw = "transport_socket: {name: envoy.transport_sockets.raw_buffer}"
        self.assertEqual(problems(listener(f"filter_chains: [{{{raw}}}]")), [])
        (line,) = problems(cluster("transport_socket: {name: envoy.transport_sockets.tls}"))
        self.assertIn("no transport socket", line)

    def test_attrs(self) -> None:
        """The config of an attrs class is checked with the rest, each error at its line."""
        lines = (
            "- name: g",
            "  typed_config:",
            "    '@type': type.googleapis.com/xds.type.v3.TypedStruct",
            "    type_url: type.googleapis.com/acme.filters.greeting",
            "    value:",
            "      text: 5",
            "      times: 0x",
            "      lod: true",
        )
        found = problems(filters(*lines, echo()))
        self.assertEqual([line.split(":")[0] for line in found], ["12", "13", "14"])
        self.assertIn("expected a string", found[0])
        self.assertIn("Greeting has no field 'lod'; did you mean 'loud'?", found[2])

    def test_validators(self) -> None:
        """The validators of an attrs class find their lines as well."""
        value = (
            "{'@type': type.googleapis.com/xds.type.v3.TypedStruct, type_url: "
            "a/acme.filters.greeting, value: {text: a, times: 0}}"
        )
        (line,) = problems(filters(f"- {{name: g, typed_config: {value}}}", echo()))
        self.assertIn("times: 'times' must be >= 1: 0", line)

    def test_message_in_attrs(self) -> None:
        """A message in the config of an attrs class is checked as anywhere else."""
        lines = (
            "- name: g",
            "  typed_config:",
            "    '@type': type.googleapis.com/xds.type.v3.TypedStruct",
            "    type_url: type.googleapis.com/acme.filters.greeting",
            "    value:",
            "      text: a",
            "      socket: {name: nosuch}",
        )
        (line,) = problems(filters(*lines, echo()))
        self.assertTrue(line.startswith("13:"), line)
        self.assertIn("meshd has no transport socket 'nosuch'", line)

    def test_discovered(self) -> None:
        """A filter whose config comes from elsewhere is not served."""
        found = problems(
            filters("- {name: a, config_discovery: {config_source: {ads: {}}, type_urls: [a/b]}}")
        )
        self.assertIn("meshd does not serve the field config_discovery", "\n".join(found))
