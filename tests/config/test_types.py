"""Tests for meshd.config.types."""

from twisted.trial.unittest import SynchronousTestCase

from meshd.config.types import message_class, near_type


class TypeTests(SynchronousTestCase):
    """Messages by name."""

    def test_lazily(self) -> None:
        """A message of a module that nobody has imported is found."""
        name = "envoy.extensions.filters.network.zookeeper_proxy.v3.ZooKeeperProxy"
        self.assertEqual(message_class(name).DESCRIPTOR.full_name, name)

    def test_nested(self) -> None:
        """A message within another is found."""
        name = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster"
        self.assertEqual(message_class(name).DESCRIPTOR.full_name, name)

    def test_unknown(self) -> None:
        """What is not there, or no name, is None; and no module of others is imported."""
        for name in (
            "envoy.Foo",
            "os.path",
            "",
            ".",
            "envoy..x.Y",
            "antigravity.X",
            "envoy.extensions.Foo",
            "a b.C",
        ):
            self.assertIsNone(message_class(name))

    def test_near(self) -> None:
        """A message of the same name elsewhere is suggested, or one of a like name."""
        right = "envoy.extensions.filters.network.echo.v3.Echo"
        self.assertIn(right, near_type("envoy.config.filter.network.echo.v2.Echo"))
        self.assertIn(right, near_type("envoy.extensions.filters.network.echo.v3.Eccho"))
