"""Tests for meshd.filters.network.redis_proxy.retry."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.filters.network.redis_proxy.talk import Talk

FAILURE = b"-upstream failure\r\n"


class RetryTests(SynchronousTestCase):
    """read_retries."""

    def setUp(self) -> None:
        self.talk = Talk(options={"read_retries": 1})
        self.client = self.talk.client()

    def test_read(self) -> None:
        """A read whose connection broke is sent again, and counted."""
        self.talk.say(self.client, "GET a")
        self.talk.links()[0].reset()
        self.talk.settle()
        again = self.talk.links()[1]
        self.assertEqual(self.talk.heard(again), ["GET a"])
        self.talk.answer(again, b":1\r\n")
        self.assertEqual(self.talk.got(self.client), b":1\r\n")
        self.assertEqual(self.talk.stats["redis.r.upstream_rq_retry"], 1)
        self.assertEqual(self.talk.stats["redis.r.upstream_rq_retry_success"], 1)

    def test_write(self) -> None:
        """A write is not: it may have been done."""
        self.talk.say(self.client, "INCR a")
        self.talk.links()[0].reset()
        self.talk.settle()
        self.assertEqual(self.talk.got(self.client), FAILURE)

    def test_once(self) -> None:
        """It is sent as often as allowed."""
        self.talk.say(self.client, "GET a")
        for number in (0, 1):
            self.talk.links()[number].reset()
            self.talk.settle()
        self.assertEqual(self.talk.got(self.client), FAILURE)

    def test_elsewhere(self) -> None:
        """Another host is asked, if any has the key, or none is needed."""
        talk = Talk(3, options={"read_retries": 1})
        talk.cluster.hashing = False
        talk.shared.pools["c"]._hash = None
        talk.say(talk.client(), "GET a")
        (link,) = talk.links()
        # Without its host's being skipped the next one in turn would be that of link again.
        talk.cluster._picks = talk.hosts.index(link.host)  # type: ignore[arg-type]
        link.reset()
        talk.settle()
        _, again = sorted(talk.links(), key=lambda each: each is not link)
        self.assertEqual(talk.heard(again), ["GET a"])
        self.assertIsNot(again.host, link.host)

    def test_replica(self) -> None:
        """In a Redis Cluster the read policy says which; the cluster is told which one failed."""
        talk = Talk(2, options={"read_retries": 1}, settings={"read_policy": "PREFER_MASTER"})
        talk.cluster.redis_slots = True
        told = []

        def pick_read(slot: int, policy: str, failed: Any = None) -> Any:
            told.append((policy, failed))
            return talk.hosts[0 if failed is None else 1]

        talk.cluster.pick_read = pick_read  # type: ignore[attr-defined]
        talk.cluster.note_failure = lambda host: None  # type: ignore[attr-defined]
        client = talk.client()
        talk.say(client, "GET a", "LOLWUT")
        talk.links(0)[0].reset()
        talk.settle()
        self.assertEqual(told, [("PREFER_MASTER", None), ("PREFER_MASTER", talk.hosts[0])])
        self.assertIn("GET a", talk.heard(talk.links(1)[0]))

    def test_of_all(self) -> None:
        """What each host is asked is asked of the same one again: another has other keys."""
        for command, asked in (("DBSIZE", 1), ("SCAN 1", 1), ("SCAN 0", 0)):
            talk = Talk(2, options={"read_retries": 1})
            talk.say(talk.client(), command)
            talk.links(asked)[0].reset()
            talk.settle()
            self.assertEqual(talk.heard(talk.links(asked)[1]), talk.heard(talk.links(asked)[0]))
            self.assertEqual(len(talk.links(1 - asked)), 1 if command == "DBSIZE" else 0)

    def test_late(self) -> None:
        """Nor is a read whose op_timeout is over."""
        self.talk.say(self.client, "GET a")
        self.talk.settle(1.1)
        self.assertEqual(self.talk.got(self.client), FAILURE)
        self.assertEqual(len(self.talk.links()), 1)
