"""Tests for meshd.admin.dump."""

from __future__ import annotations

import json
from typing import Any

from envoy.admin.v3.config_dump_pb2 import ConfigDump
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import SdsSecretConfig, Secret
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import UpstreamTlsContext
from google.protobuf.json_format import ParseDict
from twisted.trial.unittest import SynchronousTestCase

from tests.admin.fakes import FakeServer, Response, get
from tests.tls.authority import Authority

PREFIX = "type.googleapis.com/envoy.admin.v3."


class _DumpTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = FakeServer()

    def ask(self, query: str = "") -> Response:
        """Ask for the dump."""
        return get(self.server, f"/config_dump{query}")

    def configs(self, query: str = "") -> list[Any]:
        """Ask for the dump; return its configs."""
        answer = self.ask(query)
        self.assertEqual((answer.status, answer.headers["content-type"]), (200, "application/json"))
        ParseDict(json.loads(answer.body), ConfigDump())
        return json.loads(answer.body).get("configs", [])  # type: ignore[no-any-return]

    def types(self, query: str = "") -> list[str]:
        """Ask for the dump; return the types of the configs."""
        return [each["@type"].removeprefix(PREFIX) for each in self.configs(query)]

    def refused(self, query: str, status: int, text: str) -> None:
        """Ask for a dump that there is not."""
        answer = self.ask(query)
        self.assertEqual((answer.status, answer.body), (status, text))
        self.assertEqual(answer.headers["content-type"], "text/plain")


class WholeTests(_DumpTests):
    """/config_dump without a resource."""

    def test_order(self) -> None:
        """The configs come in Envoy's order; endpoints only if they are asked for."""
        self.assertEqual(
            self.types(),
            ["BootstrapConfigDump", "ClustersConfigDump", "ListenersConfigDump", "SecretsConfigDump"],
        )
        self.assertEqual(self.types("?include_eds")[2], "EndpointsConfigDump")

    def test_content(self) -> None:
        """The clusters and listeners are those that run, with the time when they came."""
        _, clusters, listeners, _ = self.configs()
        first = clusters["static_clusters"][0]
        self.assertEqual(first["cluster"]["name"], "back")
        self.assertEqual(first["cluster"]["connect_timeout"], "0.250s")
        self.assertRegex(first["last_updated"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z$")
        self.assertEqual(
            [each["listener"]["name"] for each in listeners["static_listeners"]], ["front", "side"]
        )

    def test_mask(self) -> None:
        """A mask leaves the configs to which it can be applied."""
        [config] = self.configs("?mask=bootstrap.node.id")
        self.assertEqual(config["bootstrap"], {"node": {"id": "n1"}})

    def test_bad_mask(self) -> None:
        """A mask that can be applied to none is refused."""
        for mask in ("foo", "static_clusters.cluster.name", "bootstrap.node.id,static_clusters"):
            text = f"FieldMask {mask} could not be successfully applied to any configs."
            self.refused(f"?mask={mask}", 400, text)

    def test_names(self) -> None:
        """A name_regex has to match a name as a whole; the bootstrap is always there."""
        bootstrap, clusters, listeners, _ = self.configs("?name_regex=ba.*")
        self.assertIn("static_resources", bootstrap["bootstrap"])
        self.assertEqual([each["cluster"]["name"] for each in clusters["static_clusters"]], ["back"])
        self.assertNotIn("static_listeners", listeners)

    def test_bad_names(self) -> None:
        """A name_regex that is none is refused."""
        answer = self.ask("?name_regex=[")
        self.assertEqual(answer.status, 400)
        self.assertTrue(answer.body.startswith("INVALID_ARGUMENT: Error while parsing name_regex from [: "))

    def test_secret(self) -> None:
        """Secrets are hidden, and remain in the config."""
        context = UpstreamTlsContext()
        context.common_tls_context.tls_certificates.add().private_key.inline_string = "hush"
        config = self.server.clusters["back"].config
        config.transport_socket.typed_config.Pack(context)
        body = self.ask().body
        self.assertNotIn("hush", body)
        self.assertIn("[redacted]", body)
        self.assertIn(b"hush", config.transport_socket.typed_config.value)


class ResourceTests(_DumpTests):
    """/config_dump?resource=."""

    def test_one(self) -> None:
        """The elements of a repeated field are the configs."""
        configs = self.configs("?resource=static_listeners")
        self.assertEqual([each["listener"]["name"] for each in configs], ["front", "side"])
        self.assertEqual(configs[0]["@type"], f"{PREFIX}ListenersConfigDump.StaticListener")

    def test_none(self) -> None:
        """A field that is empty gives nothing, one that is not there is told."""
        self.assertEqual(self.ask("?resource=dynamic_listeners").body, "{}\n")
        self.refused("?resource=foo", 404, "foo not found in config dump")
        self.refused(
            "?resource=static_endpoint_configs", 404, "static_endpoint_configs not found in config dump"
        )

    def test_single(self) -> None:
        """A field that is not repeated is refused."""
        text = "bootstrap is not a repeated field. Use ?mask=bootstrap to get only this field"
        self.refused("?resource=bootstrap", 400, text)

    def test_mask(self) -> None:
        """A mask cuts each element, inside of what it packs too."""
        first, second = self.configs("?resource=static_clusters&mask=cluster.name")
        self.assertEqual(list(first), ["@type", "cluster"])
        self.assertEqual(second["cluster"]["name"], "dns")
        self.assertNotIn("type", second["cluster"])

    def test_bad_mask(self) -> None:
        """A mask that leads nowhere is refused."""
        self.refused(
            "?resource=static_clusters&mask=cluster.zz",
            400,
            "FieldMask cluster.zz could not be successfully used.",
        )

    def test_endpoints(self) -> None:
        """The hosts are grouped by priority and locality."""
        [back, dns] = self.configs("?include_eds&resource=static_endpoint_configs")
        near, far = back["endpoint_config"]["endpoints"]
        self.assertEqual(len(near["lb_endpoints"]), 2)
        self.assertEqual((far["priority"], far["locality"]), (1, {"region": "r1", "zone": "z1"}))
        self.assertEqual(
            far["lb_endpoints"][0],
            {
                "endpoint": {
                    "address": {"socket_address": {"address": "127.0.0.1", "port_value": 19913}},
                    "health_check_config": {},
                },
                "health_status": "HEALTHY",
                "load_balancing_weight": 3,
            },
        )
        [ill] = dns["endpoint_config"]["endpoints"]
        self.assertEqual(ill["lb_endpoints"][0]["health_status"], "UNHEALTHY")
        self.assertEqual(ill["lb_endpoints"][0]["metadata"], {})

    def test_metadata(self) -> None:
        """What a host's metadata says is there."""
        self.server.clusters["back"].hosts[0].metadata = {"envoy.lb": {"canary": True, "stage": {"n": 1}}}
        back, _ = self.configs("?include_eds&resource=static_endpoint_configs")
        first = back["endpoint_config"]["endpoints"][0]["lb_endpoints"][0]
        self.assertEqual(
            first["metadata"], {"filter_metadata": {"envoy.lb": {"canary": True, "stage": {"n": 1.0}}}}
        )


class SecretTests(_DumpTests):
    """The secrets."""

    def secrets(self) -> Any:
        """Return the dump of the secrets."""
        return next(each for each in self.configs() if each["@type"].endswith("SecretsConfigDump"))

    def test_static(self) -> None:
        """Those of static_resources are there, without what is secret."""
        leaf = Authority().issue()
        message = ParseDict({"name": "a", "tls_certificate": leaf.inline()}, Secret())
        self.server.tls.secrets.add_static([message])
        (found,) = self.secrets()["static_secrets"]
        self.assertEqual(found["name"], "a")
        certificate = found["secret"]["tls_certificate"]
        self.assertEqual(certificate["private_key"], {"inline_string": "[redacted]"})
        self.assertEqual(certificate["certificate_chain"]["inline_string"], leaf.pem.decode())
        self.assertIn("inline_string", message.tls_certificate.private_key.WhichOneof("specifier"))
        self.assertNotEqual(message.tls_certificate.private_key.inline_string, "[redacted]")

    def test_dynamic(self) -> None:
        """Those of SDS are warming until they come, then active with their version."""
        path = self.mktemp()
        open(path, "w").close()
        config = {"name": "b", "sds_config": {"path_config_source": {"path": path}}}
        self.server.tls.secrets.certificate(ParseDict(config, SdsSecretConfig()))
        (found,) = self.secrets()["dynamic_warming_secrets"]
        self.assertEqual((found["name"], found["version_info"]), ("b", "uninitialized"))
        (subscription,) = self.server.tls.secrets.subscriptions
        subscription.whole, subscription.version = Secret(name="b"), "7"
        dump = self.secrets()
        (found,) = dump["dynamic_active_secrets"]
        self.assertEqual((found["version_info"], found["secret"]["name"]), ("7", "b"))
        self.assertNotIn("dynamic_warming_secrets", dump)
