"""Tests for meshd.filters.network.redis_proxy.keyed."""

from twisted.trial.unittest import SynchronousTestCase

from tests.filters.network.redis_proxy.talk import Talk

CROSSSLOT = b"-CROSSSLOT Keys in request don't hash to the same slot\r\n"


class SingleTests(SynchronousTestCase):
    """Commands with one key."""

    def test_relayed(self) -> None:
        """The command and its reply are passed on as they are."""
        talk = Talk()
        client = talk.client()
        self.assertEqual(talk.say(client, "SET k v"), b"")
        (link,) = talk.links()
        self.assertEqual(link.received, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n")
        talk.answer(link, b"+OK\r\n")
        self.assertEqual(talk.got(client), b"+OK\r\n")

    def test_names(self) -> None:
        """A key is called upstream what its route says."""
        routes = {
            "routes": [{"prefix": "a:", "cluster": "c", "remove_prefix": True, "key_formatter": "<%KEY%>"}]
        }
        talk = Talk(prefix_routes=routes)
        client = talk.client()
        self.assertEqual(talk.say(client, "GET b"), b"-no upstream host\r\n")
        talk.say(client, "SET a:k v", "MGET a:1 a:2", "BITOP AND a:d a:s")
        self.assertEqual(talk.heard(talk.links()[0]), ["SET <k> v", "MGET <1> <2>", "BITOP AND <d> <s>"])

    def test_mirror(self) -> None:
        """A mirror gets a copy, without reads if the config says so, and its replies are dropped."""
        mirrors = [{"cluster": "other", "exclude_read_commands": True}]
        talk = Talk(prefix_routes={"catch_all_route": {"cluster": "c", "request_mirror_policy": mirrors}})
        client = talk.client()
        talk.say(client, "GET k", "SET k v")
        link, copy = talk.links()
        self.assertEqual(talk.heard(copy), ["SET k v"])
        talk.answer(copy, b"-ERR no\r\n")
        talk.answer(link, b"$-1\r\n", b"+OK\r\n")
        self.assertEqual(talk.got(client), b"$-1\r\n+OK\r\n")

    def test_reads_elsewhere(self) -> None:
        """Reads go to the cluster of the read_command_policy."""
        policy = {"catch_all_route": {"cluster": "c", "read_command_policy": {"cluster": "other"}}}
        talk = Talk(prefix_routes=policy)
        talk.say(talk.client(), "GET k", "SET k v")
        self.assertEqual([talk.heard(link) for link in talk.links()], [["SET k v"], ["GET k"]])

    def test_too_few(self) -> None:
        """Without its key a command is no command, in Envoy's words."""
        talk = Talk()
        self.assertEqual(talk.say(talk.client(), "GET", "MGET", "DEL"), b"-invalid request\r\n" * 3)
        self.assertEqual(talk.stats["redis.r.splitter.invalid_request"], 3)


class MultiTests(SynchronousTestCase):
    """Commands with several keys that belong together."""

    def test_together(self) -> None:
        """Keys are looked for where they are: BITOP's behind the operation, ZUNION's behind a number."""
        talk = Talk(2)
        talk.say(
            talk.client(), "BITOP AND d1 s1", "ZUNION 2 a1 b1", "EVAL script 1 a1 x0", "SORT a1 STORE b1"
        )
        (link,) = talk.links()
        self.assertEqual(link.host, talk.hosts[1])
        self.assertEqual(len(talk.heard(link)), 4)

    def test_apart(self) -> None:
        """Keys of two hosts are refused, where Envoy asks the first key's host and lies."""
        talk = Talk(2)
        for command in (
            "RENAME a0 b1",
            "MSETNX a0 x b1 y",
            "SINTERSTORE a0 b0 c1",
            "ZUNION 2 a0 b1",
            "LMOVE a0 b1 LEFT LEFT",
        ):
            self.assertEqual(talk.say(talk.client(), command), CROSSSLOT, command)
        self.assertEqual(talk.links(), [])
        self.assertEqual(talk.stats["redis.r.splitter.crossslot"], 5)

    def test_any_host(self) -> None:
        """Where no host is the key's own, there is nothing to refuse."""
        talk = Talk(2)
        talk.cluster.hashing = False
        for pool in talk.shared.pools.values():
            pool._hash = None
        talk.say(talk.client(), "RENAME a0 b1")
        self.assertEqual([talk.heard(link) for link in talk.links()], [["RENAME a0 b1"]])

    def test_wrong_arguments(self) -> None:
        """Wrong arguments are for a server to tell."""
        talk = Talk()
        talk.say(talk.client(), "EVAL script x")
        self.assertEqual(talk.heard(talk.links()[0]), ["EVAL script x"])


class SplitTests(SynchronousTestCase):
    """Commands that are cut up."""

    def setUp(self) -> None:
        self.talk = Talk(2)
        self.client = self.talk.client()

    def test_mget(self) -> None:
        """MGET asks each host once, and the values stand where their keys did."""
        self.talk.say(self.client, "MGET a0 a1 b0 a0")
        first, second = self.talk.links()
        self.assertEqual((self.talk.heard(first), self.talk.heard(second)), (["MGET a0 b0 a0"], ["MGET a1"]))
        self.talk.answer(second, b"*1\r\n$2\r\na1\r\n")
        self.assertEqual(self.talk.got(self.client), b"")
        self.talk.answer(first, b"*3\r\n$2\r\na0\r\n$-1\r\n$4\r\n\r\na0\r\n")
        self.assertEqual(self.talk.got(self.client), b"*4\r\n$2\r\na0\r\n$2\r\na1\r\n$-1\r\n$4\r\n\r\na0\r\n")

    def test_mget_failure(self) -> None:
        """Of a host that failed there is an error in place of each value, as in Envoy."""
        self.talk.say(self.client, "MGET a0 a1")
        first, second = self.talk.links()
        second.reset()
        self.talk.answer(first, b"*1\r\n$1\r\nx\r\n")
        self.assertEqual(self.talk.got(self.client), b"*2\r\n$1\r\nx\r\n-upstream failure\r\n")
        self.assertEqual(self.talk.stats["redis.r.command.mget.error"], 1)

    def test_mset(self) -> None:
        """MSET is OK if it is everywhere, and names the keys of which that is not known otherwise."""
        self.talk.say(self.client, "MSET a0 1 a1 2 b1 3")
        first, second = self.talk.links()
        self.assertEqual(self.talk.heard(second), ["MSET a1 2 b1 3"])
        self.talk.answer(first, b"+OK\r\n")
        self.talk.answer(second, b"+OK\r\n")
        self.assertEqual(self.talk.got(self.client), b"+OK\r\n")
        self.talk.say(self.client, "MSET a0 1 a1 2 b1 3")
        self.talk.answer(first, b"+OK\r\n")
        self.talk.answer(second, b"-OOM no memory\r\n")
        self.assertEqual(self.talk.got(self.client), b"-finished with 2 error(s): a1 b1 (OOM no memory)\r\n")

    def test_sums(self) -> None:
        """DEL and its like add up."""
        for name in ("DEL", "EXISTS", "TOUCH", "UNLINK"):
            self.talk.say(self.client, f"{name} a0 a1")
            for link in self.talk.links():
                self.talk.answer(link, b":1\r\n")
            self.assertEqual(self.talk.got(self.client), b":2\r\n")

    def test_one_host(self) -> None:
        """What has one host is not cut up: its reply is passed on as it is."""
        self.talk.say(self.client, "DEL a0 b0")
        (link,) = self.talk.links()
        self.talk.answer(link, b"-WHATEVER\r\n")
        self.assertEqual(self.talk.got(self.client), b"-WHATEVER\r\n")

    def test_odd(self) -> None:
        """MSET without its last value is refused in Envoy's words."""
        self.assertEqual(
            self.talk.say(self.client, "MSET a"), b"-wrong number of arguments for 'MSET' command\r\n"
        )
