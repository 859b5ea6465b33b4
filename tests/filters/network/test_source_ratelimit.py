"""Tests for meshd.filters.network.source_ratelimit."""

from datetime import timedelta
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from meshd.filters.network.source_ratelimit import Bucket, RuntimeFlag, SourceRateLimit, source_ratelimit
from meshd.interfaces import INetworkFilterFactory
from meshd.observe.info import ConnectionInfo
from meshd.testing import SERVER, FakeClient, FakeContext


class SourceRateLimitTests(SynchronousTestCase):
    """A bucket of one token for each source."""

    def make(self, **options: Any) -> None:
        """Configure the filter."""
        self.context = FakeContext()
        bucket = Bucket(max_tokens=1, fill_interval=timedelta(seconds=1))
        config = SourceRateLimit(stat_prefix="db", token_bucket=bucket, **options)
        self.build = source_ratelimit.configure(config, self.context)

    def connect(self, host: str) -> FakeClient:
        """Connect from that host."""
        return FakeClient(self.build(), info=ConnectionInfo((host, 1), SERVER))

    def test_interfaces(self) -> None:
        """The plugin provides what it stands for."""
        verifyObject(INetworkFilterFactory, source_ratelimit)

    def test_limit(self) -> None:
        """A source that comes too often is closed, others are not."""
        self.make()
        clients = [self.connect(host) for host in ("10.0.0.1", "10.0.0.1", "10.0.0.2")]
        self.assertEqual([client.dropped for client in clients], [False, True, False])
        self.assertEqual(clients[1].info.local_close_reason, "source_ratelimit_close_over_limit")
        self.assertEqual(self.context.stats["source_rate_limit.db.rate_limited"], 1)
        self.assertEqual(self.context.stats["source_rate_limit.db.sources"], 2)

    def test_refill(self) -> None:
        """A second later the source may come again."""
        self.make()
        self.connect("10.0.0.1")
        self.context.clock.advance(1)
        self.assertFalse(self.connect("10.0.0.1").dropped)

    def test_bounded(self) -> None:
        """No more sources are kept than it says."""
        self.make(max_sources=3)
        for number in range(10):
            self.connect(f"10.0.0.{number}")
        self.assertEqual(self.context.stats["source_rate_limit.db.sources"], 3)

    def test_network(self) -> None:
        """Addresses of a network share a bucket, if so configured."""
        self.make(v4_prefix_len=24)
        self.assertEqual([self.connect(host).dropped for host in ("10.0.0.1", "10.0.0.2")], [False, True])

    def test_runtime(self) -> None:
        """While runtime turns it off, nobody is limited."""
        self.make(runtime_enabled=RuntimeFlag("limit", default_value=False))
        self.assertFalse(any(self.connect("10.0.0.1").dropped for _ in range(3)))
