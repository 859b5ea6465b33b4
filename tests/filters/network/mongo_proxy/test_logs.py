"""Tests for meshd.filters.network.mongo_proxy.logs."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from meshd.filters.network.mongo_proxy import logs
from meshd.filters.network.mongo_proxy.config import Log, Percentage
from tests.codec.mongo.messages import DOCUMENT, query, reply
from tests.filters.network.mongo_proxy.conversation import Conversation, failure, found


class LineTests(SynchronousTestCase):
    """One line."""

    def test_form(self) -> None:
        """Time, message and upstream, as Envoy writes them."""
        line = logs.line(1_700_000_000.0015, "{}", "-")
        expected = '{"time": "2023-11-14T22:13:20.001Z", "message": {}, "upstream_host": "-"}\n'
        self.assertEqual(line, expected)


class OperationTests(SynchronousTestCase):
    """Operations in a log."""

    def logged(self, talk: Conversation, path: str = "log") -> list[dict[str, Any]]:
        """The messages of the lines."""
        return [json.loads(line)["message"] for line in talk.context.log_files[path].lines]

    def test_all(self) -> None:
        """An operation is a line with all that is known of it; values are left out."""
        talk = Conversation(logs=[Log("log")])
        talk.call({"find": "users", "filter": {"name": "secret"}}, found(DOCUMENT), 0.25)
        (line,) = self.logged(talk)
        self.assertEqual(
            {name: line[name] for name in ("opcode", "id", "command", "database", "collection", "filter")},
            {"opcode": "OP_MSG", "id": 1, "command": "find", "database": "db", "collection": "users",
             "filter": {"name": "?"}},
        )  # fmt: skip
        self.assertEqual((line["latency_ms"], line["documents"], line["error"]), (250.0, 1, ""))
        self.assertTrue(line["request_bytes"] and line["reply_bytes"])

    def test_filters(self) -> None:
        """What is looked for is found in each kind of command."""
        talk = Conversation(logs=[Log("log")])
        talk.call({"count": "c", "query": {"a": 1}})
        talk.call({"aggregate": "c", "pipeline": [{"$match": {"a": 1}}, {"$limit": 5}]})
        talk.ask({"update": "c"}, updates=[{"q": {"a": 1}}])
        talk.answer({"ok": 1.0})
        talk.call({"ping": 1})
        filters = [{"a": "?"}, [{"$match": {"a": "?"}}, {"$limit": "?"}], {"q": {"a": "?"}}, {}]
        self.assertEqual([line["filter"] for line in self.logged(talk)], filters)

    def test_not_redacted(self) -> None:
        """With the values, if that is asked for; a long filter is cut."""
        talk = Conversation(logs=[Log("log", redact=False, max_length=20)])
        talk.call({"find": "c", "filter": {"a": 1}})
        talk.call({"find": "c", "filter": {"a": "x" * 100}})
        talk.call({"find": "c", "filter": {"a": "x" * 100_000}})
        self.assertEqual(
            [line["filter"] for line in self.logged(talk)], [{"a": 1}, '{"a": "xxxxxxxxxxxxx...', "too long"]
        )

    def test_slow(self) -> None:
        """Only those that took longer."""
        talk = Conversation(logs=[Log("log", slower_than=timedelta(seconds=1))])
        talk.call({"find": "fast"}, found(), 0.9)
        talk.call({"find": "slow"}, found(), 1.1)
        self.assertEqual([line["collection"] for line in self.logged(talk)], ["slow"])

    def test_sampled(self) -> None:
        """Only those that the dice hit."""
        talk = Conversation(logs=[Log("log", sampling=Percentage(10))])
        talk.context.runtime.dice = 0.5
        talk.call({"find": "a"}, found())
        talk.context.runtime.dice = 0.05
        talk.call({"find": "b"}, found())
        self.assertEqual([line["collection"] for line in self.logged(talk)], ["b"])

    def test_error(self) -> None:
        """An error is told with its text."""
        talk = Conversation(logs=[Log("log")])
        talk.call({"find": "c"}, failure(50, "MaxTimeMSExpired", "too slow"))
        self.assertEqual(self.logged(talk)[0]["error"], "MaxTimeMSExpired: too slow")

    def test_legacy(self) -> None:
        """An OP_QUERY is an operation too; the access log has its messages instead."""
        talk = Conversation(logs=[Log("log")], access_log="access")
        talk.send(query("db.users", {"a": "secret"}, 7))
        talk.reply(reply(7, DOCUMENT))
        talk.call({"ping": 1})
        (line, _) = self.logged(talk)
        self.assertEqual((line["opcode"], line["filter"], line["documents"]), ("OP_QUERY", {"a": "?"}, 1))
        opcodes = [line["opcode"] for line in self.logged(talk, "access")]
        self.assertEqual(opcodes, ["OP_QUERY", "OP_REPLY", "OP_MSG"])

    def test_percentages(self) -> None:
        """A percentage is the runtime's message."""
        made = logs.fraction(Percentage(5, "MILLION"), "key")
        value = made.default_value
        self.assertEqual((made.runtime_key, value.numerator, value.denominator), ("key", 5, 2))
