"""Tests for meshd.filters.network.direct_response."""

from envoy.extensions.filters.network.direct_response.v3.config_pb2 import Config
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from meshd.filters.network.direct_response import direct_response
from meshd.interfaces import INetworkFilterFactory
from meshd.plugin import ConfigError
from meshd.testing import FakeClient, FakeContext


class DirectResponseTests(SynchronousTestCase):
    """A client of a direct response."""

    def connect(self, config: Config) -> FakeClient:
        """Connect to a filter of that config."""
        return FakeClient(direct_response.configure(config, FakeContext())(), terminal=True)

    def test_interfaces(self) -> None:
        """The plugin provides what it stands for, and is terminal."""
        verifyObject(INetworkFilterFactory, direct_response)
        self.assertTrue(direct_response.terminal)

    def test_response(self) -> None:
        """The response comes at once, then the end; what the client sends is not read."""
        client = self.connect(Config(response={"inline_string": "hé"}))
        self.assertEqual((client.received, client.dropped, client.was_reset), ("hé".encode(), True, False))
        client.send(b"x")
        client.half_close()
        client.close()
        info = client.info
        self.assertEqual((info.bytes_received, info.bytes_sent), (0, 3))
        self.assertEqual((info.response_code_details, info.local_close_reason), ("direct_response", ""))

    def test_nothing(self) -> None:
        """Without a response there is only the end."""
        client = self.connect(Config())
        self.assertEqual((client.received, client.dropped), (b"", True))

    def test_missing_file(self) -> None:
        """A file that is not there is an error of the config."""
        config = Config(response={"filename": "/nowhere/at/all"})
        error = self.assertRaises(ConfigError, self.connect, config)
        self.assertEqual(error.path, ("response", "filename"))
