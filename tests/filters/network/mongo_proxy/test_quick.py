"""Tests for meshd.filters.network.mongo_proxy.quick; test_sniffer sees that it counts the same."""

from __future__ import annotations

from typing import Any

import bson
from twisted.trial.unittest import SynchronousTestCase

from meshd.codec.mongo import legacy, message
from meshd.codec.mongo.shapes import SIGHTINGS
from meshd.filters.network.mongo_proxy.config import Bounds
from meshd.filters.network.mongo_proxy.operation import Operation, Operations
from meshd.filters.network.mongo_proxy.quick import Known, Plan, Tails
from meshd.filters.network.mongo_proxy.stats import Numbers
from meshd.testing import FakeContext
from tests.codec.mongo.messages import DOCUMENT, msg
from tests.filters.network.mongo_proxy.conversation import found


class PlanTests(SynchronousTestCase):
    """What a shape's requests have in common."""

    def setUp(self) -> None:
        self.stats = FakeContext().stats
        self.numbers = Numbers(self.stats, "m", [], Bounds())
        self.operations = Operations(self.numbers)

    def operation(self, document: dict[str, Any], flags: int = 0, **sequences: Any) -> Operation:
        """Make the operation of a command."""
        wire = msg({**document, "$db": "db"}, 1, 0, flags, **sequences)
        return self.operations.of_msg(message.decode(wire), "", 3.0)

    def learn(self, operation: Operation) -> Known:
        """Learn from it."""
        known = Known(True)
        for _ in range(SIGHTINGS):
            known.learn(operation.message.data, operation, self.numbers.op_msg_reply)
        return known

    def test_settle(self) -> None:
        """What was added up goes to the statistics once."""
        plan = Plan(self.operation({"find": "users"}), self.numbers.op_msg_reply)
        plan.count = 5
        plan.answers = {(1, 100, 7): 2, (2, 100, 8): 1}
        plan.settle()
        plan.settle()
        self.assertEqual(self.stats["mongo.m.cmd.find.total"], 6)
        self.assertEqual(self.stats["mongo.m.op_msg_reply"], 3)
        self.assertEqual(sorted(self.stats.histograms["mongo.m.cmd.find.reply_num_docs"].values), [1, 1, 2])

    def test_operation(self) -> None:
        """A request that went the short way can be answered the long one."""
        first = self.operation({"find": "users"})
        made = Plan(first, self.numbers.op_msg_reply).operation(4.5)
        self.assertEqual((made.name, made.calls, made.begun), ("find", first.calls, 4.5))

    def test_learns(self) -> None:
        """A find is learned, and another with other values is known."""
        known = self.learn(self.operation({"find": "users", "filter": {"_id": 1}}))
        self.assertIsNotNone(
            known.requests.find(msg({"find": "users", "filter": {"_id": 7}, "$db": "xx"}, 99))
        )
        self.assertIsNone(known.requests.find(msg({"find": "other", "filter": {"_id": 7}, "$db": "db"})))

    def test_once(self) -> None:
        """What is seen once is not worth it."""
        known = Known(True)
        operation = self.operation({"find": "users"})
        known.learn(operation.message.data, operation, self.numbers.op_msg_reply)
        self.assertEqual(known.requests.by_key, {})

    def test_does_not_learn(self) -> None:
        """What tells more than its shape is read each time."""
        for operation in (
            self.operation({"getMore": bson.Int64(1), "collection": "c"}),
            self.operation({"insert": "c", "txnNumber": bson.Int64(1), "lsid": {}}),
            self.operation({"hello": 1}),
            self.operation({"explain": {"find": "c"}}),
            self.operation({"find": "c"}, message.MORE_TO_COME),
            self.operation({"insert": "c"}, documents=[DOCUMENT]),
        ):
            self.assertEqual(self.learn(operation).requests.by_key, {}, operation.name)

    def test_query(self) -> None:
        """An OP_QUERY is learned, whatever it skips."""
        query = legacy.Query(1, 0, 0, "database.users", 0, 1, bson.encode({"_id": 1}), bson.encode({"a": 1}))
        known, wire = Known(True), legacy.encode(query)
        read = legacy.decode(wire, legacy.OP_QUERY, 1, 0)
        assert isinstance(read, legacy.Query)
        for _ in range(SIGHTINGS):
            known.learn(wire, self.operations.of_query(read, 0), self.numbers.op_reply)
        query.limit, query.id, query.query = 7, 9, bson.encode({"_id": 4})
        self.assertIsNotNone(known.requests.find(legacy.encode(query)))
        query.query = bson.encode({"id_": 4})
        self.assertIsNone(known.requests.find(legacy.encode(query)))


class TailsTests(SynchronousTestCase):
    """The ends of answers."""

    def learn(self, document: dict[str, Any]) -> int:
        """Learn from an answer; return how many are known."""
        tails = Tails()
        for _ in range(SIGHTINGS):
            tails.learn(message.decode(msg(document)))
        return sum(map(len, tails.by_key.values()))

    def test_well(self) -> None:
        """One that went well, and left no cursor, is learned."""
        self.assertEqual(self.learn(found(DOCUMENT)), 1)
        self.assertEqual(self.learn(found(operationTime=bson.Timestamp(1, 2))), 1)

    def test_others(self) -> None:
        """Others are not."""
        for document in (
            found(cursor=7),
            found(batch="nextBatch"),
            {**found(), "ok": 0.0},
            {"ok": 1.0, **found()},
            {"cursor": {"firstBatch": [], "other": 1}, "ok": 1.0},
            found(writeConcernError={"code": 1}),
        ):
            self.assertEqual(self.learn(document), 0, document)
