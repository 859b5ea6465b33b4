"""Tests for meshd.filters.network.redis_proxy.train."""

from twisted.trial.unittest import SynchronousTestCase

from meshd.codec.resp import encode
from tests.filters.network.redis_proxy.talk import Talk


def pipeline(*commands: str) -> bytes:
    """Return commands as one piece of bytes."""
    return b"".join(encode(command.encode().split()) for command in commands)


class TrainTests(SynchronousTestCase):
    """Commands that come together."""

    def setUp(self) -> None:
        self.talk = Talk(2, settings={"enable_redirection": True})
        self.client = self.talk.client()
        for name in (b"GET", b"SET"):
            self.client.inner.table.find(name)  # only commands that were seen before go together
        self.client.inner.dataReceived(pipeline("GET a0", "GET a1", "SET b0 x", "GET b1", "GET c0", "PING"))
        self.talk.settle()
        self.first, self.second = self.talk.links()

    def test_sent(self) -> None:
        """Each host gets its own, in order, from one train."""
        self.assertEqual(self.client.inner.in_trains, 4)
        self.assertEqual(self.talk.heard(self.first), ["GET a0", "SET b0 x", "GET c0"])
        self.assertEqual(self.talk.heard(self.second), ["GET a1", "GET b1"])
        stats = self.talk.cluster.stats
        self.assertEqual((stats.upstream_rq_total.value, stats.upstream_rq_active.value), (5, 5))

    def test_order(self) -> None:
        """The client gets the replies in its own order; the first ones soon, whatever the others do."""
        self.talk.answer(self.second, b"$2\r\na1\r\n$2\r\nb1\r\n")
        self.assertEqual(self.talk.got(self.client), b"")
        self.talk.answer(self.first, b"$2\r\na0\r\n")
        self.talk.settle(0.03)
        self.assertEqual(self.talk.got(self.client), b"$2\r\na0\r\n$2\r\na1\r\n")
        self.first.upstream.dataReceived(b"+OK\r\n$2\r\nc0\r\n")
        self.assertEqual(self.talk.got(self.client), b"+OK\r\n$2\r\nb1\r\n$2\r\nc0\r\n+PONG\r\n")
        self.assertEqual(self.talk.stats["redis.r.downstream_rq_active"], 0)
        self.assertEqual(self.talk.stats["redis.r.command.get.success"], 4)
        self.assertEqual(self.talk.stats["redis.r.command.set.success"], 1)
        self.assertEqual(self.client.inner.in_trains, 0)
        self.assertEqual(self.talk.cluster.stats.upstream_rq_active.value, 0)

    def test_batch(self) -> None:
        """Replies of several hosts that come within a moment are sent in one piece."""
        writes: list[bytes] = []
        self.client.inner.transport.write = writes.append
        self.first.upstream.dataReceived(b":0\r\n")
        self.second.upstream.dataReceived(b":1\r\n:2\r\n")
        self.first.upstream.dataReceived(b"+OK\r\n")
        self.assertEqual(writes, [])
        self.talk.settle(0.03)
        self.assertEqual(writes, [b":0\r\n:1\r\n+OK\r\n:2\r\n"])
        self.first.upstream.dataReceived(b":3\r\n")
        self.assertEqual(writes[1:], [b":3\r\n+PONG\r\n"])

    def test_gone_meanwhile(self) -> None:
        """A client that goes before its replies are sent gets none."""
        self.first.upstream.dataReceived(b":0\r\n")
        self.client.close()
        self.talk.settle()
        self.assertEqual(self.talk.got(self.client), b"")

    def test_failure(self) -> None:
        """The commands of a host that goes have failed, the others have not."""
        self.first.upstream.dataReceived(b":1\r\n")
        self.first.reset()
        self.second.upstream.dataReceived(b":2\r\n:3\r\n")
        failure = b"-upstream failure\r\n"
        got = self.talk.got(self.client)
        self.assertEqual(got, b":1\r\n:2\r\n" + failure + b":3\r\n" + failure + b"+PONG\r\n")
        self.assertEqual(self.talk.stats["redis.r.command.get.error"], 1)
        self.assertEqual(self.talk.stats["redis.r.command.get.success"], 3)
        self.assertEqual(self.talk.cluster.stats.upstream_rq_active.value, 0)

    def test_redirect(self) -> None:
        """One that is sent elsewhere goes there, and its reply stands in its place."""
        self.first.upstream.dataReceived(b":1\r\n-MOVED 1 198.51.100.2:6379\r\n:3\r\n")
        self.talk.settle()
        self.assertEqual(self.talk.heard(self.second), ["GET a1", "GET b1", "SET b0 x"])
        self.second.upstream.dataReceived(b":4\r\n:5\r\n+OK\r\n")
        self.assertEqual(self.talk.got(self.client), b":1\r\n:4\r\n+OK\r\n:5\r\n:3\r\n+PONG\r\n")

    def test_gone(self) -> None:
        """A client that goes is forgotten; the connection goes on."""
        self.client.close()
        self.assertEqual(self.talk.stats["redis.r.downstream_rq_active"], 0)
        other = self.talk.client()
        self.talk.say(other, "GET a0")
        self.talk.answer(self.first, b":1\r\n:2\r\n:3\r\n:4\r\n")
        self.assertEqual(self.talk.got(other), b":4\r\n")

    def test_no_host(self) -> None:
        """Without a host each is told so."""
        for host in self.talk.hosts:
            host.healthy = False
        client = self.talk.client()
        client.inner.dataReceived(pipeline(*["GET a0"] * 5))
        self.assertEqual(self.talk.got(client), b"-no upstream host\r\n" * 5)
