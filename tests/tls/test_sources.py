"""Tests for meshd.tls.sources."""

from pathlib import Path
from typing import Any

from envoy.config.core.v3.base_pb2 import DataSource
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import TlsCertificate
from google.protobuf.json_format import ParseDict
from twisted.trial.unittest import SynchronousTestCase

from meshd.plugin import ConfigError
from meshd.tls.sources import Sources, is_watched
from meshd.tls.watch import state_of


def source(**fields: Any) -> Any:
    """Return a DataSource."""
    return ParseDict(fields, DataSource())


class ReadTests(SynchronousTestCase):
    """Data sources that are read."""

    def setUp(self) -> None:
        self.sources = Sources()
        self.path = Path(self.mktemp())
        self.path.write_bytes(b"content")

    def test_inline(self) -> None:
        """What is inline need not be watched."""
        self.assertEqual(self.sources.read(source(inline_string="hi")), b"hi")
        self.assertEqual(self.sources.states, {})

    def test_file(self) -> None:
        """A file is watched from before it was read."""
        path = str(self.path)
        self.assertEqual(self.sources.read(source(filename=path)), b"content")
        self.assertEqual(self.sources.states, {path: state_of(path)})

    def test_directory(self) -> None:
        """A directory that is said to be watched is."""
        directory = str(self.path.parent)
        self.sources.read(source(filename=str(self.path), watched_directory={"path": directory}))
        self.assertEqual(set(self.sources.states), {directory, str(self.path)})

    def test_digest(self) -> None:
        """The digest tells whether anything that was read differs."""

        def digest(*texts: str) -> bytes:
            sources = Sources()
            for text in texts:
                sources.read(source(inline_string=text))
            return sources.digest

        self.assertEqual(digest("ab", "c"), digest("ab", "c"))
        self.assertNotEqual(digest("ab", "c"), digest("a", "bc"))

    def test_unreadable(self) -> None:
        """A file that is not there is watched too: it may come."""
        self.assertRaises(ConfigError, self.sources.read, source(filename="/no/such"))
        self.assertEqual(self.sources.states, {"/no/such": None})


class WatchedTests(SynchronousTestCase):
    """Messages that say that their files are to be watched."""

    def test_watched(self) -> None:
        """They say it for all, or for one source."""
        watched = {"watched_directory": {"path": "/etc"}}
        for fields, expected in (
            ({}, False),
            ({"certificate_chain": {"filename": "/c"}}, False),
            ({"certificate_chain": {"filename": "/c"}, **watched}, True),
            ({"private_key": {"filename": "/c", **watched}}, True),
        ):
            self.assertEqual(is_watched(ParseDict(fields, TlsCertificate())), expected, fields)
