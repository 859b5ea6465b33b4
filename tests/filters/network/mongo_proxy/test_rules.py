"""Tests for meshd.filters.network.mongo_proxy.rules."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import bson
from twisted.trial.unittest import SynchronousTestCase

from meshd.codec.bson import BsonError
from meshd.codec.mongo import legacy, message
from meshd.filters.network.mongo_proxy import rules
from meshd.filters.network.mongo_proxy.config import (
    Bucket,
    Config,
    Error,
    Fault,
    Match,
    Percentage,
    RateLimit,
    Refusal,
)
from meshd.testing import FakeContext
from tests.codec.mongo.messages import LEGACY, RAW, msg

DROP = {"drop": "users", "$db": "shop"}


def request(document: dict[str, Any], **sequences: Any) -> rules.Request:
    """Return what an OP_MSG asks."""
    return rules.of_msg(message.decode(msg({**document, "$db": document.get("$db", "shop")}, **sequences)))


class RequestTests(SynchronousTestCase):
    """What is asked, whichever way."""

    def test_msg(self) -> None:
        """Command, database, collection, and the documents beside the body."""
        found = request({"update": "users"}, updates=[{"q": {"$where": "1"}}, {"u": {"$set": {"x": 1}}}])
        self.assertEqual((found.command, found.full_collection), ("update", "shop.users"))
        self.assertTrue({b"$where", b"$set", b"$db"} <= found.names())

    def test_places(self) -> None:
        """getMore, explain and renameCollection say elsewhere what they are about."""
        for document, command, collection in (
            ({"getMore": bson.Int64(1), "collection": "users"}, "getMore", "shop.users"),
            ({"explain": {"aggregate": "users"}}, "aggregate", "shop.users"),
            ({"renameCollection": "x.y", "to": "x.z"}, "renameCollection", "x.y"),
            ({"findandmodify": "users"}, "findAndModify", "shop.users"),
        ):
            found = request(document)
            self.assertEqual((found.command, found.full_collection), (command, collection))

    def test_twice(self) -> None:
        """A name that occurs twice, which servers may read otherwise, is damage."""
        body = bson.encode({"find": "a", "$db": "x"})
        twice = body[:-1] + bson.encode({"$db": "y"})[4:]
        twice = len(twice).to_bytes(4, "little") + twice[4:]
        with self.assertRaises(BsonError):
            rules.of_msg(message.decode(message.encode(1, 0, twice)))

    def test_legacy(self) -> None:
        """The opcodes before OP_MSG ask the same."""
        names = [rules.of_legacy(each).command for each in LEGACY[:2] + LEGACY[3:9]]
        expected = ["find", "find", "getMore", "insert", "update", "delete", "killCursors", "ping"]
        self.assertEqual(names, expected)
        command = legacy.Query(1, 0, 0, "shop.$cmd", 0, 0, bson.encode({"$query": {"drop": "users"}}))
        found = rules.of_legacy(command)
        self.assertEqual((found.command, found.full_collection), ("drop", "shop.users"))
        with self.assertRaises(BsonError):
            rules.of_legacy(legacy.Reply(1, 0, 0, 0, 0, 1, [RAW]))


class MatchTests(SynchronousTestCase):
    """Which requests a rule is about."""

    def check(self, match: Match, document: dict[str, Any]) -> bool:
        """Whether it is about this request."""
        return rules.matcher(match)(request(document))

    def test_all_have_to_hold(self) -> None:
        """All that is given has to hold, of each list one."""
        match = Match(commands=["drop", "find"], databases=["shop*"], collections=["users"])
        self.assertTrue(self.check(match, DROP))
        for other in ({"drop": "others"}, {"insert": "users"}, {"drop": "users", "$db": "bank"}):
            self.assertFalse(self.check(match, other))
        self.assertTrue(self.check(Match(), DROP))

    def test_collections(self) -> None:
        """With or without the database, with * and ?."""
        for pattern, holds in (("users", True), ("shop.users", True), ("bank.users", False), ("us*", True),
                               ("*.user?", True), ("user", False)):  # fmt: skip
            self.assertEqual(self.check(Match(collections=[pattern]), DROP), holds)
        self.assertFalse(self.check(Match(collections=["*"]), {"ping": 1}))

    def test_operators(self) -> None:
        """At any depth."""
        match = Match(operators=["$where", "$function"])
        self.assertTrue(self.check(match, {"find": "c", "filter": {"$or": [{"a": {"$where": "x"}}]}}))
        self.assertFalse(self.check(match, {"find": "c", "filter": {"a": "$where"}}))


class RulesTests(SynchronousTestCase):
    """What becomes of requests."""

    def rules(self, **fields: Any) -> rules.Rules:
        """Make the rules of a config."""
        self.context = FakeContext()
        return rules.Rules(Config(stat_prefix="m", **fields), self.context)

    def test_none(self) -> None:
        """Without rules there are none."""
        self.assertFalse(self.rules().any)

    def test_refused(self) -> None:
        """A refusal has the code and the text of the config."""
        made = self.rules(refuse=[Refusal(commands=["drop"], code=5, code_name="X", message="no")])
        self.assertEqual(made.judge(request(DROP)).error, Error(5, "X", "no"))
        self.assertIsNone(made.judge(request({"find": "users"})).error)
        self.assertTrue(made.any and made.strict)

    def test_handshake(self) -> None:
        """The handshake is never refused."""
        made = self.rules(refuse=[Refusal(databases=["*"])], read_only=True)
        self.assertIs(made.judge(request({"isMaster": 1})), rules.PASS)

    def test_read_only(self) -> None:
        """In read-only mode all that may write is refused, unknown commands too."""
        made = self.rules(read_only=True)
        refused: list[dict[str, Any]] = [
            {"insert": "c"}, DROP, {"unheardOf": 1}, {"aggregate": "c", "pipeline": [{"$out": "d"}]},
            {"aggregate": "c", "pipeline": [{"$merge": {"into": "d"}}]}, {"mapReduce": "c", "out": "d"},
            {"explain": {"insert": "c"}}, {"findAndModify": "c"}, {"bulkWrite": 1}, {"create": "c"},
        ]  # fmt: skip
        for document in refused:
            self.assertEqual(made.judge(request(document)).error, rules.READ_ONLY_ERROR, document)
        passed: list[dict[str, Any]] = [
            {"find": "c"}, {"aggregate": "c", "pipeline": [{"$match": {}}]}, {"ping": 1}, {"count": "c"},
            {"mapReduce": "c", "out": {"inline": 1}}, {"explain": {"find": "c"}},
        ]  # fmt: skip
        for document in passed:
            self.assertIsNone(made.judge(request(document)).error, document)

    def test_rate(self) -> None:
        """Each collection has a bucket of its own; what is over it may be retried."""
        bucket = Bucket(max_tokens=2, fill_interval=timedelta(seconds=1))
        made = self.rules(rate_limits=[RateLimit(commands=["find"], token_bucket=bucket)])
        over = [made.judge(request({"find": name})).error for name in ("a", "a", "a", "b")]
        self.assertEqual(over, [None, None, rules.LIMITED_ERROR, None])
        self.assertIsNone(made.judge(request({"insert": "a"})).error)
        self.context.clock.advance(1)
        self.assertIsNone(made.judge(request({"find": "a"})).error)
        self.assertFalse(made.strict)

    def test_rate_is_bounded(self) -> None:
        """No more buckets are kept than it says."""
        limit = rules.Limit(
            RateLimit(
                token_bucket=Bucket(max_tokens=1, fill_interval=timedelta(seconds=1)), max_collections=3
            )
        )
        for number in range(10):
            limit.take(f"c{number}", 0.0)
        self.assertEqual(len(limit._buckets), 3)

    def test_faults(self) -> None:
        """A fault happens to its part of the requests, and runtime may change the part."""
        error = Error(91, "ShutdownInProgress", "injected")
        fault = Fault(
            commands=["find"],
            error=error,
            delay=timedelta(seconds=2),
            percentage=Percentage(10),
            runtime_key="k",
        )
        made = self.rules(faults=[fault])
        verdict = made.judge(request({"find": "c"}))
        self.assertEqual((verdict.error, verdict.delay, verdict.counted), (error, 2.0, "errors_injected"))
        self.context.runtime.dice = 0.5
        self.assertIs(made.judge(request({"find": "c"})), rules.PASS)
        self.context.runtime.values["k"] = "60"
        self.assertEqual(made.judge(request({"find": "c"})).error, error)
        self.assertIs(made.judge(request({"count": "c"})), rules.PASS)
