"""Tests for meshd.observe.info."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from zope.interface.verify import verifyObject

from meshd.interfaces import IStreamInfo, SocketAddress
from meshd.observe.info import ConnectionInfo, UpstreamInfo, address_text, next_id, twisted_address


class Host:
    """A host of a cluster."""

    def __init__(self, address: SocketAddress, hostname: str = "") -> None:
        self.address = address
        self.hostname = hostname


class Attempt:
    """A connection to it, as far as the log wants it."""

    local = ("127.0.0.1", 4000)

    def __init__(self, host: Host) -> None:
        self.host = host
        self.id = next_id()


ONE = Host(("10.0.0.1", 80), "one.example")
OTHER = Host(("::1", 80))


class TestAddresses:
    """An address, as others say it."""

    @pytest.mark.parametrize(
        ("address", "text"),
        [(("10.0.0.1", 80), "10.0.0.1:80"), (("::1", 80), "[::1]:80"), ("/run/s", "/run/s")],
    )
    def test_text(self, address: SocketAddress, text: str) -> None:
        """Envoy puts IPv6 in brackets, and writes the path of a unix socket as it is."""
        assert address_text(address) == text

    @pytest.mark.parametrize(
        ("address", "meant"),
        [
            (("10.0.0.1", 80), IPv4Address("TCP", "10.0.0.1", 80)),
            (("::1", 80), IPv6Address("TCP", "::1", 80)),
            ("/run/s", UNIXAddress("/run/s")),
            ("", UNIXAddress(None)),
        ],
    )
    def test_twisted(self, address: SocketAddress, meant: Any) -> None:
        """Twisted has a class for each kind."""
        assert twisted_address(address) == meant


class TestConnection:
    """What is known of a connection."""

    def setup_method(self) -> None:
        """Make one."""
        self.info = ConnectionInfo(("10.0.0.9", 5000), ("10.0.0.1", 80))

    def test_interface(self) -> None:
        """It is an IStreamInfo."""
        assert verifyObject(IStreamInfo, self.info)

    def test_number(self) -> None:
        """Each has a number of its own."""
        assert ConnectionInfo("", "").id > self.info.id

    def test_own(self) -> None:
        """What a filter notes on one connection is not on another."""
        self.info.metadata["a"] = {"b": 1}
        self.info.filter_state["c"] = 2
        self.info.flags.add("UF")
        other = ConnectionInfo("", "")
        assert (other.metadata, other.filter_state, other.flags) == ({}, {}, set())
        assert self.info.has_filter_state
        assert not other.has_filter_state

    def test_remote(self) -> None:
        """Who a filter says it is does not change who connected."""
        self.info.remote = ("192.0.2.1", 1)
        assert self.info.direct_remote == ("10.0.0.9", 5000)
        assert self.info.peer == IPv4Address("TCP", "192.0.2.1", 1)

    def test_duration(self) -> None:
        """It lasts until its end, and until then to now."""
        assert self.info.duration >= 0
        self.info.end = self.info.start + 2.5
        assert self.info.duration == pytest.approx(2.5)


class TestUpstream:
    """What is known of the side of the host."""

    def setup_method(self) -> None:
        """Make one."""
        self.info = UpstreamInfo()

    def test_attempts(self) -> None:
        """Every attempt is noted in order; the last one's host is the host."""
        for host in (ONE, OTHER):
            self.info.attempt(Attempt(host))  # type: ignore[arg-type]
        assert self.info.host is OTHER  # type: ignore[comparison-overlap]
        assert self.info.attempts == 2
        assert self.info.hosts_attempted == ["10.0.0.1:80", "[::1]:80"]
        assert self.info.host_names_attempted == ["one.example", "[::1]:80"]
        assert len(set(self.info.connection_ids_attempted)) == 2

    def test_turned_away(self) -> None:
        """An attempt that a circuit breaker ended counts, and has neither host nor number."""
        self.info.turned_away(ONE)  # type: ignore[arg-type]
        assert self.info.host is None
        assert self.info.hosts_attempted == ["10.0.0.1:80"]
        assert self.info.connection_ids_attempted == [0]

    @pytest.mark.parametrize(("logged", "local"), [(True, ("127.0.0.1", 4000)), (False, None)])
    def test_connected(self, logged: bool, local: Any) -> None:
        """Our own address is asked for only if somebody will log it."""
        attempt: Any = Attempt(ONE)
        self.info.attempt(attempt)
        self.info.connected_by(attempt, logged)
        assert (self.info.remote, self.info.local, self.info.id) == (ONE.address, local, attempt.id)
