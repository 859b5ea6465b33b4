"""Tests for meshd.upstream.redis_cluster."""

from __future__ import annotations

from typing import Any

import pytest
from zope.interface.verify import verifyObject

from meshd.codec.resp_reply import Simple, encode
from meshd.interfaces import ICluster
from meshd.plugin import ConfigError
from meshd.upstream.redis_cluster import RedisCluster
from tests.upstream.redis_nodes import TYPE, Nodes, entry, ports_of
from tests.upstream.support import assignment, endpoint

AUTH = "type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProtocolOptions"


class TestConfig:
    """What is read from the message."""

    def setup_method(self) -> None:
        """Make the surroundings."""
        self.nodes = Nodes()

    def test_interface(self) -> None:
        """It is an ICluster, that is picked by slots."""
        cluster = self.nodes.redis()
        assert verifyObject(ICluster, cluster)
        assert (cluster.redis_slots, cluster.hashing) == (True, True)
        assert self.nodes.cluster().redis_slots is False

    def test_defaults(self) -> None:
        """Times and thresholds are Envoy's; the first five redirects call for a refresh."""
        cluster = self.nodes.redis()
        config = cluster._redis
        assert (config.refresh, config.timeout, config.interval) == (5, 3, 5)
        assert (config.redirects, config.failures, config.degraded) == (5, 0, 0)

    def test_values(self) -> None:
        """Times are in seconds; a threshold of 0 is one."""
        config = self.nodes.redis(
            redis={
                "cluster_refresh_rate": "2s",
                "cluster_refresh_timeout": "0.5s",
                "redirect_refresh_interval": "0s",
                "redirect_refresh_threshold": 0,
                "failure_refresh_threshold": 7,
                "host_degraded_refresh_threshold": 8,
            }
        )._redis
        assert (config.refresh, config.timeout, config.interval) == (2, 0.5, 0)
        assert (config.redirects, config.failures, config.degraded) == (0, 7, 8)

    @pytest.mark.parametrize(
        ("config", "path"),
        [
            ({"lb_policy": "ROUND_ROBIN"}, "lb_policy"),
            ({"dns_refresh_rate": "5s"}, "dns_refresh_rate"),
            ({"respect_dns_ttl": True}, "respect_dns_ttl"),
            ({"ring_hash_lb_config": {"minimum_ring_size": 7}}, "ring_hash_lb_config"),
            (
                {"common_lb_config": {"healthy_panic_threshold": {"value": 9}}},
                "common_lb_config.healthy_panic_threshold",
            ),
            ({"cluster_type": {"name": "envoy.clusters.aggregate"}}, "cluster_type.name"),
            (
                {"cluster_type": {"name": "envoy.clusters.redis", "typed_config": {
                    "@type": "type.googleapis.com/google.protobuf.Struct", "value": {}}}},
                "cluster_type.typed_config",
            ),
            ({"load_assignment": assignment([])}, "load_assignment.endpoints"),
            ({"load_assignment": assignment([1], [2])}, "load_assignment.endpoints.1.priority"),
            (
                {"load_assignment": assignment([endpoint(1, weight=2)])},
                "load_assignment.endpoints.0.lb_endpoints.0.load_balancing_weight",
            ),
            ({"load_assignment": assignment([1], overprovisioning_factor=100)}, "load_assignment.policy"),
            (
                {"load_assignment": assignment([{"endpoint": {"address": {"pipe": {"path": "/a"}}}}])},
                "load_assignment.endpoints.0.lb_endpoints.0.endpoint.address",
            ),
        ],
    )  # fmt: skip
    def test_refused(self, config: dict[str, Any], path: str) -> None:
        """What would be ignored is an error that says where."""
        full: dict[str, Any] = {
            "lb_policy": "CLUSTER_PROVIDED",
            "cluster_type": {"name": "envoy.clusters.redis", "typed_config": {"@type": TYPE}},
            "load_assignment": assignment([1]),
        }
        with pytest.raises(ConfigError) as caught:
            self.nodes.cluster(**{**full, **config})
        assert ".".join(map(str, caught.value.path)) == path

    def test_policy_of_others(self) -> None:
        """A cluster that provides nothing cannot have the policy CLUSTER_PROVIDED."""
        with pytest.raises(ConfigError):
            self.nodes.cluster(lb_policy="CLUSTER_PROVIDED")


class TestSlots:
    """Picking, as a proxy does."""

    def setup_method(self) -> None:
        """Have a cluster with two shards."""
        self.nodes = Nodes()
        self.cluster = self.nodes.redis(
            5, redis={"failure_refresh_threshold": 2, "host_degraded_refresh_threshold": 2}
        )
        self.nodes.tell(entry(8000, 16383, 3), entry(0, 7999, 1, 2))

    def test_shards(self) -> None:
        """The shards are in the order of their slots, for commands that go to all of them."""
        assert ports_of([shard.primary for shard in self.cluster.shards]) == [1, 3]
        assert ports_of(self.cluster.shards[0].replicas) == [2]

    def test_pick(self) -> None:
        """The hash key is the slot; pick stays right when the topology changes."""
        assert ports_of([self.cluster.pick(0), self.cluster.pick(8000)]) == [1, 3]
        self.nodes.pass_time(5)
        self.nodes.tell(entry(0, 16383, 3))
        assert ports_of([self.cluster.pick(0)]) == [3]

    def test_connect(self) -> None:
        """A connection goes to the host of the slot."""
        self.cluster.connect(object(), object(), 8000)  # type: ignore[arg-type]
        assert self.nodes.asked[-1][0] is self.cluster.pick(8000)

    def test_membership(self) -> None:
        """The gauges tell how many hosts there are, and how many are healthy."""
        self.cluster.hosts[0].health_flags.add("failed_active_hc")
        self.cluster.refresh()
        assert [self.nodes.value(f"membership_{name}") for name in ("total", "healthy")] == [3, 2]

    def test_health(self) -> None:
        """After refresh() health flags count for reads."""
        assert {port for _ in range(30) for port in ports_of([self.cluster.pick_read(0, "ANY")])} == {1, 2}
        self.cluster.pick(0).health_flags.add("failed_active_hc")
        self.cluster.refresh()
        assert {port for _ in range(30) for port in ports_of([self.cluster.pick_read(0, "ANY")])} == {2}

    def test_redirects(self) -> None:
        """Five redirects call for asking again at once."""
        for _ in range(4):
            self.cluster.note_redirect()
        assert len(self.nodes.asked) == 1
        self.cluster.note_redirect()
        assert len(self.nodes.asked) == 2

    def test_while_asking(self) -> None:
        """What calls for asking while a question is open is asked once more afterwards."""
        self.nodes.pass_time(5)
        for _ in range(5):
            self.cluster.note_redirect()
        assert len(self.nodes.asked) == 2
        self.nodes.tell(entry(0, 16383, 3))
        assert len(self.nodes.asked) == 3
        self.nodes.tell(entry(0, 16383, 4))
        assert ports_of(self.cluster.hosts) == [4]
        self.nodes.pass_time(4.9)
        assert len(self.nodes.asked) == 3

    def test_failures(self) -> None:
        """So do failures, if the config says how many."""
        self.cluster.note_failure(self.cluster.hosts[0])
        assert len(self.nodes.asked) == 1
        self.cluster.note_failure(self.cluster.hosts[1])
        assert len(self.nodes.asked) == 2

    def test_degraded(self) -> None:
        """And hosts that get ill, each counted once."""
        self.cluster.hosts[0].health_flags.add("failed_active_hc")
        for _ in range(3):
            self.cluster.refresh()
        assert len(self.nodes.asked) == 1
        self.cluster.hosts[1].health_flags.add("degraded_active_hc")
        self.cluster.refresh()
        assert len(self.nodes.asked) == 2


def test_auth() -> None:
    """The nodes are asked with the user and password of the protocol options."""
    nodes = Nodes()
    options = {
        "@type": AUTH,
        "auth_username": {"inline_string": "me"},
        "auth_password": {"inline_string": "pw"},
    }
    cluster = nodes.redis(5, typed_extension_protocol_options={"envoy.filters.network.redis_proxy": options})
    assert cluster.redis_auth == (b"me", b"pw")
    connecting = nodes.asked[0][1].accept()
    assert connecting.received.startswith(b"*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$2\r\npw\r\n")


def test_iam() -> None:
    """With IAM they are asked with a password made for it; while there is none they cannot be asked."""
    nodes = Nodes()
    inline = {"inline_credential": {"access_key_id": "a", "secret_access_key": "b"}}
    iam = {"cache_name": "c", "region": "r", "credential_provider": inline}
    options = {"@type": AUTH, "auth_username": {"inline_string": "me"}, "aws_iam": iam}
    cluster = nodes.redis(5, typed_extension_protocol_options={"envoy.filters.network.redis_proxy": options})
    assert b"\r\nc/?Action=connect&User=me&X-Amz-" in nodes.asked[0][1].accept().received
    nodes.asked[0][1].send(encode(Simple(b"OK")) + encode([entry(0, 16383, 1)]))
    assert ports_of(cluster.hosts) == [1]
    assert cluster.redis_logins.iam is not None
    cluster.redis_logins.iam.chain.current = None
    cluster.find_zones()
    nodes.pass_time(5)
    assert len(nodes.asked) == 1
    assert nodes.value("update_failure") == 1
    assert cluster.pick(0) is cluster.hosts[0]
    nodes.look_up()


class TestZones:
    """Where the hosts are, for reads that go by that."""

    def setup_method(self) -> None:
        """Have a cluster with a primary 1 and a replica 2, and be in the zone a."""
        self.nodes = Nodes()
        self.nodes.context.zone = "a"

    def found(self, *told: list[Any], **config: Any) -> RedisCluster:
        """Return the cluster that the nodes told this of."""
        cluster = self.nodes.redis(5, **config)
        self.nodes.tell(*(told or [entry(0, 16383, 1, 2, 3)]))
        return cluster

    def asked(self) -> dict[int, Any]:
        """Return the connections on which hosts were asked for their zones, by port."""
        return {host.address[1]: connecting for host, connecting in self.nodes.asked[1:]}  # type: ignore[misc]

    def near(self, cluster: RedisCluster) -> set[int]:
        """Return the ports of the hosts that reads go to."""
        return {ports_of([cluster.pick_read(0, "LOCAL_ZONE_AFFINITY")])[0] for _ in range(60)}

    def test_asked(self) -> None:
        """Each host is asked once, if someone wants to know."""
        cluster = self.found()
        assert self.asked() == {}
        cluster.find_zones()
        for port, zone in ((1, b"a"), (2, b"b"), (3, b"a")):
            self.asked()[port].accept().send(encode(b"# Server\r\navailability_zone:%b\r\n" % zone))
        assert [host.locality.zone for host in cluster.hosts] == ["a", "b", "a"]
        assert self.near(cluster) == {3}
        cluster.find_zones()
        self.nodes.pass_time(4.9)
        assert len(self.nodes.asked) == 4

    def test_told(self) -> None:
        """What CLUSTER SLOTS tells need not be asked for, and changes as it does."""
        zones = {1: b"a", 2: b"a"}
        first, last, *nodes = entry(0, 16383, 1, 2, 3)
        told = [[*node, b"id", [b"availability-zone", zones.get(node[1], b"b")]] for node in nodes]
        cluster = self.found([first, last, *told])
        cluster.find_zones()
        assert self.asked() == {}
        assert self.near(cluster) == {2}
        self.nodes.pass_time(5)
        told[1][3][1], told[2][3][1] = b"b", b"a"
        self.nodes.tell([first, last, *told])
        assert self.near(cluster) == {3}

    def test_of_config(self) -> None:
        """The locality of an endpoint holds for the node that is there."""
        where = assignment([1, 2])
        where["endpoints"][0]["locality"] = {"region": "r", "zone": "a"}
        cluster = self.nodes.redis(1, 2, load_assignment=where)
        self.nodes.tell(entry(0, 16383, 1, 2, 3))
        assert self.near(cluster) == {2}
        cluster.find_zones()
        assert set(self.asked()) == {3}

    def test_joined(self) -> None:
        """A node that joins later is asked then."""
        cluster = self.found(entry(0, 16383, 1))
        cluster.find_zones()
        self.asked()[1].accept().send(encode(b""))
        self.nodes.pass_time(5)
        self.nodes.tell(entry(0, 16383, 1, 2))
        assert set(self.asked()) == {1, 2}
        self.asked()[2].accept().send(encode(b"availability_zone:a\r\n"))
        assert self.near(cluster) == {2}

    def test_stop(self) -> None:
        """A cluster that is stopped asks no more."""
        cluster = self.found()
        cluster.find_zones()
        cluster.stop()
        assert all(connecting.cancelled for connecting in self.asked().values())
        assert self.nodes.reactor.getDelayedCalls() == []
