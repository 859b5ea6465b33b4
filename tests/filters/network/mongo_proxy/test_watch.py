"""Tests for meshd.filters.network.mongo_proxy.watch."""

from __future__ import annotations

from datetime import timedelta

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from meshd.codec.mongo import message
from meshd.filters.network.mongo_proxy.config import ALL, Delay
from meshd.filters.network.mongo_proxy.watch import ACTIVE, key_of
from meshd.interfaces import INetworkFilter
from meshd.observe.info import ConnectionInfo
from meshd.testing import SERVER, FakeClient
from tests.codec.mongo.messages import msg, query, reply
from tests.filters.network.mongo_proxy.conversation import Conversation, found

DESTROYED = "cx_destroy_{}_with_active_rq"


class EndTests(SynchronousTestCase):
    """The end of a connection on which a request waits for its answer."""

    def setUp(self) -> None:
        self.talk = Conversation()
        self.talk.ask({"find": "users"})
        self.assertEqual(self.talk["op_query_active"], 1)

    def ended(self) -> list[int]:
        """How many ended so: by us, by the client."""
        self.assertEqual(self.talk["op_query_active"], 0)
        return [self.talk[DESTROYED.format(who)] for who in ("local", "remote")]

    def test_interface(self) -> None:
        """It is a network filter."""
        verifyObject(INetworkFilter, self.talk.filter)

    def test_reset(self) -> None:
        """The client's reset is the client's end."""
        self.talk.client.reset()
        self.assertEqual(self.ended(), [0, 1])

    def test_fin(self) -> None:
        """After the client's FIN, it is we who end."""
        self.talk.client.half_close()
        self.talk.client.upstream.transport.loseWriteConnection()
        self.talk.client.close()
        self.assertEqual(self.ended(), [1, 0])

    def test_last_fin(self) -> None:
        """After the server's FIN, it is the client who ends."""
        self.talk.client.upstream.transport.loseWriteConnection()
        self.talk.client.half_close()
        self.talk.client.close()
        self.assertEqual(self.ended(), [0, 1])

    def test_answered(self) -> None:
        """When all was answered, nothing is counted."""
        self.talk.answer(found())
        self.talk.client.close()
        self.assertEqual(self.ended(), [0, 0])


class ActiveTests(SynchronousTestCase):
    """Requests that wait."""

    def test_bounded(self) -> None:
        """Of requests that are never answered, the oldest are forgotten."""
        talk = Conversation(slow=True)
        for _ in range(ACTIVE + 5):
            talk.ask({"ping": 1})
        self.assertEqual((talk["op_query_active"], talk["request_forgotten"]), (ACTIVE, 5))

    def test_key(self) -> None:
        """A request is known by the bytes of its id."""
        self.assertEqual(key_of(-2), b"\xfe\xff\xff\xff")


class DelayTests(SynchronousTestCase):
    """Envoy's delay."""

    def test_delay(self) -> None:
        """A request is held up for so long, once however many there are; then all goes on."""
        talk = Conversation(delay=Delay(timedelta(seconds=1), ALL))
        wire = query("db.a", {}) + query("db.b", {})
        talk.send(wire)
        self.assertEqual((talk.passed, talk["delays_injected"]), (b"", 1))
        talk.context.clock.advance(1)
        self.assertEqual((talk.passed, talk["op_query"]), (wire, 2))

    def test_gone(self) -> None:
        """Nothing is left of a client that goes meanwhile."""
        talk = Conversation(delay=Delay(timedelta(seconds=60), ALL))
        talk.send(query("db.a", {}))
        talk.client.close()
        talk.context.clock.advance(2)
        self.assertEqual(talk.context.clock.getDelayedCalls(), [])


class DrainTests(SynchronousTestCase):
    """While the proxy drains."""

    def setUp(self) -> None:
        self.talk = Conversation()

    def drain(self, seconds: float = 0.0) -> None:
        """Begin to drain, and let time pass."""
        self.talk.context.is_draining = True
        self.talk.context.clock.advance(seconds)

    def test_after_the_answer(self) -> None:
        """A connection is closed when the answer that it waits for has gone to the client, whole."""
        answer = msg(found(), 9, self.talk.ask({"find": "a"}))
        self.drain(2)
        self.talk.reply(answer[:40])
        self.assertFalse(self.talk.client.dropped)
        self.talk.reply(answer[40:])
        self.assertTrue(self.talk.client.dropped)
        self.assertEqual((self.talk.client.received, self.talk["cx_drain_close"]), (answer, 1))

    def test_idle(self) -> None:
        """A connection that waits for nothing is closed a moment later."""
        self.talk.call({"ping": 1})
        self.drain(1)
        self.assertTrue(self.talk.client.dropped)

    def test_within_a_request(self) -> None:
        """Within a request it is not."""
        self.talk.send(msg({"ping": 1}, 1)[:20])
        self.drain(5)
        self.assertFalse(self.talk.client.dropped)

    def test_streams(self) -> None:
        """One on which the server streams hellos only is closed too; one that streams documents not."""
        flags = message.MORE_TO_COME
        self.talk.ask({"hello": 1}, 1 << 16)
        self.talk.answer({"ok": 1.0}, request=9, flags=flags)
        other = Conversation(self.talk.context)
        other.ask({"find": "a"}, 1 << 16)
        other.answer(found({}, cursor=7), request=9, flags=flags)
        self.drain(1)
        self.assertEqual((self.talk.client.dropped, other.client.dropped), (True, False))

    def test_runtime(self) -> None:
        """Runtime may forbid it."""
        self.talk.context.runtime.values["mongo.drain_close_enabled"] = "0"
        self.drain(1)
        self.talk.call({"ping": 1})
        self.assertFalse(self.talk.client.dropped)


class LogTests(SynchronousTestCase):
    """Envoy's log."""

    def test_upstream(self) -> None:
        """A line names the server, once there is one."""
        talk = Conversation(access_log="log")

        class Host:
            address = ("10.0.0.1", 27017)

        class Upstream:
            host = Host()

        info = ConnectionInfo(("10.1.1.1", 1), SERVER)
        info.upstream = Upstream()  # type: ignore[assignment]
        talk.client = FakeClient(talk.build(), info=info)
        talk.send(query("db.a", {}))
        (line,) = talk.context.log_files["log"].lines
        self.assertIn('"upstream_host": "10.0.0.1:27017"', line)

    def test_runtime(self) -> None:
        """Runtime switches the log off, for messages and for connections."""
        for key in ("mongo.logging_enabled", "mongo.connection_logging_enabled"):
            talk = Conversation(access_log="log")
            talk.context.runtime.values[key] = "0"
            talk.connect()
            talk.send(query("db.a", {}))
            talk.reply(reply(1))
            talk.call({"ping": 1})
            self.assertEqual(talk.context.log_files["log"].lines, [])
