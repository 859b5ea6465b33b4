"""Tests for meshd.filters.listener.proxy_protocol: as Envoy 1.40 was seen to behave, but where it says so."""

from __future__ import annotations

from typing import Any

from envoy.extensions.filters.listener.proxy_protocol.v3.proxy_protocol_pb2 import ProxyProtocol
from google.protobuf.json_format import ParseDict
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from meshd.codec.proxy_protocol import ALPN, AUTHORITY, AWS, V2_SIGNATURE, Header, encode
from meshd.filters.listener.proxy_protocol import OPTIONS_KEY, TLV_KEY, proxy_protocol
from meshd.interfaces import IListenerFilter, IListenerFilterFactory, IStreamInfo, Refused
from meshd.plugin import ConfigError
from meshd.testing import CLIENT, SERVER, FakeContext, inspect_all

NAME = "envoy.filters.listener.proxy_protocol"
V4 = (("10.1.2.3", 1111), ("10.4.5.6", 2222))
LINE = b"PROXY TCP4 10.1.2.3 10.4.5.6 1111 2222\r\n"


class ProxyProtocolCase(SynchronousTestCase):
    """A proxy_protocol filter of some config."""

    def make(self, **config: Any) -> None:
        """Configure the filter."""
        self.context = FakeContext()
        message = ParseDict(config, ProxyProtocol())
        self.build = proxy_protocol.configure(message, self.context)

    def inspect(self, data: bytes) -> tuple[int | None, IStreamInfo]:
        """Show the data to the filter, a byte at a time."""
        return inspect_all(self.build(), data)

    def refused(self, data: bytes) -> None:
        """Check that data is refused, with a reset."""
        error = self.assertRaises(Refused, self.inspect, data)
        self.assertTrue(error.reset)

    def counted(self, *names: str) -> None:
        """Check that these counters are 1, and all others 0."""
        stats = self.context.stats
        self.assertEqual({name for name, number in stats.numbers.items() if number.value}, set(names))


class HeaderTests(ProxyProtocolCase):
    """A filter that takes both versions, and nothing else."""

    def setUp(self) -> None:
        self.make()

    def test_interfaces(self) -> None:
        """The plugin and the filter provide what they stand for."""
        verifyObject(IListenerFilterFactory, proxy_protocol)
        verifyObject(IListenerFilter, self.build())

    def test_v1(self) -> None:
        """A line gives the addresses, and is taken from the stream."""
        taken, info = self.inspect(LINE + b"GET")
        self.assertEqual((taken, info.remote, info.local), (len(LINE), *V4))
        self.assertEqual(info.direct_remote, CLIENT)
        self.counted("proxy_proto.versions.v1.found")

    def test_v2(self) -> None:
        """So does a binary header."""
        taken, info = self.inspect(encode(Header(2, *V4)) + b"GET")
        self.assertEqual((taken, info.remote, info.local), (28, *V4))
        self.counted("proxy_proto.versions.v2.found")

    def test_keep_addresses(self) -> None:
        """UNKNOWN and LOCAL keep the addresses of the socket."""
        for header in (b"PROXY UNKNOWN\r\n", encode(Header(2, local=True))):
            taken, info = self.inspect(header)
            self.assertEqual((taken, info.remote, info.local), (len(header), CLIENT, SERVER))

    def test_missing(self) -> None:
        """A connection without a header is reset."""
        self.refused(b"GET / HTTP/1.1\r\n\r\n")
        self.counted("downstream_cx_proxy_proto_error", "proxy_proto.not_found_disallowed")

    def test_malformed(self) -> None:
        """So is one with a malformed line."""
        self.refused(b"PROXY TCP4 1.2.3 10.4.5.6 1 2\r\n")
        self.counted("downstream_cx_proxy_proto_error", "proxy_proto.versions.v1.error")

    def test_malformed_v2(self) -> None:
        """And one with a malformed binary header."""
        self.refused(V2_SIGNATURE + b"\x11\x11\x00\x0c" + bytes(12))
        self.counted("downstream_cx_proxy_proto_error", "proxy_proto.versions.v2.error")

    def test_other_families(self) -> None:
        """Version 2 of no IP family is an error."""
        for header in (Header(2, "/a", "/b"), Header(2)):
            self.refused(encode(header))

    def test_not_a_host(self) -> None:
        """Addresses of no one and of many are errors."""
        for address in ("0.0.0.0", "255.255.255.255", "224.0.0.1", "::", "ff02::1"):
            kind = "TCP6" if ":" in address else "TCP4"
            other = "::1" if ":" in address else "10.0.0.1"
            self.refused(f"PROXY {kind} {address} {other} 1 2\r\n".encode())
            self.refused(f"PROXY {kind} {other} {address} 1 2\r\n".encode())

    def test_checksum(self) -> None:
        """A wrong checksum is an error: Envoy would not have looked."""
        self.refused(encode(Header(2, *V4), checksum=True)[:-1] + b"\0")

    def test_waits(self) -> None:
        """What may yet become a header is waited for."""
        for start in (b"", b"PROX", LINE[:-1], V2_SIGNATURE + b"\x21", encode(Header(2, *V4))[:-1]):
            self.assertIsNone(self.inspect(start)[0])
        self.counted()

    @given(st.binary(max_size=100), st.sampled_from([b"", b"PROXY ", V2_SIGNATURE + b"\x21"]))
    def test_rubbish(self, data: bytes, start: bytes) -> None:
        """Whatever comes is a header, is waited for, or refused."""
        try:
            self.inspect(start + data)
        except Refused:
            pass


class OptionTests(ProxyProtocolCase):
    """Filters with options."""

    def test_optional(self) -> None:
        """Where no header is needed, other bytes pass as they are; a malformed header does not."""
        self.make(allow_requests_without_proxy_protocol=True, stat_prefix="x")
        taken, info = self.inspect(b"GET")
        self.assertEqual((taken, info.remote), (0, CLIENT))
        self.counted("proxy_proto.x.not_found_allowed")
        self.assertIsNone(self.inspect(b"PRO")[0])
        self.assertEqual(self.inspect(LINE)[1].remote, V4[0])
        self.refused(b"PROXY a\r\n")

    def test_disallowed(self) -> None:
        """A disallowed version is reset, and is no error."""
        self.make(disallowed_versions=["V1"], stat_prefix="x")
        self.refused(b"PROXY nonsense\r\n")
        self.counted("proxy_proto.x.versions.v1.found", "proxy_proto.x.versions.v1.disallowed")
        self.assertEqual(self.inspect(encode(Header(2, *V4)))[0], 28)

    def test_disallowed_v2(self) -> None:
        """The binary version can be disallowed too."""
        self.make(disallowed_versions=["V2"])
        self.refused(encode(Header(2, *V4)))
        self.counted("proxy_proto.versions.v2.found", "proxy_proto.versions.v2.disallowed")

    def test_disallowed_and_optional(self) -> None:
        """Where no header is needed, one of a disallowed version passes as other bytes do."""
        self.make(disallowed_versions=["V2"], allow_requests_without_proxy_protocol=True)
        self.assertEqual(self.inspect(encode(Header(2, *V4)))[0], 0)
        self.counted("proxy_proto.not_found_allowed")

    def test_all_disallowed(self) -> None:
        """A filter that disallows everything is a mistake."""
        error = self.assertRaises(ConfigError, self.make, disallowed_versions=["V1", "V2"])
        self.assertEqual(error.path, ("disallowed_versions",))


RULES = [
    {"tlv_type": AUTHORITY, "on_tlv_present": {"key": "host"}},
    {"tlv_type": AWS, "on_tlv_present": {"metadata_namespace": "aws", "key": "vpc"}},
]


class TlvTests(ProxyProtocolCase):
    """Headers with TLVs."""

    def header(self, *tlvs: tuple[int, bytes]) -> bytes:
        """Return a header with these TLVs."""
        return encode(Header(2, *V4, tlvs=tlvs))

    def test_metadata(self) -> None:
        """TLVs with a rule go to the metadata; the first of a type holds; no UTF-8 is a !."""
        self.make(rules=RULES)
        tlvs = ((AUTHORITY, b"a\xc3\xa9\xff"), (AUTHORITY, b"second"), (AWS, b"\1v"), (ALPN, b"h2"))
        _, info = self.inspect(self.header(*tlvs))
        self.assertEqual(info.metadata, {NAME: {"host": "aé!"}, "aws": {"vpc": "\1v"}})

    def test_filter_state(self) -> None:
        """Or to the filter state, without namespaces."""
        self.make(rules=RULES, tlv_location="FILTER_STATE")
        _, info = self.inspect(self.header((AUTHORITY, b"a"), (AWS, b"v")))
        self.assertEqual(info.filter_state[TLV_KEY], {"host": "a", "vpc": "v"})
        self.assertEqual(info.metadata, {})

    def test_pass_none(self) -> None:
        """The header is kept for upstream, without TLVs if none are to pass."""
        self.make()
        _, info = self.inspect(self.header((AUTHORITY, b"a")))
        self.assertEqual(info.filter_state[OPTIONS_KEY], Header(2, *V4))

    def test_pass_all(self) -> None:
        """All TLVs pass."""
        self.make(pass_through_tlvs={"match_type": "INCLUDE_ALL"})
        _, info = self.inspect(self.header((AUTHORITY, b"a"), (AWS, b"v")))
        self.assertEqual(info.filter_state[OPTIONS_KEY].tlvs, ((AUTHORITY, b"a"), (AWS, b"v")))

    def test_pass_some(self) -> None:
        """Only those that are listed pass."""
        self.make(pass_through_tlvs={"match_type": "INCLUDE", "tlv_type": [AWS]})
        _, info = self.inspect(self.header((AUTHORITY, b"a"), (AWS, b"v")))
        self.assertEqual(info.filter_state[OPTIONS_KEY].tlvs, ((AWS, b"v"),))

    def test_local(self) -> None:
        """A local header is kept with the addresses of the socket."""
        self.make()
        _, info = self.inspect(encode(Header(2, local=True)))
        self.assertEqual(info.filter_state[OPTIONS_KEY], Header(2, CLIENT, SERVER))
