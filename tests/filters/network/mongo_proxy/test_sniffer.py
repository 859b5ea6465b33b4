"""Tests for meshd.filters.network.mongo_proxy.sniffer."""

from __future__ import annotations

import random
import struct
from typing import Any

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from meshd.codec.mongo import compressed, legacy, message
from meshd.filters.network.mongo_proxy.config import Bounds
from tests.codec.mongo.messages import DOCUMENT, LEGACY, WIRES, msg, query, reply
from tests.codec.mongo.test_wire import CORPUS, mutate
from tests.filters.network.mongo_proxy.conversation import HELLO, Conversation, failure, found

EXHAUST = 1 << 16


class PassingTests(SynchronousTestCase):
    """Whatever comes, it passes."""

    def test_unchanged(self) -> None:
        """Bytes pass as they come, both ways, a byte at a time or all at once."""
        for pieces in (False, True):
            talk = Conversation()
            talk.pieces = pieces
            wire = b"".join(WIRES)
            talk.send(wire)
            talk.reply(wire)
            self.assertEqual((talk.passed, talk.client.received), (wire, wire))

    def test_unknown_opcode(self) -> None:
        """An unknown opcode is counted and stepped over, and decoding goes on."""
        talk = Conversation()
        talk.send(struct.pack("<iiii", 20, 1, 0, 4711) + b"abcd")
        talk.call({"ping": 1})
        self.assertEqual((talk["op_unknown"], talk["decoding_error"], talk["op_msg"]), (1, 1, 1))

    def test_damaged(self) -> None:
        """A damaged document is counted and stepped over."""
        talk = Conversation()
        wire = bytearray(msg({"find": "c"}))
        wire[25] = 0x7E
        talk.send(bytes(wire))
        talk.call({"ping": 1})
        self.assertEqual((talk["decoding_error"], talk["op_msg"]), (1, 1))

    def test_framing_lost(self) -> None:
        """When the framing is lost nothing is looked at any more, and that is told; bytes pass."""
        talk = Conversation()
        talk.ask({"find": "c"})
        talk.send(b"GET / HTTP/1.1\r\n\r\n")
        talk.ask({"ping": 1})
        self.assertEqual((talk["framing_lost"], talk["decoding_error"], talk["op_msg"]), (1, 1, 1))
        self.assertEqual(talk["op_query_active"], 0)
        self.assertTrue(talk.passed.endswith(msg({"ping": 1, "$db": "db"}, 2)))

    def test_large(self) -> None:
        """A message that is larger than what is looked at counts by its beginning."""
        talk = Conversation(max_inspected_bytes=2048)
        documents = [DOCUMENT] * 500
        talk.ask({"insert": "users"}, documents=documents)
        talk.answer(found(*documents))
        talk.send(legacy.encode(legacy.Insert(1, 0, 0, "db.c", [bson.encode({"x": "y" * 9000})])))
        self.assertEqual((talk["cmd.insert.total"], talk["message_large"]), (1, 1))
        (number,) = talk.values("cmd.insert.reply_num_docs")
        self.assertTrue(450 < number < 550)

    def test_compressed(self) -> None:
        """Compressed messages count as what is in them, and as compressed."""
        talk = Conversation()
        for kind in (1, 2, 3):
            talk.send(compressed.compress(msg({"find": "users", "$db": "db"}, kind), kind))
            talk.reply(compressed.compress(msg(found({"a": 1}), 100, kind), kind))
        self.assertEqual((talk["op_compressed"], talk["cmd.find.total"]), (6, 3))
        self.assertEqual(talk.values("cmd.find.reply_num_docs"), [1, 1, 1])

    def test_unknown_compressor(self) -> None:
        """What is compressed by something unknown is counted and stepped over."""
        talk = Conversation()
        wire = bytearray(compressed.compress(msg({"find": "c"}), 2))
        wire[24] = 9
        talk.send(bytes(wire))
        self.assertEqual((talk["op_compressed_unknown"], talk["decoding_error"]), (1, 0))


class CountingTests(SynchronousTestCase):
    """What is counted of OP_MSG."""

    def setUp(self) -> None:
        self.talk = Conversation()

    def test_find(self) -> None:
        """Documents, their bytes and the time are those of the answer."""
        talk = self.talk
        talk.call({"find": "users", "filter": {"_id": 1}}, found(DOCUMENT, DOCUMENT), 0.25)
        for name in ("cmd.find", "collection.users.query"):
            self.assertEqual(talk.values(f"{name}.reply_num_docs"), [2])
            self.assertEqual(talk.values(f"{name}.reply_size"), [2 * len(bson.encode(DOCUMENT))])
            self.assertEqual([round(time) for time in talk.values(f"{name}.reply_time_ms")], [250])
        self.assertEqual((talk["op_msg"], talk["op_msg_reply"], talk["op_query_active"]), (1, 1, 0))

    def test_cursor(self) -> None:
        """A cursor is opened, continued, and in the end timed out."""
        talk = self.talk
        talk.call({"find": "users"}, found({}, cursor=7))
        more = {"getMore": bson.Int64(7), "collection": "users"}
        talk.call(more, found({}, cursor=7, batch="nextBatch"))
        talk.call(more, failure(43, "CursorNotFound"))
        self.assertEqual([talk[f"cursor_{name}"] for name in ("opened", "continued", "timed_out")], [1, 2, 1])
        self.assertEqual((talk["op_reply_valid_cursor"], talk["op_reply_cursor_not_found"]), (2, 1))

    def test_errors(self) -> None:
        """Errors count by the names of their codes, and for what was asked."""
        talk = self.talk
        talk.call({"insert": "users"}, failure(10107, "NotWritablePrimary"))
        talk.call({"find": "users"}, failure(50, "MaxTimeMSExpired"))
        talk.call({"insert": "users"}, {"ok": 1.0, "n": 0, "writeErrors": [{"index": 0, "code": 11000}]})
        for name in ("NotWritablePrimary", "MaxTimeMSExpired", "DuplicateKey"):
            self.assertEqual(talk[f"error.{name}"], 1)
        self.assertEqual((talk["cmd.insert.errors"], talk["collection.users.query.errors"]), (1, 1))
        self.assertEqual((talk["write_errors"], talk["op_reply_query_failure"]), (1, 1))

    def test_unanswered(self) -> None:
        """A request that wants no answer is not waited for."""
        self.talk.ask({"insert": "users"}, message.MORE_TO_COME)
        self.assertEqual((self.talk["op_msg_unanswered"], self.talk["op_query_active"]), (1, 0))

    def test_exhaust(self) -> None:
        """Answers that follow each other are one answer: all documents, and the time of the last."""
        talk = self.talk
        talk.ask({"find": "users"}, EXHAUST)
        talk.answer(found({}, {}, cursor=7), request=501, flags=message.MORE_TO_COME)
        talk.context.clock.advance(1)
        talk.answer(found({}, cursor=7, batch="nextBatch"), 501, 502, message.MORE_TO_COME)
        talk.context.clock.advance(1)
        talk.answer(found({}, batch="nextBatch"), 502, 503)
        self.assertEqual(talk.values("cmd.find.reply_num_docs"), [4])
        self.assertEqual(talk.values("cmd.find.reply_time_ms"), [2000])
        self.assertEqual((talk["cursor_opened"], talk["op_query_active"]), (1, 0))

    def test_transactions(self) -> None:
        """Transactions that were committed, aborted, and one whose commit failed."""
        talk = self.talk
        talk.call({"commitTransaction": 1})
        talk.call({"abortTransaction": 1})
        talk.call({"commitTransaction": 1}, failure(251, "NoSuchTransaction"))
        self.assertEqual((talk["transaction_committed"], talk["transaction_aborted"]), (1, 1))

    def test_collection_scan(self) -> None:
        """An explain that tells of a collection scan counts for the collection."""
        plan = {"queryPlanner": {"winningPlan": {"stage": "COLLSCAN"}}, "ok": 1.0}
        self.talk.call({"explain": {"find": "users"}}, plan)
        self.talk.call({"explain": {"find": "users"}}, {"queryPlanner": {"stage": "IXSCAN"}, "ok": 1.0})
        self.talk.call({"find": "users"}, found({"stage": "COLLSCAN"}))
        self.assertEqual(self.talk["op_query_collection_scan"], 1)
        self.assertEqual(self.talk["collection.users.query.collection_scan"], 1)

    def test_handshake(self) -> None:
        """Driver and wire version are counted once for a connection, the application while it lives."""
        talk = self.talk
        talk.call(HELLO, {"ismaster": True, "maxWireVersion": 21, "ok": 1.0})
        talk.call({"hello": 1}, {"maxWireVersion": 21, "ok": 1.0})
        self.assertEqual(talk["driver.PyMongo_4_6_0.cx_total"], 1)
        self.assertEqual(talk["server.wire_version_21.cx_total"], 1)
        self.assertEqual(talk["application.shop.cx_active"], 1)
        talk.call({"find": "users", "filter": {"_id": 1}}, found())
        self.assertEqual(talk["collection.users.callsite.shop.query.total"], 1)
        talk.client.close()
        self.assertEqual((talk["application.shop.cx_active"], talk["application.shop.cx_total"]), (0, 1))

    def test_legacy_handshake(self) -> None:
        """A handshake by OP_QUERY tells the same."""
        self.talk.send(query("admin.$cmd", HELLO))
        self.talk.reply(reply(1, {"ismaster": True, "maxWireVersion": 6}))
        self.assertEqual(self.talk["application.shop.cx_active"], 1)
        self.assertEqual(self.talk["server.wire_version_6.cx_total"], 1)

    def test_unexpected(self) -> None:
        """An answer to nothing is counted."""
        self.talk.answer({"ok": 1.0}, to=77)
        self.assertEqual(self.talk["reply_unexpected"], 1)

    def test_legacy(self) -> None:
        """Each legacy opcode has its counter."""
        for each in LEGACY[3:]:
            self.talk.send(legacy.encode(each))
        names = "get_more insert update delete kill_cursors command command_reply".split()
        self.assertEqual([self.talk[f"op_{name}"] for name in names], [1] * 7)

    def test_legacy_reply(self) -> None:
        """An OP_REPLY counts for its query, as in Envoy."""
        self.talk.send(query("db.users", {"_id": 1}, 3, legacy.TAILABLE))
        self.talk.reply(reply(3, DOCUMENT, DOCUMENT, flags=3, cursor=9))
        self.assertEqual(self.talk.values("collection.users.query.reply_num_docs"), [2])
        for name in ("valid_cursor", "cursor_not_found", "query_failure"):
            self.assertEqual(self.talk[f"op_reply_{name}"], 1)


class MetadataTests(SynchronousTestCase):
    """Dynamic metadata."""

    def test_operations(self) -> None:
        """What the last bytes ask for, by collection; it is there before they go on inward."""
        talk = Conversation(emit_dynamic_metadata=True)
        talk.send(
            msg({"find": "users", "$db": "db"})
            + msg({"insert": "users", "$db": "db"})
            + msg({"ping": 1, "$db": "db"})
            + query("db.old", {})
        )
        metadata = talk.client.info.metadata["envoy.filters.network.mongo_proxy"]
        self.assertEqual(metadata, {"db.users": ["query", "insert"], "db.old": ["query"]})
        talk.ask({"ping": 1})
        self.assertEqual(talk.client.info.metadata["envoy.filters.network.mongo_proxy"], {})


#: Commands, and how they may be answered.
COMMANDS: list[dict[str, Any]] = [
    {"find": "users", "filter": {"_id": 1}, "limit": 1},
    {"find": "users", "filter": {"_id": 2}, "limit": 9},
    {"find": "users", "filter": {"_id": {"$in": [1, 2]}}},
    {"find": "users", "filter": {"name": "x"}, "maxTimeMS": 5},
    {"find": "users", "filter": {"name": "y"}, "tailable": True},
    {"find": "users", "filter": {"name": "z"}, "tailable": False},
    {"find": "other", "filter": {}, "comment": '{"callingFunction": "f"}'},
    {"find": "other", "filter": {}, "comment": '{"callingFunction": "g"}'},
    {"count": "users", "query": {"a": 1}},
    {"ping": 1},
    {"insert": "users", "txnNumber": bson.Int64(1), "lsid": {"id": b"1"}},
    {"getMore": bson.Int64(7), "collection": "users"},
    {"aggregate": "users", "pipeline": [{"$match": {"a": 1}}], "explain": False},
    HELLO,
]
ANSWERS: list[dict[str, Any]] = [
    found(DOCUMENT),
    found(),
    found(DOCUMENT, {"a": 1}),
    found(DOCUMENT, cursor=7),
    found(DOCUMENT, batch="nextBatch"),
    {**found(DOCUMENT), "operationTime": bson.Timestamp(1, 2), "$clusterTime": {"t": bson.Timestamp(1, 2)}},
    {"ok": 1.0, "n": 1},
    failure(50, "MaxTimeMSExpired"),
    {**found(DOCUMENT), "ok": 0.0, "code": 8, "codeName": "UnknownError"},
    {"ok": 1.0, "cursor": {"id": bson.Int64(0), "ns": "x", "firstBatch": [DOCUMENT]}},
]
STEPS = st.lists(
    st.tuples(st.integers(0, len(COMMANDS)), st.integers(0, len(ANSWERS)), st.integers(0, 3)), max_size=16
)


def play(talk: Conversation, steps: list[tuple[int, int, int]]) -> Any:
    """Let steps happen: a command, or an OP_QUERY; an answer, or none, after some milliseconds."""
    for command, answer, time in steps:
        if command < len(COMMANDS):
            talk.ask(COMMANDS[command])
        else:
            talk.requests += 1
            talk.send(query("db.users", {"_id": time}, talk.requests))
        talk.context.clock.advance(time / 1000 + 0.0005)
        if answer == len(ANSWERS):
            continue
        if command < len(COMMANDS):
            talk.answer(ANSWERS[answer])
        else:
            talk.reply(
                reply(talk.requests, *([DOCUMENT] * (answer % 3)), flags=answer % 4, cursor=answer % 5 == 4)
            )
    return talk.all(), talk.passed, talk.client.received


def rounded(outcome: Any) -> Any:
    """Times as whole milliseconds, which is how they are counted."""
    (numbers, histograms), passed, received = outcome
    return (
        numbers,
        {name: [int(value) for value in values] for name, values in histograms.items()},
        passed,
        received,
    )


class TestShortWay:
    """What was seen before is counted without being read."""

    @given(STEPS)
    def test_same(self, steps: list[tuple[int, int, int]]) -> None:
        """It counts the same as if all were read, whole or a byte at a time."""
        slow, pieces = Conversation(slow=True), Conversation()
        pieces.pieces = True
        quick = rounded(play(Conversation(), steps * 5))
        assert quick == rounded(play(slow, steps * 5))
        assert quick == rounded(play(pieces, steps * 5))

    def test_is_taken(self) -> None:
        """It is taken: the message of the second request is not kept."""
        talk = Conversation()
        for _ in range(3):
            talk.call(COMMANDS[0], ANSWERS[0])
        talk.ask(COMMANDS[0])
        assert isinstance(talk.filter.active[struct.pack("<i", 4)], tuple)
        assert talk.values("cmd.find.reply_num_docs") == [1, 1, 1]

    def test_lost(self) -> None:
        """When the framing is lost, nothing goes the short way either."""
        talk = Conversation()
        for _ in range(4):
            talk.call(COMMANDS[0], ANSWERS[0])
        talk.send(bytes(20))
        talk.ask(COMMANDS[0])
        assert (talk["cmd.find.total"], talk["op_query_active"]) == (4, 0)

    def test_bounded(self) -> None:
        """Requests that are never answered are bounded on the short way, too."""
        talk = Conversation()
        for _ in range(1100):
            talk.ask(COMMANDS[0])
        assert (talk["cmd.find.total"], talk["op_query_active"]) == (1100, 1024)

    def test_strangers(self) -> None:
        """Applications without names of their own are counted when their connections are over."""
        talk = Conversation(bounds=Bounds(applications=0))
        talk.call(HELLO)
        for _ in range(3):
            talk.call(COMMANDS[0], ANSWERS[0])
        talk.client.close()
        del talk.filter
        assert talk["cmd.find.total"] == 3


class TestFuzz:
    """Rubbish in, the same rubbish out."""

    @given(st.integers(0, 1 << 62))
    @pytest.mark.filterwarnings("error")
    def test_mutated(self, seed: int) -> None:
        """Messages changed here and there raise nothing, pass unchanged, and keep little."""
        dice = random.Random(seed)
        talk = Conversation(access_log="log")
        sent = b""
        for _ in range(10):
            data = mutate(dice, dice.choice(CORPUS))
            sent += data
            talk.send(data)
            talk.reply(data)
        assert (talk.passed, talk.client.received) == (sent, sent)
        talk.client.close()
        assert talk["op_query_active"] == 0

    @given(st.lists(st.binary(max_size=80)))
    def test_rubbish(self, chunks: list[bytes]) -> None:
        """Any bytes at all."""
        talk = Conversation()
        for chunk in chunks:
            talk.send(chunk)
            talk.reply(chunk)
        assert talk.passed == talk.client.received == b"".join(chunks)
