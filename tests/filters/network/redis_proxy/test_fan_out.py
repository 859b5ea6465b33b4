"""Tests for meshd.filters.network.redis_proxy.fan_out."""

from twisted.trial.unittest import SynchronousTestCase

from tests.filters.network.redis_proxy.talk import Talk


class FanOutTests(SynchronousTestCase):
    """Commands that every host is asked."""

    def setUp(self) -> None:
        self.talk = Talk(2)
        self.client = self.talk.client()

    def test_all(self) -> None:
        """All hosts are asked, and the answers put together."""
        self.talk.say(self.client, "DBSIZE")
        for link in self.talk.links():
            self.assertEqual(self.talk.heard(link), ["DBSIZE"])
            self.talk.answer(link, b":2\r\n")
        self.assertEqual(self.talk.got(self.client), b":4\r\n")

    def test_failure(self) -> None:
        """If one host fails, so does the command."""
        self.talk.say(self.client, "FLUSHALL")
        first, second = self.talk.links()
        self.talk.answer(first, b"+OK\r\n")
        second.reset()
        self.assertEqual(self.talk.got(self.client), b"-upstream failure\r\n")

    def test_scan(self) -> None:
        """SCAN goes from host to host; the cursor that the client has to give back says where it is."""
        self.talk.say(self.client, "SCAN 0 COUNT 5")
        (first,) = self.talk.links()
        self.assertEqual(self.talk.heard(first), ["SCAN 0 COUNT 5"])
        self.talk.answer(first, b"*2\r\n$2\r\n17\r\n*1\r\n$1\r\na\r\n")
        self.assertEqual(self.talk.got(self.client), b"*2\r\n$5\r\n17408\r\n*1\r\n$1\r\na\r\n")
        self.talk.say(self.client, "SCAN 17408")
        self.assertEqual(self.talk.heard(first), ["SCAN 17"])
        self.talk.answer(first, b"*2\r\n$1\r\n0\r\n*0\r\n")
        self.assertEqual(self.talk.got(self.client), b"*2\r\n$1\r\n1\r\n*0\r\n")
        self.talk.say(self.client, "SCAN 1")
        second = self.talk.links()[1]
        self.assertEqual(self.talk.heard(second), ["SCAN 0"])
        self.talk.answer(second, b"*2\r\n$1\r\n0\r\n*0\r\n")
        self.assertEqual(self.talk.got(self.client), b"*2\r\n$1\r\n0\r\n*0\r\n")

    def test_scan_wrong(self) -> None:
        """A cursor that is none is an error; one of a host that is gone is the end."""
        self.assertEqual(self.talk.say(self.client, "SCAN x"), b"-ERR invalid cursor\r\n")
        self.assertEqual(self.talk.say(self.client, "SCAN 7"), b"*2\r\n$1\r\n0\r\n*0\r\n")

    def test_shard_info(self) -> None:
        """INFO.SHARD asks one host, by its number, as in Envoy."""
        self.talk.say(self.client, "INFO.SHARD 1 server")
        (link,) = self.talk.links(1)
        self.assertEqual(self.talk.heard(link), ["INFO server"])
        self.assertEqual(self.talk.say(self.client, "INFO.SHARD 2"), b"")
        self.talk.answer(link, b"$1\r\nx\r\n")
        self.assertEqual(self.talk.got(self.client), b"$1\r\nx\r\n-ERR invalid shard index\r\n")

    def test_no_route(self) -> None:
        """Without a catch-all route there is nobody to ask, if there are several others."""
        routes = [{"prefix": "a", "cluster": "c"}, {"prefix": "b", "cluster": "other"}]
        talk = Talk(prefix_routes={"routes": routes})
        self.assertEqual(
            talk.say(talk.client(), "KEYS *", "SCAN 0", "PUBLISH x y"), b"-no upstream host\r\n" * 3
        )

    def test_number_of_arguments(self) -> None:
        """A wrong number of arguments is told before anybody is asked."""
        self.assertEqual(
            self.talk.say(self.client, "DBSIZE x"), b"-ERR wrong number of arguments for 'dbsize' command\r\n"
        )


class SearchTests(SynchronousTestCase):
    """FT commands, which Redis's search module has."""

    def setUp(self) -> None:
        self.talk = Talk(2)
        self.client = self.talk.client()

    def test_dictionaries(self) -> None:
        """A dictionary is at all hosts, whatever its name is: each index finds it."""
        for command, one, other, told in (
            ("FT.DICTADD d1 x y", b":2\r\n", b":1\r\n", b":2\r\n"),
            ("FT.DICTDEL d1 x", b":1\r\n", b":1\r\n", b":1\r\n"),
            ("FT.DICTDUMP d1", b"*1\r\n+y\r\n", b"*1\r\n+y\r\n", b"*1\r\n+y\r\n"),
            ("FT._LIST", b"*1\r\n+i0\r\n", b"*1\r\n+i1\r\n", b"*2\r\n+i0\r\n+i1\r\n"),
            ("FT.CONFIG SET TIMEOUT 5", b"+OK\r\n", b"+OK\r\n", b"+OK\r\n"),
        ):
            self.talk.say(self.client, command)
            for link, reply in zip(self.talk.links(), (one, other), strict=True):
                self.assertEqual(self.talk.heard(link), [command])
                self.talk.answer(link, reply)
            self.assertEqual(self.talk.got(self.client), told)

    def test_aliases(self) -> None:
        """An alias is where its index is, and has to be found there by its own name."""
        self.talk.say(
            self.client, "FT.ALIASADD a1 i1", "FT.ALIASUPDATE a1 j1", "FT.ALIASDEL a1", "FT.SEARCH a1 *"
        )
        (link,) = self.talk.links()
        said = ["FT.ALIASADD a1 i1", "FT.ALIASUPDATE a1 j1", "FT.ALIASDEL a1", "FT.SEARCH a1 *"]
        self.assertEqual(self.talk.heard(link), said)
        self.assertIn(b"-CROSSSLOT", self.talk.say(self.talk.client(), "FT.ALIASADD a0 i1"))

    def test_renamed(self) -> None:
        """Both are called what the route calls keys."""
        route = {"prefix": "t:", "cluster": "c", "remove_prefix": True}
        talk = Talk(prefix_routes={"routes": [route]})
        talk.say(talk.client(), "FT.CREATE t:i SCHEMA x TEXT", "FT.ALIASADD t:a t:i", "FT.SEARCH t:a *")
        said = ["FT.CREATE i SCHEMA x TEXT", "FT.ALIASADD a i", "FT.SEARCH a *"]
        self.assertEqual(talk.heard(talk.links()[0]), said)
