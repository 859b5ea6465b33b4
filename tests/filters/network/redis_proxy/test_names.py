"""Tests for meshd.filters.network.redis_proxy.names."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from meshd.filters.network.redis_proxy.names import target
from meshd.plugin import ConfigError
from meshd.upstream.resolver import LookupFailed
from tests.filters.network.redis_proxy.talk import CountingHost, Talk

MOVED = b"-MOVED 1 b.test:6379\r\n"
FOLLOWED, UNFOLLOWED = "succeeded", "failed"


class TargetTests(SynchronousTestCase):
    """What a redirection names."""

    def test_target(self) -> None:
        """It is a name or an address, and a port; or nothing that makes sense."""
        for reply, named in (
            (b"-MOVED 1 a.test:7\r\n", ("a.test", 7)),
            (b"-ASK 1 [::1]:7\r\n", ("::1", 7)),
            (b"-MOVED 1 :7\r\n", ("", 7)),
            (b"-MOVED 1 a.test\r\n", None),
            (b"-MOVED 1\r\n", None),
            (b"-MOVED \r\n", None),
            (b"-MOVED 1 a:b\r\n", None),
            (b"-MOVED 1 a:1 b\r\n", None),
        ):
            self.assertEqual(target(reply), named)


class NamesCase(SynchronousTestCase):
    """A conversation whose second host is called b.test in redirections."""

    def talk(self, options: Any = None, has_cache: bool = True, **cache: Any) -> Talk:
        """Return it, with a DNS cache, or without."""
        settings: dict[str, Any] = {"enable_redirection": True}
        if has_cache:
            settings["dns_cache_config"] = {"name": "n", **cache}
        self.one = Talk(2, settings=settings, options=options)
        return self.one

    def found(self, address: str = "198.51.100.2") -> None:
        """Answer a lookup."""
        self.one.context.resolver.answer(address)
        self.one.settle()

    def count(self, what: str) -> int:
        """Return how many redirections were followed, or not."""
        return self.one.stats[f"cluster.c.upstream_internal_redirect_{what}_total"]


class NamesTests(NamesCase):
    """Commands that are redirected to a name."""

    def test_followed(self) -> None:
        """They wait until the name is looked up, and go there; others' commands need not wait."""
        talk = self.talk()
        client, other = talk.client(), talk.client()
        talk.say(client, "GET a0")
        talk.answer(talk.links(0)[0], MOVED)
        self.assertEqual(talk.links(1), [])
        talk.say(other, "GET a0")
        talk.answer(talk.links(0)[0], b":0\r\n")
        self.assertEqual(talk.got(other), b":0\r\n")
        self.found()
        (link,) = talk.links(1)
        self.assertEqual(talk.heard(link), ["GET a0"])
        talk.answer(link, b":1\r\n")
        self.assertEqual(talk.got(client), b":1\r\n")
        self.assertEqual((self.count(FOLLOWED), self.count(UNFOLLOWED)), (1, 0))

    def test_known(self) -> None:
        """A name that was looked up is followed at once; an address is never looked up."""
        talk = self.talk()
        client = talk.client()
        talk.say(client, "GET a0")
        talk.answer(talk.links(0)[0], MOVED)
        self.found()
        talk.say(client, "GET b0", "GET c0")
        talk.answer(talk.links(0)[0], MOVED, b"-MOVED 1 198.51.100.2:6379\r\n")
        talk.answer(talk.links(1)[0], b":1\r\n:2\r\n:3\r\n")
        self.assertEqual(talk.got(client), b":1\r\n:2\r\n:3\r\n")
        self.assertEqual(talk.context.resolver.lookups, [])

    def test_ask(self) -> None:
        """ASK is followed so too, with ASKING before the command."""
        talk = self.talk()
        client = talk.client()
        talk.say(client, "GET a0")
        talk.answer(talk.links(0)[0], b"-ASK 1 b.test:6379\r\n")
        self.found()
        self.assertEqual(talk.heard(talk.links(1)[0]), ["ASKING", "GET a0"])
        talk.answer(talk.links(1)[0], b"+OK\r\n:1\r\n")
        self.assertEqual(talk.got(client), b":1\r\n")

    def test_order(self) -> None:
        """A pipeline that waits for one lookup is done in its order, trains and parts included."""
        for options in (None, {"read_retries": 1}):
            talk = self.talk(options=options)
            client = talk.client()
            client.inner.dataReceived(b"SET a0 1\r\n" + b"GET a0\r\n" * 8 + b"MGET a0 b1\r\n")
            talk.settle()
            talk.answer(talk.links(0)[0], MOVED * 10)
            talk.answer(talk.links(1)[0], b"*1\r\n$1\r\nm\r\n")
            self.assertEqual(talk.got(client), b"")
            self.found()
            heard = talk.heard(talk.links(1)[0])
            self.assertEqual(heard, ["MGET b1", "SET a0 1", *["GET a0"] * 8, "MGET a0"])
            talk.answer(talk.links(1)[0], b"+OK\r\n" + b":1\r\n" * 8 + b"*1\r\n$1\r\nk\r\n")
            self.assertEqual(talk.got(client), b"+OK\r\n" + b":1\r\n" * 8 + b"*2\r\n$1\r\nk\r\n$1\r\nm\r\n")

    def test_not_found(self) -> None:
        """If the name is not found the client gets the redirection, at once from then on."""
        talk = self.talk()
        client = talk.client()
        for end in (lambda: talk.context.resolver.fail(LookupFailed("no")), None):
            talk.say(client, "GET a0")
            talk.answer(talk.links(0)[0], MOVED)
            if end is not None:
                end()
                talk.settle()
            self.assertEqual(talk.got(client), MOVED)
        self.assertEqual((self.count(FOLLOWED), self.count(UNFOLLOWED)), (0, 2))

    def test_overflow(self) -> None:
        """So it is if the cache takes no more names."""
        talk = self.talk(max_hosts=1)
        client = talk.client()
        talk.say(client, "GET a0", "GET b0")
        talk.answer(talk.links(0)[0], MOVED, b"-MOVED 1 c.test:6379\r\n")
        self.found()
        talk.answer(talk.links(1)[0], b":1\r\n")
        self.assertEqual(talk.got(client), b":1\r\n-MOVED 1 c.test:6379\r\n")
        self.assertEqual(talk.stats["dns_cache.n.host_overflow"], 1)

    def test_gone(self) -> None:
        """A command whose client is gone meanwhile goes nowhere."""
        talk = self.talk()
        client = talk.client()
        talk.say(client, "GET a0")
        talk.answer(talk.links(0)[0], MOVED)
        client.close()
        self.found()
        self.assertEqual(talk.links(1), [])

    def test_elsewhere(self) -> None:
        """A name may lead to a host that the cluster does not have."""
        talk = self.talk()
        client = talk.client()
        talk.say(client, "GET a0")
        talk.answer(talk.links(0)[0], MOVED)
        stranger = CountingHost(9)
        talk.cluster.host_at = lambda address: stranger if address == stranger.address else None  # type: ignore
        self.found("198.51.100.10")
        self.assertEqual([link.received for link in stranger.connects], [b""])
        self.assertEqual(self.count(FOLLOWED), 1)

    def test_broken(self) -> None:
        """If anything else goes wrong, it is logged, and the command has failed."""
        talk = self.talk()
        client = talk.client()
        talk.say(client, "GET a0")
        talk.answer(talk.links(0)[0], MOVED)
        talk.cluster.host_at = None  # type: ignore[assignment]
        self.found()
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.assertEqual(talk.got(client), b"-upstream failure\r\n")

    def test_transaction(self) -> None:
        """A transaction waits as a whole, and goes as a whole."""
        talk = self.talk()
        client = talk.client()
        aborted = b"-EXECABORT Transaction discarded because of previous errors.\r\n"
        for answer in ("198.51.100.2", ""):
            name = "b" if answer else "c"
            talk.say(client, "MULTI", "SET a0 1", "EXEC")
            talk.answer(talk.links(0)[0], b"+OK\r\n-MOVED 1 %b.test:6379\r\n%b" % (name.encode(), aborted))
            talk.got(client)
            self.assertEqual(len(talk.context.resolver.lookups), 1)
            if answer:
                self.found()
                self.assertEqual(talk.heard(talk.links(1)[0]), ["MULTI", "SET a0 1", "EXEC"])
                talk.answer(talk.links(1)[0], b"+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n")
                self.assertEqual(talk.got(client), b"*1\r\n+OK\r\n")
            else:
                talk.context.resolver.answer()
                talk.settle()
                self.assertEqual(talk.got(client), aborted)


class WithoutCacheTests(NamesCase):
    """Redirections to names where there is no DNS cache."""

    def test_unknown(self) -> None:
        """They are passed on."""
        talk = self.talk(has_cache=False)
        client = talk.client()
        talk.say(client, "GET a0")
        talk.answer(talk.links(0)[0], MOVED)
        self.assertEqual(talk.got(client), MOVED)
        self.assertEqual(len(talk.links()), 1)

    def test_node(self) -> None:
        """In a Redis Cluster names of nodes that were found need no lookup."""
        talk = self.talk(has_cache=False)
        talk.cluster.redis_slots = True
        talk.cluster.note_redirect = lambda: None  # type: ignore[attr-defined]
        talk.hosts[1].hostname = "b.test"
        client = talk.client()
        talk.say(client, "GET a0", "GET b0")
        talk.answer(talk.links(0)[0], MOVED, b"-MOVED 1 b.test:6380\r\n")
        talk.answer(talk.links(1)[0], b":1\r\n")
        self.assertEqual(talk.got(client), b":1\r\n-MOVED 1 b.test:6380\r\n")


class ConfigTests(NamesCase):
    """dns_cache_config."""

    def test_wrong(self) -> None:
        """What is wrong in it is an error that says where."""
        names = [{"address": name, "port_value": 80} for name in ("a", "b")]
        with self.assertRaises(ConfigError) as caught:
            self.talk(max_hosts=1, preresolve_hostnames=names)
        self.assertEqual(caught.exception.path, ("settings", "dns_cache_config", "preresolve_hostnames"))
