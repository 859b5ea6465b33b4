"""Tests for meshd.filters.network.mongo_proxy.answers."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from meshd.codec.mongo import message
from meshd.filters.network.mongo_proxy import answers
from tests.codec.mongo.messages import msg
from tests.filters.network.mongo_proxy.conversation import failure, found


def read(document: dict[str, Any]) -> message.Msg:
    """Return the message of an answer."""
    return message.decode(msg(document))


class AnswersTests(SynchronousTestCase):
    """Answers of a server."""

    def test_cursor(self) -> None:
        """An answer with a cursor is its batch."""
        answer = answers.read(read(found({"a": 1}, {"a": 2}, cursor=77)))
        self.assertEqual(answer, (2, 24, 77, True))
        self.assertEqual(answers.read(read(found({}, batch="nextBatch"))), (1, 5, 0, True))

    def test_plain(self) -> None:
        """Another answer is one document."""
        self.assertEqual(answers.read(read({"n": 1, "ok": 1.0})), (1, 24, 0, False))

    def test_failed(self) -> None:
        """ok tells, whatever its type; an answer without it did not fail."""
        for ok, failed in ((1.0, False), (1, False), (True, False), (0.0, True), (0, True), (False, True)):
            self.assertEqual(answers.failed(read({"ok": ok})), failed)
        self.assertFalse(answers.failed(read({"n": 1})))

    def test_error(self) -> None:
        """An error has a name: its own, that of its code, or its number."""
        for document, name in (
            (failure(11000, "Mine"), "Mine"),
            ({"ok": 0, "code": 11000}, "DuplicateKey"),
            ({"ok": 0, "code": 99999}, "code_99999"),
            ({"ok": 0}, "code_0"),
        ):
            answer = read(document)
            self.assertEqual(answers.error_of(answer.data, answer.fields).name, name)

    def test_write_errors(self) -> None:
        """Errors of single writes, and of the write concern."""
        errors = [{"index": 0, "code": 11000, "errmsg": "E11000"}, {"index": 1, "code": 112}]
        concern = {"code": 64, "codeName": "WriteConcernFailed", "errmsg": "waiting"}
        answer = read({"ok": 1.0, "writeErrors": errors, "writeConcernError": concern})
        names = [error.name for error in answers.write_errors(answer)]
        self.assertEqual(names, ["DuplicateKey", "WriteConflict", "WriteConcernFailed"])
