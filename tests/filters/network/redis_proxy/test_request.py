"""Tests for meshd.filters.network.redis_proxy.request."""

from twisted.trial.unittest import SynchronousTestCase

from tests.filters.network.redis_proxy.talk import Talk


class StatsTests(SynchronousTestCase):
    """What is counted of a command."""

    def test_success(self) -> None:
        """A command that is answered has a total, a success and a latency in ms."""
        talk = Talk()
        client = talk.client()
        talk.say(client, "GET a")
        talk.settle(0.25)
        talk.answer(talk.links()[0], b":1\r\n")
        name = "redis.r.command.get"
        self.assertEqual([talk.stats[f"{name}.{each}"] for each in ("total", "success", "error")], [1, 1, 0])
        self.assertEqual([round(each) for each in talk.stats.histograms[f"{name}.latency"].values], [250])

    def test_microseconds(self) -> None:
        """The latency is in us if the config says so."""
        talk = Talk(latency_in_micros=True)
        talk.say(talk.client(), "GET a")
        talk.settle(0.25)
        talk.answer(talk.links()[0], b":1\r\n")
        values = talk.stats.histograms["redis.r.command.get.latency"].values
        self.assertEqual([round(each, -3) for each in values], [250_000])

    def test_gathered(self) -> None:
        """A command that several hosts answer counts once, as an error if one of them failed."""
        talk = Talk(2)
        client = talk.client()
        for _ in range(2):
            talk.say(client, "MGET a0 a1")
        for link in talk.links():
            talk.answer(link, b"*1\r\n:1\r\n")
        talk.links()[0].reset()
        talk.answer(talk.links()[1], b"*1\r\n:1\r\n")
        name = "redis.r.command.mget"
        self.assertEqual([talk.stats[f"{name}.{each}"] for each in ("total", "success", "error")], [2, 1, 1])
