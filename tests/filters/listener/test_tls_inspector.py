"""Tests for meshd.filters.listener.tls_inspector."""

from typing import Any

from envoy.extensions.filters.listener.tls_inspector.v3.tls_inspector_pb2 import TlsInspector
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from meshd.filters.listener.tls_inspector import NAME, tls_inspector
from meshd.interfaces import IListenerFilter, IListenerFilterFactory, Refused
from meshd.observe.info import ConnectionInfo
from meshd.testing import CLIENT, SERVER, FakeContext, inspect_all
from tests.codec.hellos import CHROME, alpn, hello, records, sni


class TlsInspectorTests(SynchronousTestCase):
    """An inspector."""

    def setUp(self) -> None:
        self.context = FakeContext()
        self.info = ConnectionInfo(CLIENT, SERVER)

    def make(self, **fields: Any) -> IListenerFilter:
        """Return an inspector configured so."""
        return tls_inspector.configure(TlsInspector(**fields), self.context)()

    def counted(self) -> dict[str, int]:
        """Return the counters that are not 0."""
        prefix = "tls_inspector."
        return {
            name.removeprefix(prefix): number.value
            for name, number in self.context.stats.numbers.items()
            if number.value
        }

    def processed(self) -> list[float]:
        """Return the sizes that were recorded."""
        return self.context.stats.histograms["tls_inspector.bytes_processed"].values

    def reason(self) -> object:
        """Return why it failed, as noted in the metadata."""
        return self.info.metadata.get(NAME, {}).get("failure_reason")

    def test_interfaces(self) -> None:
        """The plugin and the filter provide what they stand for."""
        verifyObject(IListenerFilterFactory, tls_inspector)
        verifyObject(IListenerFilter, self.make())

    def test_found(self) -> None:
        """Name, protocols and TLS itself are noted and counted; nothing is taken from the stream."""
        taken, _ = inspect_all(self.make(), CHROME, self.info)
        self.assertEqual(taken, 0)
        self.assertEqual(self.info.server_name, "www.example.com")
        self.assertEqual(list(self.info.application_protocols), ["h2", "http/1.1"])
        self.assertEqual(self.info.transport_protocol, "tls")
        self.assertEqual((self.info.ja3, self.info.ja4), ("", ""))
        self.assertEqual(self.counted(), {"tls_found": 1, "sni_found": 1, "alpn_found": 1})
        self.assertEqual(self.processed(), [len(CHROME)])

    def test_nothing_in_it(self) -> None:
        """TLS without a name and protocols is TLS."""
        inspect_all(self.make(), hello(), self.info)
        self.assertEqual((self.info.server_name, list(self.info.application_protocols)), ("", []))
        self.assertEqual(self.info.transport_protocol, "tls")
        self.assertEqual(self.counted(), {"tls_found": 1, "sni_not_found": 1, "alpn_not_found": 1})

    def test_fingerprints(self) -> None:
        """Each fingerprint is made if it is wanted."""
        inspect_all(self.make(enable_ja3_fingerprinting={"value": True}), CHROME, self.info)
        self.assertEqual((len(self.info.ja3), self.info.ja4), (32, ""))
        info = ConnectionInfo(CLIENT, SERVER)
        inspect_all(self.make(enable_ja4_fingerprinting={"value": True}), CHROME, info)
        self.assertEqual((info.ja3, info.ja4), ("", "t13d1516h2_8daaf6152771_d8a2da3f94cd"))

    def test_not_tls(self) -> None:
        """Anything else passes as raw_buffer, with the reason noted in Envoy's words."""
        taken, _ = inspect_all(self.make(), b"GET / HTTP/1.1\r\n", self.info)
        self.assertEqual((taken, self.info.transport_protocol), (0, "raw_buffer"))
        self.assertEqual(self.reason(), "ClientHelloNotDetected")
        self.assertEqual(
            self.info.transport_failure_reason,
            "TLS_error|error:1000009c:SSL routines:OPENSSL_internal:HTTP_REQUEST:TLS_error_end",
        )
        self.assertEqual(self.counted(), {"tls_not_found": 1})
        self.assertEqual(self.processed(), [5])

    def test_waits(self) -> None:
        """Nothing is decided, noted or counted before it is all there."""
        for sent in (b"", b"GET ", CHROME[:-1]):
            self.assertIsNone(inspect_all(self.make(), sent, self.info)[0])
        self.assertEqual((self.info.transport_protocol, self.counted(), self.processed()), ("", {}, []))

    def test_close_on_error(self) -> None:
        """If it is so configured, what is not TLS is refused."""
        inspector = self.make(close_connection_on_client_hello_parsing_errors=True)
        self.assertRaises(Refused, inspector.inspect, b"hello", self.info)
        self.assertEqual((self.counted(), self.reason()), ({"tls_not_found": 1}, "ClientHelloNotDetected"))
        self.assertIn("WRONG_VERSION_NUMBER", self.info.transport_failure_reason)
        self.assertEqual(self.info.transport_protocol, "")

    def test_close_on_much(self) -> None:
        """Then what is not TLS and fills the first look counts as too large, as in Envoy."""
        closes = {"close_connection_on_client_hello_parsing_errors": True}
        for first_look, counter in ((None, "client_hello_too_large"), (256, "tls_not_found")):
            self.context = FakeContext()
            fields = {"initial_read_buffer_size": {"value": first_look}} if first_look else {}
            inspector = self.make(**closes, **fields)
            self.assertRaises(Refused, inspector.inspect, b"x" * 20000, self.info)
            self.assertEqual(self.counted(), {counter: 1})

    def test_too_large(self) -> None:
        """A ClientHello above max_client_hello_size is refused; one of just that size is not."""
        data = hello([(21, bytes(300))])
        for size, fits in ((len(data), True), (len(data) - 1, False)):
            self.context = FakeContext()
            inspector = self.make(
                max_client_hello_size={"value": size}, initial_read_buffer_size={"value": 256}
            )
            if fits:
                self.assertEqual(inspector.inspect(data, self.info), 0)
                self.assertEqual(self.counted()["tls_found"], 1)
            else:
                error = self.assertRaises(Refused, inspector.inspect, data, self.info)
                self.assertTrue(error.reset)
                self.assertEqual(
                    (self.counted(), self.reason()), ({"client_hello_too_large": 1}, "ClientHelloTooLarge")
                )
                self.assertEqual(self.processed(), [size])

    def test_versions(self) -> None:
        """A legacy version that is none of TLS 1.0 to 1.3 is refused; what was found is noted."""
        for version in (0x0301, 0x0304):
            self.assertEqual(self.make().inspect(hello(version=version), self.info), 0)
        for version in (0x0300, 0x0305, 0xFEFD):
            self.context, self.info = FakeContext(), ConnectionInfo(CLIENT, SERVER)
            data = hello([sni(b"a"), alpn(b"h2")], version=version)
            self.assertRaises(Refused, self.make().inspect, data, self.info)
            self.assertEqual(self.counted(), {"tls_not_found": 1, "sni_found": 1})
            self.assertEqual((self.info.server_name, self.reason()), ("a", "ClientHelloInvalidTlsVersion"))
            self.assertIn(":10000085:", self.info.transport_failure_reason)

    def test_closed(self) -> None:
        """A client that says goodbye first is refused; nothing is counted but its bytes."""
        self.assertRaises(Refused, self.make().inspect, records(b"\1\0", kind=21), self.info)
        self.assertEqual((self.counted(), self.processed(), self.reason()), ({}, [7], None))

    def test_connections_apart(self) -> None:
        """One connection's bytes say nothing of another's."""
        make = tls_inspector.configure(TlsInspector(), self.context)
        one, other = make(), make()
        self.assertIsNone(one.inspect(CHROME[:50], self.info))
        self.assertEqual(other.inspect(hello([sni(b"other")]), ConnectionInfo(CLIENT, SERVER)), 0)
        self.assertEqual(one.inspect(CHROME, self.info), 0)
        self.assertEqual(self.info.server_name, "www.example.com")
