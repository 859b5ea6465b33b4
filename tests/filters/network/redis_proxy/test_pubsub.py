"""Tests for meshd.filters.network.redis_proxy.pubsub."""

from twisted.trial.unittest import SynchronousTestCase

from meshd.codec.resp_reply import Push, encode
from tests.filters.network.redis_proxy.talk import Talk


def said(*words: bytes | int | None, protocol: int = 2) -> bytes:
    """Return what a server says to a subscriber."""
    return encode(Push(words), protocol)


class SubscribeTests(SynchronousTestCase):
    """Channels of one host."""

    def setUp(self) -> None:
        self.talk = Talk(2, options={"protocol_version": "ANY"})
        self.client = self.talk.client()
        self.talk.say(self.client, "SUBSCRIBE a1 b1")
        (self.link,) = self.talk.links()
        self.acks = said(b"subscribe", b"a1", 1) + said(b"subscribe", b"b1", 2)

    def stand(self) -> None:
        """Let the host acknowledge."""
        self.talk.answer(self.link, self.acks)
        self.assertEqual(self.talk.got(self.client), self.acks)

    def test_acknowledged(self) -> None:
        """A client is told once the host has said so: what is published after that it gets."""
        self.assertEqual(self.talk.heard(self.link), ["SUBSCRIBE a1", "SUBSCRIBE b1"])
        self.assertEqual(self.talk.got(self.client), b"")
        self.stand()
        message = said(b"message", b"a1", b"hi")
        self.talk.answer(self.link, message)
        self.assertEqual(self.talk.got(self.client), message)

    def test_shared(self) -> None:
        """A second client needs no more of the host, and each message goes to both; RESP3 has pushes."""
        self.stand()
        self.talk.heard(self.link)
        other = self.talk.client()
        ack = said(b"subscribe", b"a1", 1, protocol=3)
        self.assertTrue(self.talk.say(other, "HELLO 3", "SUBSCRIBE a1").endswith(ack))
        self.assertEqual(self.talk.heard(self.link), [])
        self.talk.answer(self.link, said(b"message", b"a1", b"hi"))
        self.assertEqual(self.talk.got(self.client), said(b"message", b"a1", b"hi"))
        self.assertEqual(self.talk.got(other), said(b"message", b"a1", b"hi", protocol=3))
        self.assertEqual(self.talk.stats["redis.r.subscribers"], 2)

    def test_context(self) -> None:
        """A subscriber of RESP2 may do little else, as with Redis; once it has left all, everything."""
        self.stand()
        self.assertIn(b"-ERR Can't execute 'get': only", self.talk.say(self.client, "GET a"))
        self.assertEqual(
            self.talk.say(self.client, "PING", "PING x"), said(b"pong", b"") + said(b"pong", b"x")
        )
        left = said(b"unsubscribe", b"a1", 1) + said(b"unsubscribe", b"b1", 0)
        self.assertEqual(self.talk.say(self.client, "UNSUBSCRIBE"), left)
        self.talk.settle()
        self.assertEqual(self.talk.heard(self.link)[2:], ["UNSUBSCRIBE a1", "UNSUBSCRIBE b1"])
        self.assertEqual(self.talk.say(self.client, "PING"), b"+PONG\r\n")
        self.assertEqual(self.talk.say(self.client, "UNSUBSCRIBE"), said(b"unsubscribe", None, 0))

    def test_host_gone(self) -> None:
        """Subscribers of a host that is gone are cut: they have to know that they may miss something."""
        self.stand()
        self.link.close()
        self.assertTrue(self.client.dropped)

    def test_client_gone(self) -> None:
        """The last client that goes ends the subscription, and later the connection."""
        self.stand()
        self.client.close()
        self.talk.settle()
        self.assertEqual(self.talk.heard(self.link)[2:], ["UNSUBSCRIBE a1", "UNSUBSCRIBE b1"])
        self.talk.settle(1.1)
        self.assertTrue(self.link.wire.closed)
        self.assertEqual(self.talk.stats["redis.r.subscribers"], 0)

    def test_refused(self) -> None:
        """If there is no host, the client is told so."""
        self.talk.hosts[0].healthy = self.talk.hosts[1].healthy = False
        self.assertEqual(
            self.talk.say(self.talk.client(), "SUBSCRIBE x", "PING"), b"-no upstream host\r\n+PONG\r\n"
        )


class PatternTests(SynchronousTestCase):
    """Patterns, shard channels, and publishing."""

    def test_everywhere(self) -> None:
        """A pattern is subscribed to at every host."""
        talk = Talk(2)
        client = talk.client()
        talk.say(client, "PSUBSCRIBE *")
        first, second = talk.links()
        talk.answer(first, said(b"psubscribe", b"*", 1))
        self.assertEqual(talk.got(client), b"")
        talk.answer(second, said(b"psubscribe", b"*", 1))
        self.assertEqual(talk.got(client), said(b"psubscribe", b"*", 1))
        message = said(b"pmessage", b"*", b"x", b"hi")
        talk.answer(second, message)
        self.assertEqual(talk.got(client), message)

    def test_shards(self) -> None:
        """Shard channels are counted apart."""
        talk = Talk()
        client = talk.client()
        talk.say(client, "SSUBSCRIBE a", "SUBSCRIBE b")
        (link,) = talk.links()
        talk.answer(link, said(b"ssubscribe", b"a", 1))
        talk.answer(link, said(b"subscribe", b"b", 1))
        self.assertEqual(talk.got(client), said(b"ssubscribe", b"a", 1) + said(b"subscribe", b"b", 1))

    def test_publish(self) -> None:
        """A message is published at the host of its channel."""
        talk = Talk(2)
        talk.say(talk.client(), "PUBLISH a1 hi", "SPUBLISH b1 hi")
        self.assertEqual(talk.heard(talk.links(1)[0]), ["PUBLISH a1 hi", "SPUBLISH b1 hi"])

    def test_moved(self) -> None:
        """When a channel belongs to another host, it is subscribed to there."""
        talk = Talk(2)
        client = talk.client()
        talk.say(client, "SUBSCRIBE a1")
        talk.answer(talk.links()[0], said(b"subscribe", b"a1", 1))
        talk.cluster.hosts.reverse()
        talk.settle(1.1)
        talk.settle()
        self.assertEqual(talk.heard(talk.links(0)[0]), ["SUBSCRIBE a1"])
        self.assertEqual(talk.heard(talk.links(1)[0])[1:], ["UNSUBSCRIBE a1"])
        self.assertFalse(client.dropped)
