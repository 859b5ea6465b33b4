"""Tests for meshd.observe.tags: what names are taken apart to was seen in Envoy 1.40."""

from typing import Any

import pytest
from envoy.config.metrics.v3.stats_pb2 import StatsConfig
from google.protobuf.json_format import ParseDict
from hypothesis import given
from hypothesis import strategies as st

from meshd.observe.histogram import BOUNDS
from meshd.observe.stats import Store
from meshd.observe.tags import Tags
from meshd.plugin import ConfigError

NAMES = [
    ("cluster.c1.upstream_cx_total", "cluster.upstream_cx_total", {"envoy_cluster_name": "c1"}),
    ("cluster.c_1.x.upstream_cx_total", "cluster.x.upstream_cx_total", {"envoy_cluster_name": "c_1"}),
    (
        "cluster.c1.upstream_rq_200",
        "cluster.upstream_rq",
        {"envoy_response_code": "200", "envoy_cluster_name": "c1"},
    ),
    ("tcp.a.b_c.downstream_cx_total", "tcp.b_c.downstream_cx_total", {"envoy_tcp_prefix": "a"}),
    (
        "listener.127.0.0.1_24902.downstream_cx_total",
        "listener.downstream_cx_total",
        {"envoy_listener_address": "127.0.0.1_24902"},
    ),
    (
        "listener.[__1]_24902.worker_0.downstream_cx_active",
        "listener.worker.downstream_cx_active",
        {"envoy_worker_id": "0", "envoy_listener_address": "[__1]_24902"},
    ),
    (
        "listener.foo.bar.worker_0.downstream_cx_total",
        "listener.bar.worker_0.downstream_cx_total",
        {"envoy_listener_address": "foo"},
    ),
    (
        "listener./tmp/u.sock.downstream_cx_total",
        "listener.sock.downstream_cx_total",
        {"envoy_listener_address": "/tmp/u"},
    ),
    ("listener.admin.downstream_cx_total", "listener.admin.downstream_cx_total", {}),
    (
        "listener.admin.http.admin.downstream_rq_2xx",
        "listener.admin.http.downstream_rq_xx",
        {"envoy_response_code_class": "2", "envoy_http_conn_manager_prefix": "admin"},
    ),
    (
        "listener.seven.http.hh.jj.downstream_rq_completed",
        "listener.http.jj.downstream_rq_completed",
        {"envoy_http_conn_manager_prefix": "hh", "envoy_listener_address": "seven"},
    ),
    ("server.worker_0.watchdog_miss", "server.worker.watchdog_miss", {"envoy_worker_id": "0"}),
    ("workers.watchdog_miss", "workers.watchdog_miss", {}),
    (
        "connection_limit.clp.limited_connections",
        "connection_limit.limited_connections",
        {"envoy_connection_limit_prefix": "clp"},
    ),
    (
        "local_rate_limit.lrp.rate_limited",
        "local_rate_limit.rate_limited",
        {"envoy_local_network_ratelimit_prefix": "lrp"},
    ),
    (
        "listener_local_ratelimit.llrp.rate_limited",
        "listener_local_ratelimit.rate_limited",
        {"envoy_local_listener_ratelimit_prefix": "llrp"},
    ),
    (
        "proxy_proto.ppx.versions.v2.found",
        "proxy_proto.found",
        {"envoy_proxy_protocol_prefix": "ppx", "envoy_proxy_protocol_version": "2"},
    ),
    ("proxy_proto.versions.v1.found", "proxy_proto.found", {"envoy_proxy_protocol_version": "1"}),
    ("proxy_proto.not_found_allowed", "proxy_proto.not_found_allowed", {}),
    ("rbp.rbac.denied", "rbac.denied", {"envoy_rbac_prefix": "rbp"}),
    (
        "vhost.v.w.vcluster.vc.upstream_rq_retry",
        "vhost.w.vcluster.vc.upstream_rq_retry",
        {"envoy_virtual_host": "v"},
    ),
    (
        "mongo.m.collection.c.callsite.f.query.total",
        "mongo.collection.callsite.query.total",
        {"envoy_mongo_callsite": "f", "envoy_mongo_collection": "c", "envoy_mongo_prefix": "m"},
    ),
    ("redis.r.command.get.total", "redis.command.get.total", {"envoy_redis_prefix": "r"}),
]


def configured(config: dict[str, Any]) -> Store:
    store = Store()
    store.configure(ParseDict(config, StatsConfig()))
    return store


class TestDefaults:
    """Envoy's own rules."""

    @pytest.mark.parametrize(("name", "bare", "labels"), NAMES)
    def test_name(self, name: str, bare: str, labels: dict[str, str]) -> None:
        """A name is taken apart as Envoy does, and the tags are in its order."""
        assert Tags().extract(name) == (bare, tuple(labels.items()))

    @given(st.text(alphabet="abc._0123456789[]/", max_size=40))
    def test_any_name(self, name: str) -> None:
        """Any name can be taken apart, and what is left is not longer than it was."""
        bare, labels = Tags().extract(name)
        assert len(bare) <= len(name)
        assert all(value in name for _, value in labels)


class TestStatsTags:
    """Rules of the config."""

    def test_regex(self) -> None:
        """A rule's first group is taken out, the second is the value; defaults come first."""
        store = configured({"stats_tags": [{"tag_name": "db", "regex": r"^tcp\.((zed)\.)"}]})
        assert store.tags.extract("tcp.zed.total") == (
            "tcp.total",
            (("envoy_tcp_prefix", "zed"), ("db", "zed")),
        )

    def test_fixed(self) -> None:
        """A fixed value is a tag of all names."""
        store = configured({"stats_tags": [{"tag_name": "dc", "fixed_value": "x.y"}]})
        assert store.tags.extract("server.live") == ("server.live", (("dc", "x.y"),))

    def test_command_line(self) -> None:
        """Tags of the command line are tags of all names."""
        store = Store()
        store.configure(StatsConfig(), {"dc": "a"})
        assert store.tags.extract("server.live") == ("server.live", (("dc", "a"),))

    def test_no_defaults(self) -> None:
        """The defaults can be left out, but for those that are named."""
        store = configured(
            {"use_all_default_tags": False, "stats_tags": [{"tag_name": "envoy_cluster_name"}]}
        )
        assert store.tags.extract("tcp.a.b") == ("tcp.a.b", ())
        assert store.tags.extract("cluster.a.b") == ("cluster.b", (("envoy_cluster_name", "a"),))

    @pytest.mark.parametrize(
        ("tag", "path"),
        [
            ({"tag_name": "x", "regex": "(("}, ("stats_tags", 0, "regex")),
            ({"tag_name": "x", "regex": "abc"}, ("stats_tags", 0, "regex")),
            ({"tag_name": "x"}, ("stats_tags", 0)),
        ],
    )
    def test_wrong(self, tag: object, path: tuple[object, ...]) -> None:
        """A rule that cannot work is told, and where it is."""
        with pytest.raises(ConfigError) as raised:
            configured({"stats_tags": [tag]})
        assert raised.value.path == path


class TestMatcher:
    """What of the statistics is kept."""

    def test_exclusion(self) -> None:
        """What is excluded is not shown, and counts all the same; even if it was there before."""
        store = Store()
        before = store.counter("cluster.a.x")
        config = {"stats_matcher": {"exclusion_list": {"patterns": [{"prefix": "cluster."}]}}}
        store.configure(ParseDict(config, StatsConfig()))
        store.counter("tcp.x")
        assert store.counter("cluster.a.x") is before
        assert [stat.name for stat in store] == ["tcp.x"]

    def test_inclusion(self) -> None:
        """Only what is included is shown."""
        store = configured(
            {"stats_matcher": {"inclusion_list": {"patterns": [{"safe_regex": {"regex": r"tcp\..*"}}]}}}
        )
        store.counter("tcp.x")
        store.counter("cluster.tcp.x")
        assert [stat.name for stat in store] == ["tcp.x"]

    def test_all(self) -> None:
        """Everything can be rejected."""
        store = configured({"stats_matcher": {"reject_all": True}})
        store.counter("a").inc()
        assert list(store) == []

    def test_wrong(self) -> None:
        """A bad pattern is told, and where it is."""
        with pytest.raises(ConfigError) as raised:
            configured({"stats_matcher": {"exclusion_list": {"patterns": [{"safe_regex": {"regex": "("}}]}}})
        assert raised.value.path[:4] == ("stats_matcher", "exclusion_list", "patterns", 0)


class TestBounds:
    """The export buckets of histograms."""

    def test_first_match(self) -> None:
        """The first setting that matches a name counts; others have the defaults."""
        store = configured(
            {
                "histogram_bucket_settings": [
                    {"match": {"suffix": "_ms"}, "buckets": [10, 1]},
                    {"match": {"prefix": "a"}, "buckets": [5]},
                ]
            }
        )
        assert store.histogram("a_ms").bounds == (1, 10)
        assert store.histogram("ab").bounds == (5,)
        assert store.histogram("b").bounds == BOUNDS

    def test_bins(self) -> None:
        """A field that would have no effect is refused."""
        with pytest.raises(ConfigError, match="bins"):
            configured({"histogram_bucket_settings": [{"match": {"suffix": "x"}, "bins": 10}]})
