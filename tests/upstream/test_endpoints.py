"""Tests for meshd.upstream.endpoints."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.config.core.v3.address_pb2 import Address
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from google.protobuf.json_format import ParseDict

from meshd.plugin import ConfigError
from meshd.upstream.endpoints import Assignment, check_weights, read_address, read_assignment
from meshd.upstream.host import Locality
from tests.upstream.support import assignment, endpoint


def read(*levels: Any, **policy: Any) -> Assignment:
    """Read a load assignment."""
    return read_assignment(ParseDict(assignment(*levels, **policy), ClusterLoadAssignment()))


class TestAssignment:
    """A ClusterLoadAssignment."""

    def test_order(self) -> None:
        """The endpoints keep their order, and know their priority and place in the config."""
        found = read([3, 1], [2])
        assert [(each.address, each.priority) for each in found.endpoints] == [
            (("127.0.0.1", 3), 0),
            (("127.0.0.1", 1), 0),
            (("127.0.0.1", 2), 1),
        ]
        assert found.endpoints[2].path == ("endpoints", 1, "lb_endpoints", 0)

    def test_host(self) -> None:
        """A host has all that its endpoint says."""
        config = assignment(
            [
                endpoint(
                    1,
                    7,
                    hostname="n",
                    health_status="DEGRADED",
                    metadata={"filter_metadata": {"envoy.lb": {"canary": True}}},
                )
            ]
        )
        config["endpoints"][0]["locality"] = {"region": "r", "zone": "z", "sub_zone": "s"}
        host = read_assignment(ParseDict(config, ClusterLoadAssignment())).endpoints[0].host()
        assert (host.text, host.weight, host.hostname) == ("127.0.0.1:1", 7, "n")
        assert (host.health_text, host.locality) == ("/degraded_eds_health", Locality("r", "z", "s"))
        assert host.metadata == {"envoy.lb": {"canary": True}}

    @pytest.mark.parametrize(
        ("status", "flags"),
        [
            ("UNKNOWN", "healthy"),
            ("HEALTHY", "healthy"),
            ("UNHEALTHY", "/failed_eds_health"),
            ("TIMEOUT", "/failed_eds_health"),
            ("DRAINING", "/eds_status_draining"),
            ("DEGRADED", "/degraded_eds_health"),
        ],
    )
    def test_status(self, status: str, flags: str) -> None:
        """The health of an endpoint becomes Envoy's flags."""
        assert read([endpoint(1, health_status=status)]).endpoints[0].host().health_text == flags

    def test_looked_up(self) -> None:
        """A host that was looked up is named after the name, if it has no other."""
        found = read([endpoint("a.test"), endpoint("a.test", hostname="b")]).endpoints
        assert [each.host(("10.0.0.1", 80), "a.test").hostname for each in found] == ["a.test", "b"]
        assert not found[0].is_literal

    def test_policy(self) -> None:
        """The policy is read; its defaults are Envoy's."""
        assert (read([]).overprovisioning, read([]).weighted_health) == (140, False)
        found = read([], overprovisioning_factor=100, weighted_priority_health=True)
        assert (found.overprovisioning, found.weighted_health) == (100, True)

    def test_weights(self) -> None:
        """More than 32 bits of weight is too much for hashing, in one locality and priority only."""
        half = 2**31
        check_weights(read([endpoint(1, half)], [endpoint(2, half)]).endpoints)
        with pytest.raises(ConfigError, match="exceeds 4294967295") as caught:
            check_weights(read([endpoint(1, half), endpoint(2, half)]).endpoints)
        assert caught.value.path == ("endpoints", 0, "lb_endpoints", 1, "load_balancing_weight")

    def test_no_endpoint(self) -> None:
        """An entry that has no endpoint is refused."""
        with pytest.raises(ConfigError) as caught:
            read([{}])
        assert caught.value.path == ("endpoints", 0, "lb_endpoints", 0)


class TestAddress:
    """An Address."""

    @pytest.mark.parametrize(
        ("message", "address"),
        [
            ({"socket_address": {"address": "::1", "port_value": 1}}, ("::1", 1)),
            ({"pipe": {"path": "/run/x"}}, "/run/x"),
            ({"pipe": {"path": "@x"}}, "\0x"),
        ],
    )
    def test_served(self, message: Any, address: Any) -> None:
        """Socket addresses and pipes, abstract ones too, are served."""
        assert read_address(ParseDict(message, Address())) == address

    @pytest.mark.parametrize(
        ("message", "path"),
        [
            ({}, ("x",)),
            ({"envoy_internal_address": {"server_listener_name": "l"}}, ("x",)),
            (
                {"socket_address": {"address": "::1", "port_value": 1, "protocol": "UDP"}},
                ("x", "socket_address", "protocol"),
            ),
            (
                {"socket_address": {"address": "::1", "port_value": 1, "resolver_name": "r"}},
                ("x", "socket_address", "resolver_name"),
            ),
            (
                {"socket_address": {"address": "::1", "named_port": "http"}},
                ("x", "socket_address", "named_port"),
            ),
        ],
    )
    def test_refused(self, message: Any, path: tuple[str, ...]) -> None:
        """Others are refused, and where is said."""
        with pytest.raises(ConfigError) as caught:
            read_address(ParseDict(message, Address()), "x")
        assert caught.value.path == path
