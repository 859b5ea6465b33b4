"""Tests for meshd.observe.readout: the expected texts were taken from Envoy 1.40."""

import json as json_module
import re

import pytest

from meshd.observe.readout import number_text
from meshd.observe.stats import Store, json, text


@pytest.fixture
def store() -> Store:
    """Return a store with one of each."""
    store = Store()
    store.counter("cluster.c1.upstream_cx_total").inc(9)
    store.gauge("cluster.c1.upstream_cx_active").set(0)
    store.counter("cluster.c1.bind_errors")
    store.text("cluster_manager.cds.version_text").set("c1")
    histogram = store.histogram("cluster.c1.upstream_cx_length_ms")
    store.histogram("listener.admin.downstream_cx_length_ms")
    for value in (3, 3, 4, *[135] * 3):
        histogram.record(value)
    store.flush()
    for value in (1399, 1301, 1300):
        histogram.record(value)
    store.flush()
    return store


LENGTH = re.compile("cx_length")


class TestText:
    """The text that curl shows."""

    def test_kinds(self, store: Store) -> None:
        """Texts come first and are quoted; counters and gauges are mixed; histograms come last."""
        assert text(store).splitlines()[:-2] == [
            'cluster_manager.cds.version_text: "c1"',
            "cluster.c1.bind_errors: 0",
            "cluster.c1.upstream_cx_active: 0",
            "cluster.c1.upstream_cx_total: 9",
        ]
        assert text(store).endswith("listener.admin.downstream_cx_length_ms: No recorded values\n")

    def test_nothing(self) -> None:
        """Nothing is the empty text."""
        assert text(Store()) == ""

    def test_summary(self, store: Store) -> None:
        """A histogram has the quantiles of the interval and of all."""
        assert text(store, filter=LENGTH, usedonly=True) == (
            "cluster.c1.upstream_cx_length_ms: P0(1325,3.033333333333333) P25(1325,4.05) P50(1350,135) "
            "P75(1375,1325) P90(1375,1375) P95(1375,1375) P99(1375,1375) P99.5(1375,1375) "
            "P99.9(1375,1375) P100(1375,1375)\n"
        )

    def test_summary_quiet(self, store: Store) -> None:
        """An interval without values has nan."""
        store.flush()
        assert "P0(nan,3.033333333333333) P25(nan,4.05)" in text(store, filter=LENGTH)

    def test_cumulative(self, store: Store) -> None:
        """Export buckets count all below their bound."""
        assert text(store, filter=LENGTH, usedonly=True, buckets="cumulative") == (
            "cluster.c1.upstream_cx_length_ms: B0.5(0,0) B1(0,0) B5(0,3) B10(0,3) B25(0,3) B50(0,3) "
            "B100(0,3) B250(0,6) B500(0,6) B1000(0,6) B2500(3,9) B5000(3,9) B10000(3,9) B30000(3,9) "
            "B60000(3,9) B300000(3,9) B600000(3,9) B1.8e+06(3,9) B3.6e+06(3,9)\n"
        )

    def test_disjoint(self, store: Store) -> None:
        """Export buckets count what lies between their bounds."""
        assert " B2(" not in text(store, buckets="disjoint")
        assert " B5(0,3) B10(0,0)" in text(store, buckets="disjoint")
        assert " B2500(3,3) B5000(0,0)" in text(store, buckets="disjoint")

    def test_detailed(self, store: Store) -> None:
        """The buckets as they are kept: lower end, width and count."""
        found = text(store, filter=LENGTH, buckets="detailed")
        assert found.startswith(
            "cluster.c1.upstream_cx_length_ms:\n  totals=3,0.1:2, 4,0.1:1, 130,10:3, 1300,100:3\n"
            "  intervals=1300,100:3\n  summary=P0(1325,3.033333333333333) "
        )

    def test_used_only(self, store: Store) -> None:
        """Counters that never counted are left out; gauges that were set to 0 are not."""
        found = text(store, usedonly=True)
        assert "bind_errors" not in found
        assert "cx_active" in found
        assert "admin" not in found

    @pytest.mark.parametrize(
        ("kind", "names"),
        [
            ("Counters", ["cluster.c1.bind_errors", "cluster.c1.upstream_cx_total"]),
            ("Gauges", ["cluster.c1.upstream_cx_active"]),
            ("TextReadouts", ["cluster_manager.cds.version_text"]),
            ("Histograms", ["cluster.c1.upstream_cx_length_ms", "listener.admin.downstream_cx_length_ms"]),
        ],
    )
    def test_type(self, store: Store, kind: str, names: list[str]) -> None:
        """One kind only."""
        assert [line.split(":")[0] for line in text(store, type=kind).splitlines()] == names


class TestJson:
    """The JSON that programs read."""

    def test_numbers(self, store: Store) -> None:
        """Each number is an object; without histograms there is no object for them."""
        found = json(store, filter=re.compile("bind|version"))
        assert found == (
            '{"stats":[{"name":"cluster_manager.cds.version_text","value":"c1"},'
            '{"name":"cluster.c1.bind_errors","value":0}]}'
        )

    def test_nothing(self) -> None:
        """Nothing is an empty list."""
        assert json(Store()) == '{"stats":[]}'

    def test_summary(self, store: Store) -> None:
        """All histograms are in one object, null where there are no values."""
        found = json(store, filter=LENGTH)
        assert found.startswith(
            '{"stats":[{"histograms":{"supported_quantiles":[0,25,50,75,90,95,99,99.5,99.9,100],'
            '"computed_quantiles":[{"name":"cluster.c1.upstream_cx_length_ms","values":['
            '{"cumulative":3.033333333333333,"interval":1325},{"cumulative":4.05,"interval":1325}'
        )
        assert found.count('{"cumulative":null,"interval":null}') == 10

    def test_buckets(self, store: Store) -> None:
        """Export buckets have bounds written as short as C++ writes them."""
        found = json(store, filter=LENGTH, usedonly=True, buckets="cumulative")
        assert found.startswith(
            '{"stats":[{"histograms":[{"name":"cluster.c1.upstream_cx_length_ms","buckets":['
            '{"upper_bound":0.5,"interval":0,"cumulative":0},{"upper_bound":1,"interval":0,"cumulative":0}'
        )
        assert '{"upper_bound":3e+05,"interval":3,"cumulative":9}' in found
        assert '{"upper_bound":1800000,"interval":3,"cumulative":9}' in found

    def test_detailed(self, store: Store) -> None:
        """The buckets as they are kept."""
        found = json_module.loads(json(store, filter=LENGTH, buckets="detailed"))["stats"][0]["histograms"]
        assert found["details"][0]["totals"][0] == {"lower_bound": 3, "width": 0.1, "count": 2}
        assert found["details"][0]["intervals"] == [{"lower_bound": 1300, "width": 100, "count": 3}]
        assert found["details"][1]["totals"] == []
        assert found["supported_percentiles"][-2:] == [99.9, 100]

    def test_escapes(self) -> None:
        """Names and texts are escaped."""
        store = Store()
        store.text('a"b').set("c\\\n")
        assert json_module.loads(json(store)) == {"stats": [{"name": 'a"b', "value": "c\\\n"}]}


def test_number_text() -> None:
    """A number has no fraction of .0."""
    assert [number_text(value) for value in (1.0, 0.1, 300000.0)] == ["1", "0.1", "300000"]
