"""Tests for meshd.filters.network.tcp_proxy: the plugin."""

from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from meshd.discover import find_plugins
from meshd.filters.network.tcp_proxy import tcp_proxy
from meshd.interfaces import INetworkFilter, INetworkFilterFactory
from meshd.testing import FakeContext
from tests.filters.network.tcp_proxy.conversation import message


class PluginTests(SynchronousTestCase):
    """The plugin."""

    def test_is_found(self) -> None:
        """It is found by its name and by its config's type."""
        plugins = find_plugins()
        self.assertIs(plugins.by_name("network", "envoy.filters.network.tcp_proxy"), tcp_proxy)
        self.assertIs(plugins.by_type("network", TcpProxy.DESCRIPTOR.full_name), tcp_proxy)

    def test_provides(self) -> None:
        """It is a factory of network filters that end a chain."""
        verifyObject(INetworkFilterFactory, tcp_proxy)
        self.assertTrue(tcp_proxy.terminal)
        build = tcp_proxy.configure(message(), FakeContext())
        proxy = build()
        self.assertTrue(INetworkFilter.providedBy(proxy))
        self.assertIsNot(build(), proxy)

    def test_serves_what_there_is(self) -> None:
        """Each field that it says to serve is one of the message's."""
        for name in tcp_proxy.serves:
            descriptor = TcpProxy.DESCRIPTOR
            for part in name.split("."):
                field = descriptor.fields_by_name[part]
                descriptor = field.message_type
