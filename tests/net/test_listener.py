"""Tests for meshd.net.listener."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from errno import ECONNABORTED, EMFILE, EPERM
from typing import Any

from meshd.net.inspect import Inspections
from meshd.net.listener import (
    PAUSE,
    FilterChain,
    Listener,
    stat_prefix,
)
from meshd.net.sockets import ListenOptions
from tests.net.listening import LOCAL, BadLogger, Echo, Failing, Line, ListenerCase
from tests.net.loop import ending, open_files


class AddressTests(ListenerCase):
    """Where it listens."""

    def test_port_0(self) -> None:
        """The port that the kernel chose is known, to filters as well."""
        listener = self.unopened()
        self.assertEqual(listener.addresses, [LOCAL])
        listener.open()
        self.addCleanup(listener.stop)
        listener.start()
        where: Any = listener.addresses[0]
        ip, port = where
        self.assertEqual(ip, "127.0.0.1")
        self.assertNotEqual(port, 0)
        client = self.client(listener)
        self.echoed(client)
        self.assertEqual(self.infos[0].local, (ip, port))
        self.assertEqual(self.infos[0].remote, client.getsockname())

    def test_additional_addresses(self) -> None:
        """It accepts on all its addresses, and each connection knows on which."""
        path = self.path()
        listener = self.listener(LOCAL, ("::1", 0), path)
        for number in range(3):
            self.echoed(self.client(listener, number))
        self.assertEqual([info.local for info in self.infos], listener.addresses)
        self.assertEqual(self.counted("downstream_cx_total"), (3,))

    def test_ipv6(self) -> None:
        """IPv6 addresses are told without flow label and scope."""
        listener = self.listener(("::1", 0))
        client = self.client(listener)
        self.echoed(client)
        self.assertEqual(self.infos[0].remote, client.getsockname()[:2])

    def test_wildcard(self) -> None:
        """On all addresses, each connection knows which one it came to."""
        for wildcard, ip in (("0.0.0.0", "127.0.0.5"), ("::", "::1")):
            self.infos.clear()
            listener = self.listener((wildcard, 0))
            with socket.create_connection((ip, listener.addresses[0][1])) as client:
                self.echoed(client)
            self.assertEqual(self.infos[0].local, (ip, listener.addresses[0][1]))

    def test_ipv4_on_ipv6(self) -> None:
        """IPv4 that comes to an IPv6 socket is IPv4 to filters."""
        options = ListenOptions(ipv4_compat=True, reuse_port=False)
        listener = self.listener(addresses=[(("::", 0), options)])
        with socket.create_connection(("127.0.0.1", listener.addresses[0][1])) as client:
            self.echoed(client)
            self.assertEqual(self.infos[0].remote, client.getsockname())
            self.assertEqual(self.infos[0].local, client.getpeername())

    def test_unix(self) -> None:
        """A path that a process left behind is taken over, and removed at the end."""
        path = self.path()
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(path)
        listener = self.listener(path)
        self.echoed(self.client(listener))
        self.assertEqual((self.infos[0].remote, self.infos[0].local), (path, path))
        listener.stop()
        self.assertFalse(os.path.exists(path))

    def test_abstract(self) -> None:
        """An abstract unix socket is one too, and its name is text."""
        name = "\0" + self.path()
        listener = self.listener(name)
        self.assertEqual(listener.addresses, [name])
        self.echoed(self.client(listener))
        self.assertEqual(self.infos[0].local, name)

    def test_taken(self) -> None:
        """If one address cannot be had, open() raises and leaves no socket."""
        with socket.socket() as other:
            other.bind(LOCAL)
            other.listen()
            files = open_files()
            listener = self.unopened(LOCAL, other.getsockname())
            self.assertRaises(OSError, listener.open)
            self.assertEqual((listener.sockets, open_files()), ([], files))

    def test_no_bind(self) -> None:
        """With bind_to_port false it has no socket."""
        listener = self.listener(bind=False)
        self.assertEqual((listener.sockets, listener.addresses), ([], [LOCAL]))

    def test_stat_prefix(self) -> None:
        """Statistics name it by its address."""
        self.assertEqual(stat_prefix(("127.0.0.1", 80)), "127.0.0.1_80")
        self.assertEqual(stat_prefix(("::1", 80)), "[__1]_80")
        self.assertEqual(stat_prefix("/run/x"), "/run/x")


class CountTests(ListenerCase):
    """What is counted, and limited."""

    def test_counters(self) -> None:
        """Connections are counted at their start and at their end."""
        listener = self.listener()
        first, second = self.client(listener), self.client(listener)
        self.loop.turn()
        names = ("downstream_cx_total", "downstream_cx_active", "downstream_cx_destroy")
        of_worker = ("worker_0.downstream_cx_total", "worker_0.downstream_cx_active")
        self.assertEqual(self.counted(*names, *of_worker), (2, 2, 0, 2, 2))
        self.assertEqual((self.count.active, len(listener.connections)), (2, 2))
        first.close()
        self.loop.turn()
        self.assertEqual(self.counted(*names, *of_worker), (2, 1, 1, 2, 1))
        self.assertEqual((self.count.active, len(listener.connections)), (1, 1))
        second.close()
        self.loop.turn()
        self.assertEqual(self.count.active, 0)
        self.assertEqual(len(self.stats.histograms["downstream_cx_length_ms"].values), 2)
        self.assertEqual(self.stats.histograms["connections_accepted_per_socket_event"].values, [2])
        self.assertEqual(len(self.log.logged), 2)

    def test_accepts_per_event(self) -> None:
        """No more are accepted at a time than the config says; the others follow."""
        listener = self.listener(accepts=2)
        clients = [self.client(listener) for _ in range(5)]
        self.loop.turn()
        self.assertEqual(self.stats.histograms["connections_accepted_per_socket_event"].values, [2, 2, 1])
        for client in clients:
            self.echoed(client)

    def test_runtime_limit(self) -> None:
        """Above the limit in the runtime, connections are closed at once and count as overflow only."""
        listener = self.listener()
        first = self.client(listener)
        self.loop.turn()
        self.runtime.values["envoy.resource_limits.listener.web.connection_limit"] = "1"
        second = self.client(listener)
        self.loop.turn()
        self.assertEqual(ending(second), (b"", "FIN"))
        names = (
            "downstream_cx_overflow",
            "downstream_cx_total",
            "downstream_cx_active",
            "downstream_cx_destroy",
        )
        self.assertEqual(self.counted(*names), (1, 1, 1, 0))
        first.close()
        self.loop.turn()
        self.echoed(self.client(listener))
        self.runtime.values["envoy.resource_limits.listener.web.connection_limit"] = "many"
        self.echoed(self.client(listener))

    def test_global_limit(self) -> None:
        """The limit for all listeners counts all their connections; a listener may be exempt."""
        self.count.limit = 2
        one, other = self.listener(), self.listener(ignore_global_limit=True)
        first, _ = self.client(one), self.client(other)
        self.loop.turn()
        self.assertEqual(self.count.active, 2)
        refused, exempt = self.client(one), self.client(other)
        self.loop.turn()
        self.assertEqual(ending(refused), (b"", "FIN"))
        self.assertEqual(self.counted("downstream_global_cx_overflow"), (1,))
        self.echoed(first)
        self.echoed(exempt)


class ChainTests(ListenerCase):
    """Which filter chain serves a connection."""

    def test_name(self) -> None:
        """The connection knows its listener's name and its chain's."""
        listener = self.listener()
        self.echoed(self.client(listener))
        info: Any = self.infos[0]
        self.assertEqual((info.listener_name, info.filter_chain_name), ("web", "echo"))

    def test_default(self) -> None:
        """If none matches, the default chain serves."""
        self.chain = None
        listener = self.listener(default_chain=FilterChain("default", (Echo,)))
        self.echoed(self.client(listener))
        self.assertEqual(self.counted("no_filter_chain_match"), (0,))

    def test_none(self) -> None:
        """If there is none, the connection is closed and logged, and no connection counted, as Envoy does."""
        self.chain = None
        listener = self.listener()
        client = self.client(listener)
        self.loop.turn()
        self.assertEqual(ending(client), (b"", "FIN"))
        names = (
            "no_filter_chain_match",
            "downstream_cx_total",
            "downstream_cx_active",
            "downstream_cx_destroy",
        )
        self.assertEqual(self.counted(*names), (1, 0, 0, 0))
        self.assertEqual(self.count.active, 0)
        (info,) = self.log.logged
        self.assertEqual((info.flags, info.response_code_details), ({"NR"}, "filter_chain_not_found"))
        self.assertEqual(listener.connections, set())

    def test_empty(self) -> None:
        """A chain without filters accepts and closes."""
        self.chain = FilterChain("empty", ())
        listener = self.listener()
        client = self.client(listener)
        self.loop.turn()
        self.assertEqual(ending(client), (b"", "FIN"))
        names = (
            "no_filter_chain_match",
            "downstream_cx_total",
            "downstream_cx_active",
            "downstream_cx_destroy",
        )
        self.assertEqual(self.counted(*names), (0, 1, 0, 1))
        info: Any = self.log.logged[0]
        self.assertEqual((info.filter_chain_name, info.flags), ("empty", set()))

    def test_filter_that_raises(self) -> None:
        """A filter that raises is counted for its listener."""

        class Raises(Echo):
            def connectionMade(self) -> None:
                raise ValueError("broken")

        self.chain = FilterChain("broken", (Raises,))
        listener = self.listener()
        client = self.client(listener)
        self.loop.turn()
        self.assertEqual(ending(client), (b"", "RST"))
        self.assertEqual(self.counted("downstream_filter_exception", "downstream_cx_active"), (1, 0))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)


class InspectionTests(ListenerCase):
    """Listener filters come before the filter chain."""

    def inspected(self, loggers: Sequence[Any] = ()) -> Listener:
        """Return a listener with a listener filter."""
        listener = self.unopened()
        inspections = Inspections([Line], self.loop.timers, 5.0, False, listener.stats.inspection)
        return self.listener(inspections=inspections, access_loggers=loggers or [self.log])

    def test_before_the_chain(self) -> None:
        """The chain is chosen when the filters have seen what they want."""
        listener = self.inspected()
        client = self.client(listener)
        self.loop.turn()
        self.assertEqual(self.infos, [])
        names = ("downstream_pre_cx_active", "downstream_cx_active", "downstream_cx_total")
        self.assertEqual((*self.counted(*names), self.count.active), (1, 0, 0, 1))
        client.sendall(b"name\nhello")
        self.loop.turn()
        self.assertEqual(self.infos[0].server_name, "name")
        self.assertEqual(client.recv(100), b"hello")
        self.assertEqual((*self.counted(*names), self.count.active), (0, 1, 1, 1))

    def test_timeout(self) -> None:
        """A connection that never comes so far is logged all the same, but not counted."""
        listener = self.inspected()
        client = self.client(listener)
        self.loop.turn()
        self.loop.clock.advance(5.1)
        self.loop.turn()
        self.assertEqual(ending(client), (b"", "FIN"))
        names = ("downstream_pre_cx_timeout", "downstream_cx_active", "downstream_cx_destroy")
        self.assertEqual(self.counted(*names), (1, 0, 0))
        self.assertEqual((len(self.log.logged), self.count.active), (1, 0))
        self.assertIsNotNone(self.log.logged[0].end)  # type: ignore[attr-defined]

    def test_limit(self) -> None:
        """A limit counts the connections that are being inspected as well."""
        listener = self.inspected()
        self.runtime.values["envoy.resource_limits.listener.web.connection_limit"] = "1"
        first, second = self.client(listener), self.client(listener)
        self.loop.turn()
        self.assertEqual(self.counted("downstream_pre_cx_active", "downstream_cx_overflow"), (1, 1))
        self.assertEqual(ending(second), (b"", "FIN"))
        first.close()
        self.loop.turn()
        self.client(listener)
        self.loop.turn()
        self.assertEqual(self.counted("downstream_pre_cx_active", "downstream_cx_overflow"), (1, 1))

    def test_logger_that_raises(self) -> None:
        """An access logger that raises keeps neither the others nor the count of the end from it."""
        listener = self.inspected([BadLogger(), self.log])
        self.client(listener).close()
        self.loop.turn()
        self.assertEqual((len(self.log.logged), self.count.active), (1, 0))
        self.assertEqual(self.counted("downstream_filter_exception"), (1,))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)


class StopTests(ListenerCase):
    """It stops accepting, for good or for a while."""

    def test_stop(self) -> None:
        """stop() closes the sockets, and keeps the connections."""
        listener = self.listener()
        client = self.client(listener)
        self.loop.turn()
        where = listener.addresses[0]
        listener.stop()
        listener.stop()
        self.assertRaises(ConnectionRefusedError, socket.create_connection, where)
        self.echoed(client)
        self.assertEqual(len(listener.connections), 1)
        client.close()
        self.loop.turn()
        self.assertEqual(self.counted("downstream_cx_active"), (0,))

    def failing(self, *errors: int) -> Listener:
        """Return a listener whose accept fails some times."""
        listener = self.unopened()
        listener.open()
        self.addCleanup(listener.stop)
        listener.sockets[0] = Failing(listener.sockets[0], *errors)  # type: ignore[call-overload]
        listener.start()
        return listener

    def test_no_descriptors(self) -> None:
        """Without descriptors accepting pauses, and goes on by itself; nobody is lost."""
        listener = self.failing(EMFILE, EMFILE)
        client = self.client(listener)
        for times in (1, 2):
            self.loop.turn()
            self.assertEqual(self.counted("downstream_accept_paused", "downstream_cx_total"), (times, 0))
            self.loop.clock.advance(PAUSE + 0.01)
        self.loop.turn()
        self.echoed(client)
        self.assertEqual(self.counted("downstream_accept_paused"), (2,))

    def test_stopped_while_paused(self) -> None:
        """A listener that is stopped meanwhile does not go on."""
        listener = self.failing(EMFILE)
        self.client(listener)
        self.loop.turn()
        listener.stop()
        self.loop.clock.advance(PAUSE + 0.01)
        self.loop.turn()
        self.assertEqual(self.counted("downstream_cx_total"), (0,))

    def test_client_that_left(self) -> None:
        """A client that is gone before it is accepted is no reason to pause."""
        listener = self.failing(ECONNABORTED, ECONNABORTED)
        client = self.client(listener)
        self.echoed(client)
        self.assertEqual(self.counted("downstream_accept_paused"), (0,))

    def test_other_errors(self) -> None:
        """Any other error is logged, and pauses too."""
        listener = self.failing(EPERM)
        client = self.client(listener)
        self.loop.turn()
        self.assertEqual(self.counted("downstream_accept_paused"), (1,))
        self.loop.clock.advance(PAUSE + 0.01)
        self.echoed(client)
