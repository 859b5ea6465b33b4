"""Tests for meshd.filters.network.redis_proxy.actions."""

from twisted.trial.unittest import SynchronousTestCase

from meshd.filters.network.redis_proxy import commands
from meshd.filters.network.redis_proxy.actions import ACTIONS, BY_NAME
from tests.filters.network.redis_proxy.talk import Talk


class ActionsTests(SynchronousTestCase):
    """What does each kind of command."""

    def test_every_kind(self) -> None:
        """There is an action for the kind of every command that is known."""
        found = {command.kind for command in commands._COMMANDS.values()}
        for command in commands._COMMANDS.values():
            found |= {inner.kind for inner in command.subcommands.values()}
        self.assertEqual(found - set(ACTIONS), set())
        self.assertIn("scan", BY_NAME)

    def test_subcommands(self) -> None:
        """A subcommand is found in any case; one that does not exist, or is not for clients, is refused."""
        talk = Talk()
        client = talk.client()
        talk.say(client, "object Encoding k", "XGROUP CREATE k g 0", "COMMAND", "COMMAND DOCS get")
        heard = ["object Encoding k", "XGROUP CREATE k g 0", "COMMAND", "COMMAND DOCS get"]
        self.assertEqual(talk.heard(talk.links()[0]), heard)
        client = talk.client()
        self.assertEqual(
            talk.say(client, "OBJECT FOO k", "DEBUG SLEEP 1", "SHUTDOWN", "CLUSTER SLOTS", "CONFIG"),
            b"-ERR OBJECT subcommand 'FOO' is not supported by the proxy\r\n"
            b"-ERR unknown command 'DEBUG', with args beginning with: SLEEP\r\n"
            b"-ERR unknown command 'SHUTDOWN', with args beginning with: \r\n"
            b"-ERR This instance has cluster support disabled\r\n"
            b"-invalid request\r\n",
        )
