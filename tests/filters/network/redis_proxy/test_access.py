"""Tests for meshd.filters.network.redis_proxy.access."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.filters.network.redis_proxy.talk import Talk

NOAUTH = b"-NOAUTH Authentication required.\r\n"


def inline(*texts: str) -> list[dict[str, Any]]:
    """Return DataSources with these texts."""
    return [{"inline_string": text} for text in texts]


class PasswordTests(SynchronousTestCase):
    """Two passwords, either of which will do."""

    def setUp(self) -> None:
        self.talk = Talk(downstream_auth_passwords=inline("one", "two"))
        self.client = self.talk.client()

    def say(self, *commands: str) -> bytes:
        """Send commands, return what came."""
        return self.talk.say(self.client, *commands)

    def test_before(self) -> None:
        """Nothing is answered before a password, not even PING; but that there is no such command is told."""
        self.assertEqual(self.say("PING", "GET k", "GET"), NOAUTH * 3)
        self.assertIn(b"-ERR unknown command 'FOO'", self.say("FOO"))
        self.assertIn(b"-NOAUTH HELLO", self.say("HELLO 2"))
        self.assertEqual(self.talk.links(), [])

    def test_right(self) -> None:
        """Either password lets the client in, with the name default or without."""
        for words in ("AUTH one", "AUTH two", "AUTH default two", "HELLO 2 AUTH default one"):
            client = self.talk.client()
            self.assertNotEqual(self.talk.say(client, words)[:1], b"-")
            self.assertEqual(self.talk.say(client, "PING"), b"+PONG\r\n")

    def test_wrong(self) -> None:
        """A wrong password is told, and takes away what an earlier one gave, as in Envoy."""
        self.assertEqual(self.say("AUTH one", "PING"), b"+OK\r\n+PONG\r\n")
        self.assertEqual(self.say("AUTH x", "PING"), b"-ERR invalid password\r\n" + NOAUTH)
        self.assertEqual(self.say("AUTH x one"), b"-WRONGPASS invalid username-password pair\r\n")

    def test_reset(self) -> None:
        """RESET takes it away too."""
        self.assertEqual(self.say("AUTH one", "RESET", "PING"), b"+OK\r\n+RESET\r\n" + NOAUTH)


class NameTests(SynchronousTestCase):
    """A name beside the password, or no password at all."""

    def test_name(self) -> None:
        """The name has to be right too, and is who the client is."""
        talk = Talk(downstream_auth_passwords=inline("pw"), downstream_auth_username={"inline_string": "joe"})
        client = talk.client()
        wrong = b"-WRONGPASS invalid username-password pair\r\n"
        self.assertEqual(talk.say(client, "AUTH default pw", "AUTH joe x"), wrong * 2)
        self.assertEqual(talk.say(client, "AUTH joe pw", "ACL WHOAMI"), b"+OK\r\n$3\r\njoe\r\n")

    def test_none(self) -> None:
        """Who gives a password where none is wanted is told so."""
        talk = Talk()
        self.assertEqual(
            talk.say(talk.client(), "AUTH a", "AUTH a b"),
            b"-ERR Client sent AUTH, but no password is set\r\n"
            b"-ERR Client sent AUTH, but no username-password pair is set\r\n",
        )
