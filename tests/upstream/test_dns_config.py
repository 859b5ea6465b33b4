"""Tests for meshd.upstream.dns_config."""

from __future__ import annotations

from typing import Any

import pytest

from meshd.plugin import ConfigError
from meshd.upstream.discovery import DnsConfig
from meshd.upstream.dns_config import read_dns, read_resolver
from meshd.upstream.resolver import Resolver
from tests.upstream.support import Surrounding, assignment, endpoint, message

CARES = "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"


def cares(**config: Any) -> dict[str, Any]:
    """Return a typed_dns_resolver_config of c-ares."""
    typed = {"@type": CARES, **config}
    return {"typed_dns_resolver_config": {"name": "envoy.network.dns_resolver.cares", "typed_config": typed}}


def server(address: str = "127.0.0.1", port: int = 53) -> dict[str, Any]:
    """Return the address of a name server."""
    return {"socket_address": {"address": address, "port_value": port}}


class TestConfig:
    """The DNS fields of a cluster."""

    def test_defaults(self) -> None:
        """The defaults are Envoy's: every 5 s, v6 first."""
        assert read_dns(message(type="STRICT_DNS")) == DnsConfig("AUTO", 5.0)

    def test_all(self) -> None:
        """All fields are read, times in seconds."""
        config = message(
            type="LOGICAL_DNS",
            dns_refresh_rate="0.25s",
            dns_jitter="1.5s",
            respect_dns_ttl=True,
            dns_lookup_family="V4_PREFERRED",
            dns_failure_refresh_rate={"base_interval": "2s"},
        )
        assert read_dns(config) == DnsConfig("V4_PREFERRED", 0.25, 1.5, True, (2.0, 20.0), True)


class TestResolver:
    """Whom to ask."""

    def test_context(self) -> None:
        """A cluster that says nothing uses the resolver of the process."""
        around = Surrounding()
        assert read_resolver(message(), around.context) is around.resolver

    @pytest.mark.parametrize(
        "config",
        [
            cares(resolvers=[server()], query_timeout_seconds=1, query_tries=2),
            {"dns_resolution_config": {"resolvers": [server()], "dns_resolver_options": {}}},
        ],
    )
    def test_own(self, config: dict[str, Any]) -> None:
        """A cluster may have name servers of its own."""
        assert isinstance(read_resolver(message(**config), Surrounding().context), Resolver)


ONE = assignment([endpoint("a.test")])
PIPE = assignment([{"endpoint": {"address": {"pipe": {"path": "/run/x"}}}}])


@pytest.mark.parametrize(
    ("config", "words", "path"),
    [
        (
            {"type": "STRICT_DNS", "dns_failure_refresh_rate": {"base_interval": "3s", "max_interval": "2s"}},
            "dns_failure_refresh_rate must have max_interval greater than or equal to the base_interval",
            ("dns_failure_refresh_rate", "max_interval"),
        ),
        (
            {"type": "LOGICAL_DNS"},
            "LOGICAL_DNS clusters must have a single host",
            ("load_assignment",),
        ),
        (
            {"type": "LOGICAL_DNS", "load_assignment": assignment(["a.test", "b.test"])},
            "LOGICAL_DNS clusters must have a single locality_lb_endpoint and a single lb_endpoint",
            ("load_assignment",),
        ),
        (
            {"type": "STRICT_DNS", "load_assignment": PIPE},
            "socket addresses only",
            ("load_assignment", "endpoints", 0, "lb_endpoints", 0, "endpoint", "address"),
        ),
        (
            {"type": "STRICT_DNS", "load_assignment": ONE, **cares(resolvers=[server("a.test")])},
            "a resolver is an IP address",
            ("typed_dns_resolver_config", "typed_config", "resolvers", 0),
        ),
        (
            {"type": "STRICT_DNS", "load_assignment": ONE, **cares(rotate_nameservers=True)},
            "meshd does not serve the field rotate_nameservers",
            ("typed_dns_resolver_config", "typed_config", "rotate_nameservers"),
        ),
        (
            {
                "type": "STRICT_DNS",
                "load_assignment": ONE,
                "typed_dns_resolver_config": {
                    "name": "x",
                    "typed_config": {"@type": "type.googleapis.com/google.protobuf.Duration", "value": "1s"},
                },
            },
            "envoy.network.dns_resolver.cares only",
            ("typed_dns_resolver_config", "typed_config"),
        ),
    ],
)
def test_errors(config: dict[str, Any], words: str, path: tuple[str | int, ...]) -> None:
    """What cannot be is refused, in Envoy's words where it has some."""
    with pytest.raises(ConfigError) as caught:
        Surrounding().cluster(start=False, **config)
    assert words in caught.value.message
    assert caught.value.path == path
