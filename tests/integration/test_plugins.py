"""Filters of third parties, dropped in on PYTHONPATH, served by the real process."""

import os
from pathlib import Path

from tests.interop.case import Case
from tests.interop.oracle import CHECKOUT
from tests.interop.yaml_parts import Part, bootstrap, chain, listener, network

SHOUT = '''
"""Makes what comes loud."""

import attrs

from meshd.filter import NetworkFilter
from meshd.plugin import NetworkFilterPlugin


@attrs.define
class Config:
    """What ends a shout."""

    mark: str = attrs.field(default="!", validator=attrs.validators.max_len(3))


class Shout(NetworkFilter):
    """Upper case, and the mark."""

    def __init__(self, mark):
        self.mark = mark

    def dataReceived(self, data):
        if b"burst" in data:
            raise ValueError("the shout burst")
        self.inner.dataReceived(data.upper() + self.mark)


def configure(config, context):
    """Read the config."""
    mark = config.mark.encode()
    return lambda: Shout(mark)


shout = NetworkFilterPlugin("acme.shout", Config, configure, serves=("mark",))
'''

WORDS = '''
"""A protocol of one's own."""

from twisted.internet.protocol import Factory, Protocol


class Words(Protocol):
    """Counts words."""

    def dataReceived(self, data):
        self.transport.write(b"%d\\n" % len(data.split()))


words = Factory.forProtocol(Words)
'''


def shout(**fields: object) -> Part:
    """The filter as the config names it."""
    typed = {
        "@type": "type.googleapis.com/xds.type.v3.TypedStruct",
        "type_url": "acme.shout",
        "value": fields,
    }
    return {"name": "acme.shout", "typed_config": typed}


def drop(directory: Path, where: str, text: str) -> dict[str, str]:
    """Write a module below a directory; return the environment in which it is found."""
    path = directory / "dropped" / where
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return {"PYTHONPATH": os.pathsep.join([str(CHECKOUT), str(directory / "dropped")])}


def test_module_of_our_package(case: Case) -> None:
    """meshd/filters/network/NAME.py anywhere on the path is a filter."""
    found = drop(case.directory, "meshd/filters/network/shout.py", SHOUT)
    case.start(bootstrap(listener(chain(shout(mark="?"), network("echo", "Echo")))), environment=found)
    client = case.client()
    client.send(b"hello")
    assert client.read(6) == b"HELLO?"


def test_twisted_plugin(case: Case) -> None:
    """twisted/plugins/NAME.py anywhere on the path is a filter too."""
    found = drop(case.directory, "twisted/plugins/shout.py", SHOUT)
    case.start(bootstrap(listener(chain(shout(), network("echo", "Echo")))), environment=found)
    client = case.client()
    client.send(b"hello")
    assert client.read(6) == b"HELLO!"


def test_filter_that_raises(case: Case) -> None:
    """An exception out of a filter closes that connection only, is logged with the filter, and counted."""
    found = drop(case.directory, "meshd/filters/network/shout.py", SHOUT)
    proxy = case.start(bootstrap(listener(chain(shout(), network("echo", "Echo")))), environment=found)
    bystander = case.client()
    bystander.send(b"a")
    assert bystander.read(2) == b"A!"
    client = case.client()
    client.send(b"burst")
    assert client.read_to_end()[0] == b""
    bystander.send(b"b")
    assert bystander.read(2) == b"B!"
    assert proxy.stat("listener.front.downstream_filter_exception") == 1
    said = proxy.said()
    assert "the shout burst" in said
    assert "Shout" in said or "acme.shout" in said


def test_protocol_of_ones_own(case: Case) -> None:
    """meshd.filters.network.factory runs a Twisted factory named by package.module:object."""
    found = drop(case.directory, "mine.py", WORDS)
    typed = {
        "@type": "type.googleapis.com/xds.type.v3.TypedStruct",
        "type_url": "meshd.filters.network.factory",
        "value": {"factory": "mine:words"},
    }
    named = {"name": "meshd.filters.network.factory", "typed_config": typed}
    case.start(bootstrap(listener(named)), environment=found)
    client = case.client()
    client.send(b"one two three")
    assert client.read(2) == b"3\n"
