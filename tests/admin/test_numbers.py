"""Tests for meshd.admin.numbers."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from tests.admin.fakes import FakeServer, get


class StatsTests(SynchronousTestCase):
    """/stats of a server with a few."""

    def setUp(self) -> None:
        self.server = FakeServer()
        stats = self.server.stats
        stats.counter("cluster.back.upstream_cx_total").inc(3)
        stats.counter("cluster.back.upstream_cx_overflow")
        stats.gauge("server.live").set(1)

    def ask(self, query: str = "") -> str:
        """Ask for the statistics."""
        answer = get(self.server, f"/stats{query}")
        self.assertEqual(answer.status, 200)
        return answer.body

    def refused(self, query: str, text: str) -> None:
        """Ask for what there is not."""
        answer = get(self.server, f"/stats{query}")
        self.assertEqual(answer.status, 400)
        self.assertTrue(answer.body.startswith(text), answer.body)

    def test_text(self) -> None:
        """All are listed, one to a line."""
        self.assertEqual(
            self.ask(),
            "cluster.back.upstream_cx_overflow: 0\ncluster.back.upstream_cx_total: 3\nserver.live: 1\n",
        )

    def test_fewer(self) -> None:
        """usedonly, filter, invert_filter and type leave some out; usedonly minds no value."""
        total, live = "cluster.back.upstream_cx_total: 3\n", "server.live: 1\n"
        self.assertEqual(self.ask("?usedonly=false"), total + live)
        self.assertEqual(self.ask("?filter=cx_t"), total)
        self.assertEqual(self.ask("?filter=cx&invert_filter"), live)
        self.assertEqual(self.ask("?type=Gauges"), live)
        self.assertEqual(self.ask("?filter=zzz"), "")

    def test_json(self) -> None:
        """The same as JSON."""
        stats = json.loads(self.ask("?format=json&usedonly&type=Counters"))["stats"]
        self.assertEqual(stats, [{"name": "cluster.back.upstream_cx_total", "value": 3}])

    def test_prometheus(self) -> None:
        """All paths give the same for Prometheus; /metrics is where it looks if it is not told."""
        body = self.ask("?format=prometheus&usedonly&filter=cx_total")
        self.assertIn('envoy_cluster_upstream_cx_total{envoy_cluster_name="back"} 3\n', body)
        for path in ("/stats/prometheus", "/metrics"):
            self.assertEqual(get(self.server, f"{path}?usedonly&filter=cx_total").body, body)

    def test_html(self) -> None:
        """As HTML there is a page, with the filter in its field."""
        for form in ("html", "active-html"):
            self.assertIn('value="a&lt;b"', self.ask(f"?format={form}&filter=a<b"))

    def test_refused(self) -> None:
        """What is wrong is told in Envoy's words."""
        self.refused("?filter=[", "Invalid re2 regex: ")
        self.refused("?type=foo", "invalid &type= param")
        self.refused("?format=foo", "usage: /stats?format=(html|active-html|json|prometheus|text)\n\n")
        self.refused("?histogram_buckets=foo", "usage: /stats?histogram_buckets=(")
        self.refused("/prometheus?histogram_buckets=summary", "usage: /stats/prometheus?histogram_buckets=(")
