"""Tests for meshd.admin.commands."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from meshd.admin.commands import ANSWERS
from meshd.admin.menu import BY_PATH, MENU, help_text
from tests.admin.fakes import FakeServer, get


class CommandsTests(SynchronousTestCase):
    """What answers the commands."""

    def test_complete(self) -> None:
        """What is listed is answered, and nothing else."""
        self.assertEqual(set(ANSWERS), set(BY_PATH))

    def test_help(self) -> None:
        """/help prints the list."""
        answer = get(FakeServer(), "/help")
        self.assertEqual((answer.status, answer.body), (200, help_text()))

    def test_all_answer(self) -> None:
        """Each command that only shows something does so, and tells what it is."""
        kinds = ("text/plain; charset=UTF-8", "text/html; charset=UTF-8", "application/json")
        for command in MENU:
            if not command.post:
                answer = get(FakeServer(), command.path)
                self.assertEqual(answer.status, 200)
                self.assertIn(answer.headers["content-type"], kinds)
