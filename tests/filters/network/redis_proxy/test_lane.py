"""Tests for meshd.filters.network.redis_proxy.lane."""

from twisted.trial.unittest import SynchronousTestCase

from meshd.codec.resp import encode
from meshd.filter import NetworkFilter
from meshd.filters.network.redis_proxy.lane import Quick
from meshd.testing import FakeClient
from tests.filters.network.redis_proxy.talk import Talk

NULL = b"$-1\r\n"


def command(text: str) -> bytes:
    """Return a command of words."""
    return encode(text.encode().split())


class BrokenFilter(NetworkFilter):
    """A filter that raises at what is written."""

    def write(self, data: bytes) -> None:
        raise ValueError("broken")


class LaneTests(SynchronousTestCase):
    """A lone command of a client that waits for nothing."""

    def setUp(self) -> None:
        self.talk = Talk(2)
        self.client = self.talk.client()
        for name in (b"GET", b"SET", b"HSET"):
            self.client.inner.table.find(name)  # only commands that were seen before go the short way

    def say(self, data: bytes) -> None:
        """Let the client send data in one piece."""
        self.client.inner.dataReceived(data)
        self.talk.settle()

    def test_to_and_fro(self) -> None:
        """It goes to the host of its key as it is, and its reply comes back as it is; all is counted."""
        self.say(command("GET a1"))
        (link,) = self.talk.links(1)
        self.assertEqual(link.received, command("GET a1"))
        self.assertIsInstance(link.upstream.pending[0], Quick)
        stats, cluster = self.talk.stats, self.talk.cluster.stats
        self.assertEqual(
            (stats["redis.r.downstream_rq_total"], stats["redis.r.downstream_rq_active"]), (1, 1)
        )
        self.assertEqual((cluster.upstream_rq_total.value, cluster.upstream_rq_active.value), (1, 1))
        link.upstream.dataReceived(b"$2\r\nhi\r\n")
        self.assertEqual(self.talk.got(self.client), b"$2\r\nhi\r\n")
        self.assertEqual(stats["redis.r.downstream_rq_active"], 0)
        self.assertEqual(cluster.upstream_rq_active.value, 0)
        self.assertEqual(stats["redis.r.command.get.total"], 1)
        self.assertEqual(stats["redis.r.command.get.success"], 1)

    def test_again(self) -> None:
        """The next one is done by the same means, whatever it is."""
        for text, reply in (
            ("SET a1 x", b"+OK\r\n"),
            ("GET a1", b"$1\r\nx\r\n"),
            ("GET a1", b"-WRONGTYPE no\r\n"),
        ):
            self.say(command(text))
            (link,) = self.talk.links(1)
            link.upstream.dataReceived(reply)
            self.assertEqual(self.talk.got(self.client), reply)
        self.assertEqual(self.talk.stats["redis.r.command.get.success"], 2)

    def test_several_clients(self) -> None:
        """Replies that come together go each to its own client, in the order in which they asked."""
        others = [self.talk.client() for _ in range(2)]
        for number, client in enumerate([self.client, *others]):
            client.inner.dataReceived(command(f"GET a{number % 2}"))
        self.talk.settle()
        self.talk.links(0)[0].upstream.dataReceived(b"$1\r\na\r\n" + NULL)
        self.talk.links(1)[0].upstream.dataReceived(b":7\r\n")
        self.assertEqual(
            [self.talk.got(each) for each in (self.client, *others)], [b"$1\r\na\r\n", b":7\r\n", NULL]
        )

    def test_in_line(self) -> None:
        """What comes before its reply is there queues behind it."""
        self.say(command("GET a1"))
        self.say(command("PING"))
        self.say(command("GET b1"))
        self.assertEqual(self.talk.got(self.client), b"")
        (link,) = self.talk.links(1)
        link.upstream.dataReceived(b":1\r\n:2\r\n")
        self.assertEqual(self.talk.got(self.client), b":1\r\n+PONG\r\n:2\r\n")

    def test_not_usual(self) -> None:
        """Other commands, and bytes that are no command, are as they always were."""
        for data, reply in (
            (command("PING"), b"+PONG\r\n"),
            (command("ECHO hi"), b"$2\r\nhi\r\n"),
            (command("NOPE a b"), b"-ERR unknown command 'NOPE', with args beginning with: a\r\n"),
            (b"*2\r\n$3\r\nGET\r\n$x\r\na1\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
        ):
            self.say(data)
            self.assertEqual(self.talk.got(self.client), reply)
        self.assertEqual(self.talk.links(), [])

    def test_crlf(self) -> None:
        """A key with CRLF in it is a key."""
        data = encode([b"SET", b"a\r\n1", b"x\r\ny"])
        self.say(data)
        (link,) = self.talk.links(1)
        self.assertEqual(link.received, data)

    def test_host_gone(self) -> None:
        """Once its host is gone, a key belongs to another; a connection that is over is not used."""
        self.say(command("GET a1"))
        (link,) = self.talk.links(1)
        link.upstream.dataReceived(b":1\r\n")
        link.reset()
        self.say(command("GET a1"))
        self.assertEqual(len(self.talk.links(1)), 2)
        self.talk.links(1)[1].upstream.dataReceived(b":2\r\n")
        self.talk.cluster.remove(self.talk.hosts[1])
        self.say(command("GET a1"))
        (other,) = self.talk.links(0)
        self.assertEqual(other.received, command("GET a1"))

    def test_failure(self) -> None:
        """If the connection breaks the client is told, and may go on."""
        self.say(command("GET a1"))
        self.talk.links(1)[0].reset()
        self.assertEqual(self.talk.got(self.client), b"-upstream failure\r\n")
        self.assertEqual(self.talk.stats["redis.r.command.get.error"], 1)
        self.say(command("GET a1"))
        self.talk.links(1)[1].upstream.dataReceived(b":2\r\n")
        self.assertEqual(self.talk.got(self.client), b":2\r\n")
        self.assertEqual(self.talk.cluster.stats.upstream_rq_active.value, 0)

    def test_client_gone(self) -> None:
        """The reply of a client that is gone goes nowhere; the next one gets its own."""
        self.say(command("GET a1"))
        self.client.close()
        other = self.talk.client()
        other.inner.dataReceived(command("GET b1"))
        self.talk.settle()
        self.talk.links(1)[0].upstream.dataReceived(b":1\r\n:2\r\n")
        self.assertEqual(self.talk.got(other), b":2\r\n")
        self.assertEqual(self.talk.stats["redis.r.downstream_rq_active"], 0)

    def test_half_close(self) -> None:
        """A client that has sent its last byte gets its reply, and is closed then."""
        self.say(command("GET a1"))
        self.client.half_close()
        self.talk.links(1)[0].upstream.dataReceived(b":1\r\n")
        self.assertEqual(self.talk.got(self.client), b":1\r\n")
        self.assertTrue(self.client.dropped)

    def test_redirect(self) -> None:
        """It follows MOVED, if that is asked for; what comes after it is usual again."""
        talk = Talk(2, settings={"enable_redirection": True})
        client = talk.client()
        client.inner.table.find(b"GET")
        client.inner.dataReceived(command("GET a0"))
        talk.settle()
        talk.links(0)[0].upstream.dataReceived(b"-MOVED 1 198.51.100.2:6379\r\n")
        talk.settle()
        talk.links(1)[0].upstream.dataReceived(b":1\r\n")
        self.assertEqual(talk.got(client), b":1\r\n")
        client.inner.dataReceived(command("GET a0"))
        talk.settle()
        talk.links(0)[0].upstream.dataReceived(b":2\r\n")
        self.assertEqual(talk.got(client), b":2\r\n")
        self.assertEqual(client.inner.quick.redirects, 0)

    def test_filter_raises(self) -> None:
        """If a filter of a client raises, that one is closed; the connection to the server goes on."""
        outer = BrokenFilter()
        broken = FakeClient(outer, self.talk.build(), terminal=True)
        outer.inner.dataReceived(command("GET a1"))
        self.client.inner.dataReceived(command("GET b1"))
        self.talk.settle()
        self.talk.links(1)[0].upstream.dataReceived(b":1\r\n:2\r\n")
        self.assertEqual(self.talk.got(self.client), b":2\r\n")
        self.assertEqual([failure.type for failure in broken.failures], [ValueError])
        self.assertTrue(broken.wire.closed)

    def test_no_places(self) -> None:
        """Where a key may have another host each time, the cluster is asked each time."""
        self.talk.cluster.places = None
        self.say(command("GET a1"))
        (link,) = self.talk.links(1)
        self.assertNotIsInstance(link.upstream.pending[0], Quick)
        self.talk.cluster.places = 0
        other = self.talk.client()
        other.inner.dataReceived(command("GET b1"))
        self.talk.settle()
        self.assertIsInstance(link.upstream.pending[1], Quick)
