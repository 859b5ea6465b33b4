"""Tests for meshd.filters.network.redis_proxy: the plugins."""

from envoy.extensions.filters.network.redis_proxy.v3.redis_proxy_pb2 import RedisProxy
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from meshd.discover import find_plugins
from meshd.filters.network.redis_proxy import redis_options, redis_proxy
from meshd.interfaces import INetworkFilter, INetworkFilterFactory
from tests.filters.network.redis_proxy.talk import Talk


class PluginTests(SynchronousTestCase):
    """The plugins."""

    def test_are_found(self) -> None:
        """They are found by their names, and redis_proxy by its config's type."""
        plugins = find_plugins()
        self.assertIs(plugins.by_name("network", "envoy.filters.network.redis_proxy"), redis_proxy)
        self.assertIs(plugins.by_type("network", RedisProxy.DESCRIPTOR.full_name), redis_proxy)
        self.assertIs(plugins.by_name("network", "meshd.filters.network.redis_options"), redis_options)

    def test_provide(self) -> None:
        """They are factories of network filters; redis_proxy ends a chain."""
        verifyObject(INetworkFilterFactory, redis_proxy)
        verifyObject(INetworkFilterFactory, redis_options)
        self.assertTrue(redis_proxy.terminal)
        self.assertFalse(redis_options.terminal)
        talk = Talk(options={})
        assert talk.build_options is not None
        self.assertTrue(INetworkFilter.providedBy(talk.build()))
        self.assertTrue(INetworkFilter.providedBy(talk.build_options()))

    def test_serves_what_there_is(self) -> None:
        """Each field that it says to serve is one of the message's."""
        for name in redis_proxy.serves:
            descriptor = RedisProxy.DESCRIPTOR
            for part in name.split("."):
                descriptor = descriptor.fields_by_name[part].message_type
