"""Tests for meshd.upstream.bind; the words of its errors are Envoy's."""

from __future__ import annotations

import socket
from errno import EADDRINUSE
from typing import Any

import pytest
from envoy.config.core.v3.address_pb2 import BindConfig
from google.protobuf.json_format import ParseDict

from meshd.plugin import ConfigError
from meshd.upstream.bind import CLIENT, IP_TRANSPARENT, Bind, SocketOption, Source, bind_source, read_bind

V4, V6 = {"address": "127.0.0.2", "port_value": 0}, {"address": "::1", "port_value": 0}
OPTION = {"level": 1, "name": 9, "int_value": 1}


def read(**config: Any) -> Bind | None:
    """Read a BindConfig."""
    return read_bind(ParseDict(config, BindConfig()), "Cluster c")


class TestBind:
    """What is served."""

    def test_nothing(self) -> None:
        """A config that asks for nothing is none."""
        assert read() is None

    def test_source(self) -> None:
        """There is a source address, or simply options."""
        assert read(source_address=V4) == Bind((Source(("127.0.0.2", 0)),))
        assert read(socket_options=[OPTION]) == Bind((Source(None, (SocketOption(1, 9, 1),)),))
        assert read(freebind=True) == Bind((Source(None),), freebind=True)

    def test_families(self) -> None:
        """Each target has the source of its family."""
        bind = read(source_address=V4, extra_source_addresses=[{"address": V6}])
        assert bind is not None
        assert bind.source(("10.0.0.1", 80)) == Source(("127.0.0.2", 0))
        assert bind.source(("fd00::1", 80)) == Source(("::1", 0))
        assert bind.source("/run/x.sock") is None

    def test_wrong_family(self) -> None:
        """If there is none of the family, it is the first, as in Envoy."""
        bind = read(source_address=V4, additional_source_addresses=[])
        assert bind is not None
        assert bind.source(("fd00::1", 80)) == Source(("127.0.0.2", 0))

    def test_options(self) -> None:
        """An extra source has the options of all, or its own."""
        own = {"address": V6, "socket_options": {"socket_options": [{**OPTION, "buf_value": "YQ=="}]}}
        del own["socket_options"]["socket_options"][0]["int_value"]  # type: ignore[index]
        bind = read(source_address=V4, socket_options=[{**OPTION, "state": "STATE_BOUND"}])
        assert bind is not None
        assert bind.sources[0].options == (SocketOption(1, 9, 1, bound=True),)
        bind = read(source_address=V4, socket_options=[OPTION], extra_source_addresses=[own])
        assert bind is not None
        assert bind.sources[1].options == (SocketOption(1, 9, b"a"),)

    def test_datagram(self) -> None:
        """Options for datagrams are not for us."""
        bind = read(source_address=V4, socket_options=[{**OPTION, "type": {"datagram": {}}}])
        assert bind is not None
        assert bind.sources[0].options == ()


@pytest.mark.parametrize(
    ("config", "words", "path"),
    [
        (
            {"source_address": V4, "extra_source_addresses": [{"address": V6}, {"address": V6}]},
            "has more than one extra/additional source addresses",
            ("extra_source_addresses", 1),
        ),
        (
            {"source_address": V4, "additional_source_addresses": [V6, V6]},
            "has more than one extra/additional source addresses",
            ("additional_source_addresses", 1),
        ),
        (
            {
                "source_address": V4,
                "additional_source_addresses": [V6],
                "extra_source_addresses": [{"address": V6}],
            },
            "Can't specify both",
            ("additional_source_addresses",),
        ),
        ({"extra_source_addresses": [{"address": V6}]}, "but no source_address", ()),
        (
            {"source_address": V4, "extra_source_addresses": [{"address": V4}]},
            "Cluster c's upstream binding config has two same IP version",
            (),
        ),
        (
            {"source_address": {"address": "a", "port_value": 0}},
            "malformed IP address: a",
            ("source_address", "address"),
        ),
        (
            {"socket_options": [{**OPTION, "state": "STATE_LISTENING"}]},
            "never listens",
            ("socket_options", 0, "state"),
        ),
    ],
)
def test_errors(config: Any, words: str, path: tuple[str | int, ...]) -> None:
    """What cannot be is refused, and where is said."""
    with pytest.raises(ConfigError) as caught:
        read(**config)
    assert words in caught.value.message
    assert caught.value.path == path


SELECTOR = {
    "name": CLIENT,
    "typed_config": {"@type": "type.googleapis.com/xds.type.v3.TypedStruct", "type_url": f"x/{CLIENT}"},
}


class TestFromClient:
    """Connections that come from where the client comes from."""

    def test_read(self) -> None:
        """It is asked for by a selector, with options or without."""
        assert read(local_address_selector=SELECTOR) == Bind((Source(None),), from_client=True)

    def test_refused(self) -> None:
        """Another selector is refused, and one beside an address."""
        other = {"name": "x", "typed_config": {**SELECTOR["typed_config"], "type_url": "x/other"}}  # type: ignore[dict-item]
        with pytest.raises(ConfigError, match="meshd serves"):
            read(local_address_selector=other)
        with pytest.raises(ConfigError, match="source_address"):
            read(local_address_selector=SELECTOR, source_address=V4)

    def test_no_address(self) -> None:
        """A client of a unix socket has no address to come from."""
        with socket.socket() as sock, pytest.raises(OSError, match="no IP address"):
            bind_source(sock, Bind((Source(None),), from_client=True), ("127.0.0.1", 1), "/run/x")

    @pytest.mark.parametrize("taken", [False, True])
    def test_bound(self, taken: bool) -> None:
        """The socket has the client's port, or another if that is in use; it may have any address."""
        sock: Any = Bound(taken)
        bind_source(sock, Bind((Source(None),), from_client=True), ("192.0.2.9", 80), ("198.51.100.1", 4000))
        assert sock.said == [
            (socket.IPPROTO_IP, IP_TRANSPARENT, 1),
            ("198.51.100.1", 4000),
            *([("198.51.100.1", 0)] if taken else []),
        ]


class Bound:
    """A socket that takes note; taken says that the client's port is in use."""

    family = socket.AF_INET

    def __init__(self, taken: bool) -> None:
        self.taken = taken
        self.said: list[Any] = []

    def setsockopt(self, *option: Any) -> None:
        """Take note."""
        self.said.append(option)

    def bind(self, address: tuple[str, int]) -> None:
        """Take note; raise OSError if that port is in use."""
        self.said.append(address)
        if self.taken and address[1]:
            raise OSError(EADDRINUSE, "in use")
