"""Tests for meshd.filters.network.redis_proxy.subcommand_table, beside what a real server says."""

from twisted.trial.unittest import SynchronousTestCase

from meshd.filters.network.redis_proxy.commands import resolve

from .test_command_table import entries

#: Arities that later servers widened.
WIDENED = {"command|getkeys", "command|getkeysandflags", "cluster|replicate", "script|debug"}


class RealServerTests(SynchronousTestCase):
    """What a real server says of its subcommands."""

    def test_all(self) -> None:
        """Every subcommand of the server is known, with its arity, flags and categories."""
        listed = [inner for entry in entries() for inner in entry[9]]
        self.assertGreater(len(listed), 120)
        for name, arity, flags, first, _, _, categories, *_ in listed:
            command = resolve(name.split(b"|"))
            assert command is not None
            self.assertEqual(command.name, name.decode())
            if command.name not in WIDENED:
                self.assertEqual(command.arity, arity, name)
            self.assertEqual(command.flags, {each.decode() for each in flags}, name)
            self.assertEqual(command.acl, {each[1:].decode() for each in categories}, name)
            self.assertEqual(command.first, first, name)
