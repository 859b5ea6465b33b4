"""
Writes a filter to begin with: ``meshd new-filter NAME``.

What is written is found as it lies (with its directory on PYTHONPATH), works, and
has a test that passes.  It counts the bytes of each direction, so that there is
something of everything: config, statistics, both directions, the end.
"""

from __future__ import annotations

import keyword
import re
from pathlib import Path

FILTER = '''\
"""
Counts the bytes that pass through it.

Config: prefix, what its statistics begin with.
"""

from __future__ import annotations

import attrs

from meshd.filter import NetworkFilter
from meshd.interfaces import IFactoryContext
from meshd.plugin import NetworkFilterPlugin


@attrs.define
class Config:
    """What the config file says."""

    prefix: str = attrs.field(default="NAME", validator=attrs.validators.min_len(1))


class CLASS:
    """What the connections of one filter chain share; made once from the config."""

    def __init__(self, config: Config, context: IFactoryContext) -> None:
        scope = context.stats.scope(config.prefix)
        self.received = scope.counter("received_bytes")
        self.sent = scope.counter("sent_bytes")

    def __call__(self) -> Link:
        return Link(self)


class Link(NetworkFilter):
    """One connection: what it does not pass on does not happen."""

    def __init__(self, shared: CLASS) -> None:
        self.shared = shared

    def dataReceived(self, data: bytes) -> None:
        self.shared.received.value += len(data)
        self.inner.dataReceived(data)

    def write(self, data: bytes) -> None:
        self.shared.sent.value += len(data)
        self.transport.write(data)


NAME = NetworkFilterPlugin("FULL", Config, CLASS, serves=("prefix",))
'''

TEST = '''\
"""Tests for meshd.filters.network.NAME."""

from twisted.trial.unittest import SynchronousTestCase

from meshd.filters.network.NAME import Config, NAME
from meshd.testing import FakeClient, FakeContext


class CLASSTests(SynchronousTestCase):
    """A filter that counts."""

    def setUp(self) -> None:
        self.context = FakeContext()
        self.client = FakeClient(NAME.configure(Config(prefix="mine"), self.context)())

    def test_from_the_client(self) -> None:
        """Bytes from the client reach the next filter, and are counted."""
        self.client.send(b"hello")
        self.assertEqual(self.client.upstream.received, b"hello")
        self.assertEqual(self.context.stats["mine.received_bytes"], 5)

    def test_to_the_client(self) -> None:
        """Bytes for the client reach it, and are counted."""
        self.client.upstream.write(b"hi")
        self.assertEqual(self.client.received, b"hi")
        self.assertEqual(self.context.stats["mine.sent_bytes"], 2)
'''


class BadName(Exception):
    """The name cannot be that of a filter; the text says why."""


def new_filter(name: str, directory: Path) -> list[Path]:
    """
    Write the filter and its test below the directory, and return the files that are new.

    Raise BadName if the name is not one for a Python module, FileExistsError if
    a file is there already; then nothing is written.
    """
    if not re.fullmatch("[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise BadName(f"{name!r} cannot be the name of a module: small letters, digits and _")
    tests = directory / "tests" / "filters" / "network"  # as in meshd's own source
    if not tests.is_dir():
        tests = directory / "tests"
    texts = {
        directory / "meshd" / "filters" / "network" / f"{name}.py": FILTER,
        tests / f"test_{name}.py": TEST,
    }
    for path in texts:
        if path.exists():
            raise FileExistsError(f"{path} is there already")
    words = {"CLASS": _class_name(name), "FULL": full_name(name), "NAME": name}
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(re.sub("CLASS|FULL|NAME", lambda word: words[word[0]], text))
    return list(texts)


def full_name(name: str) -> str:
    """Return what the config calls the filter."""
    return f"meshd.filters.network.{name}"


def _class_name(name: str) -> str:
    """Return the name of the class that connections share: never that of another in the file."""
    camel = "".join(part.capitalize() for part in name.split("_"))
    return camel + "Filter" if camel in ("Config", "Link", "NetworkFilter", "") or name == camel else camel
