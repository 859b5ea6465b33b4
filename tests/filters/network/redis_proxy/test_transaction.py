"""Tests for meshd.filters.network.redis_proxy.transaction."""

from twisted.trial.unittest import SynchronousTestCase

from tests.filters.network.redis_proxy.talk import Talk

ABORTED = b"-EXECABORT Transaction discarded because of previous errors.\r\n"


class MultiTests(SynchronousTestCase):
    """MULTI, without WATCH."""

    def setUp(self) -> None:
        self.talk = Talk(2)
        self.client = self.talk.client()

    def test_in_one_piece(self) -> None:
        """A transaction is sent in one piece, to the host of its keys; the client gets EXEC's answer."""
        talk = self.talk
        said = talk.say(self.client, "MULTI", "SET a1 x", "GET b1")
        self.assertEqual((said, talk.links()), (b"+OK\r\n+QUEUED\r\n+QUEUED\r\n", []))
        talk.say(self.client, "EXEC")
        (link,) = talk.links(1)
        self.assertEqual(talk.heard(link), ["MULTI", "SET a1 x", "GET b1", "EXEC"])
        talk.say(talk.client(), "GET a1")
        talk.answer(link, b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n$1\r\ny\r\n", b":5\r\n")
        self.assertEqual(talk.got(self.client), b"*2\r\n+OK\r\n$1\r\ny\r\n")
        self.assertEqual(talk.cluster.stats.upstream_rq_active.value, 0)

    def test_apart(self) -> None:
        """Keys of another host cannot be part of it."""
        said = self.talk.say(self.client, "MULTI", "SET a1 x", "SET a0 y", "EXEC")
        crossslot = b"-CROSSSLOT Keys in request don't hash to the same slot\r\n"
        self.assertEqual(said, b"+OK\r\n+QUEUED\r\n" + crossslot + ABORTED)
        self.assertEqual(self.talk.links(), [])

    def test_split_commands(self) -> None:
        """MGET is one command in it."""
        self.talk.say(self.client, "MULTI", "MGET a1 b1", "EXEC")
        self.assertEqual(self.talk.heard(self.talk.links()[0]), ["MULTI", "MGET a1 b1", "EXEC"])

    def test_states(self) -> None:
        """What is said at the wrong time is refused, in Envoy's words."""
        say = self.talk.say
        self.assertEqual(
            say(self.client, "EXEC", "DISCARD"), b"-EXEC without MULTI\r\n-DISCARD without MULTI\r\n"
        )
        self.assertEqual(say(self.client, "MULTI", "MULTI"), b"+OK\r\n-MULTI calls can not be nested\r\n")
        self.assertEqual(say(self.client, "WATCH a"), b"-ERR WATCH inside MULTI is not allowed\r\n")
        self.assertEqual(say(self.client, "PING", "EXEC"), b"+PONG\r\n*0\r\n")
        self.assertEqual(say(self.client, "MULTI", "SET a x", "DISCARD", "EXEC"),
                         b"+OK\r\n+QUEUED\r\n+OK\r\n-EXEC without MULTI\r\n")  # fmt: skip
        self.assertEqual(say(self.client, "WATCH"), b"-wrong number of arguments for 'WATCH' command\r\n")

    def test_spoilt(self) -> None:
        """After a command that cannot be queued nothing is done."""
        for command in ("KEYS *", "GET", "FOO", "SUBSCRIBE x", "EVAL x"):
            said = self.talk.say(self.talk.client(), "MULTI", command, "SET a x", "EXEC")
            self.assertEqual(said[-len(ABORTED) :], ABORTED, command)
        self.assertEqual(self.talk.links(), [])

    def test_failure(self) -> None:
        """If the host goes, EXEC has failed."""
        self.talk.say(self.client, "MULTI", "SET a1 x", "EXEC")
        link = self.talk.links()[0]
        self.talk.answer(link, b"+OK\r\n")
        link.reset()
        self.assertTrue(self.talk.got(self.client).endswith(b"-upstream failure\r\n"))
        self.assertEqual(self.talk.cluster.stats.upstream_rq_active.value, 0)


class MovedTests(SynchronousTestCase):
    """A transaction that meets MOVED."""

    MOVED = b"-MOVED 1 198.51.100.1:6379\r\n"
    WHOLE = ("MULTI", "SET a1 x", "GET b1", "EXEC")

    def setUp(self) -> None:
        self.talk = Talk(2, settings={"enable_redirection": True})
        self.client = self.talk.client()

    def begin(self) -> None:
        """Send a transaction to the second host."""
        self.talk.say(self.client, *self.WHOLE)
        self.talk.got(self.client)
        self.assertEqual(self.talk.heard(self.talk.links(1)[0]), list(self.WHOLE))

    def test_followed(self) -> None:
        """All of it goes to the host that is named, wherever in it MOVED is said; that of EXEC counts too."""
        talk = self.talk
        for replies in (
            b"+OK\r\n" + self.MOVED * 2 + ABORTED,
            b"+OK\r\n+QUEUED\r\n" + self.MOVED + ABORTED,
            b"+OK\r\n+QUEUED\r\n+QUEUED\r\n" + self.MOVED,
        ):
            talk.say(self.client, *self.WHOLE[:3])
            talk.got(self.client)
            talk.say(self.client, "EXEC", "PING")
            talk.answer(talk.links(1)[0], replies)
            (named,) = talk.links(0)
            self.assertEqual(talk.heard(named), list(self.WHOLE))
            self.assertEqual(talk.got(self.client), b"")
            talk.answer(named, b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n$1\r\ny\r\n")
            self.assertEqual(talk.got(self.client), b"*2\r\n+OK\r\n$1\r\ny\r\n+PONG\r\n")
        self.assertEqual(talk.cluster.stats.upstream_rq_active.value, 0)

    def test_for_ever(self) -> None:
        """Hosts that send it to each other are left in the end."""
        talk = self.talk
        self.begin()
        turns = 0
        while not talk.got(self.client).endswith(ABORTED):
            moved = b"-MOVED 1 198.51.100.%d:6379\r\n" % (turns % 2 + 1)
            talk.answer(talk.links(1 - turns % 2)[0], b"+OK\r\n" + moved * 2 + ABORTED)
            turns += 1
            self.assertLess(turns, 20)
        self.assertEqual(turns, 6)
        self.assertEqual(talk.cluster.stats.upstream_rq_active.value, 0)

    def test_lost(self) -> None:
        """If the host that is named goes, EXEC has failed, once."""
        self.begin()
        self.talk.answer(self.talk.links(1)[0], b"+OK\r\n" + self.MOVED * 2 + ABORTED)
        self.talk.links(0)[0].reset()
        self.assertEqual(self.talk.got(self.client), b"-upstream failure\r\n")

    def test_not_followed(self) -> None:
        """Unless redirection is enabled the client gets what EXEC answered."""
        self.talk = Talk(2)
        self.client = self.talk.client()
        self.begin()
        self.talk.answer(self.talk.links(1)[0], b"+OK\r\n" + self.MOVED * 2 + ABORTED)
        self.assertEqual(self.talk.got(self.client), ABORTED)

    def test_ask(self) -> None:
        """ASK is followed in the same way, with ASKING before MULTI: it counts until EXEC."""
        self.begin()
        ask = b"-ASK 1 198.51.100.1:6379\r\n"
        self.talk.answer(self.talk.links(1)[0], b"+OK\r\n" + ask * 2 + ABORTED)
        (named,) = self.talk.links(0)
        self.assertEqual(self.talk.heard(named), ["ASKING", *self.WHOLE])
        self.talk.answer(named, b"+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n$1\r\ny\r\n")
        self.assertEqual(self.talk.got(self.client), b"*2\r\n+OK\r\n$1\r\ny\r\n")
        self.assertEqual(self.talk.cluster.stats.upstream_rq_active.value, 0)

    def test_try_again(self) -> None:
        """If its keys lie in two places while their slot moves, EXEC says to try again."""
        self.begin()
        again = b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n"
        self.talk.answer(self.talk.links(1)[0], b"+OK\r\n+QUEUED\r\n" + again + ABORTED)
        self.assertEqual(self.talk.got(self.client), again)


class WatchTests(SynchronousTestCase):
    """WATCH takes a connection of the client's own."""

    def setUp(self) -> None:
        self.talk = Talk()
        self.client = self.talk.client()
        self.talk.say(self.client, "WATCH k")
        (self.link,) = self.talk.links()
        self.talk.answer(self.link, b"+OK\r\n")
        self.assertEqual(self.talk.got(self.client), b"+OK\r\n")

    def test_exec(self) -> None:
        """The transaction goes over it, and it is given back after."""
        self.talk.say(self.client, "GET k")
        shared = self.talk.links()[1]
        self.assertEqual(self.talk.heard(shared), ["GET k"])
        self.talk.say(self.client, "MULTI", "SET k v", "EXEC", "PING")
        self.assertEqual(self.talk.heard(self.link), ["WATCH k"])
        self.talk.answer(shared, b"$-1\r\n")
        self.assertEqual(self.talk.heard(self.link), ["MULTI", "SET k v", "EXEC", "UNWATCH"])
        self.talk.answer(self.link, b"+OK\r\n+QUEUED\r\n*-1\r\n+OK\r\n")
        self.assertEqual(self.talk.got(self.client), b"$-1\r\n+OK\r\n+QUEUED\r\n*-1\r\n+PONG\r\n")
        other = self.talk.client()
        self.talk.say(other, "WATCH j")
        self.assertEqual(self.talk.heard(self.link), ["WATCH j"])

    def test_unwatch(self) -> None:
        """UNWATCH and DISCARD let the server forget."""
        for commands in (["UNWATCH"], ["MULTI", "DISCARD"]):
            self.talk.say(self.client, *commands)
            self.talk.heard(self.link)
            self.talk.answer(self.link, b"+OK\r\n")
            self.talk.say(self.client, "WATCH k")
            self.talk.answer(self.link, b"+OK\r\n")
            self.assertEqual(self.talk.heard(self.link), ["WATCH k"])

    def test_lost(self) -> None:
        """If the connection breaks nobody knows whether the key has changed: EXEC fails."""
        self.link.reset()
        said = self.talk.say(self.client, "MULTI", "SET k v", "EXEC")
        self.assertTrue(said.endswith(b"-upstream failure\r\n"))

    def test_gone(self) -> None:
        """With the client the connection ends, and the server forgets."""
        self.client.close()
        self.assertTrue(self.link.wire.closed)
