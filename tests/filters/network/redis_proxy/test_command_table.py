"""Tests for meshd.filters.network.redis_proxy.command_table, beside what a real server says."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from meshd.filters.network.redis_proxy.commands import find
from tests.redis_servers import serving

#: Arities that later servers widened.
WIDENED = {"zrank", "zrevrank"}


def entries() -> list[Any]:
    """Return the answer of a real server to COMMAND."""
    with serving() as server:
        talk = server.talk()
        answer: list[Any] = talk.ask("COMMAND")
        talk.close()
    return answer


class RealServerTests(SynchronousTestCase):
    """What a real server says of its commands."""

    def test_all(self) -> None:
        """Every command of the server is known, with its arity, flags, categories and first key."""
        listed = entries()
        self.assertGreater(len(listed), 230)
        for name, arity, flags, first, _, _, categories, *_ in listed:
            command = find(name)
            assert command is not None, name
            self.assertEqual(command.name, name.decode())
            if command.name not in WIDENED:
                self.assertEqual(command.arity, arity, name)
            self.assertEqual(command.flags, {each.decode() for each in flags}, name)
            self.assertEqual(command.acl, {each[1:].decode() for each in categories}, name)
            if command.first:
                self.assertEqual(command.first, first, name)
