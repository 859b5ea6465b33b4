"""Tests for meshd.filters.network.mongo_proxy.guard."""

from __future__ import annotations

import random
import struct
from datetime import timedelta

import bson
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from meshd.codec.mongo import compressed, legacy, message
from meshd.codec.mongo.wire import Decoder
from meshd.filters.network.mongo_proxy.config import Bucket, Error, Fault, RateLimit, Refusal
from tests.codec.mongo.messages import DOCUMENT, RAW, msg, query, reply
from tests.codec.mongo.test_wire import CORPUS, mutate
from tests.filters.network.mongo_proxy.conversation import Conversation, found
from tests.filters.network.mongo_proxy.test_handshake import MAP, MEMBER

NO_DROP = [Refusal(commands=["drop"]), Refusal(operators=["$where"])]


class RefusingTests(SynchronousTestCase):
    """A connection on which drop and $where are refused."""

    def setUp(self) -> None:
        self.talk = Conversation(refuse=NO_DROP)

    def test_refused(self) -> None:
        """A refused command is answered with an error on its id, and the connection goes on."""
        for pieces in (False, True):
            talk = Conversation(refuse=NO_DROP)
            talk.pieces = pieces
            refused = talk.ask({"drop": "users"})
            (answer,) = Decoder().receive(talk.client.received)
            self.assertEqual(answer.response_to, refused)
            error = {"ok": 0.0, "errmsg": "refused by the proxy", "code": 13, "codeName": "Unauthorized"}
            self.assertEqual(talk.told(), [error])
            self.assertEqual(talk.passed, b"")
            talk.call({"find": "users"}, found(DOCUMENT))
            self.assertEqual(len(talk.told()), 2)
            self.assertEqual((talk["refused"], talk["cmd.find.total"]), (1, 1))
            self.assertEqual((talk["error.Unauthorized"], talk["op_query_active"]), (1, 0))

    def test_in_a_sequence(self) -> None:
        """An operator in a document beside the body is found, and in a compressed message."""
        wire = msg({"update": "c", "$db": "db"}, updates=[{"q": {"a": {"$where": "1"}}}])
        self.talk.send(wire)
        for kind in (1, 2, 3):
            self.talk.send(compressed.compress(wire, kind))
        self.assertEqual((self.talk["refused"], self.talk.passed), (4, b""))

    def test_unanswered(self) -> None:
        """A refused request that wants no answer gets none."""
        self.talk.ask({"drop": "users"}, message.MORE_TO_COME)
        self.assertEqual((self.talk.client.received, self.talk["refused"]), (b"", 1))

    def test_pipelined(self) -> None:
        """Of requests that come together those that may pass do, in their order."""
        first, last = msg({"find": "a", "$db": "db"}, 1), msg({"find": "b", "$db": "db"}, 3)
        self.talk.send(first + msg({"drop": "a", "$db": "db"}, 2) + last)
        self.assertEqual(self.talk.passed, first + last)

    def test_not_within_an_answer(self) -> None:
        """An answer of ours waits until the server's is all there."""
        answer = msg(found(DOCUMENT), 9, self.talk.ask({"find": "users"}))
        self.talk.reply(answer[:30])
        self.talk.ask({"drop": "users"})
        self.assertEqual(self.talk.client.received, answer[:30])
        self.talk.reply(answer[30:])
        self.assertEqual([each["ok"] for each in self.talk.told()], [1.0, 0.0])

    def test_legacy(self) -> None:
        """Refused commands and queries of OP_QUERY are answered by OP_REPLY; other opcodes are dropped."""
        talk = Conversation(refuse=[Refusal(collections=["secret", "$cmd.x"]), *NO_DROP], read_only=True)
        talk.send(query("db.secret", {"a": 1}, 5))
        talk.send(query("db.$cmd", {"drop": "c"}, 6))
        talk.send(legacy.encode(legacy.Insert(7, 0, 0, "db.c", [RAW])))
        talk.send(legacy.encode(legacy.GetMore(8, 0, "db.secret", 0, 1)))
        talk.send(legacy.encode(legacy.Command(9, 0, "db", "drop", RAW, RAW, [])))
        answers = Decoder().receive(talk.client.received)
        self.assertEqual([each.response_to for each in answers], [5, 6, 8, 9])
        first, second = answers[:2]
        assert isinstance(first, legacy.Reply) and isinstance(second, legacy.Reply)
        self.assertEqual((first.flags, bson.decode(first.documents[0])["code"]), (legacy.QUERY_FAILURE, 13))
        self.assertEqual((second.flags, bson.decode(second.documents[0])["codeName"]), (0, "Unauthorized"))
        self.assertEqual((talk.passed, talk["refused"], talk["read_only_refused"]), (b"", 4, 1))

    def test_unreadable(self) -> None:
        """What cannot be read cannot be judged, and does not pass."""
        damaged = bytearray(msg({"find": "c"}, 3))
        damaged[25] = 0x7E
        unknown = bytearray(compressed.compress(msg({"find": "c"}, 4), 2))
        unknown[24] = 9
        self.talk.send(bytes(damaged) + bytes(unknown))
        answers = Decoder().receive(self.talk.client.received)
        self.assertEqual([each.response_to for each in answers], [3, 4])
        self.assertEqual((self.talk.passed, self.talk["refused"]), (b"", 2))

    def test_unknown_opcode(self) -> None:
        """An unknown opcode ends the connection."""
        self.talk.send(struct.pack("<iiii", 16, 1, 0, 4711))
        self.assertTrue(self.talk.client.dropped)
        self.assertEqual(self.talk.passed, b"")

    def test_too_large(self) -> None:
        """A request that is longer than what may wait is refused."""
        talk = Conversation(refuse=NO_DROP, max_held_bytes=2000)
        wire = msg({"insert": "c", "$db": "db"}, 1, documents=[{"x": "y" * 3000}])
        talk.send(wire)
        talk.call({"ping": 1})
        self.assertEqual((talk["refused"], len(talk.told())), (1, 2))

    def test_framing_lost(self) -> None:
        """A connection whose framing is lost is closed."""
        self.talk.send(b"GET / HTTP/1.1\r\n\r\n")
        self.assertTrue(self.talk.client.dropped)
        self.assertEqual(self.talk.client.info.local_close_reason, "mongo_framing_lost")
        self.assertEqual((self.talk.passed, self.talk["framing_lost"]), (b"", 1))

    def test_server_lost(self) -> None:
        """Where the server's framing is lost, no answer of ours could be told apart: it ends."""
        self.talk.reply(b"HTTP/1.1 200 OK\r\n\r\n")
        self.talk.ask({"drop": "c"})
        self.assertTrue(self.talk.client.was_reset)

    def test_switched_off(self) -> None:
        """Runtime switches the rules off with all the rest."""
        self.talk.context.runtime.values["mongo.proxy_enabled"] = "0"
        self.talk.ask({"drop": "users"})
        self.assertEqual(self.talk.passed, msg({"drop": "users", "$db": "db"}, 1))

    def test_half_close(self) -> None:
        """The client's FIN passes."""
        self.talk.client.half_close()
        self.assertTrue(self.talk.client.upstream.half_closed)

    def test_logged(self) -> None:
        """A refused request is logged, with the error."""
        talk = Conversation(refuse=NO_DROP, access_log="log")
        talk.ask({"drop": "users"})
        (line,) = talk.context.log_files["log"].lines
        self.assertIn('"command": "drop"', line)
        self.assertIn("Unauthorized: refused by the proxy", line)


class LimitingTests(SynchronousTestCase):
    """A rate limit."""

    def test_retryable(self) -> None:
        """What is over the limit gets an error that drivers may retry."""
        bucket = Bucket(max_tokens=1, fill_interval=timedelta(seconds=1))
        talk = Conversation(rate_limits=[RateLimit(collections=["users"], token_bucket=bucket)])
        for _ in range(2):
            talk.ask({"insert": "users"})
        (told,) = talk.told()
        self.assertEqual((told["code"], told["ok"], talk["rate_limited"]), (262, 0.0, 1))
        self.assertIn("RetryableWriteError", told["errorLabels"])

    def test_unreadable(self) -> None:
        """Where nothing is refused, what cannot be read passes."""
        bucket = Bucket(max_tokens=1, fill_interval=timedelta(seconds=1))
        talk = Conversation(rate_limits=[RateLimit(collections=["users"], token_bucket=bucket)])
        wire = struct.pack("<iiii", 16, 1, 0, 4711)
        talk.send(wire)
        self.assertEqual(talk.passed, wire)


class FaultTests(SynchronousTestCase):
    """Delays and errors."""

    def test_delay(self) -> None:
        """A delayed request, and what comes after it, waits; then all goes on, and so does a FIN."""
        talk = Conversation(faults=[Fault(commands=["find"], delay=timedelta(seconds=2))])
        talk.ask({"find": "users"})
        talk.ask({"ping": 1})
        talk.client.half_close()
        self.assertEqual((talk.passed, bool(talk.client.paused_by)), (b"", True))
        self.assertFalse(talk.client.upstream.half_closed)
        talk.context.clock.advance(2)
        self.assertEqual((talk["cmd.find.total"], talk["op_msg"]), (1, 2))
        self.assertEqual((bool(talk.client.paused_by), talk["delays_injected"]), (False, 1))
        self.assertTrue(talk.client.upstream.half_closed)

    def test_error(self) -> None:
        """An injected error comes after its delay."""
        fault = Fault(delay=timedelta(seconds=1), error=Error(91, "ShutdownInProgress", "injected", ["A"]))
        talk = Conversation(faults=[fault])
        talk.ask({"find": "users"})
        self.assertEqual(talk.told(), [])
        talk.context.clock.advance(1)
        self.assertEqual((talk.told()[0]["code"], talk.told()[0]["errorLabels"]), (91, ["A"]))
        self.assertEqual((talk["errors_injected"], talk.passed), (1, b""))

    def test_gone(self) -> None:
        """Nothing is left of a client that goes meanwhile."""
        talk = Conversation(faults=[Fault(delay=timedelta(seconds=60))])
        talk.ask({"find": "users"})
        talk.client.close()
        talk.context.clock.advance(2)
        self.assertEqual(talk.context.clock.getDelayedCalls(), [])


class HelloTests(SynchronousTestCase):
    """Answers to hello with other addresses."""

    def test_changed(self) -> None:
        """The answer to hello has the proxy's addresses, all else passes as it is, in pieces or not."""
        for pieces in (False, True):
            talk = Conversation(hosts=MAP)
            talk.pieces = pieces
            talk.call({"hello": 1}, MEMBER)
            talk.call({"find": "c"}, found({"me": "db1:27017"}))
            hello, other = talk.told()
            self.assertEqual((hello["primary"], hello["me"]), ("proxy:1", "proxy:2"))
            self.assertEqual(other["cursor"]["firstBatch"], [{"me": "db1:27017"}])
            self.assertEqual((talk["hello_rewritten"], talk["op_msg_reply"]), (1, 2))

    def test_streamed(self) -> None:
        """Answers that the server streams are changed too, though they come together, and their checksums."""
        talk = Conversation(hosts=MAP)
        asked = talk.ask({"hello": 1, "topologyVersion": {}, "maxAwaitTimeMS": 10}, 1 << 16)
        flags = message.MORE_TO_COME | message.CHECKSUM_PRESENT
        talk.reply(msg(MEMBER, 501, asked, flags) + msg(MEMBER, 502, 501, flags) + msg(MEMBER, 503, 502, 1))
        self.assertEqual([each["primary"] for each in talk.told()], ["proxy:1"] * 3)
        for each in Decoder().receive(talk.client.received):
            assert isinstance(each, message.Msg)
            self.assertTrue(message.verify(each.data))

    def test_legacy(self) -> None:
        """An answer by OP_REPLY is changed too."""
        talk = Conversation(hosts=MAP)
        talk.send(query("admin.$cmd", {"isMaster": 1}, 4))
        talk.reply(reply(4, MEMBER))
        (answer,) = Decoder().receive(talk.client.received)
        assert isinstance(answer, legacy.Reply)
        self.assertEqual(bson.decode(answer.documents[0])["primary"], "proxy:1")

    def test_nothing_to_change(self) -> None:
        """An answer without addresses, a damaged one, and bytes that are no messages pass as they are."""
        talk = Conversation(hosts=MAP)
        wire = msg({"ok": 1.0}, 9, talk.ask({"hello": 1}))
        damaged = bytearray(msg(MEMBER, 9, talk.ask({"hello": 1})))
        damaged[25] = 0x7E
        rest = bytes(damaged) + b"HTTP/1.1 200 OK\r\n\r\nbye"
        talk.reply(wire + rest)
        self.assertEqual(talk.client.received, wire + rest)


class TestFuzz:
    """Rubbish."""

    @given(st.integers(0, 1 << 62))
    def test_mutated(self, seed: int) -> None:
        """Whatever requests come, no refused command passes, nothing is raised; answers pass in order."""
        dice = random.Random(seed)
        talk = Conversation(refuse=[Refusal(commands=["find"])], hosts=MAP)
        for _ in range(10):
            data = mutate(dice, dice.choice(CORPUS))
            if not talk.client.dropped:
                talk.send(data)
            talk.reply(msg({"n": 1, "ok": 1.0}, 1, 1))
        passed = Decoder().receive(talk.passed)
        assert not [each for each in passed if isinstance(each, message.Msg) and each.name == "find"]
        talk.client.close()
