"""Tests for meshd.filters.network.redis_proxy.channels."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.filters.network.redis_proxy.talk import Talk
from tests.filters.network.redis_proxy.test_pubsub import said

ROUTES = {
    "routes": [
        {"prefix": "a:", "cluster": "c", "remove_prefix": True},
        {"prefix": "b:", "cluster": "c", "remove_prefix": True, "key_formatter": "b-%KEY%"},
        {"prefix": "o:", "cluster": "other"},
    ],
    "catch_all_route": {"cluster": "c"},
}


def talk(rewrite: bool = True, **options: Any) -> Talk:
    """Have a redis_proxy with routes that rename."""
    options = {"protocol_version": "ANY", "rewrite_channels": rewrite, **options}
    return Talk(prefix_routes=ROUTES, options=options)


class ChannelTests(SynchronousTestCase):
    """Channels that are called otherwise upstream."""

    def setUp(self) -> None:
        self.talk = talk()
        self.client = self.talk.client()

    def test_renamed(self) -> None:
        """Each client uses its own names; upstream there are others."""
        other = self.talk.client()
        self.talk.say(self.client, "SUBSCRIBE a:x")
        (link,) = self.talk.links()
        self.assertEqual(self.talk.heard(link), ["SUBSCRIBE x"])
        self.talk.answer(link, said(b"subscribe", b"x", 1))
        self.assertEqual(self.talk.got(self.client), said(b"subscribe", b"a:x", 1))
        self.talk.say(other, "HELLO 3", "SUBSCRIBE b:x")
        formatted = self.talk.links()[-1]
        self.assertEqual(self.talk.heard(formatted), ["SUBSCRIBE b-x"])
        self.talk.answer(formatted, said(b"subscribe", b"b-x", 1))
        self.talk.got(other)
        self.talk.answer(link, said(b"message", b"x", b"hi\r\n"), said(b"message", b"x", b"again"))
        self.talk.answer(formatted, said(b"message", b"b-x", b"hi"))
        self.assertEqual(
            self.talk.got(self.client),
            said(b"message", b"a:x", b"hi\r\n") + said(b"message", b"a:x", b"again"),
        )
        self.assertEqual(self.talk.got(other), said(b"message", b"b:x", b"hi", protocol=3))

    def test_apart(self) -> None:
        """Two names for one channel are two subscriptions, each told by its own name."""
        self.talk.say(self.client, "SUBSCRIBE a:x x")
        renamed, plain = self.talk.links()
        self.assertEqual(
            (self.talk.heard(renamed), self.talk.heard(plain)), (["SUBSCRIBE x"], ["SUBSCRIBE x"])
        )
        for link in (renamed, plain):
            self.talk.answer(link, said(b"subscribe", b"x", 1))
        self.talk.got(self.client)
        for link in (renamed, plain):
            self.talk.answer(link, said(b"message", b"x", b"hi"))
        self.assertEqual(
            self.talk.got(self.client), said(b"message", b"a:x", b"hi") + said(b"message", b"x", b"hi")
        )

    def test_leave(self) -> None:
        """Who leaves by its name leaves, and so does who goes."""
        self.talk.say(self.client, "SUBSCRIBE a:x a:y")
        (link,) = self.talk.links()
        self.talk.answer(link, said(b"subscribe", b"x", 1), said(b"subscribe", b"y", 1))
        self.talk.got(self.client)
        self.assertEqual(self.talk.say(self.client, "UNSUBSCRIBE a:x"), said(b"unsubscribe", b"a:x", 1))
        self.client.close()
        self.talk.settle()
        self.assertEqual(self.talk.heard(link)[2:], ["UNSUBSCRIBE x", "UNSUBSCRIBE y"])

    def test_twice(self) -> None:
        """Who subscribes twice is told twice that it has, and each message once."""
        self.talk.say(self.client, "SUBSCRIBE a:x")
        (link,) = self.talk.links()
        self.talk.answer(link, said(b"subscribe", b"x", 1))
        self.talk.say(self.client, "SUBSCRIBE a:x")
        self.talk.answer(link, said(b"message", b"x", b"hi"))
        self.assertEqual(self.talk.got(self.client), said(b"message", b"a:x", b"hi"))

    def test_patterns(self) -> None:
        """A pattern of one route loses its prefix; in what it tells that is put back."""
        self.talk.say(self.client, "PSUBSCRIBE a:n*")
        (link,) = self.talk.links()
        self.assertEqual(self.talk.heard(link), ["PSUBSCRIBE n*"])
        self.talk.answer(link, said(b"psubscribe", b"n*", 1))
        self.assertEqual(self.talk.got(self.client), said(b"psubscribe", b"a:n*", 1))
        self.talk.answer(link, said(b"pmessage", b"n*", b"news", b"hi"))
        self.assertEqual(self.talk.got(self.client), said(b"pmessage", b"a:n*", b"a:news", b"hi"))

    def test_pattern_of_catch_all(self) -> None:
        """A pattern of the catch-all route is subscribed to in its cluster only."""
        self.talk.say(self.client, "PSUBSCRIBE x*")
        (link,) = self.talk.links()
        self.talk.answer(link, said(b"psubscribe", b"x*", 1), said(b"pmessage", b"x*", b"xy", b"hi"))
        self.assertTrue(self.talk.got(self.client).endswith(said(b"pmessage", b"x*", b"xy", b"hi")))

    def test_pattern_of_several(self) -> None:
        """A pattern that may be about several routes, or has a format, is refused."""
        for pattern in ("*", "a*", "[a]:*", "b:*", "a\\:x"):
            said = self.talk.say(self.client, f"PSUBSCRIBE {pattern}", "PING")
            self.assertTrue(said.startswith(b"-ERR The proxy rewrites channels: a pattern"), pattern)
            self.assertTrue(said.endswith(b"+PONG\r\n"))
        self.assertEqual(self.talk.links(), [])

    def test_publish(self) -> None:
        """What is published is renamed, also within a transaction."""
        self.talk.say(self.client, "PUBLISH a:x hi", "SPUBLISH b:x hi", "MULTI", "PUBLISH a:x hi", "EXEC")
        (link,) = self.talk.links()
        said = ["PUBLISH x hi", "SPUBLISH b-x hi", "MULTI", "PUBLISH x hi", "EXEC"]
        self.assertEqual(self.talk.heard(link), said)

    def test_names_told(self) -> None:
        """Commands that tell of channels by name are refused."""
        said = self.talk.say(self.client, "PUBSUB CHANNELS", "PUBSUB NUMSUB a:x")
        self.assertEqual(said.count(b"is not supported by the proxy where it rewrites channels"), 2)
        self.talk.say(self.client, "PUBSUB NUMPAT")
        self.assertEqual(self.talk.heard(self.talk.links()[0]), ["PUBSUB NUMPAT"])


class PlainTests(SynchronousTestCase):
    """Channels without the option."""

    def test_as_they_are(self) -> None:
        """Routes choose the cluster, and change no name, also within a transaction."""
        made = talk(False)
        client = made.client()
        made.say(client, "PUBLISH a:x hi", "MULTI", "PUBLISH a:x hi", "EXEC", "PUBSUB NUMSUB a:x")
        (link,) = made.links()
        said = ["PUBLISH a:x hi", "MULTI", "PUBLISH a:x hi", "EXEC", "PUBSUB NUMSUB a:x"]
        self.assertEqual(made.heard(link), said)
        made.say(made.client(), "SUBSCRIBE a:x")
        self.assertEqual(made.heard(made.links()[-1]), ["SUBSCRIBE a:x"])

    def test_invalidate(self) -> None:
        """The channel of invalidations needs no route."""
        made = Talk(prefix_routes={"routes": [{"prefix": "a:", "cluster": "c"}]})
        client = made.client()
        ack = said(b"subscribe", b"__redis__:invalidate", 1)
        self.assertEqual(made.say(client, "SUBSCRIBE __redis__:invalidate"), ack)
        self.assertEqual(made.say(client, "UNSUBSCRIBE"), said(b"unsubscribe", b"__redis__:invalidate", 0))
        self.assertEqual(made.say(client, "SUBSCRIBE x"), b"-no upstream host\r\n")
