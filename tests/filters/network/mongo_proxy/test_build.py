"""Tests for meshd.filters.network.mongo_proxy.build, and for the plugins."""

from envoy.extensions.filters.network.mongo_proxy.v3.mongo_proxy_pb2 import MongoProxy
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from meshd.discover import find_plugins
from meshd.filters.network.mongo_proxy import mongo, mongo_proxy
from meshd.filters.network.mongo_proxy.config import Config
from meshd.filters.network.mongo_proxy.guard import Guard
from meshd.filters.network.mongo_proxy.sniffer import Sniffer
from meshd.interfaces import INetworkFilterFactory
from meshd.testing import FakeContext


class BuildTests(SynchronousTestCase):
    """Both plugins."""

    def test_interfaces(self) -> None:
        """They provide what they stand for."""
        for plugin in (mongo, mongo_proxy):
            verifyObject(INetworkFilterFactory, plugin)

    def test_names(self) -> None:
        """The short form tells them apart."""
        plugins = find_plugins()
        self.assertIs(plugins.by_name("network", "mongo_proxy"), mongo_proxy)
        self.assertIs(plugins.by_name("network", "mongo"), mongo)

    def test_envoys(self) -> None:
        """Envoy's config makes a filter that only watches."""
        made = mongo_proxy.configure(MongoProxy(stat_prefix="m"), FakeContext())()
        self.assertIs(type(made), Sniffer)

    def test_own(self) -> None:
        """meshd's makes one that has a say only if there is something to say."""
        self.assertIs(type(mongo.configure(Config("m"), FakeContext())()), Sniffer)
        self.assertIs(type(mongo.configure(Config("m", read_only=True), FakeContext())()), Guard)
        self.assertIs(type(mongo.configure(Config("m", hosts={"a:1": "b:1"}), FakeContext())()), Guard)
