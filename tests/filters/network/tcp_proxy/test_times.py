"""Tests for meshd.filters.network.tcp_proxy.proxy: time-outs, back-off, early data, and the log."""

from twisted.trial.unittest import SynchronousTestCase

from meshd.testing import FakeCluster
from tests.filters.network.tcp_proxy.conversation import LOG, Conversation


class IdleTests(SynchronousTestCase):
    """An idle time-out of ten seconds."""

    def setUp(self) -> None:
        self.talk = Conversation(idle_timeout="10s", access_log=LOG)

    def test_nothing_moves(self) -> None:
        """Both sides are closed at once when nothing has moved for so long."""
        host = self.talk.accept()
        self.talk.clock.advance(9.9)
        self.assertFalse(self.talk.client.dropped)
        self.talk.clock.advance(0.2)
        self.assertTrue(self.talk.client.wire.at_once)
        self.assertEqual(self.talk.stat("idle_timeout"), 1)
        self.talk.client.close()
        self.assertTrue(host.wire.at_once)
        self.assertEqual(self.talk.outcome(), (set(), "tcp_session_idle_timeout"))
        self.assertEqual(self.talk.info.upstream.local_close_reason, "tcp_session_idle_timeout")

    def test_something_moves(self) -> None:
        """Bytes of either side begin the time anew."""
        host = self.talk.accept()
        self.talk.clock.advance(6)
        self.talk.client.last_active = 6.0
        self.talk.clock.advance(6)
        host.last_active = 12.0
        self.talk.clock.advance(9)
        self.assertFalse(self.talk.client.dropped)
        self.talk.clock.advance(1.1)
        self.assertTrue(self.talk.client.dropped)

    def test_while_connecting(self) -> None:
        """A host that is still being connected to is the connect time-out's concern."""
        self.talk.clock.advance(20)
        self.assertFalse(self.talk.client.dropped)

    def test_flush(self) -> None:
        """What a client left behind is sent on, but no longer than the idle time-out."""
        host = self.talk.accept()
        host.waiting = 500
        self.talk.client.close()
        self.assertTrue(host.wire.closed)
        self.assertFalse(host.wire.at_once)
        self.assertEqual(self.talk.stat("upstream_flush_active"), 1)
        self.assertEqual(self.talk.stat("upstream_flush_total"), 1)
        self.talk.clock.advance(10.1)
        self.assertTrue(host.wire.at_once)
        host.close()
        self.assertEqual(self.talk.stat("upstream_flush_active"), 0)
        self.assertEqual(self.talk.stat("idle_timeout"), 1)

    def test_flushed(self) -> None:
        """Once all is sent on, no timer is left."""
        host = self.talk.accept()
        host.waiting = 500
        self.talk.client.close()
        host.close()
        self.assertEqual(self.talk.stat("upstream_flush_active"), 0)
        self.assertEqual(self.talk.clock.getDelayedCalls(), [])

    def test_nothing_to_flush(self) -> None:
        """A client that leaves nothing behind leaves no timer either."""
        self.talk.accept()
        self.talk.client.close()
        self.assertEqual(self.talk.stat("upstream_flush_total"), 0)
        self.assertEqual(self.talk.clock.getDelayedCalls(), [])

    def test_never(self) -> None:
        """0 is for ever."""
        talk = Conversation(idle_timeout="0s")
        talk.accept()
        talk.clock.advance(1e6)
        self.assertFalse(talk.client.dropped)

    def test_default(self) -> None:
        """Unset, it is an hour."""
        talk = Conversation()
        talk.accept()
        talk.clock.advance(3599)
        self.assertFalse(talk.client.dropped)
        talk.clock.advance(2)
        self.assertTrue(talk.client.dropped)


class DurationTests(SynchronousTestCase):
    """max_downstream_connection_duration."""

    def test_reached(self) -> None:
        """Both sides are closed at once when the time is over, whatever moves: DT."""
        talk = Conversation(max_downstream_connection_duration="5s")
        host = talk.accept()
        talk.clock.advance(5.1)
        self.assertTrue(talk.client.wire.at_once)
        talk.client.close()
        self.assertTrue(host.wire.at_once)
        self.assertEqual(talk.outcome(), ({"DT"}, "max_connection_duration_reached"))
        self.assertEqual(talk.info.upstream.local_close_reason, "max_connection_duration_reached")
        self.assertEqual(talk.stat("max_downstream_connection_duration"), 1)

    def test_while_connecting(self) -> None:
        """It holds for a connection that is not served yet, too."""
        talk = Conversation(max_downstream_connection_duration="5s")
        talk.clock.advance(5.1)
        self.assertTrue(talk.client.dropped)
        talk.client.close()
        self.assertTrue(talk.host.cancelled)

    def test_not_reached(self) -> None:
        """A connection that ends before leaves no timer."""
        talk = Conversation(max_downstream_connection_duration="5s", idle_timeout="0s")
        talk.accept()
        talk.client.close()
        self.assertEqual(talk.clock.getDelayedCalls(), [])

    def test_jitter(self) -> None:
        """Jitter makes it longer by up to its percentage, differently for each."""
        jitter = {"value": 50}
        talk = Conversation(
            max_downstream_connection_duration="100s",
            max_downstream_connection_duration_jitter_percentage=jitter,
            idle_timeout="0s",
        )
        for _ in range(20):
            talk.another()
        times = {call.getTime() for call in talk.clock.getDelayedCalls()}
        self.assertGreater(len(times), 10)
        self.assertTrue(all(100 <= each <= 150 for each in times), times)


class BackoffTests(SynchronousTestCase):
    """Attempts with back-off."""

    def setUp(self) -> None:
        self.talk = Conversation(
            max_connect_attempts=4, backoff_options={"base_interval": "1s", "max_interval": "1.5s"}
        )

    def test_waits(self) -> None:
        """The next attempt comes after a random part of the interval, which doubles up to the longest."""
        for longest in (1, 1.5, 1.5):
            made = len(self.talk.cluster.connects)
            self.talk.host.refuse()
            self.assertEqual(len(self.talk.cluster.connects), made)
            self.talk.clock.advance(longest)
            self.assertEqual(len(self.talk.cluster.connects), made + 1)
        self.talk.host.refuse()
        self.assertTrue(self.talk.client.dropped)

    def test_client_leaves(self) -> None:
        """A client that leaves meanwhile is not connected for."""
        self.talk.host.refuse()
        self.talk.client.close()
        self.talk.clock.advance(2)
        self.assertEqual(len(self.talk.cluster.connects), 1)
        self.assertEqual(self.talk.clock.getDelayedCalls(), [])

    def test_duration_meanwhile(self) -> None:
        """Time that runs out between two attempts ends it."""
        talk = Conversation(
            max_connect_attempts=2,
            backoff_options={"base_interval": "100s"},
            max_downstream_connection_duration="0.000001s",
        )
        talk.host.refuse()
        talk.clock.advance(0.001)
        self.assertTrue(talk.client.dropped)
        talk.client.close()
        self.assertEqual(talk.clock.getDelayedCalls(), [])


class OnDataTests(SynchronousTestCase):
    """upstream_connect_mode ON_DOWNSTREAM_DATA."""

    def setUp(self) -> None:
        self.talk = Conversation(
            upstream_connect_mode="ON_DOWNSTREAM_DATA", max_early_data_bytes=8, idle_timeout="10s"
        )
        self.client = self.talk.client

    def test_silent_client(self) -> None:
        """A client that says nothing is not connected for."""
        self.assertEqual(self.talk.cluster.connects, [])
        self.assertEqual(self.client.paused_by, set())

    def test_first_byte(self) -> None:
        """The first byte begins one attempt; what came meanwhile goes first when it stands."""
        self.client.send(b"hello")
        self.assertEqual(len(self.talk.cluster.connects), 1)
        host = self.talk.accept()
        self.client.send(b" world")
        self.assertEqual(host.received, b"hello world")
        # Each read counts, as in Envoy; the client's are of a byte.
        self.assertEqual(self.talk.stat("early_data_received_count_total"), 5)
        self.assertEqual(self.talk.stat("downstream_cx_rx_bytes_total"), 11)

    def test_limit(self) -> None:
        """A client is not read once more than the limit has come, until it is connected."""
        self.client.send(b"12345678")
        self.assertEqual(self.client.paused_by, set())
        self.client.send(b"9")
        self.assertEqual(len(self.client.paused_by), 1)
        host = self.talk.accept()
        self.assertEqual(host.received, b"123456789")
        self.assertEqual(self.client.paused_by, set())

    def test_half_close_after_data(self) -> None:
        """A FIN that came early follows the data."""
        self.client.send(b"hi")
        self.client.half_close()
        self.assertFalse(self.client.dropped)
        host = self.talk.accept()
        self.assertEqual(host.received, b"hi")
        self.assertTrue(host.wire.finished)

    def test_half_close_without_data(self) -> None:
        """A client that ends without a byte is closed: there is nothing to connect for."""
        self.client.half_close()
        self.assertTrue(self.client.dropped)
        self.client.close()
        self.assertEqual(self.talk.cluster.connects, [])
        self.assertEqual(self.talk.outcome(), (set(), ""))

    def test_idle_without_data(self) -> None:
        """A client that says nothing is closed by the idle time-out."""
        self.talk.clock.advance(10.1)
        self.assertTrue(self.client.dropped)
        self.assertEqual(self.talk.stat("idle_timeout"), 1)

    def test_duration_without_data(self) -> None:
        """A client that says nothing is closed when its time is over."""
        talk = Conversation(
            upstream_connect_mode="ON_DOWNSTREAM_DATA",
            max_early_data_bytes=8,
            max_downstream_connection_duration="1s",
            access_log=LOG,
        )
        talk.clock.advance(1.1)
        self.assertTrue(talk.client.dropped)
        talk.client.close()
        self.assertEqual(talk.lines, [("TcpConnectionEnd", "DT", 0, 0)])

    def test_refused(self) -> None:
        """A host that refuses ends it as ever."""
        self.client.send(b"hi")
        self.talk.host.refuse()
        self.assertTrue(self.client.dropped)
        self.assertEqual(self.talk.outcome(), ({"UF", "URX"}, "tcp_initializion_failure:0"))

    def test_data_between_attempts(self) -> None:
        """Data that comes while an attempt waits for its time begins none of its own."""
        talk = Conversation(
            upstream_connect_mode="ON_DOWNSTREAM_DATA",
            max_early_data_bytes=8,
            max_connect_attempts=2,
            backoff_options={"base_interval": "1s"},
        )
        talk.client.send(b"a")
        talk.host.refuse()
        talk.client.send(b"b")
        self.assertEqual(len(talk.cluster.connects), 1)
        talk.clock.advance(1)
        self.assertEqual(talk.accept().received, b"ab")


class EarlyDataTests(SynchronousTestCase):
    """max_early_data_bytes, though the host is connected to at once."""

    def setUp(self) -> None:
        self.talk = Conversation(max_early_data_bytes=3, max_connect_attempts=2)
        self.client = self.talk.client

    def test_read_while_connecting(self) -> None:
        """The client is read up to the limit; what came goes first when the connection stands."""
        self.assertEqual(self.client.paused_by, set())
        self.client.send(b"1234")
        self.assertEqual(len(self.client.paused_by), 1)
        self.assertEqual(len(self.talk.cluster.connects), 1)
        self.assertEqual(self.talk.accept().received, b"1234")
        self.assertEqual(self.client.paused_by, set())
        self.assertEqual(self.talk.stat("early_data_received_count_total"), 4)

    def test_half_close(self) -> None:
        """A FIN is seen while connecting, counts, and is passed on later."""
        self.client.half_close()
        self.assertFalse(self.client.dropped)
        self.assertTrue(self.talk.accept().wire.finished)
        self.assertEqual(self.talk.stat("early_data_received_count_total"), 1)

    def test_no_cluster(self) -> None:
        """Data for a cluster that is not there does not look for it once more."""
        talk = Conversation(FakeCluster("another"), max_early_data_bytes=3)
        talk.client.dataReceived(b"late")
        self.assertEqual(talk.stat("downstream_cx_no_route"), 1)


class LogTests(SynchronousTestCase):
    """When it is logged."""

    def test_connected(self) -> None:
        """flush_access_log_on_connected logs before the first byte, and at the end."""
        talk = Conversation(access_log=LOG, access_log_options={"flush_access_log_on_connected": True})
        self.assertEqual(talk.lines, [])
        talk.accept()
        talk.client.send(b"abc")
        talk.client.close()
        self.assertEqual(talk.lines, [("TcpUpstreamConnected", "-", 0, 0), ("TcpConnectionEnd", "-", 3, 0)])

    def test_old_fields(self) -> None:
        """The older fields of the same meaning work, too."""
        talk = Conversation(
            access_log=LOG, flush_access_log_on_connected=True, access_log_flush_interval="5s"
        )
        talk.accept()
        talk.clock.advance(5)
        self.assertEqual([line[0] for line in talk.lines], ["TcpUpstreamConnected", "TcpPeriodic"])

    def test_periodically(self) -> None:
        """access_log_flush_interval logs the bytes so far, again and again, until the end."""
        talk = Conversation(
            access_log=LOG, access_log_options={"access_log_flush_interval": "5s"}, idle_timeout="0s"
        )
        host = talk.accept()
        talk.client.send(b"abc")
        talk.clock.advance(5)
        host.send(b"defg")
        talk.clock.advance(5)
        talk.client.close()
        talk.clock.advance(5)
        self.assertEqual(
            talk.lines,
            [("TcpPeriodic", "-", 3, 0), ("TcpPeriodic", "-", 3, 4), ("TcpConnectionEnd", "-", 3, 4)],
        )
        self.assertEqual(talk.clock.getDelayedCalls(), [])

    def test_periodically_between_attempts(self) -> None:
        """Logging meanwhile does not disturb what else waits for its time."""
        talk = Conversation(
            access_log=LOG,
            access_log_options={"access_log_flush_interval": "0.001s"},
            max_connect_attempts=2,
            backoff_options={"base_interval": "100s"},
        )
        talk.host.refuse()
        talk.clock.pump([0.001] * 3)
        talk.client.close()
        self.assertEqual(talk.clock.getDelayedCalls(), [])

    def test_wire_bytes(self) -> None:
        """The upstream connection's own count of bytes is logged."""
        talk = Conversation(access_log=LOG)
        talk.accept().wire_bytes = (7, 11)
        talk.client.close()
        upstream = talk.info.upstream
        self.assertEqual((upstream.wire_bytes_received, upstream.wire_bytes_sent), (7, 11))
