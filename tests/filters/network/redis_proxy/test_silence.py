"""Tests for meshd.filters.network.redis_proxy.silence; tests/integration/test_redis_state.py has a server."""

from twisted.trial.unittest import SynchronousTestCase

from tests.filters.network.redis_proxy.talk import Talk


class ClientReplyTests(SynchronousTestCase):
    """CLIENT REPLY."""

    def setUp(self) -> None:
        self.talk = Talk()
        self.client = self.talk.client()

    def say(self, *commands: str) -> bytes:
        """Say something as the client."""
        return self.talk.say(self.client, *commands)

    def test_off(self) -> None:
        """After OFF commands are done, many at a time too, and nothing is answered until ON."""
        self.say("CLIENT REPLY OFF", "SET a 1")
        self.client.send(b"SET b 2\r\n" * 8)
        self.talk.settle()
        (link,) = self.talk.links()
        self.assertEqual(len(self.talk.heard(link)), 9)
        self.talk.answer(link, *[b"+OK\r\n"] * 9)
        self.assertEqual(self.talk.got(self.client), b"")
        self.assertEqual(
            self.say("CLIENT REPLY SKIP", "PING", "CLIENT REPLY ON", "PING"), b"+OK\r\n+PONG\r\n"
        )
        self.assertEqual(self.talk.shared.stats.rq_active.value, 0)

    def test_order(self) -> None:
        """What was asked before OFF is answered, and what is asked after ON, though replies come late."""
        self.say("GET a", "CLIENT REPLY OFF", "GET b", "CLIENT REPLY ON", "GET c")
        self.talk.answer(self.talk.links()[0], b":1\r\n", b":2\r\n", b":3\r\n")
        self.assertEqual(self.talk.got(self.client), b":1\r\n+OK\r\n:3\r\n")

    def test_skip(self) -> None:
        """SKIP is about the next command only, be that another SKIP, an error, or one that waits."""
        self.assertEqual(self.say("CLIENT REPLY SKIP", "PING", "PING"), b"+PONG\r\n")
        self.assertEqual(self.say("CLIENT REPLY SKIP", "CLIENT REPLY SKIP", "PING", "PING"), b"+PONG\r\n")
        self.assertEqual(self.say("CLIENT REPLY SKIP", "FOO", "PING"), b"+PONG\r\n")
        self.say("GET a", "CLIENT REPLY SKIP", "BLPOP q 0", "PING")
        shared, own = self.talk.links()[0], self.talk.links()[-1]
        self.talk.answer(shared, b":1\r\n")
        own = self.talk.links()[-1]
        self.assertEqual(self.talk.heard(own), ["BLPOP q 0"])
        self.talk.answer(own, b"*-1\r\n")
        self.assertEqual(self.talk.got(self.client), b":1\r\n+PONG\r\n")

    def test_messages(self) -> None:
        """Subscriptions are acknowledged, and messages come, nevertheless."""
        self.say("CLIENT REPLY OFF", "SUBSCRIBE c")
        (link,) = self.talk.links()
        ack = b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"
        self.talk.answer(link, ack, message := b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n")
        self.assertEqual(self.talk.got(self.client), ack + message)

    def test_reset(self) -> None:
        """RESET ends OFF."""
        self.assertEqual(self.say("CLIENT REPLY OFF", "PING", "RESET", "PING"), b"+RESET\r\n+PONG\r\n")

    def test_transaction(self) -> None:
        """Within a transaction it is refused, since it would be about what comes after EXEC."""
        said = self.say("MULTI", "CLIENT REPLY OFF", "CLIENT ID", "EXEC").split(b"\r\n")
        self.assertEqual(said[1], b"-'CLIENT' command is not supported within transaction")
        self.assertTrue(said[3].startswith(b"-EXECABORT"))

    def test_gone(self) -> None:
        """If the client goes, its commands are given up as ever."""
        self.say("CLIENT REPLY OFF", "BLPOP q 0")
        (link,) = self.talk.links()
        self.client.close()
        self.assertTrue(link.wire.closed)
        self.assertEqual(self.talk.shared.stats.rq_active.value, 0)

    def test_wrong(self) -> None:
        """Other words are wrong."""
        self.assertEqual(self.say("CLIENT REPLY MAYBE"), b"-ERR syntax error\r\n")
