"""Tests for meshd.filters.network.redis_proxy.stats."""

from twisted.trial.unittest import SynchronousTestCase

from meshd.filters.network.redis_proxy.stats import ClusterStats, CommandStats, Stats
from meshd.testing import FakeScope


class NamesTests(SynchronousTestCase):
    """The names are Envoy's."""

    def test_filter(self) -> None:
        """Each statistic of Envoy's redis_proxy is there from the beginning."""
        scope = FakeScope()
        Stats(scope)
        names = """
            downstream_cx_active downstream_cx_drain_close downstream_cx_protocol_error
            downstream_cx_rx_bytes_buffered downstream_cx_rx_bytes_total downstream_cx_total
            downstream_cx_tx_bytes_buffered downstream_cx_tx_bytes_total downstream_rq_active
            downstream_rq_noproto downstream_rq_total splitter.invalid_request
            splitter.unsupported_command
        """
        self.assertEqual(set(names.split()) - set(scope.numbers), set())

    def test_command(self) -> None:
        """So is each of a command's."""
        scope = FakeScope()
        CommandStats(scope)
        self.assertEqual(set(scope.numbers), {"total", "success", "error", "error_fault", "delay_fault"})
        self.assertEqual(set(scope.histograms), {"latency"})

    def test_cluster(self) -> None:
        """So is each of a cluster's, those of commands once they are used."""
        scope = FakeScope()
        stats = ClusterStats(scope, True)
        stats.command("get").total.inc()
        self.assertEqual(scope["upstream_commands.get.total"], 1)
        self.assertIn("upstream_commands.upstream_rq_time", scope.histograms)
        self.assertIn("upstream_resp3_hello_failure", scope.numbers)
