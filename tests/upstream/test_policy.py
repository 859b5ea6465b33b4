"""Tests for meshd.upstream.policy."""

from __future__ import annotations

from typing import Any

import pytest

from meshd.plugin import ConfigError
from meshd.testing.context import FakeRuntime
from meshd.upstream.balancers import LeastRequest, RandomChoice, RoundRobin
from meshd.upstream.bounded import BoundedLoad
from meshd.upstream.maglev import Maglev
from meshd.upstream.policy import Surroundings, read_balancing
from meshd.upstream.ring import Ring
from tests.upstream.observed import extension
from tests.upstream.support import hosts, message, ports, surroundings

CONSISTENT = "consistent_hashing_lb_config"
BOUND = {CONSISTENT: {"hash_balance_factor": 120}}


def made(around: Surroundings | None = None, **config: Any) -> Any:
    """Return the balancer that a cluster has."""
    return read_balancing(message(**config)).make(around or surroundings())


class TestKinds:
    """Which balancer it is."""

    @pytest.mark.parametrize(
        ("config", "kind"),
        [
            ({}, RoundRobin),
            ({"lb_policy": "LEAST_REQUEST"}, LeastRequest),
            ({"lb_policy": "RANDOM"}, RandomChoice),
            ({"lb_policy": "RING_HASH"}, Ring),
            ({"lb_policy": "MAGLEV"}, Maglev),
            ({"lb_policy": "RING_HASH", "common_lb_config": BOUND}, BoundedLoad),
            ({"lb_policy": "MAGLEV", "common_lb_config": BOUND}, BoundedLoad),
            ({"load_balancing_policy": extension("round_robin.v3.RoundRobin")}, RoundRobin),
            ({"load_balancing_policy": extension("least_request.v3.LeastRequest")}, LeastRequest),
            ({"load_balancing_policy": extension("random.v3.Random")}, RandomChoice),
            ({"load_balancing_policy": extension("ring_hash.v3.RingHash")}, Ring),
            ({"load_balancing_policy": extension("maglev.v3.Maglev")}, Maglev),
            ({"load_balancing_policy": extension("maglev.v3.Maglev", **BOUND)}, BoundedLoad),
            (
                {"load_balancing_policy": extension("ring_hash.v3.RingHash", hash_balance_factor=100)},
                BoundedLoad,
            ),
            ({"lb_policy": "RANDOM", "load_balancing_policy": extension("maglev.v3.Maglev")}, Maglev),
        ],
    )
    def test_kind(self, config: dict[str, Any], kind: type[object]) -> None:
        """Both ways to say it lead to the same balancers; the extension goes first."""
        assert isinstance(made(**config), kind)

    @pytest.mark.parametrize(
        ("policy", "hashing"), [("RANDOM", False), ("RING_HASH", True), ("MAGLEV", True)]
    )
    def test_hashing(self, policy: str, hashing: bool) -> None:
        """Only ring hash and maglev want a key."""
        assert read_balancing(message(lb_policy=policy)).hashing is hashing

    def test_first_known(self) -> None:
        """Of several extensions the first that is known counts."""
        unknown = {
            "typed_extension_config": {
                "name": "x",
                "typed_config": {"@type": "type.googleapis.com/google.protobuf.Duration", "value": "1s"},
            }
        }
        policies = [unknown, *extension("random.v3.Random")["policies"]]
        assert isinstance(made(load_balancing_policy={"policies": policies}), RandomChoice)


class TestLeastRequest:
    """Its settings."""

    def test_full_scan(self) -> None:
        """The extension can look at all hosts."""
        for config in ({"enable_full_scan": True}, {"selection_method": "FULL_SCAN"}):
            balancer = made(load_balancing_policy=extension("least_request.v3.LeastRequest", **config))
            three = hosts(1, 1, 1)
            three[0].rq_active = three[1].rq_active = 1
            balancer.update(three)
            assert ports([balancer.pick() for _ in range(20)]) == "3" * 20

    @pytest.mark.parametrize(("value", "share"), [(None, 20), ("0.5", 34), ("1", 50), ("x", 20), ("-2", 50)])
    def test_bias(self, value: str | None, share: int) -> None:
        """The runtime's bias goes before the config's, if it is a number; a negative one is 1."""
        around = surroundings()
        assert isinstance(around.runtime, FakeRuntime)
        if value is not None:
            around.runtime.values["b"] = value
        config = {"active_request_bias": {"default_value": 0, "runtime_key": "b"}}
        balancer = made(around, lb_policy="LEAST_REQUEST", least_request_lb_config=config)
        two = hosts(1, 4)
        balancer.update(two)
        two[1].rq_active = 3
        assert abs(ports([balancer.pick() for _ in range(100)]).count("1") - share) <= 2


LEAST = {"lb_policy": "LEAST_REQUEST"}
RING = {"lb_policy": "RING_HASH"}
MAGLEV = {"lb_policy": "MAGLEV"}


@pytest.mark.parametrize(
    ("config", "words", "path"),
    [
        ({"lb_policy": "CLUSTER_PROVIDED"}, "meshd does not serve", ("lb_policy",)),
        (
            {"lb_policy": "LOAD_BALANCING_POLICY_CONFIG"},
            "cluster: field load_balancing_policy need to be set",
            ("lb_policy",),
        ),
        (
            {"load_balancing_policy": {}},
            "cluster: didn't find a registered load balancer factory implementation for cluster: 'c'"
            " with names from []",
            ("load_balancing_policy", "policies"),
        ),
        (
            {**LEAST, "least_request_lb_config": {"choice_count": 1}},
            "greater than or equal to 2",
            ("least_request_lb_config", "choice_count"),
        ),
        (
            {**LEAST, "least_request_lb_config": {"slow_start_config": {}}},
            "meshd does not serve",
            ("least_request_lb_config", "slow_start_config"),
        ),
        (
            {"round_robin_lb_config": {"slow_start_config": {}}},
            "meshd does not serve",
            ("round_robin_lb_config", "slow_start_config"),
        ),
        (
            {**RING, "ring_hash_lb_config": {"minimum_ring_size": 20, "maximum_ring_size": 10}},
            "ring hash: minimum_ring_size (20) > maximum_ring_size (10)",
            ("ring_hash_lb_config", "minimum_ring_size"),
        ),
        (
            {**RING, "ring_hash_lb_config": {"maximum_ring_size": 9000000}},
            "value must be less than or equal to 8388608",
            ("ring_hash_lb_config", "maximum_ring_size"),
        ),
        (
            {**MAGLEV, "maglev_lb_config": {"table_size": 100}},
            "The table size of maglev must be prime number",
            ("maglev_lb_config", "table_size"),
        ),
        (
            {**MAGLEV, "maglev_lb_config": {"table_size": 5000101}},
            "value must be less than or equal to 5000011",
            ("maglev_lb_config", "table_size"),
        ),
        (
            {**RING, "common_lb_config": {CONSISTENT: {"hash_balance_factor": 50}}},
            "value must be greater than or equal to 100",
            ("common_lb_config", CONSISTENT, "hash_balance_factor"),
        ),
        (
            {"common_lb_config": {CONSISTENT: {"use_hostname_for_hashing": True}}},
            "Cannot use hostname for consistent hashing loadbalancing for cluster of type:"
            " 'envoy.cluster.static'",
            ("common_lb_config", CONSISTENT, "use_hostname_for_hashing"),
        ),
        (
            {"load_balancing_policy": extension("maglev.v3.Maglev", table_size=4)},
            "prime number",
            (
                *("load_balancing_policy", "policies", 0, "typed_extension_config", "typed_config"),
                "table_size",
            ),
        ),
        (
            {
                "load_balancing_policy": extension(
                    "ring_hash.v3.RingHash",
                    consistent_hashing_lb_config={"hash_policy": [{"terminal": True}]},
                )
            },
            "meshd does not serve",
            (
                *("load_balancing_policy", "policies", 0, "typed_extension_config", "typed_config"),
                *(CONSISTENT, "hash_policy"),
            ),
        ),
    ],
)
def test_errors(config: dict[str, Any], words: str, path: tuple[str | int, ...]) -> None:
    """What cannot be is refused, in Envoy's words where it has some."""
    with pytest.raises(ConfigError) as caught:
        read_balancing(message(**config))
    assert words in caught.value.message
    assert caught.value.path == path
