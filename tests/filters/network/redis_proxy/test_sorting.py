"""Tests for meshd.filters.network.redis_proxy.sorting."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from meshd.codec.murmur import murmur2
from meshd.codec.redis_slot import hash_tag
from tests.filters.network.redis_proxy.talk import Talk


def denied(option: str) -> bytes:
    """Return Redis's words."""
    text = f"-ERR {option} option of SORT denied in cluster mode when keys formed by the pattern"
    return f"{text} may be in different slots.\r\n".encode()


class SortTests(SynchronousTestCase):
    """SORT by other keys."""

    def heard(self, talk: Talk, *commands: str) -> list[str]:
        """Return what hosts hear of what a client says."""
        self.assertEqual(talk.say(talk.client(), *commands), b"")
        return [each for link in talk.links() for each in talk.heard(link)]

    def tagged(self) -> Talk:
        """Return a conversation with two hosts, where keys go by hash tag."""
        talk = Talk(2, settings={"enable_hashtagging": True})
        talk.shared.pools["c"]._hash = lambda key: murmur2(hash_tag(key))
        return talk

    def test_denied(self) -> None:
        """Keys that may lie elsewhere are refused, in Redis's words; the host of the key would miss them."""
        talk = Talk(2)
        for name in ("SORT", "SORT_RO"):
            self.assertEqual(talk.say(talk.client(), f"{name} a1 BY w_* GET #"), denied("BY"))
            self.assertEqual(talk.say(talk.client(), f"{name} a1 get # get v_*->f"), denied("GET"))
        self.assertEqual(talk.links(), [])
        self.assertEqual(talk.stats["redis.r.splitter.crossslot"], 4)
        self.assertEqual(talk.stats["redis.r.command.sort.error"], 2)

    def test_nothing_elsewhere(self) -> None:
        """What names no other key is passed on: # and patterns without a *."""
        said = ["SORT a1 BY nosort GET # GET const DESC", "SORT_RO a1 LIMIT 0 5 ALPHA", "SORT a1 STORE b1"]
        self.assertEqual(self.heard(Talk(2), *said), said)

    def test_one_host(self) -> None:
        """With one host all keys are there."""
        said = ["SORT a1 BY w_* GET v_*->f"]
        self.assertEqual(self.heard(Talk(), *said), said)

    def test_tag(self) -> None:
        """A hash tag before the * that belongs to the key's host will do."""
        talk = self.tagged()
        names = [f"t{number}" for number in range(20)]
        near, far = (
            [each for each in names if murmur2(each.encode()) % 2 == host]
            for host in (murmur2(b"t0") % 2, 1 - murmur2(b"t0") % 2)
        )
        said = [f"SORT {{t0}}a BY w{{{near[1]}}}_* GET {{t0}}v_*"]
        self.assertEqual(self.heard(talk, *said), said)
        for pattern in (f"{{{far[0]}}}*", "*{t0}", "{t0*}", "{}{t0}*", "w_*"):
            self.assertEqual(talk.say(talk.client(), f"SORT {{t0}}a BY {pattern}"), denied("BY"), pattern)

    def test_tags_off(self) -> None:
        """Where tags mean nothing, one in a pattern does not help."""
        talk = Talk(2)
        self.assertEqual(talk.say(talk.client(), "SORT {1}1 BY {1}*"), denied("BY"))

    def test_transaction(self) -> None:
        """In a transaction it is refused too, which spoils it."""
        talk = Talk(2)
        said = talk.say(talk.client(), "MULTI", "SORT a1 BY w_*", "EXEC")
        self.assertTrue(said.startswith(b"+OK\r\n" + denied("BY") + b"-EXECABORT"), said)


class RouteTests(SynchronousTestCase):
    """Patterns go by the routes, as keys do."""

    def talk(self, *routes: dict[str, Any]) -> Talk:
        """Return a conversation with these routes and one host."""
        catch_all = {"cluster": "c"}
        return Talk(prefix_routes={"routes": list(routes), "catch_all_route": catch_all})

    def test_names(self) -> None:
        """They are called upstream what keys are called."""
        talk = self.talk({"prefix": "a:", "cluster": "c", "remove_prefix": True, "key_formatter": "<%KEY%>"})
        for inside in (False, True):
            said = ["MULTI", "SORT a:k BY a:w_* GET v->* GET a:v_*->f", "EXEC"]
            talk.say(talk.client(), *(said if inside else said[1:2]))
        sort = "SORT <k> BY <w_*> GET v->* GET <v_*>->f"
        self.assertEqual(talk.heard(talk.links()[0]), [sort, "MULTI", sort, "EXEC"])

    def test_other_cluster(self) -> None:
        """Keys of another cluster, or maybe of another, are refused."""
        talk = self.talk({"prefix": "other:", "cluster": "other"}, {"prefix": "w", "cluster": "c"})
        for pattern in ("other:*", "oth*", "*"):
            self.assertEqual(talk.say(talk.client(), f"SORT k GET {pattern}"), denied("GET"), pattern)
        self.assertEqual(talk.say(talk.client(), "SORT k BY w_* GET v_*"), b"")

    def test_formatter(self) -> None:
        """A name that would make another pattern is refused."""
        talk = self.talk({"prefix": "a:", "cluster": "c", "key_formatter": "*%KEY%"})
        self.assertEqual(talk.say(talk.client(), "SORT a:k GET a:*"), denied("GET"))
