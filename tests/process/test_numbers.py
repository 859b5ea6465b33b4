"""Tests for meshd.process.numbers."""

from tests.process.serving import ServingCase, bootstrap
from tests.xds.running import listener


class NumberTests(ServingCase):
    """server.* of one server."""

    def gauge(self, name: str) -> int:
        """Return a gauge as somebody who reads the statistics sees it."""
        stats = self.services[0].server.stats
        stats.collect()
        return stats.gauges[f"server.{name}"].value

    def test_state(self) -> None:
        """The state is a number of Envoy's, and live says whether it is LIVE."""
        service = self.service(bootstrap(listener(name="front")))
        server = service.server
        self.assertEqual((self.gauge("state"), self.gauge("live")), (2, 0))
        for state, number, live in (("INITIALIZING", 3, 0), ("LIVE", 0, 1), ("DRAINING", 1, 0)):
            server.state = state
            self.assertEqual((self.gauge("state"), self.gauge("live")), (number, live))

    def test_uptime(self) -> None:
        """uptime counts seconds."""
        service = self.service(bootstrap())
        self.assertEqual(self.gauge("uptime"), 0)
        service.server.started -= 90
        self.assertEqual(self.gauge("uptime"), 90)

    def test_connections(self) -> None:
        """total_connections is what there is."""
        service = self.started(bootstrap(listener(name="front")))
        self.client(service)
        self.client(service)
        self.assertEqual(self.gauge("total_connections"), 2)
        self.stop(service)
        self.assertEqual(self.gauge("total_connections"), 0)

    def test_memory(self) -> None:
        """Memory is in bytes: a Python with meshd in it has some ten million."""
        self.service(bootstrap())
        for name in ("memory_allocated", "memory_heap_size", "memory_physical_size"):
            self.assertTrue(10_000_000 < self.gauge(name) < 10_000_000_000, name)

    def test_initialization(self) -> None:
        """How long the start took is recorded, once."""
        service = self.started(bootstrap(listener(name="front")))
        histogram = service.server.stats.histograms["server.initialization_time_ms"]
        service.server.stats.flush()
        self.assertEqual(sum(histogram.cumulative.values()), 1)
        self.stop(service)

    def test_all_there(self) -> None:
        """The names of Envoy's that dashboards ask for are there."""
        service = self.service(bootstrap())
        self.assertEqual(self.gauge("concurrency"), 1)
        self.assertEqual(self.gauge("days_until_first_cert_expiring"), 2**32 - 1)
        for name in ("envoy_bug_failures", "static_unknown_fields", "debug_assertion_failures"):
            self.assertIn(f"server.{name}", service.server.stats.counters)
