"""Tests for meshd.upstream.dns_caches."""

from __future__ import annotations

from typing import Any

from envoy.extensions.common.dynamic_forward_proxy.v3.dns_cache_pb2 import DnsCacheConfig
from google.protobuf.json_format import ParseDict
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from meshd.plugin import ConfigError
from meshd.testing import FakeScope
from meshd.testing.context import FakeResolver
from meshd.upstream.dns_caches import DnsCaches, read_cache
from meshd.upstream.resolver import Resolver

CARES = "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"


def message(**fields: Any) -> Any:
    """Return a DnsCacheConfig message named d."""
    return ParseDict({"name": "d", **fields}, DnsCacheConfig())


class ReadTests(SynchronousTestCase):
    """What is read of the message."""

    def test_defaults(self) -> None:
        """They are Envoy's; times are in seconds."""
        read = read_cache(message())
        self.assertEqual((read.dns.family, read.dns.refresh, read.dns.failure), ("AUTO", 60.0, None))
        self.assertEqual((read.min_refresh, read.host_ttl, read.timeout), (5.0, 300.0, 5.0))
        self.assertEqual((read.max_hosts, read.max_pending, read.places), (1024, 1024, ()))
        self.assertTrue(read.refresh_failed)

    def test_values(self) -> None:
        """Each field has its place."""
        read = read_cache(
            message(
                dns_lookup_family="V6_ONLY",
                dns_refresh_rate="7s",
                dns_min_refresh_rate="2s",
                host_ttl="9s",
                max_hosts=3,
                disable_dns_refresh_on_failure=True,
                dns_failure_refresh_rate={"base_interval": "1s", "max_interval": "3s"},
                dns_cache_circuit_breaker={"max_pending_requests": 4},
                preresolve_hostnames=[{"address": "a.test", "port_value": 80}],
                dns_query_timeout="0s",
            )
        )
        self.assertEqual((read.dns.family, read.dns.refresh, read.dns.failure), ("V6_ONLY", 7.0, (1.0, 3.0)))
        self.assertEqual((read.min_refresh, read.host_ttl, read.timeout), (2.0, 9.0, 0.0))
        self.assertEqual((read.max_hosts, read.max_pending, read.places), (3, 4, (("a.test", 80),)))
        self.assertFalse(read.refresh_failed)

    def test_wrong(self) -> None:
        """What makes no sense is an error that says where."""
        names = [{"address": name, "port_value": 80} for name in ("a", "b")]
        rate = {"base_interval": "2s", "max_interval": "1s"}
        for fields, path in (
            ({"max_hosts": 1, "preresolve_hostnames": names}, ("preresolve_hostnames",)),
            ({"dns_failure_refresh_rate": rate}, ("dns_failure_refresh_rate", "max_interval")),
        ):
            with self.assertRaises(ConfigError) as caught:
                read_cache(message(**fields))
            self.assertEqual(caught.exception.path, path)


class CachesTests(SynchronousTestCase):
    """The caches of a config."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.resolver = FakeResolver()
        self.stats = FakeScope()
        self.caches = DnsCaches(self.reactor, self.reactor, self.resolver, self.stats)

    def test_shared(self) -> None:
        """Those of one name and settings are one."""
        cache = self.caches.cache(message(max_hosts=3))
        self.assertIs(self.caches.cache(message(max_hosts=3)), cache)
        self.assertIsNot(self.caches.cache(message(name="e", max_hosts=3)), cache)

    def test_different(self) -> None:
        """Other settings under the same name are an error, in Envoy's words."""
        self.caches.cache(message(max_hosts=3))
        with self.assertRaises(ConfigError) as caught:
            self.caches.cache(message())
        self.assertEqual(str(caught.exception), "config specified DNS cache 'd' with different settings")

    def test_start(self) -> None:
        """Nothing is looked up before the start; what is configured later starts at once."""
        names = [{"address": "a.test", "port_value": 80}]
        self.caches.cache(message(preresolve_hostnames=names))
        self.assertEqual(self.resolver.lookups, [])
        self.caches.start()
        self.assertEqual([name for name, *_ in self.resolver.lookups], ["a.test"])
        self.caches.cache(message(name="e", preresolve_hostnames=names))
        self.assertEqual(len(self.resolver.lookups), 2)
        self.assertEqual(self.stats["dns_cache.e.dns_query_attempt"], 1)
        self.caches.stop()
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_resolver(self) -> None:
        """A cache may have a resolver of its own."""
        server = {"socket_address": {"address": "10.0.0.1", "port_value": 53}}
        typed: dict[str, Any] = {"@type": CARES, "resolvers": [server]}
        cares = {"name": "envoy.network.dns_resolver.cares", "typed_config": typed}
        cache = self.caches.cache(message(typed_dns_resolver_config=cares))
        self.assertIsInstance(cache.tools.resolver, Resolver)
        self.assertIs(self.caches.cache(message(name="e")).tools.resolver, self.resolver)
        typed["udp_max_queries"] = 5
        with self.assertRaises(ConfigError):
            self.caches.cache(message(name="f", typed_dns_resolver_config=cares))
