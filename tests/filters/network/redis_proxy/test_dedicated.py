"""Tests for meshd.filters.network.redis_proxy.dedicated."""

from twisted.trial.unittest import SynchronousTestCase

from tests.filters.network.redis_proxy.talk import Talk


class BlockingTests(SynchronousTestCase):
    """Commands that may wait at the server."""

    def setUp(self) -> None:
        self.talk = Talk()
        self.client = self.talk.client()
        self.talk.say(self.client, "BLPOP k 0", "PING")
        (self.link,) = self.talk.links()

    def test_alone(self) -> None:
        """It has a connection of its own, so that others do not wait, and no op_timeout."""
        other = self.talk.client()
        self.talk.say(other, "GET k")
        shared = self.talk.links()[1]
        self.talk.answer(shared, b":1\r\n")
        self.assertEqual(self.talk.got(other), b":1\r\n")
        self.talk.settle(100)
        self.talk.answer(self.link, b"*2\r\n$1\r\nk\r\n$1\r\nv\r\n")
        self.assertEqual(self.talk.got(self.client), b"*2\r\n$1\r\nk\r\n$1\r\nv\r\n+PONG\r\n")

    def test_used_again(self) -> None:
        """Its connection serves the next one that blocks."""
        self.talk.answer(self.link, b"*-1\r\n")
        self.talk.say(self.talk.client(), "BLMOVE a b LEFT LEFT 1")
        self.assertEqual(self.talk.heard(self.link), ["BLPOP k 0", "BLMOVE a b LEFT LEFT 1"])

    def test_gone(self) -> None:
        """A client that goes takes its connection with it, so that the server gives nothing to nobody."""
        self.client.close()
        self.assertTrue(self.link.wire.closed)
        self.assertEqual(self.talk.stats["redis.r.downstream_rq_active"], 0)

    def test_read_on(self) -> None:
        """A client whose command blocks is read on, so that its end is noticed, up to max_pipeline."""
        self.assertEqual(self.client.paused_by, set())
        talk = Talk(options={"max_pipeline": 3})
        client = talk.client()
        talk.say(client, "BLPOP k 0", "PING", "PING", "PING")
        self.assertEqual(client.paused_by, {"held"})
        talk.answer(talk.links()[0], b"*-1\r\n")
        self.assertEqual(talk.got(client), b"*-1\r\n" + b"+PONG\r\n" * 3)
        self.assertEqual(client.paused_by, set())

    def test_half_closed(self) -> None:
        """So does one that half-closes, as with Redis."""
        self.client.half_close()
        self.assertTrue(self.client.dropped)

    def test_lost(self) -> None:
        """If its connection breaks, it has failed, and the client goes on."""
        self.link.reset()
        self.assertEqual(self.talk.got(self.client), b"-upstream failure\r\n+PONG\r\n")

    def test_not_blocking(self) -> None:
        """XREAD without BLOCK goes over the shared connection."""
        self.talk.say(self.talk.client(), "XREAD STREAMS k 0", "GET k")
        self.assertEqual(self.talk.heard(self.talk.links()[1]), ["XREAD STREAMS k 0", "GET k"])

    def test_apart(self) -> None:
        """Keys of two hosts cannot be waited for together."""
        talk = Talk(2)
        self.assertEqual(talk.say(talk.client(), "BLPOP a0 a1 0")[:10], b"-CROSSSLOT")


class WaitTests(SynchronousTestCase):
    """WAIT."""

    def test_all_hosts(self) -> None:
        """Every host is asked, after what the client wrote is answered; the least counts."""
        talk = Talk(2)
        client = talk.client()
        talk.say(client, "SET a0 x", "WAIT 1 0")
        (shared,) = talk.links()
        self.assertEqual(talk.heard(shared), ["SET a0 x"])
        talk.answer(shared, b"+OK\r\n")
        own = talk.links()[1:]
        own = [link for link in talk.links() if link is not shared]
        for number, link in enumerate(own):
            self.assertEqual(talk.heard(link), ["PING", "WAIT 1 0"])
            talk.answer(link, b"+PONG\r\n:%d\r\n" % (number + 1))
        self.assertEqual(talk.got(client), b"+OK\r\n:1\r\n")
