"""Tests for meshd.filters.network.redis_proxy.session."""

from twisted.trial.unittest import SynchronousTestCase

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


class TrackingTests(SynchronousTestCase):
    """CLIENT TRACKING."""

    def setUp(self) -> None:
        self.talk = Talk(options={"protocol_version": "ANY"})
        self.client = self.talk.client()
        self.talk.say(self.client, "HELLO 3", "CLIENT TRACKING ON", "GET k")
        (self.link,) = self.talk.links()

    def test_own_connection(self) -> None:
        """The client has connections of its own, whose pushes it gets."""
        self.assertEqual(self.talk.heard(self.link), ["HELLO 3", "CLIENT TRACKING ON", "GET k"])
        self.talk.answer(self.link, b"%0\r\n", b"+OK\r\n", b"$1\r\nv\r\n")
        push = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n"
        self.talk.answer(self.link, push)
        self.assertTrue(self.talk.got(self.client).endswith(b"$1\r\nv\r\n" + push))

    def test_lost(self) -> None:
        """A client that can no longer be told what changed is cut, so that it believes nothing."""
        self.link.close()
        self.assertTrue(self.client.dropped)

    def test_off(self) -> None:
        """Without tracking the client shares connections again."""
        self.talk.answer(self.link, b"%0\r\n", b"+OK\r\n", b"$1\r\nv\r\n")
        self.talk.say(self.client, "CLIENT TRACKING OFF", "GET k")
        self.assertTrue(self.link.wire.closed)
        self.assertFalse(self.client.dropped)
        self.assertEqual(self.talk.heard(self.talk.links()[1]), ["HELLO 3", "GET k"])

    def test_refused(self) -> None:
        """What cannot be served is refused."""
        say = self.talk.say
        self.assertIn(b"-ERR REDIRECT", say(self.talk.client(), "HELLO 3", "CLIENT TRACKING ON REDIRECT 1"))
        self.assertIn(b"-ERR Tracking can be", say(self.talk.client(), "CLIENT TRACKING ON"))
        self.assertIn(b"-ERR CLIENT CACHING", say(self.talk.client(), "CLIENT CACHING YES"))


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
