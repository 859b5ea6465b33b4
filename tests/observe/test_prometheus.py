"""Tests for meshd.observe.prometheus."""

import re
import shutil
import subprocess

import pytest
from envoy.config.metrics.v3.stats_pb2 import StatsConfig
from google.protobuf.json_format import ParseDict
from hypothesis import given
from hypothesis import strategies as st

from meshd.observe.prometheus import escape, parts, render
from meshd.observe.stats import Store

LABEL = re.compile(r'"((?:[^"\\\n]|\\["\\n])*)"')


def filled() -> Store:
    store = Store()
    store.counter("cluster.c1.upstream_cx_total").inc(9)
    store.counter("cluster.c2.upstream_cx_total").inc(1)
    store.counter("cluster_manager.cluster_added").inc(1)
    store.gauge("server.live").set(1)
    store.text("cluster_manager.cds.version_text").set('a"\\\nb')
    histogram = store.histogram("cluster.c1.upstream_cx_length_ms")
    for value in (3, 3, 4, *[135] * 3, *[1300] * 3):
        histogram.record(value)
    store.flush()
    return store


class TestRender:
    """The text of a store with something of each kind."""

    def test_counters(self) -> None:
        """Statistics of a name are one family, with a line on its meaning and one on its type."""
        lines = render(filled()).splitlines()
        assert lines[:8] == [
            "# HELP envoy_cluster_upstream_cx_total Connections to hosts",
            "# TYPE envoy_cluster_upstream_cx_total counter",
            'envoy_cluster_upstream_cx_total{envoy_cluster_name="c1"} 9',
            'envoy_cluster_upstream_cx_total{envoy_cluster_name="c2"} 1',
            "# HELP envoy_cluster_manager_cluster_added Clusters added",
            "# TYPE envoy_cluster_manager_cluster_added counter",
            "envoy_cluster_manager_cluster_added{} 1",
            "# HELP envoy_server_live 1 unless the server drains or fails health checks",
        ]

    def test_histogram(self) -> None:
        """A histogram has cumulative buckets, a sum to the digits that Envoy shows, and a count."""
        text = render(filled())
        name = "envoy_cluster_upstream_cx_length_ms"
        assert f'{name}_bucket{{envoy_cluster_name="c1",le="0.5"}} 0\n' in text
        assert f'{name}_bucket{{envoy_cluster_name="c1",le="5"}} 3\n' in text
        assert f'{name}_bucket{{envoy_cluster_name="c1",le="3600000"}} 9\n' in text
        assert f'{name}_bucket{{envoy_cluster_name="c1",le="+Inf"}} 9\n' in text
        assert f'{name}_sum{{envoy_cluster_name="c1"}} 4459.0366322606760149938054382801\n' in text
        assert text.endswith(f'{name}_count{{envoy_cluster_name="c1"}} 9\n')

    def test_filter(self) -> None:
        """What is shown can be narrowed."""
        store = filled()
        store.counter("cluster.c3.upstream_cx_total")
        text = render(store, usedonly=True, filter=re.compile("cx_total"), type="Counters")
        assert len(text.splitlines()) == 4

    def test_nothing(self) -> None:
        """Nothing is the empty text."""
        assert render(Store()) == ""

    def test_text_readouts(self) -> None:
        """Texts are labels, if they are asked for."""
        text = render(filled(), text_readouts=True)
        assert 'envoy_cluster_manager_cds_version_text{text_value="a\\"\\\\\\nb"} 0' in text
        assert "version_text" not in render(filled())

    def test_two_types(self) -> None:
        """A name that is of two types is two families, for Prometheus refuses others."""
        store = Store()
        store.counter("a.b").inc()
        store.gauge("a_b").set(3)
        samples = [line for line in render(store).splitlines() if not line.startswith("#")]
        assert samples == ["envoy_a_b{} 1", "envoy_a_b_gauge{} 3"]

    def test_one_family(self) -> None:
        """Names that are one to Prometheus have one TYPE line."""
        store = Store()
        store.counter("x.b_c")
        store.counter("x.b.c")
        assert render(store).count("# TYPE") == 1


class TestPromtool:
    """Prometheus' own parser."""

    @pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
    def test_no_parse_error(self) -> None:
        """It reads all that is written, nasty names and tags included."""
        store = filled()
        config = {"stats_tags": [{"tag_name": "my.tag-1", "fixed_value": 'q"uo\\te\nnl {} é'}]}
        store.configure(ParseDict(config, StatsConfig()))
        store.counter("listener./tmp/a b{}\\.sock.x").inc()
        store.gauge("listener./tmp/a b{}\\.sock.x").inc()
        store.counter("0.9").inc()
        checked = subprocess.run(
            ["promtool", "check", "metrics"],
            input=render(store, text_readouts=True),
            capture_output=True,
            text=True,
            check=False,
        )
        # It finds fault with the style of Envoy's names, but not with the text.
        assert "error while linting" not in checked.stdout + checked.stderr
        assert "parsing error" not in checked.stdout + checked.stderr
        assert checked.returncode in (0, 3)


class TestEscape:
    """Label values."""

    @given(st.text())
    def test_any(self, value: str) -> None:
        """Any text is a label's value on one line, and is told from the escaped one."""
        escaped = escape(value)
        assert LABEL.fullmatch(f'"{escaped}"')
        plain = re.sub(r"\\(.)", lambda match: "\n" if match[1] == "n" else match[1], escaped)
        assert plain == value

    @given(st.text(min_size=1))
    def test_name(self, name: str) -> None:
        """Any name becomes a name of Prometheus'."""
        store = Store()
        store.counter(name)
        lines = render(store).split("\n")
        assert re.fullmatch(r"# TYPE envoy_[a-zA-Z0-9_]* counter", lines[1])


def test_parts_are_small() -> None:
    """However many statistics there are, no part is more than one's samples, so others get their turn."""
    store = Store()
    for index in range(1000):
        store.counter(f"cluster.c{index}.upstream_cx_total").inc(1)
        store.histogram(f"cluster.c{index}.upstream_cx_length_ms").record(1)
    store.flush()
    pieces = list(parts(store))
    assert max(piece.count("\n") for piece in pieces) <= 25
    assert pieces.count("") >= 10
    assert "".join(pieces) == render(store)
