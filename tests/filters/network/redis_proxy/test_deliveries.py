"""Tests for meshd.filters.network.redis_proxy.deliveries."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from meshd.filter import NetworkFilter, link
from meshd.filters.network.redis_proxy import deliveries
from meshd.testing import FakeClient
from tests.filters.network.redis_proxy.talk import Talk
from tests.filters.network.redis_proxy.test_pubsub import said


class CountingFilter(NetworkFilter):
    """Counts the writes that pass it; raises at one, if it is told to."""

    writes = 0
    broken = False

    def write(self, data: bytes) -> None:
        self.writes += 1
        if self.broken:
            raise ValueError("broken")
        self.transport.write(data)


class DeliveriesTests(SynchronousTestCase):
    """Two clients that have subscribed to a and b, and the server that sends them messages."""

    def setUp(self) -> None:
        self.talk = Talk(options={"protocol_version": "ANY"})
        self.first, self.second = self.talk.client(), self.talk.client()
        self.talk.say(self.second, "HELLO 3")
        self.talk.say(self.first, "SUBSCRIBE a b")
        self.talk.say(self.second, "SUBSCRIBE a b")
        (self.link,) = self.talk.links()
        self.talk.answer(self.link, said(b"subscribe", b"a", 1), said(b"subscribe", b"b", 2))
        self.filters = [self.counted(client) for client in (self.first, self.second)]
        self.forget()

    def counted(self, client: FakeClient) -> CountingFilter:
        """Put a filter that counts writes in front of a client."""
        filter = CountingFilter()
        filter.connection = client
        link(client, filter, client.inner)
        return filter

    def forget(self) -> None:
        """Forget what the clients have got so far."""
        for client in (self.first, self.second):
            self.talk.got(client)

    def send(self, *messages: tuple[bytes, bytes]) -> None:
        """Let the server send messages, of channel and text, at once."""
        self.link.send(b"".join(said(b"message", *each) for each in messages))

    def expect(self, *messages: tuple[bytes, bytes], writes: int = 1) -> None:
        """Check that each client got these, in so many writes."""
        for client, filter, protocol in zip((self.first, self.second), self.filters, (2, 3), strict=True):
            whole = b"".join(said(b"message", *each, protocol=protocol) for each in messages)
            self.assertEqual(self.talk.got(client), whole)
            self.assertEqual(filter.writes, writes)

    def test_together(self) -> None:
        """What comes for a channel in one batch of events is one write for each client."""
        messages = [(b"a", b"one"), (b"a", b"two"), (b"a", b"three")]
        self.send(*messages)
        self.expect(writes=0)
        self.talk.settle()
        self.expect(*messages)

    def test_channels(self) -> None:
        """So is what comes for several, in the order in which it was published."""
        messages = [(b"a", b"one"), (b"b", b"two"), (b"a", b"three")]
        self.send(*messages)
        self.talk.settle()
        self.expect(*messages)

    def test_much(self) -> None:
        """Much does not wait to be more."""
        text = b"x" * (deliveries._MOST // 2)
        self.send((b"a", text), (b"a", text))
        self.expect((b"a", text), (b"a", text))
        self.talk.settle()
        self.expect()

    def test_left(self) -> None:
        """A client that leaves a channel has got what had come for it before that is acknowledged."""
        self.send((b"a", b"one"))
        got = self.talk.say(self.first, "UNSUBSCRIBE a")
        self.assertEqual(got, said(b"message", b"a", b"one") + said(b"unsubscribe", b"a", 1))

    def test_joined(self) -> None:
        """A client that joins gets nothing of what had come before."""
        third = self.talk.client()
        self.send((b"a", b"one"))
        self.assertEqual(self.talk.say(third, "SUBSCRIBE a"), said(b"subscribe", b"a", 1))
        self.expect((b"a", b"one"))

    def test_lost(self) -> None:
        """When the server is lost, what it had sent is passed on before the clients are cut."""
        self.send((b"a", b"one"))
        self.link.close()
        self.expect((b"a", b"one"))
        self.assertTrue(self.first.wire.closed and self.second.wire.closed)

    def test_gone(self) -> None:
        """A client that goes meanwhile does not keep the other from its messages."""
        self.send((b"a", b"one"))
        self.first.close()
        self.talk.settle()
        self.assertEqual(self.talk.got(self.second), said(b"message", b"a", b"one", protocol=3))

    def test_raises(self) -> None:
        """If a filter of one client raises, that one is closed; the other has its message all the same."""
        self.filters[0].broken = True
        self.send((b"a", b"one"))
        self.talk.settle()
        self.assertEqual([failure.type for failure in self.first.failures], [ValueError])
        self.assertTrue(self.first.wire.closed)
        self.assertEqual(self.talk.got(self.second), said(b"message", b"a", b"one", protocol=3))
