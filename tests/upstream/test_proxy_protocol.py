"""Tests for meshd.upstream.proxy_protocol."""

from typing import Any

from envoy.extensions.transport_sockets.proxy_protocol.v3.upstream_proxy_protocol_pb2 import (
    ProxyProtocolUpstreamTransport,
)
from envoy.extensions.transport_sockets.raw_buffer.v3.raw_buffer_pb2 import RawBuffer
from google.protobuf.json_format import ParseDict
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from meshd.codec.proxy_protocol import Header, decode
from meshd.discover import find_plugins
from meshd.filter import NetworkFilter
from meshd.interfaces import ITransportSocketFactory
from meshd.observe.info import ConnectionInfo
from meshd.plugin import ConfigError
from meshd.testing import FakeClient, FakeCluster, FakeContext
from meshd.upstream.proxy_protocol import OPTIONS_KEY, raw_buffer, upstream_proxy_protocol

CLIENT, ORIGINAL = ("192.0.2.1", 4000), ("192.0.2.2", 443)
CLIENT_6, ORIGINAL_6 = ("2001:db8::1", 4000), ("2001:db8::2", 443)


def configured(**config: Any) -> Any:
    """Return the maker of links for a ProxyProtocolConfig."""
    message = ParseDict({"config": config}, ProxyProtocolUpstreamTransport())
    return upstream_proxy_protocol.configure(message, FakeContext())[0]


def sent(build: Any, remote: Any = CLIENT, local: Any = ORIGINAL, kept: Header | None = None) -> bytes:
    """Return what the link sends first for a client."""
    info = ConnectionInfo(remote, local)
    if kept is not None:
        info.filter_state[OPTIONS_KEY] = kept
    return Connection(build(), info=info).received


class Connection(FakeClient):
    """A connection to a host of a cluster, as far as the link knows it."""

    preamble = 0

    def __init__(self, *links: Any, info: Any = None) -> None:
        self.cluster = FakeCluster("c")
        super().__init__(*links, info=info)


class HeaderTests(SynchronousTestCase):
    """What is sent."""

    def test_v1(self) -> None:
        """Version 1 is the default: a line with both addresses."""
        self.assertEqual(sent(configured()), b"PROXY TCP4 192.0.2.1 192.0.2.2 4000 443\r\n")
        self.assertEqual(
            sent(configured(version="V1"), CLIENT_6, ORIGINAL_6),
            b"PROXY TCP6 2001:db8::1 2001:db8::2 4000 443\r\n",
        )

    def test_v1_unix(self) -> None:
        """For a client of a unix socket it says that nothing is known."""
        self.assertEqual(sent(configured(), "", "/run/front"), b"PROXY UNKNOWN\r\n")

    def test_v2(self) -> None:
        """Version 2 is binary and says the same."""
        header = self.header(sent(configured(version="V2")))
        self.assertEqual((header.version, header.source, header.destination), (2, CLIENT, ORIGINAL))
        self.assertFalse(header.local)

    def test_v2_unix(self) -> None:
        """For a client of a unix socket it is LOCAL."""
        self.assertTrue(self.header(sent(configured(version="V2"), "", "/run/front")).local)

    def test_addresses_of_the_clients_proxy(self) -> None:
        """A header that came from the client's own proxy is passed on."""
        kept = Header(2, CLIENT_6, ORIGINAL_6)
        header = self.header(sent(configured(version="V2"), kept=kept))
        self.assertEqual((header.source, header.destination), (CLIENT_6, ORIGINAL_6))

    def test_local_header_kept(self) -> None:
        """A header without addresses leaves those of the connection."""
        header = self.header(sent(configured(version="V2"), kept=Header(2, None, None, (), True)))
        self.assertEqual(header.source, CLIENT)

    def test_added(self) -> None:
        """TLVs of the config are added; not to version 1, which has none."""
        added = [{"type": 0xE1, "value": "Zm9v"}]
        self.assertEqual(
            self.header(sent(configured(version="V2", added_tlvs=added))).tlvs, ((0xE1, b"foo"),)
        )
        self.assertTrue(sent(configured(added_tlvs=added)).endswith(b" 443\r\n"))

    def test_nothing_passed_through(self) -> None:
        """Unless the config says so, TLVs are not passed on."""
        self.assertEqual(self.passed({}), ())

    def test_all_passed_through(self) -> None:
        """INCLUDE_ALL passes on what the client's proxy sent."""
        self.assertEqual(self.passed({"pass_through_tlvs": {}}), ((0xE1, b"one"), (0xE2, b"two")))

    def test_some_passed_through(self) -> None:
        """INCLUDE passes on those named."""
        some = {"match_type": "INCLUDE", "tlv_type": [0xE2]}
        self.assertEqual(self.passed({"pass_through_tlvs": some}), ((0xE2, b"two"),))

    def test_added_goes_first(self) -> None:
        """A TLV of the config takes the place of one that came."""
        config = {"pass_through_tlvs": {}, "added_tlvs": [{"type": 0xE1, "value": "Zm9v"}]}
        self.assertEqual(self.passed(config), ((0xE1, b"foo"), (0xE2, b"two")))

    def passed(self, config: dict[str, Any]) -> Any:
        """Return the TLVs that are sent for a client whose proxy sent two."""
        kept = Header(2, CLIENT, ORIGINAL, ((0xE1, b"one"), (0xE2, b"two")))
        return self.header(sent(configured(version="V2", **config), kept=kept)).tlvs

    def header(self, data: bytes) -> Header:
        """Decode a header that must be all of the data."""
        decoded = decode(data)
        assert decoded is not None
        header, size = decoded
        self.assertEqual(size, len(data))
        return header


class LinkTests(SynchronousTestCase):
    """The link."""

    def test_leaves(self) -> None:
        """It tells of the connection at once, and is out of the way then."""
        client = Connection(configured()())
        self.assertTrue(client.upstream.connected)
        self.assertIs(client.inner, client.upstream)
        client.upstream.write(b"after")
        self.assertTrue(client.received.endswith(b"\r\nafter"))

    def test_counted(self) -> None:
        """The header counts as sent, but not as what the client sent."""
        client = Connection(configured()())
        size = len(client.received)
        self.assertEqual(client.preamble, size)
        self.assertEqual(client.cluster.stats.upstream_cx_tx_bytes_total.value, size)


class PluginTests(SynchronousTestCase):
    """The plugins."""

    def test_are_found(self) -> None:
        """They are found by the types of their configs, and provide the interface."""
        plugins = find_plugins()
        for plugin, config in (
            (raw_buffer, RawBuffer),
            (upstream_proxy_protocol, ProxyProtocolUpstreamTransport),
        ):
            self.assertIs(plugins.by_type("transport_socket", config.DESCRIPTOR.full_name), plugin)
            verifyObject(ITransportSocketFactory, plugin)

    def test_raw(self) -> None:
        """raw_buffer has no links."""
        self.assertEqual(list(raw_buffer.configure(RawBuffer(), FakeContext())), [])

    def test_inside(self) -> None:
        """The links of the transport socket within come after the header's."""
        context = FakeContext()
        context.transport_links = [NetworkFilter]
        links = upstream_proxy_protocol.configure(ProxyProtocolUpstreamTransport(), context)
        self.assertEqual(len(links), 2)
        self.assertIs(links[1], NetworkFilter)

    def test_format_string(self) -> None:
        """A TLV made by a format is refused, with its place."""
        added = [{"type": 1, "value": "YQ=="}, {"type": 2, "format_string": {"text_format": "x"}}]
        error = self.assertRaises(ConfigError, configured, added_tlvs=added)
        self.assertEqual(error.path, ("config", "added_tlvs", 1, "format_string"))

    def test_wrong_inside(self) -> None:
        """What is wrong with the transport socket within is found below its field."""

        class Context(FakeContext):
            """A context that knows no transport socket."""

            def transport_socket(self, config: Any) -> Any:
                """Refuse."""
                raise ConfigError("no", "name")

        error = self.assertRaises(
            ConfigError, upstream_proxy_protocol.configure, ProxyProtocolUpstreamTransport(), Context()
        )
        self.assertEqual(error.path, ("transport_socket", "name"))
