"""Tests for meshd.filters.network.redis_proxy.table."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.filters.network.redis_proxy.talk import Talk

ALWAYS = {"default_value": {"numerator": 100}}


class FaultTests(SynchronousTestCase):
    """faults."""

    def talk(self, **fault: Any) -> Talk:
        """Return a conversation with a fault for GET."""
        return Talk(faults=[{"fault_enabled": ALWAYS, "commands": ["get"], **fault}])

    def test_error(self) -> None:
        """An error is answered in place of the host, in Envoy's words; other commands are left alone."""
        talk = self.talk(fault_type="ERROR")
        client = talk.client()
        self.assertEqual(talk.say(client, "GET a", "SET a b"), b"-Fault Injected: Error\r\n")
        self.assertEqual(talk.heard(talk.links()[0]), ["SET a b"])
        self.assertEqual(talk.stats["redis.r.command.get.error_fault"], 1)

    def test_delay(self) -> None:
        """A delay makes the client wait, and with it what comes behind."""
        talk = self.talk(fault_type="DELAY", delay="0.5s")
        client = talk.client()
        self.assertEqual(talk.say(client, "GET a", "PING"), b"")
        self.assertEqual(talk.links(), [])
        self.assertEqual(talk.say(talk.client(), "PING"), b"+PONG\r\n")
        talk.settle(0.6)
        talk.answer(talk.links()[0], b":1\r\n")
        self.assertEqual(talk.got(client), b":1\r\n+PONG\r\n")
        self.assertEqual(talk.stats["redis.r.command.get.delay_fault"], 1)

    def test_disabled(self) -> None:
        """By runtime a fault is turned off."""
        talk = Talk(faults=[{"fault_type": "ERROR", "fault_enabled": {**ALWAYS, "runtime_key": "f"}}])
        talk.context.runtime.values["f"] = "0"
        talk.say(talk.client(), "GET a")
        self.assertEqual(talk.heard(talk.links()[0]), ["GET a"])


class NameTests(SynchronousTestCase):
    """How commands are found."""

    def test_case(self) -> None:
        """The case of a name does not matter, and all spellings are one command in the statistics."""
        talk = Talk()
        talk.say(talk.client(), "get a", "GET a", "gEt a")
        self.assertEqual(talk.stats["redis.r.command.get.total"], 3)
        self.assertEqual(talk.heard(talk.links()[0]), ["get a", "GET a", "gEt a"])

    def test_custom(self) -> None:
        """A custom command goes by its first argument."""
        talk = Talk(2, custom_commands=["MY.THING"])
        talk.say(talk.client(), "my.thing a1 x")
        self.assertEqual(talk.heard(talk.links(1)[0]), ["my.thing a1 x"])
        self.assertEqual(talk.stats["redis.r.command.my.thing.total"], 1)

    def test_spellings_are_bounded(self) -> None:
        """Nobody fills the memory with spellings."""
        talk = Talk()
        client = talk.client()
        for number in range(1 << 12):
            name = "".join(c.upper() if number >> i & 1 else c for i, c in enumerate("incrbyfloat0"[:11]))
            client.inner.table.find(name.encode())
        self.assertLessEqual(len(client.inner.table.spelt), 2048)
