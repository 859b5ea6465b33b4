"""Tests for meshd.filters.network.redis_proxy.session."""

from twisted.trial.unittest import SynchronousTestCase

from meshd.interfaces import NoHost
from tests.filters.network.redis_proxy.talk import Talk


class SelectTests(SynchronousTestCase):
    """SELECT is the client's own."""

    def setUp(self) -> None:
        self.talk = Talk()
        self.client, self.other = self.talk.client(), self.talk.client()

    def test_own(self) -> None:
        """Who selects a database has it, and nobody else, unlike in Envoy."""
        talk = self.talk
        talk.say(self.client, "SELECT 3")
        (asked,) = talk.links()
        talk.answer(asked, b"+OK\r\n")
        talk.say(self.client, "SET x 1")
        talk.say(self.other, "SET y 1")
        third, zeroth = talk.links()[1:]
        self.assertEqual(talk.heard(third), ["SELECT 3", "SET x 1"])
        self.assertEqual(talk.heard(zeroth), ["SET y 1"])

    def test_refused(self) -> None:
        """What the server does not have is not selected."""
        self.talk.say(self.client, "SELECT 99")
        self.talk.answer(self.talk.links()[0], b"-ERR DB index is out of range\r\n")
        self.assertEqual(self.talk.got(self.client), b"-ERR DB index is out of range\r\n")
        self.talk.say(self.client, "GET k")
        self.assertEqual(self.talk.heard(self.talk.links()[1]), ["GET k"])

    def test_wrong(self) -> None:
        """What is no number is refused."""
        self.assertEqual(
            self.talk.say(self.client, "SELECT x", "SELECT", "SELECT 0"),
            b"-ERR value is not an integer or out of range\r\n-invalid request\r\n+OK\r\n",
        )


class MonitorTests(SynchronousTestCase):
    """MONITOR."""

    def test_lines(self) -> None:
        """The lines of all hosts are passed on, until the client goes."""
        talk = Talk(2)
        client = talk.client()
        self.assertEqual(talk.say(client, "MONITOR"), b"+OK\r\n")
        for link in talk.links():
            self.assertEqual(talk.heard(link), ["MONITOR"])
            talk.answer(link, b"+OK\r\n", b"+1.0 GET\r\n")
        self.assertEqual(talk.got(client), b"+1.0 GET\r\n" * 2)
        client.close()
        self.assertTrue(all(link.wire.closed for link in talk.links()))

    def test_no_connection(self) -> None:
        """If one host cannot be connected to, there is no MONITOR, and nothing is left of it."""
        routes = {"routes": [{"prefix": "o:", "cluster": "other"}], "catch_all_route": {"cluster": "c"}}
        talk = Talk(prefix_routes=routes, options={"fan_out": "all_routes"})
        talk.cluster.error = NoHost("c")
        client = talk.client()
        self.assertEqual(talk.say(client, "MONITOR", "PING"), b"-upstream failure\r\n+PONG\r\n")
        (link,) = talk.links()
        self.assertTrue(link.cancelled)
        self.assertFalse(client.dropped)
