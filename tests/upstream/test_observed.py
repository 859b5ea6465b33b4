"""Tests that meshd picks as the real Envoy did: see observed.py for how it was seen."""

from __future__ import annotations

import pytest

from meshd.interfaces import NoHost
from meshd.upstream.cluster import Cluster
from meshd.upstream.hashing import xxhash64
from tests.upstream.observed import BOUNDED, HASHED, LEAST_REQUEST, PRIORITIES, ROUND_ROBIN, UNEQUAL
from tests.upstream.support import Surrounding, assignment


def reached(cluster: Cluster, source: int | None) -> str:
    """Return the number of the backend that a connection from 127.0.0.source reaches."""
    key = None if source is None else xxhash64(b"127.0.0.%d" % source)
    try:
        host = cluster.pick(key)
    except NoHost:
        return "0"
    return str(int(host.address[1]) - 29000)


class TestHashing:
    """The same client reaches the same host, on Envoy and on meshd."""

    @pytest.mark.parametrize("name", HASHED)
    def test_hosts(self, name: str) -> None:
        """Rings and tables of every kind are the same as Envoy's."""
        config, expected, gauges = HASHED[name]
        around = Surrounding()
        cluster = around.cluster(**config)
        for _ in list(around.resolver.lookups):
            around.resolver.answer("127.0.0.1")
        assert "".join(reached(cluster, source) for source in range(2, 42)) == expected
        assert {gauge: around.value(gauge) for gauge in gauges} == gauges

    @pytest.mark.parametrize("name", BOUNDED)
    def test_bounded(self, name: str) -> None:
        """Hosts that are too busy are passed over in the same order."""
        policy, endpoints, factor, expected = BOUNDED[name]
        around = Surrounding()
        bounds = {"consistent_hashing_lb_config": {"hash_balance_factor": factor}}
        cluster = around.cluster(lb_policy=policy, load_assignment=endpoints, common_lb_config=bounds)
        found = ""
        for number in range(2, 42):
            host = cluster.pick(xxhash64(b"127.0.0.%d" % (2 + number // 14)))
            host.rq_active += 1
            cluster.stats.upstream_rq_active.inc()
            found += str(int(host.address[1]) - 29000)
        assert found == expected


class TestPriorities:
    """Health and priorities, with a hash that decides both the priority and the host."""

    @pytest.mark.parametrize("name", PRIORITIES)
    def test_priorities(self, name: str) -> None:
        """Spill, panic and degraded hosts are the same as Envoy's."""
        policy, levels, expected, panics = PRIORITIES[name]
        around = Surrounding()
        cluster = around.cluster(lb_policy=policy, load_assignment=assignment(*levels))
        assert "".join(reached(cluster, source) for source in range(2, 42)) == expected
        assert around.value("lb_healthy_panic") == panics
        assert around.value("upstream_cx_none_healthy") == expected.count("0")


class TestWeights:
    """The scheduler of weighted hosts; Envoy begins at a random place, so some seed must give its order."""

    def test_round_robin(self) -> None:
        """Weighted round robin takes turns in Envoy's order."""
        for seed in range(200):
            cluster = Surrounding(seed).cluster(load_assignment=UNEQUAL)
            if "".join(reached(cluster, None) for _ in range(40)) == ROUND_ROBIN:
                return
        raise AssertionError("no start of the order is Envoy's")

    def test_least_request(self) -> None:
        """Weighted least request takes turns in Envoy's order."""
        for seed in range(200):
            cluster = Surrounding(seed).cluster(load_assignment=UNEQUAL, lb_policy="LEAST_REQUEST")
            found = ""
            for _ in range(40):
                host = cluster.pick(None)
                host.rq_active += 1
                found += str(int(host.address[1]) - 29000)
            if found == LEAST_REQUEST:
                return
        raise AssertionError("no start of the order is Envoy's")
