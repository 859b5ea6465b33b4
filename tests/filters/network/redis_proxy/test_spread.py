"""Tests for meshd.filters.network.redis_proxy.spread."""

from twisted.trial.unittest import SynchronousTestCase

from meshd.codec.resp import encode
from tests.filters.network.redis_proxy.talk import Talk


def mget(*keys: str) -> bytes:
    """Return an MGET."""
    return encode([b"MGET", *(key.encode() for key in keys)])


def strings(*values: str | None) -> bytes:
    """Return the reply that has these values."""
    parts = ["$-1\r\n" if each is None else f"${len(each)}\r\n{each}\r\n" for each in values]
    return f"*{len(values)}\r\n{''.join(parts)}".encode()


class SpreadTests(SynchronousTestCase):
    """An MGET whose keys have two hosts."""

    def setUp(self) -> None:
        self.talk = Talk(2)
        self.client = self.talk.client()
        for name in (b"MGET", b"GET"):
            self.client.inner.table.find(name)

    def say(self, *data: bytes) -> None:
        """Let the client send data in one piece."""
        self.client.inner.dataReceived(b"".join(data))
        self.talk.settle()
        self.first, self.second = self.talk.links()

    def test_cut_up(self) -> None:
        """Each host is asked for its own, and the values are in the order of the keys."""
        self.say(mget("a1", "a0", "b1", "c1"))
        self.assertEqual(self.talk.heard(self.first), ["MGET a0"])
        self.assertEqual(self.talk.heard(self.second), ["MGET a1 b1 c1"])
        self.second.upstream.dataReceived(strings("1", None, "3"))
        self.assertEqual(self.talk.got(self.client), b"")
        self.first.upstream.dataReceived(strings("0"))
        self.assertEqual(self.talk.got(self.client), strings("1", "0", None, "3"))
        stats = self.talk.stats
        self.assertEqual(
            (stats["redis.r.downstream_rq_total"], stats["redis.r.downstream_rq_active"]), (1, 0)
        )
        self.assertEqual(stats["redis.r.command.mget.success"], 1)
        cluster = self.talk.cluster.stats
        self.assertEqual((cluster.upstream_rq_total.value, cluster.upstream_rq_active.value), (2, 0))

    def test_one_host(self) -> None:
        """One whose keys are all at one host is asked of that one."""
        self.say(mget("a0", "a1"))
        self.first.upstream.dataReceived(strings("0"))
        self.second.upstream.dataReceived(strings("1"))
        self.talk.got(self.client)
        self.say(mget("a1", "b1", "c1"))
        self.assertEqual(self.talk.heard(self.second)[1:], ["MGET a1 b1 c1"])
        self.second.upstream.dataReceived(strings("1", "2", "3"))
        self.assertEqual(self.talk.got(self.client), strings("1", "2", "3"))

    def test_pipeline(self) -> None:
        """Those of a pipeline go to each host as one, and each has its own reply."""
        self.say(*[mget("a0", "a1"), mget("b1", "b0"), mget("c0", "d0"), mget("c1", "d1")])
        self.assertEqual(self.talk.heard(self.first), ["MGET a0 b0 c0 d0"])
        self.assertEqual(self.talk.heard(self.second), ["MGET a1 b1 c1 d1"])
        self.assertEqual(self.talk.stats["redis.r.downstream_rq_active"], 4)
        self.first.upstream.dataReceived(strings("A", None, "C", "D"))
        self.second.upstream.dataReceived(strings("a", "b", "c", "d"))
        expected = [strings("A", "a"), strings("b", None), strings("C", "D"), strings("c", "d")]
        self.assertEqual(self.talk.got(self.client), b"".join(expected))
        self.assertEqual(self.talk.stats["redis.r.downstream_rq_active"], 0)
        self.assertEqual(self.talk.stats["redis.r.command.mget.success"], 4)
        self.assertEqual(self.client.inner.in_trains, 0)

    def test_of_several_clients(self) -> None:
        """Those of several clients that come in one batch of events go to each host as one."""
        other = self.talk.client()
        other.inner.dataReceived(mget("x0", "x1", "y0"))
        self.say(mget("a1", "a0", "b1"))
        self.assertEqual(self.talk.heard(self.first), ["MGET x0 y0 a0"])
        self.assertEqual(self.talk.heard(self.second), ["MGET x1 a1 b1"])
        self.first.upstream.dataReceived(strings("1", "2", "3"))
        self.second.upstream.dataReceived(strings("4", "5", "6"))
        self.assertEqual(self.talk.got(other), strings("1", "4", "2"))
        self.assertEqual(self.talk.got(self.client), strings("5", "3", "6"))

    def test_order(self) -> None:
        """One that comes after something else is not taken forward."""
        other = self.talk.client()
        other.inner.dataReceived(mget("a0", "a1", "b1"))
        other.inner.dataReceived(encode([b"SET", b"a0", b"x"]))
        self.say(mget("a0", "a1", "b1"))
        self.assertEqual(self.talk.heard(self.first), ["MGET a0", "SET a0 x", "MGET a0"])

    def test_odd_names(self) -> None:
        """Keys that look like RESP are keys."""
        self.say(
            mget("$1", "*0", "MGET1", "$4*0"),
            mget("*5", "MGET", "a$1", "b0"),
            *[mget("a1", "b0", "c1", "d0")] * 2,
        )
        self.assertEqual(self.talk.heard(self.first), ["MGET *0 $4*0 MGET b0 b0 d0 b0 d0"])
        self.assertEqual(self.talk.heard(self.second), ["MGET $1 MGET1 *5 a$1 a1 c1 a1 c1"])

    def test_long_values(self) -> None:
        """Values may be long, and have CRLF in them; the replies may come in any pieces."""
        self.say(mget("a0", "a1", "b0"))
        long = "x" * 3000
        for byte in strings("1\r\n2", long):
            self.first.upstream.dataReceived(bytes([byte]))
        self.second.upstream.dataReceived(strings(long))
        self.assertEqual(self.talk.got(self.client), strings("1\r\n2", long, long))

    def test_error(self) -> None:
        """A host's error stands for each of its values."""
        self.say(mget("a0", "a1", "b0"))
        self.first.upstream.dataReceived(b"-LOADING wait\r\n")
        self.second.upstream.dataReceived(strings("1"))
        self.assertEqual(self.talk.got(self.client), b"*3\r\n-LOADING wait\r\n$1\r\n1\r\n-LOADING wait\r\n")

    def test_error_of_another(self) -> None:
        """If a host refuses what it was asked for several clients, each of them is asked for alone."""
        other = self.talk.client()
        other.inner.dataReceived(mget("secret0", "x1", "y1"))
        self.say(mget("a0", "a1", "b1"))
        self.second.upstream.dataReceived(strings("1", "2", "3", "4"))
        self.first.upstream.dataReceived(b"-NOPERM keys\r\n")
        self.talk.settle()
        self.assertEqual(self.talk.heard(self.first), ["MGET secret0 a0", "MGET secret0", "MGET a0"])
        self.first.upstream.dataReceived(b"-NOPERM keys\r\n" + strings("5"))
        self.assertEqual(self.talk.got(other), b"*3\r\n-NOPERM keys\r\n$1\r\n1\r\n$1\r\n2\r\n")
        self.assertEqual(self.talk.got(self.client), strings("5", "3", "4"))
        # It does not happen twice.
        other.inner.dataReceived(mget("secret0", "x1", "y1"))
        self.say(mget("a0", "a1", "b1"))
        self.assertEqual(self.talk.heard(self.first), ["MGET secret0", "MGET a0"])

    def test_wrong_count(self) -> None:
        """A host that answers with another number of values, or with something else, is not believed."""
        for reply in (strings("1"), b":1\r\n", b"*0\r\n"):
            self.say(mget("a0", "a1", "b0"))
            self.second.upstream.dataReceived(strings("1"))
            self.first.upstream.dataReceived(reply)
            wrong = b"-upstream protocol error\r\n"
            self.assertEqual(self.talk.got(self.client), b"*3\r\n%b$1\r\n1\r\n%b" % (wrong, wrong))

    def test_failure(self) -> None:
        """A connection that breaks costs its own keys; the command counts as failed."""
        self.say(mget("a0", "a1", "b0"))
        self.first.reset()
        self.second.upstream.dataReceived(strings("1"))
        failure = b"-upstream failure\r\n"
        self.assertEqual(self.talk.got(self.client), b"*3\r\n%b$1\r\n1\r\n%b" % (failure, failure))
        self.assertEqual(self.talk.stats["redis.r.command.mget.error"], 1)
        self.assertEqual(self.talk.cluster.stats.upstream_rq_active.value, 0)

    def test_gone(self) -> None:
        """The values of a client that is gone go nowhere."""
        self.say(mget("a0", "a1", "b0"))
        self.client.close()
        self.first.upstream.dataReceived(strings("1", "2"))
        self.second.upstream.dataReceived(strings("3"))
        self.assertEqual(self.talk.got(self.client), b"")
        self.assertEqual(self.talk.stats["redis.r.downstream_rq_active"], 0)
