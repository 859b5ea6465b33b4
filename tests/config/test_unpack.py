"""Tests for meshd.config.unpack."""

from typing import Any

from envoy.config.listener.v3.listener_components_pb2 import Filter
from envoy.extensions.filters.network.echo.v3.echo_pb2 import Echo
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.json_format import ParseDict
from twisted.trial.unittest import SynchronousTestCase
from xds.type.v3.typed_struct_pb2 import TypedStruct

from meshd.config.unpack import meant_type, open_any, type_name, unpack
from meshd.plugin import ConfigError
from tests.config.doubles import PLUGINS, Greeting


def packed(message: Any) -> Filter:
    """Return a filter whose typed_config is message."""
    extension = Filter(name="x")
    extension.typed_config.Pack(message)
    return extension


def struct(type_name: str, value: dict[str, Any]) -> TypedStruct:
    """Return a TypedStruct."""
    return ParseDict({"type_url": f"a/{type_name}", "value": value}, TypedStruct())


class UnpackTests(SynchronousTestCase):
    """From an extension to plugin and config."""

    def test_message(self) -> None:
        """A protobuf message comes as it is."""
        config = TcpProxy(stat_prefix="a", cluster="b")
        plugin, found = unpack(PLUGINS, "network", packed(config))
        self.assertEqual((plugin.name, found), ("envoy.filters.network.tcp_proxy", config))

    def test_name(self) -> None:
        """Without a typed_config the name is enough, and the config empty."""
        plugin, found = unpack(PLUGINS, "network", Filter(name="envoy.filters.network.echo"))
        self.assertEqual((plugin.name, found), ("envoy.filters.network.echo", Echo()))

    def test_typed_struct(self) -> None:
        """A TypedStruct that stands for a message becomes that."""
        value = {"stat_prefix": "a", "cluster": "b", "max_connect_attempts": 3, "idle_timeout": "1.5s"}
        extension = packed(struct("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", value))
        plugin, found = unpack(PLUGINS, "network", extension)
        self.assertEqual(
            (plugin.name, found), ("envoy.filters.network.tcp_proxy", ParseDict(value, TcpProxy()))
        )

    def test_attrs(self) -> None:
        """A TypedStruct that names a plugin becomes an instance of its attrs class."""
        plugin, found = unpack(
            PLUGINS, "network", packed(struct("acme.filters.greeting", {"text": "hi", "times": 2}))
        )
        self.assertEqual((plugin.name, found), ("acme.filters.greeting", Greeting("hi", 2)))

    def test_attrs_errors(self) -> None:
        """What is wrong with it has a path from the extension on."""
        extension = packed(struct("acme.filters.greeting", {"text": "hi", "times": "x"}))
        error = self.assertRaises(ConfigError, unpack, PLUGINS, "network", extension)
        self.assertEqual(error.path, ("typed_config", "times"))

    def test_unknown(self) -> None:
        """What no plugin takes is a ConfigError at what names it."""
        error = self.assertRaises(ConfigError, unpack, PLUGINS, "listener", packed(Echo()))
        self.assertEqual(error.path, ("typed_config", "@type"))
        error = self.assertRaises(ConfigError, unpack, PLUGINS, "network", Filter(name="nothing"))
        self.assertEqual(error.path, ("name",))

    def test_broken(self) -> None:
        """An Any that holds no such message is a ConfigError."""
        extension = packed(TcpProxy())
        extension.typed_config.value = b"\xff"
        self.assertRaises(ConfigError, unpack, PLUGINS, "network", extension)

    def test_open(self) -> None:
        """An Any that is empty, unknown or broken is None."""
        for url, value in (("", b""), ("a/b.C", b""), ("a/google.protobuf.Duration", b"\xff")):
            self.assertIsNone(open_any(AnyMessage(type_url=url, value=value)))

    def test_types(self) -> None:
        """The type is what stands behind the last slash, and what a TypedStruct means."""
        self.assertEqual(type_name("type.googleapis.com/a.B"), "a.B")
        self.assertEqual(meant_type(packed(Echo())), Echo.DESCRIPTOR.full_name)
        self.assertEqual(meant_type(packed(struct("a.B", {}))), "a.B")
