"""Tests for meshd.filters.network.mongo_proxy.operation."""

from __future__ import annotations

import json
from typing import Any

import bson
from twisted.trial.unittest import SynchronousTestCase

from meshd.codec.bson import BsonError
from meshd.codec.mongo import legacy, message
from meshd.filters.network.mongo_proxy.config import Bounds
from meshd.filters.network.mongo_proxy.operation import Operation, Operations, calling_function
from meshd.filters.network.mongo_proxy.stats import Numbers
from meshd.testing import FakeContext
from tests.codec.mongo.messages import msg

COMMENT = json.dumps({"callingFunction": "getUsers"})


class OperationsTests(SynchronousTestCase):
    """Requests."""

    def setUp(self) -> None:
        self.stats = FakeContext().stats
        self.operations = Operations(Numbers(self.stats, "m", [], Bounds()))

    def msg(self, document: dict[str, Any], flags: int = 0, application: str = "") -> Operation:
        """Make the operation of an OP_MSG."""
        wire = msg({**document, "$db": "db"}, flags=flags)
        return self.operations.of_msg(message.decode(wire), application, 5.0)

    def query(self, collection: str, document: dict[str, Any], flags: int = 0) -> Operation:
        """Make the operation of an OP_QUERY."""
        query = legacy.Query(1, 0, flags, collection, 0, 0, bson.encode(document))
        return self.operations.of_query(query, 5.0)

    def __getitem__(self, name: str) -> int:
        return self.stats[f"mongo.m.{name}"]

    def test_find(self) -> None:
        """A find counts for its command and its collection, as in Envoy's statistics of OP_QUERY."""
        operation = self.msg({"find": "users", "filter": {"_id": 1}})
        self.assertEqual((operation.name, operation.database, operation.collection), ("find", "db", "users"))
        self.assertEqual(self["cmd.find.total"], 1)
        self.assertEqual(self["collection.users.query.total"], 1)
        self.assertEqual(self["collection.users.query.scatter_get"], 0)
        self.assertEqual(self["op_query_no_max_time"], 1)

    def test_shapes(self) -> None:
        """By several ids, and by anything else."""
        self.msg({"find": "users", "filter": {"_id": {"$in": [1]}}, "maxTimeMS": 5})
        self.msg({"find": "users", "filter": {"a": 1}, "maxTimeMS": 5})
        self.msg({"find": "users", "maxTimeMS": 5})
        self.assertEqual(self["collection.users.query.multi_get"], 1)
        self.assertEqual(self["collection.users.query.scatter_get"], 2)
        self.assertEqual((self["op_query_multi_get"], self["op_query_scatter_get"]), (1, 2))
        self.assertEqual(self["op_query_no_max_time"], 0)

    def test_options(self) -> None:
        """Tailable and other cursors, and exhaust."""
        self.msg({"find": "c", "tailable": True, "awaitData": True, "noCursorTimeout": True}, 1 << 16)
        self.msg({"find": "c", "tailable": False})
        for name in ("tailable_cursor", "await_data", "no_cursor_timeout", "exhaust"):
            self.assertEqual(self[f"op_query_{name}"], 1)

    def test_callsite(self) -> None:
        """The function that a comment names, else the application, is the callsite."""
        self.msg({"find": "users", "comment": COMMENT}, application="shop")
        self.msg({"insert": "users", "comment": "no JSON"}, application="shop")
        self.msg({"insert": "users"})
        self.assertEqual(self["collection.users.callsite.getUsers.query.total"], 1)
        self.assertEqual(self["collection.users.callsite.getUsers.query.scatter_get"], 1)
        self.assertEqual(self["collection.users.callsite.shop.insert.total"], 1)
        self.assertEqual(self["collection.users.insert.total"], 2)

    def test_unknown(self) -> None:
        """A command without statistics of its own counts with the others, and for no collection."""
        operation = self.msg({"collStats": "users"})
        self.assertEqual(self["cmd.unknown_command.total"], 1)
        self.assertEqual(operation.collection, "users")

    def test_get_more(self) -> None:
        """A getMore counts for the collection that it names."""
        self.msg({"getMore": bson.Int64(7), "collection": "users"})
        self.assertEqual(self["collection.users.getMore.total"], 1)
        self.assertEqual(self["cursor_continued"], 1)

    def test_kill_cursors(self) -> None:
        """Each cursor that is killed counts."""
        self.msg({"killCursors": "users", "cursors": [bson.Int64(1), bson.Int64(2)]})
        self.assertEqual(self["cursor_killed"], 2)

    def test_explain(self) -> None:
        """An explain is one of the collection that its command is about."""
        operation = self.msg({"explain": {"find": "users"}})
        self.assertEqual((operation.is_explain, operation.collection), (True, "users"))
        self.assertTrue(self.msg({"aggregate": "users", "explain": True}).is_explain)

    def test_transaction(self) -> None:
        """The first command of a transaction begins it; the others are no retries."""
        session = {"lsid": {"id": b"1"}, "txnNumber": bson.Int64(1), "autocommit": False}
        self.msg({"insert": "c", **session, "startTransaction": True})
        self.msg({"insert": "c", **session})
        self.assertEqual((self["transaction_started"], self["retried_writes"]), (1, 0))

    def test_retried(self) -> None:
        """A write with the session and number of another is the same one again."""
        for session, number in ((b"1", 1), (b"1", 2), (b"2", 1), (b"1", 1)):
            self.msg({"insert": "c", "lsid": {"id": session}, "txnNumber": bson.Int64(number)})
        self.assertEqual(self["retried_writes"], 1)

    def test_no_name(self) -> None:
        """A command without a name is damage."""
        wire = message.encode(1, 0, bson.encode({}))
        with self.assertRaises(BsonError):
            self.operations.of_msg(message.decode(wire), "", 0)

    def test_query(self) -> None:
        """OP_QUERY counts as in Envoy: queries for collections, commands for themselves."""
        self.query("db.users", {"$query": {"_id": [1]}, "$comment": COMMENT}, legacy.EXHAUST)
        self.query("db.$cmd", {"insert": "users"})
        self.query("db.$cmd", {"find": "users", "filter": {"_id": 1}})
        self.assertEqual(self["collection.users.query.total"], 2)
        self.assertEqual(self["collection.users.callsite.getUsers.query.multi_get"], 1)
        self.assertEqual((self["cmd.unknown_command.total"], self["cmd.find.total"]), (1, 0))
        self.assertEqual((self["op_query"], self["op_query_exhaust"]), (3, 1))

    def test_bad_queries(self) -> None:
        """OP_QUERYs that make no sense are damage."""
        for collection, document in (("users", {"a": 1}), ("db.$cmd", {}), ("db.$cmd", {"find": 5})):
            with self.assertRaises(BsonError):
                self.query(collection, document)

    def test_targets_are_bounded(self) -> None:
        """However many collections there are, no more than some are remembered."""
        for number in range(5000):
            self.msg({"find": f"c{number}"})
        self.assertLessEqual(len(self.operations._targets), 200)


class CallingFunctionTests(SynchronousTestCase):
    """Comments."""

    def test_forms(self) -> None:
        """Only a JSON object with a callingFunction names one."""
        self.assertEqual(calling_function(COMMENT), "getUsers")
        for comment in ("", "x", "{", "[1]", "5", '{"callingFunction": 5}', '{"a": 1}', '{"a":' * 100_000):
            self.assertEqual(calling_function(comment), "")
