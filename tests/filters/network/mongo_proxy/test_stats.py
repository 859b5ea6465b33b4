"""Tests for meshd.filters.network.mongo_proxy.stats."""

from twisted.trial.unittest import SynchronousTestCase

from meshd.filters.network.mongo_proxy.config import Bounds
from meshd.filters.network.mongo_proxy.stats import COUNTERS, Numbers
from meshd.observe.stats import Store
from meshd.testing import FakeContext


class NumbersTests(SynchronousTestCase):
    """The statistics of the prefix m, with two places for collections and callsites."""

    def setUp(self) -> None:
        self.stats = FakeContext().stats
        self.numbers = Numbers(self.stats, "m", ["count"], Bounds(collections=2, callsites=2))

    def test_there_from_the_start(self) -> None:
        """Counters that are always there are there before anything happens."""
        self.assertEqual({f"mongo.m.{name}" for name in COUNTERS} - set(self.stats.numbers), set())

    def test_commands(self) -> None:
        """Known commands have names, others count together; other spellings are the same."""
        for name in ("find", "nonsense", "count"):
            self.numbers.command(name, self.numbers.commands).total.inc()
        self.numbers.command("ismaster", frozenset(["isMaster"])).total.inc()
        for name in ("find", "unknown_command", "count", "isMaster"):
            self.assertEqual(self.stats[f"mongo.m.cmd.{name}.total"], 1)

    def test_bounded(self) -> None:
        """Of collections and callsites no more have names than the bounds say."""
        for number in range(100):
            self.numbers.collection(f"c{number}").total.inc()
            self.numbers.callsite("c0", f"f{number}").total.inc()
        self.assertEqual(self.stats["mongo.m.collection.other.query.total"], 99)
        self.assertEqual(self.stats["mongo.m.collection.c0.callsite.other.query.total"], 99)
        self.assertEqual(self.stats["mongo.m.collection.c0.callsite.f0.query.total"], 1)
        self.assertTrue(self.numbers.has_place("c0", "f0"))
        self.assertFalse(self.numbers.has_place("c0", "f9"))

    def test_answered(self) -> None:
        """Many answers at once are as many one by one."""
        calls = self.numbers.collection("c")
        calls.answered(1, 100, 5.0)
        calls.answered_often({1: 2}, {100: 1, 200: 1}, {7: 2})
        name = "mongo.m.collection.c.query.reply_"
        found = {key: self.stats.histograms[name + key].values for key in ("num_docs", "size", "time_ms")}
        self.assertEqual(found, {"num_docs": [1, 1, 1], "size": [100, 100, 200], "time_ms": [5, 7, 7]})

    def test_tags(self) -> None:
        """Names of collections, callsites and commands are tags, as in Envoy."""
        store = Store()
        numbers = Numbers(store, "m", [], Bounds())
        numbers.callsite("users", "getUsers").total.inc()
        name, tags = store.tags.extract("mongo.m.collection.users.callsite.getUsers.query.total")
        self.assertEqual(name, "mongo.collection.callsite.query.total")
        self.assertEqual(
            dict(tags),
            {
                "envoy_mongo_prefix": "m",
                "envoy_mongo_collection": "users",
                "envoy_mongo_callsite": "getUsers",
            },
        )

    def test_handshakes(self) -> None:
        """Drivers, wire versions and errors have names that can be parts of names."""
        self.numbers.driver("PyMongo|c", "4.6.0").inc()
        self.numbers.wire_version(21).inc()
        self.numbers.wire_version(1 << 31).inc()
        self.numbers.error("DuplicateKey").inc()
        for name in (
            "driver.PyMongo_c_4_6_0.cx_total",
            "server.wire_version_21.cx_total",
            "error.DuplicateKey",
        ):
            self.assertEqual(self.stats[f"mongo.m.{name}"], 1)
        self.assertEqual(self.stats["mongo.m.server.wire_version_99.cx_total"], 1)
