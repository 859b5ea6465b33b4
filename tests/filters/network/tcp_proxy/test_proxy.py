"""Tests for meshd.filters.network.tcp_proxy.proxy: from the connect to the relayed bytes."""

from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from meshd.filter import NetworkFilter
from meshd.interfaces import ConnectError, NoHost, Overflow, PendingOverflow
from meshd.testing import FakeCluster
from tests.filters.network.tcp_proxy.conversation import LOG, Conversation


class RelayTests(SynchronousTestCase):
    """A client, and a host that accepts."""

    def setUp(self) -> None:
        self.talk = Conversation(access_log=LOG)
        self.client = self.talk.client

    def test_connects_at_once(self) -> None:
        """The host is connected to before the client says anything, and the client waits for that."""
        self.assertEqual(len(self.talk.cluster.connects), 1)
        self.assertEqual(len(self.client.paused_by), 1)
        self.talk.accept()
        self.assertEqual(self.client.paused_by, set())
        self.assertEqual(self.talk.stat("downstream_cx_total"), 1)

    def test_relays_both_ways(self) -> None:
        """What one side sends reaches the other, and is counted on both."""
        host = self.talk.accept()
        self.client.send(b"question")
        host.send(b"the answer")
        self.assertEqual(host.received, b"question")
        self.assertEqual(self.client.received, b"the answer")
        self.assertEqual(self.talk.stat("downstream_cx_rx_bytes_total"), 8)
        self.assertEqual(self.talk.stat("downstream_cx_tx_bytes_total"), 10)
        stats = self.talk.cluster.stats
        self.assertEqual(stats.upstream_cx_tx_bytes_total.value, 8)
        self.assertEqual(stats.upstream_cx_rx_bytes_total.value, 10)

    def test_server_first(self) -> None:
        """A host may speak first."""
        self.talk.accept().send(b"220 ready")
        self.assertEqual(self.client.received, b"220 ready")

    def test_client_half_closes(self) -> None:
        """A client's FIN is passed on; the late answer still reaches it, and then the host's FIN."""
        host = self.talk.accept()
        self.client.send(b"question")
        self.client.half_close()
        self.assertTrue(host.wire.finished)
        self.assertFalse(host.wire.closed)
        host.send(b"late answer")
        host.half_close()
        self.assertEqual(self.client.received, b"late answer")
        self.assertTrue(self.client.wire.finished)
        self.assertEqual(self.talk.outcome(), (set(), ""))

    def test_host_half_closes(self) -> None:
        """A host's FIN is passed on; the client can go on sending."""
        host = self.talk.accept()
        host.half_close()
        self.assertTrue(self.client.wire.finished)
        self.assertFalse(self.client.wire.closed)
        self.client.send(b"more")
        self.assertEqual(host.received, b"more")

    def test_client_closes(self) -> None:
        """A client's end ends the connection to the host, after all that it sent."""
        host = self.talk.accept()
        self.client.send(b"bye")
        self.client.close()
        self.assertEqual(host.received, b"bye")
        self.assertTrue(host.wire.closed)
        self.assertFalse(host.wire.reset or host.wire.at_once)
        self.assertEqual(self.talk.lines, [("TcpConnectionEnd", "-", 3, 0)])
        self.assertEqual(self.info_types(), ("Normal", "Normal"))

    def test_client_resets(self) -> None:
        """A client's reset is passed on as a reset."""
        host = self.talk.accept()
        self.client.reset()
        self.assertTrue(host.wire.reset)
        self.assertEqual(self.talk.outcome(), (set(), ""))
        self.assertEqual(self.info_types(), ("RemoteReset", "Normal"))

    def test_host_closes(self) -> None:
        """A host's end ends the client's connection, after all that the host sent."""
        host = self.talk.accept()
        host.send(b"bye")
        host.close()
        self.assertEqual(self.client.received, b"bye")
        self.assertTrue(self.client.dropped)
        self.assertFalse(self.client.was_reset)

    def test_host_resets(self) -> None:
        """A host's reset is passed on as a reset, with UR."""
        self.talk.accept().reset()
        self.assertTrue(self.client.was_reset)
        self.assertEqual(self.talk.outcome(), ({"UR"}, ""))
        self.assertEqual(self.info_types()[1], "RemoteReset")

    def test_both_end_in_one_turn(self) -> None:
        """What a host says of its end after the client's is not told to anybody."""
        host = self.talk.accept()
        self.client.close()
        host.reset()
        self.assertEqual(self.talk.outcome(), (set(), ""))
        self.assertEqual(len(self.talk.lines), 1)

    def test_client_leaves_while_connecting(self) -> None:
        """The attempt is given up with the client, and logged."""
        self.client.close()
        self.assertTrue(self.talk.host.cancelled)
        self.assertEqual(self.talk.lines, [("TcpConnectionEnd", "-", 0, 0)])

    def test_what_is_known(self) -> None:
        """The log knows host, cluster and addresses."""
        host = self.talk.accept()
        upstream = self.talk.info.upstream
        self.assertIs(upstream.host, host.host)
        self.assertEqual(upstream.cluster, "c")
        self.assertEqual(upstream.local, ("192.0.2.2", 50000))
        self.assertEqual(upstream.remote, ("198.51.100.1", 80))
        self.assertEqual(upstream.attempts, 1)

    def test_buffered_gauge(self) -> None:
        """What waits to be sent to the client is shown in the gauge."""
        self.assertIs(
            self.client.buffered, self.talk.context.stats.gauge("tcp.t.downstream_cx_tx_bytes_buffered")
        )

    def info_types(self) -> tuple[str, str]:
        """Return how each side ended."""
        info = self.talk.info
        return info.detected_close_type, info.upstream.detected_close_type


class FlowControlTests(SynchronousTestCase):
    """A filter stays in the chain, so the bytes go through the links."""

    def setUp(self) -> None:
        self.talk = Conversation(filters=[NetworkFilter()])
        self.host = self.talk.accept()

    def test_slow_host(self) -> None:
        """A client is not read while its host does not take more."""
        self.host.wire.full()
        self.assertEqual(len(self.talk.client.paused_by), 1)
        self.assertEqual(self.talk.stat("downstream_flow_control_paused_reading_total"), 1)
        self.assertEqual(self.talk.stat("downstream_flow_control_resumed_reading_total"), 0)
        self.host.wire.drained()
        self.assertEqual(self.talk.client.paused_by, set())
        self.assertEqual(self.talk.stat("downstream_flow_control_resumed_reading_total"), 1)

    def test_slow_client(self) -> None:
        """A host is not read while its client does not take more."""
        stats = self.talk.cluster.stats
        self.talk.client.wire.full()
        self.assertEqual(len(self.host.paused_by), 1)
        self.assertEqual(stats.upstream_flow_control_paused_reading_total.value, 1)
        self.talk.client.wire.drained()
        self.assertEqual(self.host.paused_by, set())
        self.assertEqual(stats.upstream_flow_control_resumed_reading_total.value, 1)

    def test_streaming(self) -> None:
        """Both are push producers, and one that stops ends nothing by itself."""
        for wire in (self.talk.client.wire, self.host.wire):
            self.assertTrue(wire.streaming)
            wire.producer.stopProducing()
            self.assertFalse(wire.closed)


class FailureTests(SynchronousTestCase):
    """No connection comes to be."""

    def test_refused(self) -> None:
        """A host that refuses: UF,URX, the reason noted, the client closed."""
        talk = Conversation(access_log=LOG)
        talk.host.refuse("delayed connect error: Connection refused")
        self.assertTrue(talk.client.dropped)
        self.assertFalse(talk.client.was_reset)
        self.assertEqual(talk.outcome(), ({"UF", "URX"}, "tcp_initializion_failure:0"))
        upstream = talk.info.upstream
        self.assertEqual(upstream.transport_failure_reason, "delayed connect error: Connection refused")
        self.assertEqual(upstream.attempts, 1)
        self.assertIsNone(upstream.local)
        self.assertIsNone(upstream.remote)
        self.assertEqual(talk.cluster.stats.upstream_cx_connect_attempts_exceeded.value, 1)
        talk.client.close()
        self.assertEqual(talk.lines, [("TcpConnectionEnd", "UF,URX", 0, 0)])

    def test_greeting(self) -> None:
        """What a host said before it failed is for the client, of the last attempt only."""
        talk = Conversation(max_connect_attempts=2)
        talk.host.upstream.connect_failed(ConnectError("no TLS", greeting=b"220 one\r\n"))
        self.assertEqual(talk.client.received, b"")
        talk.host.upstream.connect_failed(ConnectError("no TLS", greeting=b"220 two\r\n"))
        self.assertEqual(talk.client.received, b"220 two\r\n")
        self.assertTrue(talk.client.dropped)
        self.assertFalse(talk.client.was_reset)

    def test_greeting_of_the_last_host(self) -> None:
        """If there is no host left to try, the words of the last failure are for the client all the same."""
        talk = Conversation(max_connect_attempts=5)
        talk.cluster.error = NoHost("c")
        talk.host.upstream.connect_failed(ConnectError("no TLS", greeting=b"220 one\r\n", reset=True))
        self.assertEqual(talk.client.received, b"220 one\r\n")
        self.assertTrue(talk.client.was_reset)

    def test_reset(self) -> None:
        """A failure may say that the client is to be reset."""
        talk = Conversation()
        talk.host.upstream.connect_failed(ConnectError("no TLS", reset=True))
        self.assertTrue(talk.client.was_reset)

    def test_timeout(self) -> None:
        """A host that does not answer: as one that refuses, but without a reason."""
        talk = Conversation()
        talk.host.refuse("", timeout=True)
        self.assertEqual(talk.outcome(), ({"UF", "URX"}, "tcp_initializion_failure:0"))
        self.assertEqual(talk.info.upstream.transport_failure_reason, "")

    def test_attempts(self) -> None:
        """Every attempt is made at once, each is noted, and only the last one ends it."""
        talk = Conversation(max_connect_attempts=3)
        for _ in range(2):
            talk.host.refuse()
            self.assertFalse(talk.client.dropped)
        talk.host.refuse()
        self.assertTrue(talk.client.dropped)
        self.assertEqual(len(talk.cluster.connects), 3)
        self.assertEqual(talk.info.upstream.hosts_attempted, ["198.51.100.1:80"] * 3)
        self.assertEqual(talk.cluster.stats.upstream_cx_connect_attempts_exceeded.value, 1)

    def test_second_attempt(self) -> None:
        """A later attempt that succeeds serves the client."""
        talk = Conversation(max_connect_attempts=2)
        talk.host.refuse()
        talk.accept().send(b"hello")
        self.assertEqual(talk.client.received, b"hello")
        self.assertEqual(talk.info.upstream.attempts, 2)
        self.assertEqual(talk.cluster.stats.upstream_cx_connect_attempts_exceeded.value, 0)

    def test_no_host(self) -> None:
        """A cluster without hosts: UH."""
        cluster = FakeCluster("c")
        cluster.error = NoHost("c")
        talk = Conversation(cluster)
        self.assertTrue(talk.client.dropped)
        self.assertEqual(talk.outcome(), ({"UH"}, "tcp_initializion_failure:1"))
        self.assertEqual(talk.info.upstream.cluster, "c")
        self.assertEqual(talk.info.upstream.attempts, 0)
        self.assertIsNone(talk.info.upstream.host)

    def test_overflow(self) -> None:
        """A cluster with too many connections: UO."""
        cluster = FakeCluster("c")
        cluster.error = Overflow("c")
        talk = Conversation(cluster)
        self.assertTrue(talk.client.dropped)
        self.assertEqual(talk.outcome(), ({"UO"}, "tcp_initializion_failure:2"))
        self.assertEqual(talk.info.upstream.attempts, 0)

    def test_pending_overflow(self) -> None:
        """A cluster for which too many wait: URX, and an attempt, of a host that was not connected to."""
        cluster = FakeCluster("c")
        cluster.error = PendingOverflow(cluster.hosts[0])
        talk = Conversation(cluster)
        self.assertTrue(talk.client.dropped)
        self.assertEqual(talk.outcome(), ({"URX"}, "tcp_initializion_failure:0"))
        upstream = talk.info.upstream
        self.assertEqual((upstream.attempts, upstream.hosts_attempted), (1, ["198.51.100.1:80"]))
        self.assertIsNone(upstream.host)
        self.assertEqual(cluster.stats.upstream_cx_connect_attempts_exceeded.value, 1)

    def test_no_cluster(self) -> None:
        """A cluster that nobody knows: NC."""
        talk = Conversation(FakeCluster("another"), access_log=LOG)
        self.assertTrue(talk.client.dropped)
        self.assertEqual(talk.outcome(), ({"NC"}, "tcp_initializion_failure:3"))
        self.assertEqual(talk.stat("downstream_cx_no_route"), 1)
        talk.client.close()
        self.assertEqual(talk.lines, [("TcpConnectionEnd", "NC", 0, 0)])

    def test_cluster_goes(self) -> None:
        """A cluster that is gone serves those that it has, and no new ones."""
        talk = Conversation()
        host = talk.accept()
        del talk.context.clusters["c"]
        late = talk.another()
        self.assertEqual(late.info.flags, {"NC"})
        host.send(b"still here")
        self.assertEqual(talk.client.received, b"still here")

    def test_cluster_goes_between_attempts(self) -> None:
        """An attempt after the cluster is gone finds none."""
        talk = Conversation(max_connect_attempts=2)
        del talk.context.clusters["c"]
        talk.host.refuse()
        self.assertEqual(talk.outcome(), ({"UF", "NC"}, "tcp_initializion_failure:3"))

    def test_no_host_on_second_attempt(self) -> None:
        """An attempt may find that no host is left."""
        talk = Conversation(max_connect_attempts=2)
        talk.cluster.error = NoHost("c")
        talk.host.refuse()
        self.assertTrue(talk.client.dropped)
        self.assertEqual(talk.outcome(), ({"UF", "UH"}, "tcp_initializion_failure:1"))


class ChoiceTests(SynchronousTestCase):
    """Which cluster, and which host of it."""

    def test_filter_state(self) -> None:
        """A filter before may choose the cluster."""
        mine, other = FakeCluster("c"), FakeCluster("other")
        Conversation(mine, other, state={"envoy.tcp_proxy.cluster": "other"})
        self.assertEqual((len(mine.connects), len(other.connects)), (0, 1))

    def test_other_state(self) -> None:
        """Filter state of another key does not matter."""
        talk = Conversation(state={"envoy.network.sni": "other"})
        self.assertEqual(len(talk.cluster.connects), 1)

    def test_weights(self) -> None:
        """Each connection goes to one of the weighted clusters."""
        mine, other = FakeCluster("c"), FakeCluster("other")
        weights = {"clusters": [{"name": "c", "weight": 1}, {"name": "other", "weight": 3}]}
        talk = Conversation(mine, other, weighted_clusters=weights)
        for _ in range(199):
            talk.another()
        self.assertEqual(len(mine.connects) + len(other.connects), 200)
        self.assertTrue(20 < len(mine.connects) < 90, len(mine.connects))

    def test_hash_of_source(self) -> None:
        """source_ip: one client's connections have one key, whatever their port."""
        talk = Conversation(hash_policy=[{"source_ip": {}}])
        talk.another()
        first, second = talk.cluster.hash_keys
        self.assertEqual(first, second)
        self.assertIsNotNone(first)

    def test_hash_of_filter_state(self) -> None:
        """filter_state: the key is made of the state; without it there is none."""
        policy = [{"filter_state": {"key": "user"}}]
        talk = Conversation(hash_policy=policy, state={"user": "ann"})
        talk.state = {"user": "bob"}
        talk.another()
        talk.state = {}
        talk.another()
        ann, bob, nobody = talk.cluster.hash_keys
        self.assertNotEqual(ann, bob)
        self.assertIsNone(nobody)

    def test_no_hash(self) -> None:
        """Without a policy there is no key."""
        self.assertEqual(Conversation().cluster.hash_keys, [None])


class RefusesToClose(NetworkFilter):
    """Raises when it is asked to close."""

    def loseConnection(self) -> None:
        raise ValueError("broken")


class RefusedCloseTests(SynchronousTestCase):
    """A filter outside that raises when the proxy closes, in a call of nobody's but the poller's."""

    def setUp(self) -> None:
        self.talk = Conversation(filters=[RefusesToClose()])

    def check(self) -> None:
        """Check that the client's side was closed all the same, and the filter blamed."""
        self.assertTrue(self.talk.client.wire.closed)
        self.assertEqual(len(self.talk.client.failures), 1)

    def test_no_connection(self) -> None:
        """The host refuses."""
        self.talk.host.refuse()
        self.check()

    def test_upstream_ends(self) -> None:
        """The host's side is over."""
        self.talk.accept().close()
        self.check()


class Swallows(NetworkFilter):
    """Tells nobody that the connection is over, as a filter that raises does."""

    def connectionLost(self, reason: Failure) -> None:
        pass


class SwallowedEndTests(SynchronousTestCase):
    """A filter outside that does not pass the end on."""

    def test_upstream_goes(self) -> None:
        """The upstream connection ends all the same, and the end is logged."""
        talk = Conversation(filters=[Swallows()], access_log=LOG)
        host = talk.accept()
        talk.client.reset()
        self.assertTrue(host.wire.closed)
        self.assertEqual([line[0] for line in talk.lines], ["TcpConnectionEnd"])
