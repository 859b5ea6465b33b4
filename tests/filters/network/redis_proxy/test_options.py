"""Tests for meshd.filters.network.redis_proxy.options."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from meshd.filters.network.redis_proxy.options import Options, RedisOptions
from meshd.plugin import ConfigError
from tests.filters.network.redis_proxy.talk import Talk

DENIED = b"-NOPERM User default has no permissions to run the '%b' command\r\n"


class RefusedTests(SynchronousTestCase):
    """Commands that the options refuse."""

    def test_read_only(self) -> None:
        """With read_only nothing that writes is done, nor a script that might; the answer is an ACL's."""
        talk = Talk(options={"read_only": True})
        client = talk.client()
        for command, name in (("SET a b", b"set"), ("DEL a", b"del"), ("EVAL x 1 a", b"eval"),
                              ("FLUSHALL", b"flushall"), ("BLPOP a 1", b"blpop"),
                              ("XGROUP CREATE a b 0", b"xgroup|create")):  # fmt: skip
            self.assertEqual(talk.say(client, command), DENIED % name)
        self.assertEqual(talk.say(client, "MULTI", "SET a b", "EXEC")[5:], DENIED % b"set" + (
            b"-EXECABORT Transaction discarded because of previous errors.\r\n"))  # fmt: skip
        self.assertEqual(talk.links(), [])
        talk.say(client, "GET a", "EVAL_RO x 1 a", "XREAD STREAMS a 0")
        self.assertEqual(len(talk.heard(talk.links()[0])), 3)
        self.assertEqual(talk.stats["redis.r.downstream_rq_refused"], 6)

    def test_names(self) -> None:
        """Commands are refused by name, by subcommand, by ACL category."""
        talk = Talk(options={"refused_commands": ["FlushAll", "config|set", "@pubsub"]})
        client = talk.client()
        for command, name in (("FLUSHALL", b"flushall"), ("CONFIG SET a b", b"config|set"),
                              ("PUBLISH a b", b"publish")):  # fmt: skip
            self.assertEqual(talk.say(client, command), DENIED % name)
        talk.say(client, "CONFIG GET a", "FLUSHDB")
        self.assertEqual(talk.heard(talk.links()[0]), ["CONFIG GET a", "FLUSHDB"])

    def test_pipelined(self) -> None:
        """They are refused in the middle of a pipeline too."""
        talk = Talk(options={"refused_commands": ["set"]})
        client = talk.client()
        client.inner.dataReceived(b"GET a\r\n" * 5 + b"SET a b\r\n" + b"GET a\r\n" * 5)
        talk.settle()
        self.assertEqual(talk.heard(talk.links()[0]), ["GET a"] * 10)
        talk.answer(talk.links()[0], b":1\r\n" * 10)
        self.assertEqual(talk.got(client), b":1\r\n" * 5 + DENIED % b"set" + b":1\r\n" * 5)

    def test_unknown(self) -> None:
        """A name that does not exist is an error of the config."""
        for name in ("fluhsall", "@dangerus", "config|sett"):
            with self.assertRaises(ConfigError) as caught:
                Options(RedisOptions(refused_commands=["get", name]))
            self.assertEqual(caught.exception.path, ("refused_commands", 1))


class LimitTests(SynchronousTestCase):
    """What a client may send."""

    def test_bulk(self) -> None:
        """An argument that is too long ends the connection."""
        talk = Talk(options={"max_bulk_bytes": 1024})
        client = talk.client()
        said = talk.say(client, b"*2\r\n$3\r\nGET\r\n$1025\r\n")
        self.assertEqual(said, b"-ERR Protocol error: invalid bulk length\r\n")
        self.assertTrue(client.dropped)


class ZoneTests(SynchronousTestCase):
    """Policies of reading by zone."""

    def talk(self, **settings: Any) -> Talk:
        """Return a conversation in front of a Redis Cluster; picked has the policies of reads."""
        talk = Talk(2, options={"read_policy": "LOCAL_ZONE_AFFINITY"}, settings=settings)
        self.picked: list[str] = []
        self.found = 0

        def pick_read(slot: int, policy: str, failed: Any = None) -> Any:
            self.picked.append(policy)
            return talk.hosts[1]

        def find_zones() -> None:
            self.found += 1

        talk.cluster.redis_slots = True
        talk.cluster.pick_read = pick_read  # type: ignore[attr-defined]
        talk.cluster.find_zones = find_zones  # type: ignore[attr-defined]
        return talk

    def test_reads(self) -> None:
        """Reads go by that policy, not by that of RedisProxy, on connections that replicas answer."""
        talk = self.talk(read_policy="MASTER")
        talk.say(talk.client(), "GET a", "MGET a b")
        self.assertEqual(set(self.picked), {"LOCAL_ZONE_AFFINITY"})
        self.assertEqual(talk.heard(talk.links(1)[0])[0], "READONLY")

    def test_writes(self) -> None:
        """Writes do not."""
        talk = self.talk()
        talk.say(talk.client(), "SET a b")
        self.assertEqual(self.picked, [])

    def test_found(self) -> None:
        """The cluster is told that zones are wanted, and so is one that takes its place."""
        talk = self.talk()
        self.assertEqual(self.found, 0)
        talk.client()
        self.assertEqual(self.found, 1)
        talk.client()
        self.assertEqual(self.found, 1)
        talk.shared.pools["c"].cluster = None
        talk.shared.pools["c"].current()
        self.assertEqual(self.found, 2)
