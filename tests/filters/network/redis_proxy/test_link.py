"""Tests for meshd.filters.network.redis_proxy.link."""

from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.filters.network.redis_proxy.talk import Talk

FAILURE = b"-upstream failure\r\n"


class LinkTests(SynchronousTestCase):
    """A connection to a host."""

    def setUp(self) -> None:
        self.talk = Talk()
        self.client = self.talk.client()

    def test_together(self) -> None:
        """What is sent in one batch of events goes out in one piece."""
        talk = self.talk
        talk.say(self.client, "GET a")
        (link,) = talk.links()
        writes: list[bytes] = []
        link.wire.write = writes.append  # type: ignore[method-assign,assignment]
        self.client.inner.dataReceived(b"GET b\r\nGET c\r\n")
        talk.client().inner.dataReceived(b"GET d\r\n")
        self.assertEqual(writes, [])
        talk.settle()
        self.assertEqual(len(writes), 1)
        self.assertEqual(writes[0].count(b"GET"), 3)

    def test_while_connecting(self) -> None:
        """What is asked before the connection stands is sent once it does."""
        self.talk.accepting = False
        self.talk.say(self.client, "GET a", "GET b")
        (link,) = self.talk.links()
        link.accept()
        self.assertEqual(self.talk.heard(link), ["GET a", "GET b"])

    def test_refused(self) -> None:
        """Where there is no connection all who wait are told, in Envoy's words; the next one tries again."""
        self.talk.accepting = False
        self.talk.say(self.client, "GET a", "GET b")
        (link,) = self.talk.links()
        link.refuse()
        link.refused = True  # type: ignore[attr-defined]
        self.assertEqual(self.talk.got(self.client), FAILURE * 2)
        self.assertEqual(self.talk.hosts[0].results, ["connect_failed"])
        self.assertEqual(self.talk.stats["redis.r.command.get.error"], 2)
        self.talk.say(self.client, "GET a")
        self.assertEqual(len(self.talk.links()), 2)

    def test_lost(self) -> None:
        """So they are if the connection breaks; one that nobody waits on breaks in silence."""
        self.talk.say(self.client, "GET a")
        (link,) = self.talk.links()
        link.reset()
        self.assertEqual(self.talk.got(self.client), FAILURE)
        self.assertEqual(self.talk.hosts[0].results, ["reset"])
        self.talk.say(self.client, "GET a")
        second = self.talk.links()[1]
        self.talk.answer(second, b":1\r\n")
        second.close()
        self.assertEqual(self.talk.got(self.client), b":1\r\n")
        self.assertEqual(self.talk.hosts[0].results, ["reset"])

    def test_timeout(self) -> None:
        """A host that does not answer within op_timeout is let go of, with all who wait for it."""
        self.talk.say(self.client, "GET a")
        (link,) = self.talk.links()
        self.talk.settle(0.6)
        self.talk.say(self.client, "GET b")
        self.talk.settle(0.6)
        self.assertEqual(self.talk.got(self.client), FAILURE * 2)
        self.assertTrue(link.wire.reset)
        self.assertEqual(self.talk.hosts[0].results, ["timeout"])
        self.assertEqual(self.talk.stats["cluster.c.upstream_rq_timeout"], 1)

    def test_not_too_early(self) -> None:
        """Time counts from each command: a connection that is used all the time is not let go of."""
        for _ in range(5):
            self.talk.say(self.client, "GET a")
            self.talk.settle(0.6)
            self.talk.answer(self.talk.links()[0], b":1\r\n")
            self.assertEqual(self.talk.got(self.client), b":1\r\n")
        self.assertEqual(len(self.talk.links()), 1)

    def test_rubbish(self) -> None:
        """A host that does not speak RESP, or speaks unasked, is let go of."""
        for rubbish, said in ((b"garbage\r\n", FAILURE), (b":1\r\n:2\r\n", b":1\r\n")):
            self.talk.say(self.client, "GET a")
            self.talk.links()[-1].upstream.dataReceived(rubbish)
            self.assertTrue(self.talk.links()[-1].wire.reset)
            self.talk.settle()
            self.assertEqual(self.talk.got(self.client), said)
        self.assertEqual(self.talk.stats["cluster.c.upstream_cx_protocol_error"], 2)

    def test_raises(self) -> None:
        """What raises while a reply is dealt with is logged; it is not lost without a trace."""
        self.talk.say(self.client, "GET a")
        (link,) = self.talk.links()
        link.upstream.protocol_failed(Failure(RuntimeError("a bug")))
        (logged,) = self.flushLoggedErrors(RuntimeError)
        self.assertEqual(str(logged.value), "a bug")

    def test_errors_of_hosts(self) -> None:
        """An error that a host answers is passed on, and counts as success, as in Envoy."""
        self.talk.say(self.client, "GET a")
        self.talk.answer(self.talk.links()[0], b"-WRONGTYPE x\r\n")
        self.assertEqual(self.talk.got(self.client), b"-WRONGTYPE x\r\n")
        self.assertEqual(self.talk.stats["redis.r.command.get.success"], 1)

    def test_numbers(self) -> None:
        """The cluster's and the host's requests are counted, and none is left in the end."""
        self.talk.say(self.client, "GET a", "GET b")
        stats, host = self.talk.cluster.stats, self.talk.hosts[0]
        self.assertEqual((stats.upstream_rq_total.value, stats.upstream_rq_active.value), (2, 2))
        self.assertEqual((host.rq_total, host.rq_active), (2, 2))
        self.talk.answer(self.talk.links()[0], b":1\r\n")
        self.talk.links()[0].reset()
        self.assertEqual((stats.upstream_rq_active.value, host.rq_active, host.rq_success), (0, 0, 1))


class FlushTests(SynchronousTestCase):
    """max_buffer_size_before_flush."""

    def test_size_and_time(self) -> None:
        """Commands wait until there are enough bytes, or the flush time-out is over."""
        settings = {"max_buffer_size_before_flush": 60, "buffer_flush_timeout": "0.003s"}
        talk = Talk(settings=settings)
        client = talk.client()
        talk.say(client, "GET a")
        (link,) = talk.links()
        talk.heard(link)
        talk.answer(link, b":1\r\n")
        talk.say(client, "GET b")
        self.assertEqual(talk.heard(link), [])
        talk.settle(0.004)
        self.assertEqual(talk.heard(link), ["GET b"])
        talk.say(client, "GET c", "GET d")
        self.assertEqual(talk.heard(link), [])
        talk.say(client, "GET e")
        self.assertEqual(talk.heard(link), ["GET c", "GET d", "GET e"])
