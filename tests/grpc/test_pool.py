"""Tests for meshd.grpc.pool."""

from twisted.trial.unittest import SynchronousTestCase

from meshd.codec.grpc import Status
from meshd.interfaces import Overflow
from meshd.testing import FakeCluster
from tests.grpc.server import Receiver, Scene


class PoolTests(SynchronousTestCase):
    """Which host a call goes to, and when it goes nowhere."""

    def refused(self, scene: Scene, text: str) -> None:
        """Check that a call is refused, later, and counted."""
        receiver = Receiver()
        scene.channel.start("p.S/M", receiver)
        self.assertEqual(receiver.ends, [])
        scene.settle()
        self.assertEqual(receiver.ends, [(Status.UNAVAILABLE, text)])

    def test_in_turn(self) -> None:
        """Calls go to the hosts as the balancer says, over one connection to each."""
        scene = Scene(hosts=2)
        for _ in range(4):
            scene.start()
        self.assertEqual([len(host.connects) for host in scene.hosts], [1, 1])
        peers = [scene.accept(index) for index in range(2)]
        self.assertEqual([len(peer.requests) for peer in peers], [2, 2])
        self.assertEqual(scene.stat("upstream_cx_http2_total"), 2)
        self.assertEqual([host.rq_total for host in scene.hosts], [2, 2])

    def test_no_host(self) -> None:
        """Without a host a call is UNAVAILABLE."""
        scene = Scene()
        scene.hosts[0].healthy = False
        self.refused(scene, "NoHost: c")
        self.assertEqual(scene.stat("upstream_rq_503"), 1)

    def test_no_cluster(self) -> None:
        """So it is without the cluster; one that comes is used."""
        scene = Scene()
        cluster = scene.context.clusters.pop("c")
        self.refused(scene, "there is no cluster c")
        scene.context.clusters["c"] = cluster
        scene.start()
        self.assertEqual(len(cluster.connects), 1)

    def test_connections(self) -> None:
        """So it is if there may be no connection."""
        scene = Scene()
        scene.cluster.error = Overflow("c")
        self.refused(scene, "Overflow: c")

    def test_requests(self) -> None:
        """So it is if there are as many calls as the circuit breaker allows."""
        scene = Scene()
        scene.cluster.limits.requests.limit = 1
        call, _ = scene.start()
        scene.accept()
        self.refused(scene, "too many requests")
        self.assertEqual(scene.stat("upstream_rq_pending_overflow"), 1)
        call.cancel()
        _, receiver = scene.start()
        self.assertEqual(receiver.ends, [])

    def test_removed(self) -> None:
        """A host that is removed gets no more calls; those that it has are answered."""
        scene = Scene(hosts=2)
        _, receiver = scene.start()
        peer = scene.accept()
        scene.cluster.remove(scene.hosts[0])
        scene.start()
        self.assertEqual([len(host.connects) for host in scene.hosts], [1, 1])
        peer.answer(1)
        self.assertEqual(receiver.code, Status.OK)
        self.assertTrue(peer.connecting.wire.closed)

    def test_replaced(self) -> None:
        """So it is of a cluster in whose place another one comes."""
        scene = Scene()
        _, receiver = scene.start()
        peer = scene.accept()
        other = scene.context.clusters["c"] = FakeCluster("c")
        scene.start()
        self.assertEqual(len(other.connects), 1)
        peer.answer(1)
        self.assertEqual(receiver.code, Status.OK)
        self.assertTrue(peer.connecting.wire.closed)

    def test_cancel_before(self) -> None:
        """A call that was refused, and given up before it was told so, is told nothing."""
        scene = Scene()
        scene.cluster.error = Overflow("c")
        receiver = Receiver()
        scene.channel.start("p.S/M", receiver).cancel()
        scene.settle()
        self.assertEqual(receiver.ends, [])
