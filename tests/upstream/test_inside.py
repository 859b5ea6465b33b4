"""Tests for meshd.upstream.inside; test_connect_ends has it in its chain."""

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from meshd.testing.client import Terminal
from meshd.upstream.inside import Inside


class TestInside:
    """Between the last link and the upstream."""

    def test_passed_on(self) -> None:
        """The head is told that the connection stands; data and FIN go on, the end does not."""
        upstream: Any = Terminal()
        inside: Any = Inside(upstream)
        made: list[Any] = []
        inside.connection = type("Head", (), {"made": lambda self, transport: made.append(transport)})()
        inside.connectionMade()
        inside.dataReceived(b"x")
        inside.readConnectionLost()
        inside.connectionLost(Failure(ConnectionDone()))
        assert made == [inside]
        assert (upstream.received, upstream.half_closed, upstream.lost) == (b"x", True, None)
