"""Tests for meshd.filters.listener.http_inspector."""

from envoy.extensions.filters.listener.http_inspector.v3.http_inspector_pb2 import HttpInspector
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from meshd.codec.http_sniff import PREFACE
from meshd.filters.listener.http_inspector import http_inspector
from meshd.interfaces import IListenerFilter, IListenerFilterFactory, Refused
from meshd.observe.info import ConnectionInfo
from meshd.testing import CLIENT, SERVER, FakeContext, inspect_all


class HttpInspectorTests(SynchronousTestCase):
    """An inspector."""

    def setUp(self) -> None:
        self.context = FakeContext()
        self.inspector = http_inspector.configure(HttpInspector(), self.context)()

    def test_interfaces(self) -> None:
        """The plugin and the filter provide what they stand for."""
        verifyObject(IListenerFilterFactory, http_inspector)
        verifyObject(IListenerFilter, self.inspector)

    def test_found(self) -> None:
        """What was found is noted and counted; nothing is taken from the stream."""
        cases = [
            (b"GET / HTTP/1.0\r\n", "http/1.0", "http10_found"),
            (b"GET / HTTP/1.1\r\n", "http/1.1", "http11_found"),
            (PREFACE, "h2c", "http2_found"),
        ]
        for data, protocol, counter in cases:
            taken, info = inspect_all(self.inspector, data)
            self.assertEqual((taken, info.application_protocols), (0, [protocol]))
            self.assertEqual(self.context.stats[f"http_inspector.{counter}"], 1)

    def test_not_found(self) -> None:
        """Other protocols go on, with nothing noted."""
        taken, info = inspect_all(self.inspector, b"*1\r\n$4\r\nPING\r\n")
        self.assertEqual((taken, list(info.application_protocols)), (0, []))
        self.assertEqual(self.context.stats["http_inspector.http_not_found"], 1)

    def test_waits(self) -> None:
        """A line that is not finished is waited for."""
        self.assertIsNone(inspect_all(self.inspector, b"GET / HTTP/1.1")[0])

    def test_too_long(self) -> None:
        """64 KiB without a line end are refused, and counted."""
        info = ConnectionInfo(CLIENT, SERVER)
        self.assertIsNone(self.inspector.inspect(b"a" * 65535, info))
        self.assertRaises(Refused, self.inspector.inspect, b"a" * 65536, info)
        self.assertEqual(self.context.stats["http_inspector.read_error"], 1)

    def test_tls(self) -> None:
        """Connections that are known to be TLS are not looked at."""
        info = ConnectionInfo(CLIENT, SERVER)
        info.transport_protocol = "tls"
        self.assertEqual(inspect_all(self.inspector, b"", info)[0], 0)
