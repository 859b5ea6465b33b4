"""Tests for meshd.upstream.named_target."""

from __future__ import annotations

from typing import Any

from meshd.interfaces import NoHost
from meshd.observe.info import ConnectionInfo, UpstreamInfo
from meshd.testing import CLIENT, SERVER
from meshd.upstream.connect import Connecting
from meshd.upstream.named_target import NAME, TARGET_KEY, NamedTarget, NamedTargetCluster
from meshd.upstream.resolver import LookupFailed
from tests.upstream.dialling import DiallingCase
from tests.upstream.support import message


class NamedTargetTests(DiallingCase):
    """A cluster that connects where it is told."""

    def setUp(self) -> None:
        super().setUp()
        config = message(cluster_type={"name": NAME}, connect_timeout="1s", dns_lookup_family="V4_ONLY")
        self.named = NamedTargetCluster(NamedTarget(), config, self.around.context)
        self.named.start()
        self.info = ConnectionInfo(CLIENT, SERVER)
        self.info.upstream = UpstreamInfo()

    @property
    def port(self) -> int:
        """The port of the host."""
        return int(self.listening.getsockname()[1])

    def to(self, host: Any, port: int | None = None) -> Connecting:
        """Begin to connect the caller to a target."""
        self.info.filter_state[TARGET_KEY] = (host, port or self.port)
        return self.attempt()

    def attempt(self) -> Connecting:
        """Begin to connect, as a tcp_proxy does."""
        connecting: Any = self.named.connect(self.caller, self.info)
        assert self.info.upstream is not None
        self.info.upstream.attempt(connecting)
        return connecting  # type: ignore[no-any-return]

    def accepted(self) -> None:
        """Check that the host was connected to, and end it."""
        self.until("made")
        self.keep(self.listening.accept()[0])
        self.caller.transport.abortConnection()
        self.until("made", "lost")

    def test_warm(self) -> None:
        """It is warm from the start: it has no hosts to find."""
        self.assertTrue(self.named.warmed)

    def test_address(self) -> None:
        """An IP address needs no look-up."""
        connecting = self.to("127.0.0.1")
        self.assertEqual(connecting.host.address, ("127.0.0.1", self.port))
        self.accepted()
        self.assertEqual(self.around.resolver.lookups, [])

    def test_name(self) -> None:
        """A name is looked up first; the host then is where it was found."""
        connecting = self.to("here.example")
        self.assertEqual(connecting.host.hostname, "here.example")
        self.assertEqual([each[:2] for each in self.around.resolver.lookups], [("here.example", "V4_ONLY")])
        self.around.resolver.answer("127.0.0.1")
        self.assertEqual(connecting.host.address, ("127.0.0.1", self.port))
        self.accepted()

    def test_attempts(self) -> None:
        """Each attempt takes the next address; when there is none left, there is no host."""
        self.to(("127.0.0.1", "127.0.0.2"), self.closed())
        self.until("failed")
        second = self.attempt()
        self.assertEqual(second.host.address[0], "127.0.0.2")
        self.until("failed", "failed")
        self.assertRaises(NoHost, self.attempt)
        self.assertEqual(self.around.value("upstream_cx_none_healthy"), 1)

    def test_addresses_of_a_name(self) -> None:
        """The addresses of a name are for the attempts to come; it is not looked up again."""
        self.to("here.example", self.closed())
        self.around.resolver.answer("127.0.0.1", "127.0.0.2")
        self.until("failed")
        self.assertEqual(self.attempt().host.address[0], "127.0.0.2")
        self.until("failed", "failed")

    def test_no_address(self) -> None:
        """A name without addresses fails the attempt, and says so."""
        self.to("here.example")
        self.around.resolver.answer()
        self.until("failed")
        self.assertEqual(str(self.caller.error), "here.example has no address")

    def test_lookup_failed(self) -> None:
        """So does a look-up that fails."""
        self.to("here.example")
        self.around.resolver.fail(LookupFailed("no server"))
        self.until("failed")
        self.assertEqual(str(self.caller.error), "DNS lookup failed: no server")

    def test_cancelled(self) -> None:
        """Who gave up while the name was looked up hears no more of it."""
        connecting = self.to("here.example")
        connecting.cancel()
        self.around.resolver.answer("127.0.0.1")
        self.loop.turn()
        self.assertEqual(self.caller.events, [])

    def test_no_target(self) -> None:
        """Without a target there is no host."""
        self.assertRaises(NoHost, self.attempt)
