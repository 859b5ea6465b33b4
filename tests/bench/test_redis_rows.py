"""Tests for tests.bench.redis_rows."""

import os
from pathlib import Path

import pytest
import yaml

from tests.bench import redis_rows
from tests.bench.programs import Failed
from tests.bench.rows import Bench

CSV = """"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p99_latency_ms"
"GET key:__rand_int__","1000.00","0.5","0.1","0.4","1.5"
"""


class TestFigures:
    """What redis-benchmark says."""

    def test_csv(self) -> None:
        """Its figures are read by their names."""
        assert redis_rows.figures(CSV)["p99_latency_ms"] == 1.5

    def test_other(self) -> None:
        """Whatever else it says is a failure."""
        with pytest.raises(Failed, match="no luck"):
            redis_rows.figures("no luck")


class TestFile:
    """What the candidates read."""

    def test_hosts(self, tmp_path: Path) -> None:
        """Each server is a host of the cluster."""
        config = yaml.safe_load(Path(redis_rows.redis_file(tmp_path, 81, [1, 2])).read_text())
        cluster = config["static_resources"]["clusters"][0]
        assert len(cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]) == 2


def test_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """The row measures meshd, in each kind of work: a figure of CPU time, and a P99."""
    monkeypatch.setattr(redis_rows, "commands", lambda bench, pipeline, words: 1000)
    monkeypatch.setattr(redis_rows, "PIPELINES", (1, 16))
    bench = Bench(["meshd"], [1], 0, min(os.sched_getaffinity(0)), peers=["meshd"])
    bench.rounds = 1
    lines = redis_rows.rows_for(bench, 2)
    assert bench.left_out == {}
    assert len(lines) == 18
    assert all(len(line.values["meshd"]) == 1 for line in lines)


def test_subscribers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The row of subscribers measures the server itself, and meshd before it; it says how many there are."""
    monkeypatch.setattr(redis_rows, "SUBSCRIBERS", 20)
    bench = Bench([], [1], 0, min(os.sched_getaffinity(0)), peers=["meshd", "envoy"])
    bench.rounds, bench.seconds = 1, 1
    lines = redis_rows.subscribers(bench)
    assert bench.left_out == {}
    assert [line.work.split(",")[0] for line in lines] == ["20 subscribers"] * 2
    assert all(len(line.values[name]) == 1 for line in lines for name in ("meshd", "redis-server"))
