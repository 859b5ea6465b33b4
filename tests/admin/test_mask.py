"""Tests for meshd.admin.mask."""

from __future__ import annotations

from envoy.admin.v3.config_dump_shared_pb2 import ClustersConfigDump
from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import TlsCertificate
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import GenericSecret, Secret
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import UpstreamTlsContext
from google.protobuf.any_pb2 import Any as AnyMessage
from twisted.trial.unittest import SynchronousTestCase
from xds.type.v3.typed_struct_pb2 import TypedStruct

from meshd.admin.mask import redact, trim, trim_resource, unpack

KEY = "-----BEGIN PRIVATE KEY-----"


class TrimTests(SynchronousTestCase):
    """What a mask leaves of a message."""

    def setUp(self) -> None:
        self.message = Bootstrap()
        self.message.node.id = "n"
        self.message.node.cluster = "c"
        self.message.static_resources.clusters.add(name="a")

    def test_some(self) -> None:
        """Only the fields that are named are left."""
        self.assertTrue(trim(self.message, ["node.id"]))
        wanted = Bootstrap()
        wanted.node.id = "n"
        self.assertEqual(self.message, wanted)

    def test_all(self) -> None:
        """No mask leaves everything."""
        self.assertTrue(trim(self.message, []))
        self.assertEqual(self.message.node.cluster, "c")

    def test_repeated(self) -> None:
        """A repeated field may end a path, and not be within it."""
        self.assertFalse(trim(self.message, ["static_resources.clusters.name"]))
        self.assertTrue(trim(self.message, ["static_resources.clusters"]))
        self.assertEqual(self.message.static_resources.clusters[0].name, "a")

    def test_unknown(self) -> None:
        """A path that leads nowhere changes nothing."""
        self.assertFalse(trim(self.message, ["node.id", "node.zz"]))
        self.assertEqual(self.message.node.cluster, "c")


class TrimResourceTests(SynchronousTestCase):
    """A mask that goes on inside of an Any."""

    def setUp(self) -> None:
        self.message = ClustersConfigDump.StaticCluster()
        self.message.cluster.Pack(Cluster(name="a", alt_stat_name="b"))
        self.message.last_updated.seconds = 5

    def test_inside(self) -> None:
        """Of what is packed, only what is named is left."""
        self.assertTrue(trim_resource(self.message, ["cluster.name"]))
        self.assertEqual(unpack(self.message.cluster), Cluster(name="a"))
        self.assertFalse(self.message.HasField("last_updated"))

    def test_both(self) -> None:
        """Paths inside and outside go together; naming the Any alone leaves it whole."""
        self.assertTrue(trim_resource(self.message, ["cluster", "last_updated"]))
        self.assertEqual(unpack(self.message.cluster).alt_stat_name, "b")
        self.assertEqual(self.message.last_updated.seconds, 5)

    def test_unknown(self) -> None:
        """A path that leads nowhere is told."""
        self.assertFalse(trim_resource(self.message, ["cluster.zz"]))
        self.assertFalse(trim_resource(self.message, ["zz"]))


class UnpackTests(SynchronousTestCase):
    """What is in an Any."""

    def test_not_known(self) -> None:
        """A type that is not known, and bytes that are not of the type, give nothing."""
        self.assertIsNone(unpack(AnyMessage(type_url="type.googleapis.com/no.Such")))
        broken = AnyMessage(value=b"\xff")
        broken.Pack(Cluster())
        broken.value = b"\xff"
        self.assertIsNone(unpack(broken))


class RedactTests(SynchronousTestCase):
    """What is marked as sensitive."""

    def test_string(self) -> None:
        """A private key is hidden, the certificate is not."""
        made = TlsCertificate()
        made.certificate_chain.inline_string = "public"
        made.private_key.inline_string = KEY
        redact(made)
        self.assertEqual(made.private_key.inline_string, "[redacted]")
        self.assertEqual(made.certificate_chain.inline_string, "public")

    def test_bytes(self) -> None:
        """Bytes are hidden too."""
        made = GenericSecret()
        made.secret.inline_bytes = KEY.encode()
        redact(made)
        self.assertEqual(made.secret.inline_bytes, b"[redacted]")

    def test_packed(self) -> None:
        """Secrets are found in what is packed into a cluster."""
        context = UpstreamTlsContext()
        context.common_tls_context.tls_certificates.add().private_key.inline_string = KEY
        cluster = Cluster(name="a")
        cluster.transport_socket.typed_config.Pack(context)
        redact(cluster)
        found = unpack(cluster.transport_socket.typed_config)
        self.assertEqual(found.common_tls_context.tls_certificates[0].private_key.inline_string, "[redacted]")

    def test_struct(self) -> None:
        """Secrets are found in a TypedStruct that stands for a message."""
        made = TypedStruct(type_url=f"type.googleapis.com/{Secret.DESCRIPTOR.full_name}")
        made.value.update({"name": "a", "tls_certificate": {"privateKey": {"inline_string": KEY}}})
        redact(made)
        self.assertEqual(made.value["name"], "a")
        self.assertEqual(made.value["tls_certificate"]["privateKey"]["inline_string"], "[redacted]")

    def test_struct_not_known(self) -> None:
        """A TypedStruct of a plugin that has no message is left as it is."""
        made = TypedStruct(type_url="my.Filter")
        made.value.update({"private_key": "a", "list": [1, {"b": "c"}]})
        before = TypedStruct()
        before.CopyFrom(made)
        redact(made)
        self.assertEqual(made, before)
