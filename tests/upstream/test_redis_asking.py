"""Tests for meshd.upstream.redis_asking."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from meshd.codec.resp import ProtocolError, RequestParser
from meshd.codec.resp_reply import Error, Simple, encode
from meshd.interfaces import ConnectError, Overflow
from meshd.testing import FakeHost
from meshd.testing.codecs import split_anywhere
from meshd.upstream.redis_asking import AskFailed, Asking, Exchange, auth_command
from meshd.upstream.redis_topology import BadTopology, Node, Shard

SLOTS = [[0, 16383, [b"10.0.0.1", 7, b"id"]]]
SHARDS = [[b"slots", [0, 16383], b"nodes", [[b"endpoint", b"10.0.0.1", b"port", 7, b"role", b"master"]]]]
TOPOLOGY = (Shard(((0, 16383),), Node("10.0.0.1", 7), ()),)
UNKNOWN = Error(b"ERR unknown command 'CLUSTER'")


def commands(data: bytes) -> list[list[bytes]]:
    """Return the commands that were sent."""
    return [arguments for arguments, _ in RequestParser().receive(data)]


class TestExchange:
    """What is said."""

    def test_slots(self) -> None:
        """CLUSTER SLOTS tells the topology."""
        exchange = Exchange("10.0.0.9")
        assert commands(exchange.begin()) == [[b"CLUSTER", b"SLOTS"]]
        assert exchange.receive(encode(SLOTS)) == b""
        assert exchange.result == TOPOLOGY

    def test_shards(self) -> None:
        """Where CLUSTER SLOTS is refused, CLUSTER SHARDS is tried."""
        exchange = Exchange("10.0.0.9")
        exchange.begin()
        assert commands(exchange.receive(encode(UNKNOWN))) == [[b"CLUSTER", b"SHARDS"]]
        exchange.receive(encode(SHARDS))
        assert exchange.result == TOPOLOGY

    def test_neither(self) -> None:
        """Where both are refused, the refusal says why."""
        exchange = Exchange("10.0.0.9")
        exchange.receive(encode(UNKNOWN))
        with pytest.raises(AskFailed, match="unknown command"):
            exchange.receive(encode(UNKNOWN))

    def test_auth(self) -> None:
        """A password, or a user and password, go first."""
        exchange = Exchange("10.0.0.9", (b"", b"secret"))
        assert commands(exchange.begin()) == [[b"AUTH", b"secret"], [b"CLUSTER", b"SLOTS"]]
        exchange.receive(encode(Simple(b"OK")) + encode(SLOTS))
        assert exchange.result == TOPOLOGY
        assert commands(auth_command((b"me", b"secret"))) == [[b"AUTH", b"me", b"secret"]]

    def test_needless_auth(self) -> None:
        """A server that needs no password refuses it, and tells the topology all the same."""
        exchange = Exchange("10.0.0.9", (b"", b"secret"))
        exchange.receive(encode(Error(b"ERR AUTH called without any password")) + encode(SLOTS))
        assert exchange.result == TOPOLOGY

    def test_wrong_password(self) -> None:
        """A wrong password is what is told in the end."""
        exchange = Exchange("10.0.0.9", (b"", b"secret"))
        exchange.receive(encode(Error(b"WRONGPASS invalid")) + encode(Error(b"NOAUTH")))
        with pytest.raises(AskFailed, match="WRONGPASS invalid; NOAUTH"):
            exchange.receive(encode(Error(b"NOAUTH")))

    @pytest.mark.parametrize("answer", [b":1\r\n", b"*0\r\n", b"$-1\r\n", b"+OK\r\n"])
    def test_nonsense(self, answer: bytes) -> None:
        """An answer that tells no topology is an error."""
        with pytest.raises(BadTopology):
            Exchange("10.0.0.9").receive(answer)

    def test_unasked(self) -> None:
        """More than was asked for is an error."""
        with pytest.raises(ProtocolError):
            Exchange("10.0.0.9").receive(encode(SLOTS) * 2)

    @given(st.data())
    def test_chunks(self, data: st.DataObject) -> None:
        """How the answer is cut does not matter."""
        exchange = Exchange("10.0.0.9", (b"", b"secret"))
        for chunk in data.draw(split_anywhere(encode(Simple(b"OK")) + encode(SLOTS))):
            exchange.receive(chunk)
        assert exchange.result == TOPOLOGY

    @given(st.binary(max_size=60))
    def test_rubbish(self, rubbish: bytes) -> None:
        """Rubbish is an error, or not yet an answer."""
        try:
            Exchange("10.0.0.9").receive(rubbish)
        except (ProtocolError, BadTopology):
            pass


class AskingTests(SynchronousTestCase):
    """A question to a host."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.host = FakeHost()
        self.asking = Asking(Exchange("10.0.0.9"), self.clock, 3.0)
        self.deferred = self.asking.ask(lambda upstream: self.host.connect(upstream))
        self.connecting = self.host.connects[0]

    def over(self) -> None:
        """Hold that nothing is left to happen."""
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_answered(self) -> None:
        """The topology is told, and the connection closed."""
        self.connecting.accept().send(encode(SLOTS))
        self.assertEqual(self.successResultOf(self.deferred), TOPOLOGY)
        self.assertTrue(self.connecting.wire.disconnecting)
        self.over()
        self.connecting.close()

    def test_second_question(self) -> None:
        """CLUSTER SHARDS is sent where CLUSTER SLOTS is refused."""
        self.connecting.accept().send(encode(UNKNOWN))
        self.assertEqual(commands(self.connecting.received)[-1], [b"CLUSTER", b"SHARDS"])
        self.connecting.send(encode(SHARDS))
        self.assertEqual(self.successResultOf(self.deferred), TOPOLOGY)

    def test_nonsense(self) -> None:
        """A nonsense answer fails, and closes."""
        self.connecting.accept().send(b"+OK\r\n")
        self.failureResultOf(self.deferred, BadTopology)
        self.assertTrue(self.connecting.wire.disconnecting)
        self.over()

    def test_refused(self) -> None:
        """Without a connection it fails."""
        self.connecting.refuse()
        self.failureResultOf(self.deferred, ConnectError)
        self.over()

    def test_closed(self) -> None:
        """A host that closes has not answered."""
        for end in ("half_close", "close", "reset"):
            self.setUp()
            getattr(self.connecting.accept(), end)()
            self.failureResultOf(self.deferred, AskFailed)
            self.over()

    def test_slow(self) -> None:
        """A host that does not answer in time has failed; the connection is closed."""
        self.connecting.accept()
        self.clock.advance(3.0)
        self.failureResultOf(self.deferred, AskFailed)
        self.assertTrue(self.connecting.wire.disconnecting)

    def test_slow_connect(self) -> None:
        """The time holds for connecting, too."""
        self.clock.advance(3.0)
        self.failureResultOf(self.deferred, AskFailed)
        self.assertTrue(self.connecting.cancelled)

    def test_cancel(self) -> None:
        """To cancel is to give the connection up."""
        self.deferred.cancel()
        self.assertTrue(self.connecting.cancelled)
        self.failureResultOf(self.deferred)
        self.over()

    def test_overflow(self) -> None:
        """An open circuit breaker is a failure as any other."""

        def connect(upstream: Any) -> Any:
            raise Overflow("c")

        asking = Asking(Exchange("10.0.0.9"), self.clock, 3.0)
        self.failureResultOf(asking.ask(connect), Overflow)
