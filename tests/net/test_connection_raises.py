"""Tests for meshd.net.connection: what it does when a filter, or anybody else, raises."""

from __future__ import annotations

import socket
from typing import Any

from meshd.filter import NetworkFilter
from meshd.net.connection import Connection
from tests.net.chain import ConnectionCase, Echo, Logger, Notes, Raises
from tests.net.loop import ending, some_bytes


class RaiseTests(ConnectionCase):
    """Exceptions, each of which closes its connection, and no other."""

    def setUp(self) -> None:
        super().setUp()
        self.good, self.other = self.connect(Echo())
        self.addCleanup(self.good_goes_on)

    def good_goes_on(self) -> None:
        """Check that the other connection has noticed nothing."""
        self.assertFalse(self.good.over)
        self.other.sendall(b"still there")
        self.loop.turn()
        self.assertEqual(self.other.recv(100), b"still there")

    def check(self, connection: Connection, client: socket.socket, who: str, errors: int = 1) -> None:
        """Check that the connection was reset, and who was blamed for it."""
        self.loop.turn()
        self.assertEqual(ending(client)[1], "RST")
        self.assertTrue(connection.over)
        self.assertEqual(self.owner.closed, [connection])
        self.assertEqual(self.owner.filter_errors.value, errors)
        self.assertEqual(self.blamed(), [who] * errors)
        self.assertEqual(connection.info.local_close_reason, "filter_exception")

    def test_made(self) -> None:
        """One out of what makes a filter: the filters that were made are told of nothing."""
        outer = Notes(self.owner.order, "outer")

        def build() -> None:
            raise ValueError("broken")

        connection, client = self.connect(outer, build, Echo())
        name = f"{__name__}.RaiseTests.test_made.<locals>.build"
        self.check(connection, client, name)
        self.assertEqual(self.owner.order, ["forgotten"])

    def test_connection_made(self) -> None:
        """One out of connectionMade()."""
        connection, client = self.connect(Raises("connectionMade"), Echo())
        self.check(connection, client, f"{Raises.__module__}.Raises")

    def test_data_received(self) -> None:
        """One out of dataReceived(): the innermost filter of the traceback is blamed."""
        connection, client = self.connect(NetworkFilter(), Raises("dataReceived"), Echo())
        client.sendall(b"x")
        self.check(connection, client, f"{Raises.__module__}.Raises")

    def test_read_connection_lost(self) -> None:
        """One out of readConnectionLost()."""
        connection, client = self.connect(Raises("readConnectionLost"), Echo())
        client.shutdown(socket.SHUT_WR)
        self.check(connection, client, f"{Raises.__module__}.Raises")

    def test_write(self) -> None:
        """One out of write(), while something is answered."""
        connection, client = self.connect(Raises("write"), NetworkFilter(), Echo())
        client.sendall(b"x")
        self.check(connection, client, f"{Raises.__module__}.Raises")

    def test_connection_lost(self) -> None:
        """One out of connectionLost(): all others are told of the end."""
        self.owner.access_loggers = [Logger(self.owner.order, "log")]
        connection, client = self.connect(Notes(self.owner.order, "outer"), Raises("connectionLost"), Echo())
        connection.on_close(lambda: self.owner.order.append("asked"))
        client.close()
        self.loop.turn()
        self.assertEqual(self.owner.order, ["outer", "asked", "log", "forgotten"])
        self.assertEqual(self.owner.filter_errors.value, 1)
        self.assertEqual(self.blamed(), [f"{Raises.__module__}.Raises"])

    def test_on_close(self) -> None:
        """One out of what was to be called at the end: all others are called."""
        connection, client = self.connect(Echo())
        connection.on_close(Raises("x").broken)
        connection.on_close(lambda: self.owner.order.append("asked"))
        client.close()
        self.loop.turn()
        self.assertEqual(self.owner.order, ["asked", "forgotten"])
        self.assertEqual(self.owner.filter_errors.value, 1)
        self.assertEqual(self.blamed(), [f"{Raises.__module__}.Raises"])

    def test_logger(self) -> None:
        """One out of an access logger: the others log; who raised is named."""
        order = self.owner.order
        self.owner.access_loggers = [Logger(order, "bad", ValueError("broken")), Logger(order, "good")]
        _, client = self.connect(Echo())
        client.close()
        self.loop.turn()
        self.assertEqual(order, ["bad", "good", "forgotten"])
        self.assertEqual(self.owner.filter_errors.value, 1)
        self.assertEqual(self.blamed(), [f"{Logger.__module__}.Logger.log"])
        self.owner.access_loggers = []

    def producing(self, where: str) -> tuple[Connection, socket.socket]:
        """Return a connection whose producer raises."""

        class Producer(NetworkFilter):
            def pauseProducing(self) -> None:
                """Do nothing."""

            resumeProducing = stopProducing = pauseProducing

        producer: Any = Producer()

        def broken() -> None:
            raise ValueError("broken")

        setattr(producer, where, broken)
        connection, client = self.connect(Echo(), limit=1000)
        connection.registerProducer(producer, True)
        return connection, client

    def test_pause_producing(self) -> None:
        """One out of a producer that is to pause: the one who wrote does not get it."""
        connection, _ = self.producing("pauseProducing")
        connection.write(some_bytes(20_000_000))
        self.loop.turn()
        self.assertTrue(connection.over)
        self.assertEqual((self.owner.filter_errors.value, len(self.blamed())), (1, 1))

    def test_resume_producing(self) -> None:
        """One out of a producer that is to resume."""
        connection, client = self.producing("resumeProducing")
        connection.write(some_bytes(8_000_000))
        client.setblocking(False)

        def read() -> bool:
            try:
                client.recv(1 << 20)
            except (BlockingIOError, ConnectionResetError):
                pass
            return connection.over

        self.loop.until(read)
        self.assertEqual((self.owner.filter_errors.value, len(self.blamed())), (1, 1))

    def test_stop_producing(self) -> None:
        """One out of a producer that is to stop: the filters are told of the end all the same."""
        connection, client = self.producing("stopProducing")
        last: Any = connection.inner
        client.close()
        self.loop.until(lambda: connection.over)
        self.assertEqual(last.lost, 1)
        self.assertEqual(self.owner.closed, [connection])
        self.assertEqual((self.owner.filter_errors.value, len(self.blamed())), (1, 1))
