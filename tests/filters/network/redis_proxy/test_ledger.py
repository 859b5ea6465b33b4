"""Tests for meshd.filters.network.redis_proxy.ledger."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from meshd.filters.network.redis_proxy.ledger import Ledger, look_at, look_away
from meshd.filters.network.redis_proxy.request import Slot
from tests.filters.network.redis_proxy.talk import Talk


class LedgerTests(SynchronousTestCase):
    """The queue of a client whose commands are looked at."""

    def setUp(self) -> None:
        self.talk = Talk()
        self.fake = self.talk.client()
        self.client: Any = self.fake.inner
        self.seen: list[Slot] = []

    def look(self, slot: Slot) -> Slot:
        """Remember a slot."""
        self.seen.append(slot)
        return slot

    def test_each(self) -> None:
        """Each command is looked at, also those that come many at a time; all are answered in order."""
        look_at(self.client, self.look)
        gets = ["GET a"] * 10
        self.fake.send(b"GET a\r\n" * 10)
        self.talk.settle()
        (link,) = self.talk.links()
        self.assertEqual(self.talk.heard(link), gets)
        self.talk.answer(link, *(b":%d\r\n" % number for number in range(10)))
        self.assertEqual(self.talk.got(self.fake), b"".join(b":%d\r\n" % number for number in range(10)))
        self.assertEqual(len(self.seen), 10)

    def test_replaced(self) -> None:
        """What a look returns stands in the queue instead."""
        look_at(self.client, lambda slot: Slot(b"+other\r\n"))
        self.assertEqual(self.talk.say(self.fake, "PING"), b"+other\r\n")

    def test_away(self) -> None:
        """Once nobody looks the queue is a plain one, with all that was in it, even in mid-look."""

        def once(slot: Slot) -> Slot:
            look_away(self.client, once)
            return slot

        self.talk.say(self.fake, "GET a")
        look_at(self.client, once)
        self.assertIsInstance(self.client.queue, Ledger)
        self.talk.say(self.fake, "PING", "PING")
        self.assertNotIsInstance(self.client.queue, Ledger)
        self.talk.answer(self.talk.links()[0], b":1\r\n")
        self.assertEqual(self.talk.got(self.fake), b":1\r\n+PONG\r\n+PONG\r\n")

    def test_order(self) -> None:
        """Who came last looks first."""
        order: list[str] = []

        def named(name: str) -> Any:
            def look(slot: Slot) -> Slot:
                order.append(name)
                return slot

            return look

        for name in ("first", "second"):
            look_at(self.client, named(name))
        self.talk.say(self.fake, "PING")
        self.assertEqual(order, ["second", "first"])
