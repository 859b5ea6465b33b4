"""Tests for meshd.filters.network.redis_proxy.reader."""

from datetime import timedelta

from twisted.trial.unittest import SynchronousTestCase

from tests.filters.network.redis_proxy.talk import Talk


class ReaderTests(SynchronousTestCase):
    """Clients that do not read their replies."""

    def test_not_reading(self) -> None:
        """A client that does not read is not read either, and cut after its time."""
        talk = Talk(options={"slow_client_timeout": timedelta(seconds=5)})
        client = talk.client()
        client.wire.full()
        self.assertEqual(client.paused_by, {"stalled"})
        client.wire.drained()
        self.assertEqual(client.paused_by, set())
        client.wire.full()
        talk.settle(5.1)
        self.assertTrue(client.was_reset)
        self.assertEqual(talk.stats["redis.r.downstream_cx_slow_client"], 1)

    def test_too_much_unsent(self) -> None:
        """It is cut at once if there is too much that it does not read."""
        talk = Talk(options={"max_unsent_bytes": 1024})
        client = talk.client()
        talk.say(client, "GET a")
        client.wire.full()
        talk.answer(talk.links()[0], b"$2000\r\n" + bytes(2000) + b"\r\n")
        self.assertTrue(client.was_reset)
