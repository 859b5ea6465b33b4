"""Tests for meshd.filters.network.redis_proxy.everywhere."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from meshd.codec.resp_reply import encode
from meshd.testing import FakeClient
from tests.filters.network.redis_proxy.talk import Talk

ROUTES: dict[str, Any] = {
    "routes": [
        {"prefix": "a:", "cluster": "c", "remove_prefix": True},
        {"prefix": "b:", "cluster": "c", "key_formatter": "b-%KEY%"},
        {"prefix": "o:", "cluster": "other"},
    ],
}


class AllRoutesTests(SynchronousTestCase):
    """Commands about all hosts, of all routes: two hosts in one cluster, one in another."""

    def setUp(self) -> None:
        self.talk = Talk(2, prefix_routes=ROUTES, options={"fan_out": "all_routes"})
        self.client = self.talk.client()

    def ask(self, command: str, heard: list[str], *replies: bytes) -> bytes:
        """Send a command; return what the client gets if each host hears that, and answers."""
        self.talk.say(self.client, command)
        links = [*self.talk.links(0), *self.talk.links(1), self.talk.links()[-1]]
        self.assertEqual([each for link in links for each in self.talk.heard(link)], heard)
        for link, reply in zip(links, replies, strict=True):
            self.talk.answer(link, reply)
        return self.talk.got(self.client)

    def test_each_once(self) -> None:
        """Every host of every route is asked once."""
        self.assertEqual(self.ask("DBSIZE", ["DBSIZE"] * 3, b":1\r\n", b":2\r\n", b":4\r\n"), b":7\r\n")

    def test_keys(self) -> None:
        """Keys are told by the names that clients have for them; those that no route leads to are not."""
        found = (encode([b"x", b"b-b:y"]), encode([b"b-z"]), encode([b"o:k", b"other"]))
        names = encode([b"a:x", b"a:b-b:y", b"b:y", b"a:b-z", b"o:k"])
        self.assertEqual(self.ask("KEYS *", ["KEYS *"] * 3, *found), names)

    def test_pattern(self) -> None:
        """A pattern asks each host for at least what it matches, and no more is told."""
        found = (encode([b"x", b"b-b:xx"]), encode([]), encode([]))
        self.assertEqual(
            self.ask("KEYS ?:x*", ["KEYS *", "KEYS *", "KEYS ?:x*"], *found), encode([b"a:x", b"b:xx"])
        )

    def test_random(self) -> None:
        """A random key has a name, too; if no host named one that has, the client is told to try again."""
        nil, nameless = b"$-1\r\n", encode(b"other")
        ask = ["RANDOMKEY"] * 3
        self.assertEqual(self.ask("RANDOMKEY", ask, nil, encode(b"x"), nil), encode(b"a:x"))
        self.assertEqual(self.ask("RANDOMKEY", ask, nil, nil, nil), nil)
        self.assertTrue(self.ask("RANDOMKEY", ask, nil, nil, nameless).startswith(b"-ERR a server named"))
        self.assertEqual(self.ask("RANDOMKEY", ask, nil, encode(b"x"), nameless), encode(b"a:x"))

    def test_scan(self) -> None:
        """SCAN goes through all hosts, with a pattern for each."""
        say, answer = self.talk.say, self.talk.answer
        say(self.client, "SCAN 0 MATCH a:x* COUNT 5")
        (first,) = self.talk.links(0)
        self.assertEqual(self.talk.heard(first), ["SCAN 0 MATCH * COUNT 5"])
        answer(first, encode([b"0", [b"xy", b"y"]]))
        self.assertEqual(self.talk.got(self.client), encode([b"1", [b"a:xy"]]))
        say(self.client, "SCAN 2 MATCH o:*")
        link = self.talk.links()[-1]
        self.assertEqual(self.talk.heard(link), ["SCAN 0 MATCH o:*"])
        answer(link, encode([b"0", [b"o:1", b"x"]]))
        self.assertEqual(self.talk.got(self.client), encode([b"0", [b"o:1"]]))

    def test_cluster_gone(self) -> None:
        """If a cluster has no hosts the answer would lack its keys: there is none."""
        self.talk.other.hosts.clear()
        self.assertEqual(self.talk.say(self.client, "KEYS *", "SCAN 0"), b"-no upstream host\r\n" * 2)

    def test_monitor(self) -> None:
        """MONITOR and INFO.SHARD are about all of them, too."""
        self.talk.say(self.client, "INFO.SHARD 2")
        self.assertEqual(self.talk.heard(self.talk.links()[-1]), ["INFO"])
        self.talk.say(self.talk.client(), "MONITOR")
        self.assertEqual(len(self.talk.links()), 4)


class OtherTests(SynchronousTestCase):
    """Other configurations."""

    def say(
        self, command: str, routes: dict[str, Any], fan_out: str = "all_routes"
    ) -> tuple[Talk, FakeClient, bytes]:
        """Ask something."""
        talk = Talk(prefix_routes=routes, options={"fan_out": fan_out})
        client = talk.client()
        return talk, client, talk.say(client, command)

    def test_default(self) -> None:
        """Without the option the catch-all route is asked, as by Envoy; keys have their names upstream."""
        talk, client, _ = self.say("KEYS a:*", {**ROUTES, "catch_all_route": {"cluster": "c"}}, "catch_all")
        (link,) = talk.links()
        self.assertEqual(talk.heard(link), ["KEYS a:*"])
        talk.answer(link, encode([b"a:x"]))
        self.assertEqual(talk.got(client), encode([b"a:x"]))
        self.assertEqual(self.say("KEYS *", ROUTES, "catch_all")[2], b"-no upstream host\r\n")

    def test_lossy(self) -> None:
        """Where the names cannot be put back KEYS is refused, and DBSIZE is not."""
        routes = {"case_insensitive": True, "routes": ROUTES["routes"][:1]}
        for command in ("KEYS *", "SCAN 0", "RANDOMKEY"):
            self.assertIn(b"-ERR The proxy removes the prefix 'a:'", self.say(command, routes)[2])
        talk, _, _ = self.say("DBSIZE", routes)
        self.assertEqual(talk.heard(talk.links()[0]), ["DBSIZE"])

    def test_same_host(self) -> None:
        """A host that is in several clusters is asked once, and told of for each."""
        routes = {
            "routes": [
                {"prefix": "a:", "cluster": "c", "remove_prefix": True},
                {"prefix": "o:", "cluster": "other"},
            ]
        }
        talk = Talk(prefix_routes=routes, options={"fan_out": "all_routes"})
        talk.other.hosts[:] = talk.hosts
        client = talk.client()
        talk.say(client, "KEYS *")
        (link,) = talk.links(0)
        talk.answer(link, encode([b"x", b"o:y"]))
        self.assertEqual(talk.got(client), encode([b"a:x", b"a:o:y", b"o:y"]))
