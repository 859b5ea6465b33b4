"""Tests for meshd.filters.network.redis_proxy.client."""

from twisted.trial.unittest import SynchronousTestCase

from tests.filters.network.redis_proxy.talk import Talk


class OrderTests(SynchronousTestCase):
    """Replies come in the order of the commands."""

    def test_two_hosts(self) -> None:
        """A reply waits for those before it, be they of other hosts or the proxy's own."""
        talk = Talk(2)
        client = talk.client()
        self.assertEqual(talk.say(client, "GET a0", "GET a1", "PING"), b"")
        first, second = talk.links()
        talk.answer(second, b"$1\r\n1\r\n")
        self.assertEqual(talk.got(client), b"")
        talk.answer(first, b"$1\r\n0\r\n")
        self.assertEqual(talk.got(client), b"$1\r\n0\r\n$1\r\n1\r\n+PONG\r\n")
        self.assertEqual(talk.stats["redis.r.downstream_rq_active"], 0)
        self.assertEqual(talk.stats["redis.r.downstream_rq_total"], 3)

    def test_two_clients(self) -> None:
        """Two clients share a connection, and each gets its own replies."""
        talk = Talk()
        one, other = talk.client(), talk.client()
        talk.say(one, "GET a")
        talk.say(other, "GET b")
        (link,) = talk.links()
        talk.answer(link, b"$1\r\na\r\n$1\r\nb\r\n")
        self.assertEqual((talk.got(one), talk.got(other)), (b"$1\r\na\r\n", b"$1\r\nb\r\n"))

    def test_gone(self) -> None:
        """The reply of a client that is gone is nobody else's."""
        talk = Talk()
        one, other = talk.client(), talk.client()
        talk.say(one, "GET a")
        talk.say(other, "GET b")
        one.close()
        talk.answer(talk.links()[0], b"$1\r\na\r\n$1\r\nb\r\n")
        self.assertEqual(talk.got(other), b"$1\r\nb\r\n")
        self.assertEqual(talk.stats["redis.r.downstream_rq_active"], 0)
        self.assertEqual(talk.stats["redis.r.downstream_cx_active"], 1)


class BadInputTests(SynchronousTestCase):
    """What is no command."""

    def test_protocol_error(self) -> None:
        """What is not RESP is told in Redis's words after what was asked before, and ends the connection."""
        talk = Talk()
        client = talk.client()
        self.assertEqual(talk.say(client, "GET a", b"*1\r\n$x\r\n"), b"")
        self.assertFalse(client.dropped)
        talk.answer(talk.links()[0], b"$-1\r\n")
        self.assertEqual(talk.got(client), b"$-1\r\n-ERR Protocol error: invalid bulk length\r\n")
        self.assertTrue(client.dropped)
        self.assertEqual(talk.stats["redis.r.downstream_cx_protocol_error"], 1)

    def test_others_go_on(self) -> None:
        """Nobody else notices."""
        talk = Talk()
        one, other = talk.client(), talk.client()
        talk.say(one, b"@@@\r\n")
        self.assertEqual(talk.say(other, "PING"), b"+PONG\r\n")

    def test_invalid(self) -> None:
        """A value that is no command is refused in Envoy's words, and the connection goes on."""
        talk = Talk()
        self.assertEqual(
            talk.say(talk.client(), b"+OK\r\n", b":1\r\n", b"PING\r\n"),
            b"-invalid request\r\n" * 2 + b"+PONG\r\n",
        )

    def test_unknown(self) -> None:
        """A command that nobody knows is refused in Envoy's words, without what could break the reply."""
        talk = Talk()
        self.assertEqual(
            talk.say(talk.client(), "FOO a b", "B\r\nAR"),
            b"-ERR unknown command 'FOO', with args beginning with: a\r\n"
            b"-ERR unknown command 'B  AR', with args beginning with: \r\n",
        )
        self.assertEqual(talk.stats["redis.r.splitter.unsupported_command"], 2)


class FlowTests(SynchronousTestCase):
    """Clients that want too much, or end."""

    def test_pipeline(self) -> None:
        """A client with as many unanswered commands as it may have is not read until half are answered."""
        talk = Talk(options={"max_pipeline": 4})
        client = talk.client()
        talk.say(client, *["GET a"] * 4)
        self.assertEqual(len(client.paused_by), 1)
        talk.answer(talk.links()[0], b":1\r\n")
        self.assertEqual(len(client.paused_by), 1)
        talk.answer(talk.links()[0], b":1\r\n")
        self.assertEqual(client.paused_by, set())

    def test_half_closed(self) -> None:
        """A client that has sent its last byte gets what it is owed, then the end."""
        talk = Talk()
        client = talk.client()
        talk.say(client, "GET a")
        client.half_close()
        self.assertFalse(client.dropped)
        talk.answer(talk.links()[0], b"$1\r\na\r\n")
        self.assertEqual(talk.got(client), b"$1\r\na\r\n")
        self.assertTrue(client.dropped)

    def test_hold(self) -> None:
        """While a command has to be over first, the others wait, and are done in order then."""
        talk = Talk()
        client = talk.client()
        talk.say(client, "GET a", "SELECT 1", "GET b", "PING")
        (link,) = talk.links()
        self.assertEqual(talk.heard(link), ["GET a"])
        talk.answer(link, b":1\r\n")
        second = talk.links()[1]
        self.assertEqual(talk.heard(second), ["SELECT 1"])
        talk.answer(second, b"+OK\r\n")
        third = talk.links()[2]
        self.assertEqual(talk.heard(third), ["SELECT 1", "GET b"])
        talk.answer(third, b"+OK\r\n", b":2\r\n")
        self.assertEqual(talk.got(client), b":1\r\n+OK\r\n:2\r\n+PONG\r\n")
