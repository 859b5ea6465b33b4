"""Tests for meshd.upstream.host."""

from __future__ import annotations

import pytest
from zope.interface.verify import verifyObject

from meshd.interfaces import IHost, SocketAddress
from meshd.upstream.host import Host, address_text


class TestHost:
    """One endpoint."""

    def test_interface(self) -> None:
        """It provides IHost."""
        assert verifyObject(IHost, Host(("127.0.0.1", 80)))

    @pytest.mark.parametrize(
        ("address", "text"),
        [
            (("1.2.3.4", 80), "1.2.3.4:80"),
            (("::1", 80), "[::1]:80"),
            ("/run/x.sock", "/run/x.sock"),
            ("\0x", "@x"),
        ],
    )
    def test_text(self, address: SocketAddress, text: str) -> None:
        """Addresses are written as Envoy writes them."""
        assert address_text(address) == Host(address).text == text

    def test_active(self) -> None:
        """What is in progress is its active requests."""
        host = Host(("127.0.0.1", 80))
        host.rq_active += 3
        assert host.active == 3


class TestHealth:
    """What flags mean."""

    def test_healthy(self) -> None:
        """Without a flag it is healthy."""
        host = Host(("127.0.0.1", 80))
        assert (host.health, host.healthy, host.health_text) == ("healthy", True, "healthy")

    def test_unhealthy(self) -> None:
        """A bad flag outweighs one of degradation; both are printed, in Envoy's order."""
        host = Host(("127.0.0.1", 80), health_flags={"degraded_eds_health", "failed_active_hc"})
        assert (host.health, host.healthy) == ("unhealthy", False)
        assert host.health_text == "/failed_active_hc/degraded_eds_health"

    def test_degraded(self) -> None:
        """A degraded host is not healthy, but no more."""
        host = Host(("127.0.0.1", 80), health_flags={"degraded_eds_health"})
        assert (host.health, host.healthy, host.excluded) == ("degraded", False, False)

    def test_draining(self) -> None:
        """A host that drains does not count for availability."""
        host = Host(("127.0.0.1", 80), health_flags={"eds_status_draining"})
        assert (host.health, host.excluded) == ("unhealthy", True)

    def test_pending_removal(self) -> None:
        """A host that is to be removed is still used."""
        assert Host(("127.0.0.1", 80), health_flags={"pending_dynamic_removal"}).healthy
