"""Tests for meshd.filters.network.local_ratelimit."""

from typing import Any

from envoy.extensions.filters.network.local_ratelimit.v3.local_rate_limit_pb2 import LocalRateLimit
from google.protobuf.json_format import ParseDict
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from meshd.filters.network.local_ratelimit import local_ratelimit
from meshd.interfaces import INetworkFilterFactory
from meshd.plugin import ConfigError
from meshd.testing import FakeClient, FakeContext


class LocalRateLimitTests(SynchronousTestCase):
    """A bucket of two tokens, one more each second."""

    def setUp(self) -> None:
        self.context = FakeContext()

    def make(self, **config: Any) -> Any:
        """Configure a filter."""
        bucket = {"max_tokens": 2, "fill_interval": "1s"}
        message = ParseDict({"stat_prefix": "db", "token_bucket": bucket, **config}, LocalRateLimit())
        return local_ratelimit.configure(message, self.context)

    def test_interfaces(self) -> None:
        """The plugin provides what it stands for."""
        verifyObject(INetworkFilterFactory, local_ratelimit)

    def test_limit(self) -> None:
        """The third connection is closed, flagged and counted."""
        build = self.make()
        clients = [FakeClient(build()) for _ in range(3)]
        self.assertEqual([client.dropped for client in clients], [False, False, True])
        clients[0].send(b"x")
        clients[2].send(b"x")
        self.assertEqual([client.upstream.received for client in clients], [b"x", b"", b""])
        self.assertEqual(clients[2].info.local_close_reason, "local_ratelimit_close_over_limit")
        self.assertEqual(clients[2].info.flags, {"URX"})
        self.assertEqual(self.context.stats["local_rate_limit.db.rate_limited"], 1)

    def test_refill(self) -> None:
        """A second later there is room for another."""
        build = self.make()
        for _ in range(2):
            FakeClient(build())
        self.context.clock.advance(1)
        self.assertEqual([FakeClient(build()).dropped for _ in range(2)], [False, True])

    def test_per_fill(self) -> None:
        """tokens_per_fill come in an interval."""
        build = self.make(token_bucket={"max_tokens": 2, "tokens_per_fill": 4, "fill_interval": "1s"})
        for _ in range(2):
            FakeClient(build())
        self.context.clock.advance(0.25)
        self.assertEqual([FakeClient(build()).dropped for _ in range(2)], [False, True])

    def test_share_key(self) -> None:
        """Filters with one share_key and bucket take from one; others do not."""
        first, second = self.make(share_key="k"), self.make(share_key="k", stat_prefix="other")
        apart = self.make(share_key="l")
        clients = [FakeClient(build()) for build in (first, second, first, second, apart)]
        self.assertEqual([client.dropped for client in clients], [False, False, True, True, False])

    def test_runtime(self) -> None:
        """While runtime turns it off, nobody is limited."""
        build = self.make(runtime_enabled={"runtime_key": "limit"})
        self.context.runtime.values["limit"] = "false"
        self.assertFalse(any(FakeClient(build()).dropped for _ in range(5)))

    def test_interval(self) -> None:
        """A fill interval under 50 ms is an error."""
        error = self.assertRaises(
            ConfigError, self.make, token_bucket={"max_tokens": 2, "fill_interval": "0.049s"}
        )
        self.assertEqual(error.path, ("token_bucket", "fill_interval"))
