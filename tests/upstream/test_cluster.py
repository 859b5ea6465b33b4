"""Tests for meshd.upstream.cluster."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from meshd.codec.sigv4 import Credentials
from meshd.interfaces import ICluster, NoHost
from meshd.plugin import ConfigError
from meshd.upstream.bind import Bind, Source
from meshd.upstream.cluster import Cluster
from meshd.upstream.resolver import LookupFailed
from tests.upstream.support import Surrounding, assignment, endpoint, ports

REDIS_OPTIONS = "type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProtocolOptions"


class TestConfig:
    """What is read from the message."""

    def setup_method(self) -> None:
        """Make the surroundings."""
        self.around = Surrounding()

    def test_interface(self) -> None:
        """A Cluster is an ICluster."""
        assert verifyObject(ICluster, self.around.cluster())

    def test_defaults(self) -> None:
        """The defaults are Envoy's."""
        cluster = self.around.cluster()
        assert (cluster.connect_timeout, cluster.buffer_limit) == (5.0, 1048576)
        assert (cluster.limits.max_connections, cluster.bind, cluster.hosts) == (1024, None, [])

    def test_values(self) -> None:
        """Times are in seconds, sizes in bytes."""
        cluster = self.around.cluster(
            connect_timeout="0.25s",
            per_connection_buffer_limit_bytes=1000,
            circuit_breakers={"thresholds": [{"priority": "HIGH", "max_connections": 3}]},
        )
        assert (cluster.connect_timeout, cluster.buffer_limit) == (0.25, 1000)
        assert cluster.high_limits.max_connections == 3

    def test_stat_name(self) -> None:
        """alt_stat_name is what statistics call it."""
        cluster = self.around.cluster(alt_stat_name="other")
        assert (cluster.name, cluster.stat_name) == ("c", "other")
        assert "cluster.other.upstream_cx_total" in self.around.store.counters

    def test_bind(self) -> None:
        """The bind config of the cluster goes before that of the bootstrap."""
        self.around.context.bind = Bind((Source(("127.0.0.7", 0)),))
        assert self.around.cluster().bind is self.around.context.bind
        own = self.around.cluster(upstream_bind_config={"source_address": {"address": "127.0.0.8"}})
        assert own.bind == Bind((Source(("127.0.0.8", 0)),))


class TestStatic:
    """Hosts of the config."""

    def setup_method(self) -> None:
        """Make the surroundings."""
        self.around = Surrounding()

    def test_warm(self) -> None:
        """It is warm as soon as it is started."""
        cluster = self.around.cluster(start=False, load_assignment=assignment([1, 2]))
        warm: list[str] = []
        cluster.when_warm(lambda: warm.append("before"))
        assert not warm
        cluster.start()
        cluster.when_warm(lambda: warm.append("after"))
        assert warm == ["before", "after"]
        assert ports(cluster.hosts) == "12"

    def test_connect(self) -> None:
        """A host is picked, and the connector does the rest."""
        cluster = self.around.cluster(load_assignment=assignment([1]))
        upstream, info = object(), object()
        connecting: Any = cluster.connect(upstream, info)  # type: ignore[arg-type]
        assert self.around.wanted == [(cluster.hosts[0], upstream, info)]
        assert connecting is cluster.hosts[0]

    def test_no_host(self) -> None:
        """Without a host there is no connection, which is counted."""
        with pytest.raises(NoHost):
            self.around.cluster().connect(None, None)  # type: ignore[arg-type]
        assert self.around.value("upstream_cx_none_healthy") == 1

    def test_membership(self) -> None:
        """The gauges tell of the hosts' health; each priority that came is a change."""
        self.around.cluster(
            load_assignment=assignment(
                [1, endpoint(2, health_status="DRAINING"), endpoint(3, health_status="DEGRADED")], [4]
            )
        )
        names = ("total", "healthy", "degraded", "excluded", "change")
        assert [self.around.value(f"membership_{name}") for name in names] == [4, 2, 1, 1, 2]
        assert self.around.value("default.total_match_count") == 4
        assert self.around.value("max_host_weight") == 0

    def test_refresh(self) -> None:
        """After refresh() health flags count."""
        cluster = self.around.cluster(load_assignment=assignment([1, 2]))
        cluster.hosts[0].health_flags.add("failed_active_hc")
        cluster.refresh()
        assert ports([cluster.pick(None) for _ in range(4)]) == "2222"
        assert self.around.value("membership_healthy") == 1

    @pytest.mark.parametrize(("value", "panics"), [(None, 0), ("60", 4), ("x", 0), ("200", 4)])
    def test_panic_threshold(self, value: str | None, panics: int) -> None:
        """The runtime's panic threshold goes before the config's, if it is a number."""
        if value is not None:
            self.around.runtime.values["upstream.healthy_panic_threshold"] = value
        cluster = self.around.cluster(
            load_assignment=assignment([1, endpoint(2, health_status="UNHEALTHY")]),
            common_lb_config={"healthy_panic_threshold": {"value": 49.6}},
        )
        for _ in range(4):
            cluster.pick(None)
        assert self.around.value("lb_healthy_panic") == panics


class TestCredentials:
    """A cluster whose passwords are made with AWS credentials that have to be asked for."""

    def setup_method(self) -> None:
        """Make one that is asked to start."""
        self.around = Surrounding()
        iam = {"cache_name": "c", "region": "r"}
        options = {"@type": REDIS_OPTIONS, "auth_username": {"inline_string": "me"}, "aws_iam": iam}
        self.cluster = self.around.cluster(
            start=False,
            load_assignment=assignment([1]),
            typed_extension_protocol_options={"envoy.filters.network.redis_proxy": options},
        )
        self.waiting: Deferred[Credentials] = Deferred()
        iam_of = self.cluster.redis_logins.iam
        assert iam_of is not None
        iam_of.chain.sources = [self]  # type: ignore[list-item]

    holds = None

    async def fetch(self) -> Credentials:
        """Be the source of the credentials."""
        return await self.waiting

    def test_waits(self) -> None:
        """It has hosts once it has credentials."""
        self.cluster.start()
        assert (self.cluster.warmed, self.cluster.hosts) == (False, [])
        self.waiting.callback(Credentials("a", "b"))
        assert self.cluster.warmed
        assert ports(self.cluster.hosts) == "1"

    def test_failed(self) -> None:
        """If there are none it starts all the same."""
        self.cluster.start()
        self.waiting.errback(OSError("no"))
        assert ports(self.cluster.hosts) == "1"
        self.cluster.stop()
        assert self.around.reactor.getDelayedCalls() == []

    def test_stopped(self) -> None:
        """If it is stopped before, it does not start any more."""
        self.cluster.start()
        self.cluster.stop()
        assert self.waiting.called
        assert self.cluster.hosts == []


class TestDns:
    """Hosts that are looked up."""

    def setup_method(self) -> None:
        """Make the surroundings."""
        self.around = Surrounding()

    def cluster(self, kind: str = "STRICT_DNS", **config: Any) -> Cluster:
        """Make a cluster of one name."""
        return self.around.cluster(type=kind, load_assignment=assignment([endpoint("a.test")]), **config)

    def test_warm(self) -> None:
        """It is warm after the first answer."""
        cluster = self.cluster()
        warm: list[bool] = []
        cluster.when_warm(lambda: warm.append(True))
        assert not warm
        self.around.resolver.answer("10.0.0.1", "10.0.0.2")
        assert warm
        assert [host.text for host in cluster.hosts] == ["10.0.0.1:80", "10.0.0.2:80"]

    def test_warm_in_vain(self) -> None:
        """It is warm after a failure too."""
        cluster = self.cluster()
        self.around.resolver.fail(LookupFailed("x"))
        assert (cluster.warmed, cluster.hosts) == (True, [])

    def test_no_waiting(self) -> None:
        """It need not be waited for."""
        cluster = self.cluster(wait_for_warm_on_init=False)
        assert (cluster.warmed, cluster.hosts) == (True, [])

    def test_removed(self) -> None:
        """Whoever wants to know is told of hosts that are gone; they are picked no more."""
        cluster = self.cluster()
        self.around.resolver.answer("10.0.0.1", "10.0.0.2")
        removed: list[str] = []
        cluster.on_removed(lambda hosts: removed.extend(host.text for host in hosts))
        self.around.reactor.advance(5)
        self.around.resolver.answer("10.0.0.2", "10.0.0.3")
        assert removed == ["10.0.0.1:80"]
        assert {cluster.pick(None).text for _ in range(4)} == {"10.0.0.2:80", "10.0.0.3:80"}
        assert self.around.value("membership_change") == 2
        assert self.around.value("default.total_match_count") == 3

    def test_logical(self) -> None:
        """A LOGICAL_DNS cluster has one host, whose name is the one looked up."""
        cluster = self.cluster("LOGICAL_DNS")
        self.around.resolver.answer("10.0.0.1", "10.0.0.2")
        assert [(host.text, host.hostname) for host in cluster.hosts] == [("10.0.0.1:80", "a.test")]

    def test_stop(self) -> None:
        """After stop() it looks no more, but the hosts are still there."""
        cluster = self.cluster()
        self.around.resolver.answer("10.0.0.1")
        cluster.stop()
        assert not self.around.reactor.getDelayedCalls()
        assert cluster.pick(None).text == "10.0.0.1:80"


@pytest.mark.parametrize(
    ("config", "words", "path"),
    [
        ({"type": "EDS"}, "meshd does not serve clusters of the type EDS", ("type",)),
        (
            {"load_assignment": assignment([endpoint("a.test")])},
            "malformed IP address: a.test. Consider setting resolver_name or setting cluster type to"
            " 'STRICT_DNS' or 'LOGICAL_DNS'",
            (
                *("load_assignment", "endpoints", 0, "lb_endpoints", 0),
                *("endpoint", "address", "socket_address", "address"),
            ),
        ),
        (
            {"load_assignment": assignment([{}])},
            "endpoint",
            ("load_assignment", "endpoints", 0, "lb_endpoints", 0),
        ),
        (
            {"common_lb_config": {"update_merge_window": "1s"}},
            "only 0s is served",
            ("common_lb_config", "update_merge_window"),
        ),
        (
            {"upstream_bind_config": {"source_address": {"address": "x"}}},
            "malformed IP address: x",
            ("upstream_bind_config", "source_address", "address"),
        ),
        (
            {"circuit_breakers": {"per_host_thresholds": [{"max_requests": 1}]}},
            "Unsupported field in per_host_thresholds",
            ("circuit_breakers", "per_host_thresholds", 0),
        ),
        (
            {
                "lb_policy": "MAGLEV",
                "load_assignment": assignment([endpoint(1, 2**31), endpoint(2, 2**31)]),
            },
            "The sum of weights of all upstream hosts in a locality exceeds 4294967295",
            (
                *("load_assignment", "endpoints", 0, "lb_endpoints", 1),
                "load_balancing_weight",
            ),
        ),
    ],
)
def test_errors(config: dict[str, Any], words: str, path: tuple[str | int, ...]) -> None:
    """What cannot be is refused; the path begins at the cluster."""
    with pytest.raises(ConfigError) as caught:
        Surrounding().cluster(**config)
    assert words in caught.value.message
    assert caught.value.path == path


ADDRESSES = st.fixed_dictionaries(
    {
        "address": st.sampled_from(["127.0.0.1", "::1", "a.test", "", "1.2.3"]),
        "port_value": st.integers(0, 65535),
    },
    optional={"resolver_name": st.just("x"), "protocol": st.sampled_from(["TCP", "UDP"])},
)
ENDPOINTS = st.fixed_dictionaries(
    {},
    optional={
        "endpoint": st.builds(lambda where: {"address": {"socket_address": where}}, ADDRESSES),
        "health_status": st.sampled_from(["UNHEALTHY", "DEGRADED", "DRAINING"]),
        "load_balancing_weight": st.integers(0, 2**32 - 1),
    },
)
LOCALITIES = st.fixed_dictionaries(
    {"lb_endpoints": st.lists(ENDPOINTS, max_size=3), "priority": st.integers(0, 3)}
)
CONSISTENT = st.fixed_dictionaries(
    {}, optional={"use_hostname_for_hashing": st.booleans(), "hash_balance_factor": st.integers(0, 200)}
)
SIZES = st.integers(0, 20)
BALANCERS = st.one_of(
    st.just({}),
    st.builds(lambda size: {"maglev_lb_config": {"table_size": size}}, st.integers(0, 101)),
    st.builds(
        lambda least, most: {"ring_hash_lb_config": {"minimum_ring_size": least, "maximum_ring_size": most}},
        SIZES,
        SIZES,
    ),
    st.builds(lambda count: {"least_request_lb_config": {"choice_count": count}}, st.integers(0, 3)),
)
CLUSTERS = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["STATIC", "STRICT_DNS", "LOGICAL_DNS", "EDS"]),
        "load_assignment": st.builds(lambda found: {"endpoints": found}, st.lists(LOCALITIES, max_size=3)),
        "lb_policy": st.sampled_from(["ROUND_ROBIN", "LEAST_REQUEST", "RANDOM", "RING_HASH", "MAGLEV"]),
    },
    optional={
        "common_lb_config": st.builds(lambda found: {"consistent_hashing_lb_config": found}, CONSISTENT),
        "upstream_bind_config": st.builds(lambda where: {"source_address": where}, ADDRESSES),
    },
)


@settings(deadline=None)
@given(CLUSTERS, BALANCERS)
def test_rubbish(config: dict[str, Any], balancer: dict[str, Any]) -> None:
    """Whatever the config says, it is served, or refused with a ConfigError."""
    try:
        cluster = Surrounding().cluster(**config, **balancer)
    except ConfigError:
        return
    try:
        assert cluster.pick(12345) in cluster.hosts
    except NoHost:
        ring = balancer.get("ring_hash_lb_config", {"minimum_ring_size": 1})
        assert not any(host.healthy for host in cluster.hosts) or not ring["minimum_ring_size"]
