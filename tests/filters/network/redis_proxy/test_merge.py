"""Tests for meshd.filters.network.redis_proxy.merge."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from meshd.codec.resp_reply import Map, Set, Verbatim, decode, encode
from meshd.filters.network.redis_proxy.merge import merge, merge_info


class MergeTests(SynchronousTestCase):
    """The answers of two hosts."""

    def merged(self, name: str, *values: Any, protocol: int = 2) -> Any:
        """Merge the replies that are these values."""
        return decode(merge(name, protocol, [encode(value, protocol) for value in values]))

    def test_values(self) -> None:
        """Each command has its way of putting answers together."""
        for name, one, other, both in (
            ("keys", [b"a"], [b"b"], [b"a", b"b"]),
            ("dbsize", 2, 3, 5),
            ("randomkey", None, b"a", b"a"),
            ("randomkey", None, None, None),
            ("script|exists", [1, 1], [1, 0], [1, 0]),
            ("pubsub|channels", [b"a", b"b"], [b"b"], [b"a", b"b"]),
            ("pubsub|numsub", [b"a", 1, b"b", 0], [b"a", 2, b"b", 1], [b"a", 3, b"b", 1]),
            ("wait", 1, 0, 0),
            ("config|get", [b"x", b"1"], [b"x", b"1"], [b"x", b"1"]),
            ("config|get", [b"x", b"1"], [b"x", b"2"], [b"x", b"1", b"x", b"2"]),
            ("flushall", b"OK", b"OK", b"OK"),
            ("ft._list", [b"a", b"b"], [b"c", b"b"], [b"a", b"b", b"c"]),
            ("ft.config", [[b"TIMEOUT", b"5"]], [[b"TIMEOUT", b"5"]], [[b"TIMEOUT", b"5"]]),
            (
                "ft.config",
                [[b"TIMEOUT", b"5"]],
                [[b"TIMEOUT", b"6"]],
                [[b"TIMEOUT", b"5"], [b"TIMEOUT", b"6"]],
            ),
            ("ft.config", b"OK", b"OK", b"OK"),
            ("ft.dictadd", 2, 0, 2),
            ("ft.dictdump", [b"a"], [b"b", b"a"], [b"a", b"b"]),
        ):
            self.assertEqual(self.merged(name, one, other), both, name)

    def test_resp3(self) -> None:
        """Maps and sets remain what they are."""
        one = Map([(b"x", b"1")])
        self.assertEqual(self.merged("config|get", one, one, protocol=3), one)
        self.assertEqual(self.merged("ft.config", one, one, protocol=3), one)
        merged = self.merged("keys", Set([b"a"]), Set([b"b"]), protocol=3)
        self.assertEqual((merged, type(merged)), (Set([b"a", b"b"]), Set))

    def test_error(self) -> None:
        """One host's error is the answer: what the others did is not all that was asked for."""
        self.assertEqual(merge("dbsize", 2, [b":1\r\n", b"-LOADING\r\n"]), b"-LOADING\r\n")

    def test_nonsense(self) -> None:
        """Answers that do not fit together are an error."""
        self.assertEqual(merge("dbsize", 2, [b":1\r\n", b"$1\r\na\r\n"]), b"-upstream protocol error\r\n")

    def test_one(self) -> None:
        """The answer of an only host is passed on as it is."""
        self.assertEqual(merge("keys", 2, [b"*0\r\n"]), b"*0\r\n")

    def test_info(self) -> None:
        """INFO tells sums of what can be summed, the keyspaces too, and the first host's other facts."""
        one = b"# Server\r\nredis_version:7.0\r\n\r\n# Clients\r\nconnected_clients:1\r\n\r\n# Keyspace\r\n"
        one += b"db0:keys=2,expires=1,avg_ttl=7\r\n"
        other = one.replace(b"7.0", b"7.2").replace(b"db0", b"db1")
        lines = merge_info([one, one.replace(b"7.0", b"7.2"), other]).decode().split("\r\n")
        self.assertIn("redis_version:7.0", lines)
        self.assertIn("redis_hosts:3", lines)
        self.assertIn("connected_clients:3", lines)
        self.assertIn("db0:keys=4,expires=2,avg_ttl=7", lines)
        self.assertIn("db1:keys=2,expires=1,avg_ttl=7", lines)
        self.assertIsInstance(merge_info([Verbatim(b"txt:" + one)]), Verbatim)
