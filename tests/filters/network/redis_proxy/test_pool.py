"""Tests for meshd.filters.network.redis_proxy.pool."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from meshd.interfaces import Overflow, UpstreamError
from meshd.upstream.protocol_options import RedisLogins
from tests.filters.network.redis_proxy.talk import Talk

FAILURE = b"-upstream failure\r\n"


class HashTests(SynchronousTestCase):
    """What the host of a key is picked by."""

    def pool(self, **settings: Any) -> Any:
        """Return the pool of the cluster c, which hashes and has two hosts."""
        talk = Talk(2, settings=settings)
        pool = talk.shared.pools["c"]
        pool._choose_hash(talk.cluster)
        return pool

    def test_envoy(self) -> None:
        """It is Envoy's: MurmurHash2-64A of the key, or of its tag if tags are enabled."""
        self.assertEqual(self.pool().hash(b"hello"), 2762169579135187400)
        self.assertNotEqual(self.pool().hash(b"{hello}x"), 2762169579135187400)
        self.assertEqual(self.pool(enable_hashtagging=True).hash(b"a{hello}x"), 2762169579135187400)
        self.assertNotEqual(self.pool(enable_hashtagging=True).hash(b"a{}hello"), 2762169579135187400)

    def test_slots(self) -> None:
        """Of a Redis Cluster it is the slot."""
        talk = Talk(2)
        talk.cluster.redis_slots = True
        pool = talk.shared.pools["c"]
        pool._choose_hash(talk.cluster)
        self.assertEqual(pool.hash(b"foo"), 12182)
        self.assertEqual(pool.hash(b"{foo}bar"), 12182)


class HostsTests(SynchronousTestCase):
    """Hosts that come, go, and cannot be had."""

    def test_none(self) -> None:
        """Without a host the client is told so, in Envoy's words."""
        talk = Talk()
        talk.hosts[0].healthy = False
        self.assertEqual(talk.say(talk.client(), "GET a", "MGET a b"), b"-no upstream host\r\n" * 2)

    def test_no_cluster(self) -> None:
        """So it is when the cluster itself is gone."""
        talk = Talk()
        del talk.context.clusters["c"]
        self.assertEqual(talk.say(talk.client(), "GET a", "KEYS *"), b"-no upstream host\r\n" * 2)

    def test_overflow(self) -> None:
        """A circuit breaker that lets no connection be made is an upstream failure."""
        talk = Talk()
        talk.cluster.error = Overflow("c")
        self.assertEqual(talk.say(talk.client(), "GET a"), FAILURE)

    def test_removed(self) -> None:
        """The connection to a host that is removed ends once its commands are answered."""
        talk = Talk(2)
        client = talk.client()
        talk.say(client, "GET a1")
        (link,) = talk.links()
        talk.cluster.remove(talk.hosts[1])
        self.assertFalse(link.wire.closed)
        talk.answer(link, b":1\r\n")
        self.assertEqual(talk.got(client), b":1\r\n")
        self.assertTrue(link.wire.closed)
        self.assertEqual(talk.stats["cluster.c.redis_cluster.upstream_cx_drained"], 1)

    def test_rate_limit(self) -> None:
        """New connections to a host are made as often as connection_rate_limit allows."""
        talk = Talk(settings={"connection_rate_limit": {"connection_rate_limit_per_sec": 1}})
        client = talk.client()
        talk.say(client, "GET a")
        talk.links()[0].reset()
        self.assertEqual(talk.say(client, "GET a"), FAILURE * 2)
        self.assertEqual(talk.stats["cluster.c.redis_cluster.connection_rate_limited"], 1)
        talk.settle(1.1)
        talk.say(client, "GET a")
        self.assertEqual(len(talk.links()), 2)

    def test_max_requests(self) -> None:
        """max_requests, if the cluster sets it, limits the commands that are unanswered."""
        talk = Talk()
        threshold = talk.cluster.config.circuit_breakers.thresholds.add()
        threshold.max_requests.value = 2
        talk.cluster.limits.requests.limit = 2
        talk.shared.pools["c"].cluster = None
        client = talk.client()
        talk.say(client, "GET a", "GET b", "GET c")
        talk.answer(talk.links()[0], b":1\r\n:2\r\n")
        self.assertEqual(talk.got(client), b":1\r\n:2\r\n" + FAILURE)
        self.assertEqual(talk.stats["cluster.c.upstream_rq_active_overflow"], 1)


class LoginTests(SynchronousTestCase):
    """What the cluster's protocol options say of logging on."""

    def talk(self, logins: RedisLogins, **more: Any) -> Talk:
        """Return a conversation whose cluster has these logins."""
        talk = Talk(2, **more)
        talk.cluster.redis_logins = logins
        return talk

    def test_all(self) -> None:
        """AUTH is the first thing that a host hears; an answer to it is nobody's reply."""
        talk = self.talk(RedisLogins((b"", b"pw")))
        client = talk.client()
        talk.say(client, "GET a0")
        (link,) = talk.links()
        self.assertEqual(talk.heard(link), ["AUTH pw", "GET a0"])
        talk.answer(link, b"+OK\r\n:1\r\n")
        self.assertEqual(talk.got(client), b":1\r\n")
        self.assertEqual(talk.cluster.stats.upstream_rq_active.value, 0)

    def test_of_address(self) -> None:
        """A host of its own address has its own name and password, in a Redis Cluster too."""
        talk = self.talk(RedisLogins((b"", b"pw"), {("198.51.100.2", 6379): (b"joe", b"other")}))
        talk.cluster.redis_slots = True
        talk.say(talk.client(), "GET a0", "GET a1")
        self.assertEqual([talk.heard(link)[0] for link in talk.links()], ["AUTH pw", "AUTH joe other"])

    def test_resp3(self) -> None:
        """With RESP3 HELLO has them, and a name always."""
        for name, said in ((b"", "default"), (b"joe", "joe")):
            talk = self.talk(RedisLogins((name, b"pw")), options={"protocol_version": "ANY"})
            talk.say(talk.client(), "HELLO 3", "GET a0")
            self.assertEqual(talk.heard(talk.links()[0]), [f"HELLO 3 AUTH {said} pw", "GET a0"])

    def test_refused(self) -> None:
        """A host that does not accept them serves nothing."""
        talk = self.talk(RedisLogins((b"", b"pw")))
        client = talk.client()
        talk.say(client, "GET a0")
        talk.answer(talk.links()[0], b"-WRONGPASS x\r\n")
        self.assertEqual(talk.got(client), FAILURE)

    def test_no_password(self) -> None:
        """While there is no password to be had, commands fail, and no connection is made."""

        class Nothing(RedisLogins):
            def of(self, address: Any) -> Any:
                raise UpstreamError("no credentials")

        talk = self.talk(Nothing())
        client = talk.client()
        self.assertEqual(talk.say(client, "GET a0", "BLPOP a0 1"), FAILURE * 2)
        self.assertEqual(talk.links(), [])


class RedirectTests(SynchronousTestCase):
    """MOVED and ASK."""

    def test_off(self) -> None:
        """Unless enable_redirection is set, they are passed on."""
        talk = Talk()
        client = talk.client()
        talk.say(client, "GET a")
        talk.answer(talk.links()[0], b"-MOVED 1 198.51.100.2:6379\r\n")
        self.assertEqual(talk.got(client), b"-MOVED 1 198.51.100.2:6379\r\n")

    def test_followed(self) -> None:
        """They are followed, ASK with ASKING before the command."""
        talk = Talk(2, settings={"enable_redirection": True})
        client = talk.client()
        talk.say(client, "GET a0", "GET b0")
        talk.answer(talk.links(0)[0], b"-MOVED 1 198.51.100.2:6379\r\n", b"-ASK 1 198.51.100.2:6379\r\n")
        (other,) = talk.links(1)
        self.assertEqual(talk.heard(other), ["GET a0", "ASKING", "GET b0"])
        talk.answer(other, b":1\r\n", b"+OK\r\n", b":2\r\n")
        self.assertEqual(talk.got(client), b":1\r\n:2\r\n")

    def test_for_ever(self) -> None:
        """Hosts that send a command to each other are left in the end."""
        talk = Talk(2, settings={"enable_redirection": True})
        client = talk.client()
        talk.say(client, "GET a0")
        for turn in range(8):
            link = talk.links(turn % 2)[-1]
            if talk.heard(link):
                talk.answer(link, b"-MOVED 1 198.51.100.%d:6379\r\n" % (2 - turn % 2))
        self.assertEqual(talk.got(client)[:6], b"-MOVED")

    def test_unknown_hosts(self) -> None:
        """There are as many connections to hosts outside of the cluster as the config allows."""
        talk = Talk(settings={"enable_redirection": True, "max_upstream_unknown_connections": 0})
        client = talk.client()
        talk.say(client, "GET a")
        talk.answer(talk.links()[0], b"-MOVED 1 203.0.113.1:1\r\n")
        self.assertEqual(talk.got(client), b"-MOVED 1 203.0.113.1:1\r\n")
        name = "cluster.c.redis_cluster.max_upstream_unknown_connections_reached"
        self.assertEqual(talk.stats[name], 1)


class StatsTests(SynchronousTestCase):
    """enable_command_stats."""

    def test_commands(self) -> None:
        """Commands are counted by cluster too, if that is enabled."""
        talk = Talk(settings={"enable_command_stats": True})
        client = talk.client()
        talk.say(client, "GET a")
        name = "cluster.c.redis_cluster.upstream_commands"
        self.assertEqual(talk.stats[f"{name}.get.total"], 1)
        talk.answer(talk.links()[0], b":1\r\n")
        self.assertEqual(talk.stats[f"{name}.get.success"], 1)
        self.assertEqual(len(talk.stats.histograms[f"{name}.get.latency"].values), 1)
        self.assertEqual(len(talk.stats.histograms[f"{name}.upstream_rq_time"].values), 1)
        talk.say(client, "GET a")
        talk.links()[0].reset()
        self.assertEqual(talk.stats[f"{name}.get.failure"], 1)
