"""Tests for meshd.filters.network.redis_proxy.watching."""

from twisted.trial.unittest import SynchronousTestCase

from meshd.testing import FakeConnecting
from tests.filters.network.redis_proxy.talk import Talk

MOVED = b"-MOVED 1 198.51.100.1:6379\r\n"
ASK = b"-ASK 1 198.51.100.1:6379\r\n"
ABORTED = b"-EXECABORT Transaction discarded because of previous errors.\r\n"
WHOLE = ("MULTI", "SET a1 x", "EXEC")
NULL = b"*-1\r\n"


class RedirectedTests(SynchronousTestCase):
    """A WATCH at a host that sends it elsewhere, in front of two that redirect."""

    def setUp(self) -> None:
        self.talk = Talk(2, settings={"enable_redirection": True}, options={"protocol_version": "ANY"})
        self.client = self.talk.client()

    def watch(self, *replies: bytes, key: str = "a1") -> bytes:
        """Watch a key of the second host, which answers so; return what the client gets."""
        self.talk.say(self.client, f"WATCH {key}")
        self.talk.answer(self.talk.links(1)[0], *replies)
        return self.talk.got(self.client)

    def named(self) -> FakeConnecting:
        """Return the connection to the host that was named."""
        (link,) = self.talk.links(0)
        return link

    def test_moved(self) -> None:
        """The key is watched where MOVED says, and the transaction goes there."""
        self.assertEqual(self.watch(MOVED), b"")
        named = self.named()
        self.assertEqual(self.talk.heard(named), ["WATCH a1"])
        self.talk.answer(named, b"+OK\r\n")
        self.assertEqual(self.talk.got(self.client), b"+OK\r\n")
        self.talk.say(self.client, *WHOLE)
        self.assertEqual(self.talk.heard(named), [*WHOLE, "UNWATCH"])
        self.talk.got(self.client)
        self.talk.answer(named, b"+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n+OK\r\n")
        self.assertEqual(self.talk.got(self.client), b"*1\r\n+OK\r\n")
        self.assertEqual(self.talk.cluster.stats.upstream_rq_active.value, 0)

    def test_ask(self) -> None:
        """After ASK each WATCH, and the transaction, has ASKING before it."""
        self.watch(ASK)
        named = self.named()
        self.assertEqual(self.talk.heard(named), ["ASKING", "WATCH a1"])
        self.talk.answer(named, b"+OK\r\n+OK\r\n")
        self.talk.say(self.client, "WATCH b1")
        self.assertEqual(self.talk.heard(named), ["ASKING", "WATCH b1"])
        self.talk.answer(named, b"+OK\r\n+OK\r\n")
        self.talk.say(self.client, *WHOLE)
        self.assertEqual(self.talk.heard(named), ["ASKING", *WHOLE, "UNWATCH"])
        self.talk.got(self.client)
        self.talk.answer(named, b"+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n+OK\r\n")
        self.assertEqual(self.talk.got(self.client), b"*1\r\n+OK\r\n")

    def test_given_back(self) -> None:
        """The connection that said MOVED watches nothing: the next one uses it."""
        self.watch(MOVED)
        other = self.talk.client()
        self.talk.say(other, "WATCH b1")
        (first,) = self.talk.links(1)
        self.assertEqual(self.talk.heard(first), ["WATCH a1", "WATCH b1"])

    def test_second_moved(self) -> None:
        """If a key is watched already, another that meets MOVED or ASK makes EXEC answer null."""
        for reply in (MOVED, ASK):
            self.setUp()
            self.watch(b"+OK\r\n")
            self.assertEqual(self.watch(reply, key="b1"), b"+OK\r\n")
            (link,) = self.talk.links()
            self.talk.heard(link)
            self.assertTrue(self.talk.say(self.client, *WHOLE).endswith(NULL))
            self.assertEqual(self.talk.heard(link), ["UNWATCH"])

    def test_transaction_moved(self) -> None:
        """A transaction whose keys are watched follows nothing: EXEC answers null, in either RESP."""
        for reply in (MOVED, ASK):
            for hello, null in (("HELLO 2", NULL), ("HELLO 3", b"_\r\n")):
                self.setUp()
                self.talk.say(self.client, hello)
                greeted = b"%0\r\n" if hello == "HELLO 3" else b""
                self.watch(greeted + b"+OK\r\n")
                self.talk.say(self.client, *WHOLE)
                self.talk.got(self.client)
                (link,) = self.talk.links()
                self.talk.answer(link, b"+OK\r\n" + reply + ABORTED + b"+OK\r\n")
                self.assertEqual(self.talk.got(self.client), null)
                self.assertEqual(self.talk.links(), [link])

    def test_for_ever(self) -> None:
        """Hosts that send it to each other are left in the end; the client is told what the last said."""
        self.talk.say(self.client, "WATCH a1")
        turns, said = 0, b""
        while not said:
            where = turns % 2
            moved = b"-MOVED 1 198.51.100.%d:6379\r\n" % (where + 1)
            self.talk.answer(self.talk.links(1 - where)[0], moved)
            said = self.talk.got(self.client)
            turns += 1
            self.assertLess(turns, 20)
        self.assertEqual((turns, said), (6, moved))

    def test_lost(self) -> None:
        """If the host that is named goes, WATCH has failed; if the client goes, its connection does too."""
        self.watch(MOVED)
        self.named().reset()
        self.assertEqual(self.talk.got(self.client), b"-upstream failure\r\n")
        self.setUp()
        self.watch(MOVED)
        self.client.close()
        self.assertTrue(self.named().wire.closed)


class PlaceTests(SynchronousTestCase):
    """Keys whose place changes, at hosts that do not redirect."""

    def test_hosts_changed(self) -> None:
        """If the watched key belongs to another host by now, EXEC answers null."""
        talk = Talk(2)
        client = talk.client()
        talk.say(client, "WATCH a1")
        (link,) = talk.links()
        talk.answer(link, b"+OK\r\n")
        for pool in talk.shared.pools.values():
            pool._hash = lambda key: 0
            pool._hashes.clear()
        self.assertTrue(talk.say(client, *WHOLE).endswith(NULL))
        self.assertEqual(talk.heard(link), ["WATCH a1", "UNWATCH"])
        self.assertEqual(talk.links(), [link])

    def test_hosts_changed_unwatched(self) -> None:
        """Without WATCH a transaction goes where its keys belong by now."""
        talk = Talk(2)
        client = talk.client()
        talk.say(client, "MULTI", "SET a1 x")
        for pool in talk.shared.pools.values():
            pool._hash = lambda key: 0
            pool._hashes.clear()
        self.assertTrue(talk.say(client, "GET a1", "EXEC").endswith(b"+QUEUED\r\n"))
        self.assertEqual(talk.links(1), [])
        self.assertEqual(talk.heard(talk.links(0)[0]), ["MULTI", "SET a1 x", "GET a1", "EXEC"])
