"""Tests for meshd.upstream.clusters."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from xds.type.v3.typed_struct_pb2 import TypedStruct

from meshd.plugin import ConfigError
from meshd.upstream.cluster import Cluster
from meshd.upstream.clusters import make_cluster
from meshd.upstream.named_target import NamedTargetCluster
from meshd.upstream.program import ProgramCluster
from meshd.upstream.redis_cluster import RedisCluster
from tests.upstream.redis_nodes import Nodes
from tests.upstream.support import Surrounding, assignment, message


def own(name: str, kind: str = "", **value: Any) -> dict[str, Any]:
    """Return a cluster_type of meshd's own, whose config may be one of another kind."""
    struct = {
        "@type": f"type.googleapis.com/{TypedStruct.DESCRIPTOR.full_name}",
        "type_url": f"type.googleapis.com/{kind or name}",
        "value": value,
    }
    return {"name": name, "typed_config": struct}


class MakeTests(SynchronousTestCase):
    """From message to cluster."""

    def make(self, **config: Any) -> Cluster:
        """Return the cluster of a message."""
        return make_cluster(message(**config), Surrounding().context)

    def test_ordinary(self) -> None:
        """A cluster of one of Envoy's types is just that."""
        self.assertIs(type(self.make(load_assignment=assignment([1]))), Cluster)

    def test_redis(self) -> None:
        """A cluster of Redis servers is one of Envoy's types that has a class of its own."""
        self.assertIs(type(Nodes().redis(start=False)), RedisCluster)

    def test_own(self) -> None:
        """cluster_type says which of meshd's own."""
        named = self.make(cluster_type=own("meshd.clusters.named_target"))
        self.assertIsInstance(named, NamedTargetCluster)
        program = self.make(cluster_type=own("meshd.clusters.exec", program="/bin/cat"))
        self.assertIsInstance(program, ProgramCluster)

    def refused(self, **config: Any) -> tuple[Any, ...]:
        """Return the path of the error that a message has."""
        with self.assertRaises(ConfigError) as caught:
            self.make(**config)
        error: Any = caught.exception
        return tuple(error.path)

    def test_unknown(self) -> None:
        """Other types are errors."""
        self.assertEqual(self.refused(cluster_type=own("acme.clusters.x")), ("cluster_type", "name"))

    def test_wrong(self) -> None:
        """Configs of another type, wrong ones, and endpoints that nobody would look at are errors."""
        name = "meshd.clusters.exec"
        place = ("cluster_type", "typed_config")
        self.assertEqual(self.refused(cluster_type=own(name, "acme.x"))[:2], place)
        self.assertEqual(self.refused(cluster_type=own(name)), (*place, "program"))
        self.assertEqual(self.refused(cluster_type=own(name, program="x", pty=3)), (*place, "pty"))
        self.assertEqual(
            self.refused(cluster_type=own("meshd.clusters.named_target"), load_assignment=assignment([1])),
            ("load_assignment",),
        )
