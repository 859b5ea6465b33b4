"""Tests for meshd.filters.network.redis_proxy.pipeline: which commands go together."""

from twisted.trial.unittest import SynchronousTestCase

from meshd.codec.resp import encode
from tests.filters.network.redis_proxy.talk import Talk


def pipeline(*commands: str) -> bytes:
    """Return commands as one piece of bytes."""
    return b"".join(encode(command.encode().split()) for command in commands)


class PipelineTests(SynchronousTestCase):
    """Which commands go together."""

    def setUp(self) -> None:
        self.talk = Talk()
        self.client = self.talk.client()
        for name in (b"GET", b"get", b"SET", b"MGET"):
            self.client.inner.table.find(name)

    def trains(self, *commands: str) -> list[str]:
        """Let the client send commands, and return the kinds of what waits at the host."""
        self.client.inner.dataReceived(pipeline(*commands))
        self.talk.settle()
        (link,) = self.talk.links()
        self.assertEqual(self.talk.heard(link)[-len(commands) :], [*commands])
        return [type(each).__name__ for each in link.upstream.pending]

    def test_alike(self) -> None:
        """Those with as many arguments each, in any spelling; each is counted as what it is."""
        self.assertEqual(self.trains("GET a", "get b", "GET c", "GET dddddddd", "GET e"), ["Car"])
        self.assertEqual(self.talk.stats["redis.r.command.get.total"], 5)

    def test_various(self) -> None:
        """Those with one key, whatever else they have; and the first of them."""
        commands = ["SET a x", "GET b", "GET c", "GET d", "OBJECT ENCODING a", "GET e"]
        self.assertEqual(self.trains(*commands), ["Car", "Request", "Request"])

    def test_few(self) -> None:
        """Few are not worth it."""
        self.assertEqual(self.trains("GET a", "SET b x", "GET c"), ["Request"] * 3)

    def test_values(self) -> None:
        """MGETs go with the others if there is but one host."""
        self.trains("GET a")
        self.talk.links()[0].upstream.dataReceived(b":1\r\n")
        commands = ["MGET a b", "MGET c d", "SET e x", "MGET f g", "MGET h i"]
        self.assertEqual(self.trains(*commands), ["Car"])
        reply = b"*2\r\n$1\r\n1\r\n$-1\r\n"
        self.talk.got(self.client)
        self.talk.links()[0].upstream.dataReceived(reply * 2 + b"+OK\r\n" + reply * 2)
        self.assertEqual(self.talk.got(self.client), reply * 2 + b"+OK\r\n" + reply * 2)

    def test_unknown(self) -> None:
        """A command that there is not is answered in its turn."""
        self.client.inner.dataReceived(
            pipeline("NOPE a", "GET b", "GET c", "GET dddddddddddddddddddddddddd", "GET e")
        )
        self.talk.settle()
        self.assertEqual(self.talk.heard(self.talk.links()[0])[-1:], ["GET e"])
        self.assertTrue(self.talk.got(self.client).startswith(b"-ERR unknown command 'NOPE'"))
