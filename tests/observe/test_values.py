"""Tests for meshd.observe.values."""

import json
from typing import Any

import pytest
from envoy.config.core.v3.base_pb2 import Metadata
from google.protobuf.json_format import ParseDict
from hypothesis import given
from hypothesis import strategies as st

from meshd.interfaces import SocketAddress
from meshd.observe.values import (
    address_host,
    address_port,
    address_text,
    filter_state,
    json_text,
    masked,
    metadata_at,
    without_port,
)
from meshd.plugin import ConfigError

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


class TestJson:
    """Values as JSON."""

    @given(JSON)
    def test_any(self, value: Any) -> None:
        """What is written is what is read."""
        assert json.loads(json_text(value)) == value

    def test_form(self) -> None:
        """It is compact and sorted, and numbers are short."""
        value = {"b": [1.0, 1.25, 3e6, 1e20, True, None], "a": {"é": "/<>&\1"}}
        assert json_text(value) == '{"a":{"é":"/<>&\\u0001"},"b":[1,1.25,3e+06,1e+20,true,null]}'

    def test_objects(self) -> None:
        """What JSON does not have is written as text."""
        assert json_text([float("nan"), float("-inf"), -5e6]) == "[null,null,-5e+06]"
        assert json_text({"a": b"\xffx", "b": complex(1, 2)}) == '{"a":"\ufffdx","b":"(1+2j)"}'


class TestAddresses:
    """Addresses as text."""

    @pytest.mark.parametrize(
        ("address", "text", "host", "port"),
        [
            (("1.2.3.4", 80), "1.2.3.4:80", "1.2.3.4", 80),
            (("::1", 80), "[::1]:80", "::1", 80),
            ("/run/x.sock", "/run/x.sock", "/run/x.sock", None),
            (None, None, None, None),
        ],
    )
    def test_parts(
        self, address: SocketAddress | None, text: str | None, host: str | None, port: int | None
    ) -> None:
        """An address is shown whole, without its port, or its port alone."""
        assert (address_text(address), address_host(address), address_port(address)) == (text, host, port)

    def test_masked(self) -> None:
        """A mask leaves the network; what has no such network has nothing."""
        assert masked("16")(("10.1.2.3", 80)) == "10.1.0.0/16"
        assert masked("0")(("10.1.2.3", 80)) == "0.0.0.0/0"
        assert masked("64")(("fe80::1%eth0", 80)) == "fe80::/64"
        assert masked("64")(("10.1.2.3", 80)) is None
        assert masked("8")("/run/x.sock") is None
        assert masked("8")(("nonsense", 80)) is None

    @pytest.mark.parametrize("parameter", ["x", "129", "-1", "²", ""])
    def test_bad_mask(self, parameter: str) -> None:
        """A mask is a number of bits."""
        with pytest.raises(ConfigError):
            masked(parameter)

    def test_without_port(self) -> None:
        """A name loses its port, if it has one."""
        assert [without_port(name) for name in ("a.b:9", "a.b", "a:b")] == ["a.b", "a.b", "a:b"]


class TestMetadata:
    """Values in metadata."""

    def test_mapping(self) -> None:
        """A path leads to a value, or to nothing."""
        metadata = {"a.b": {"k": {"x": 1}}}
        assert metadata_at(metadata, ("a.b", "k", "x")) == 1
        assert metadata_at(metadata, ("a.b", "k")) == {"x": 1}
        assert metadata_at(metadata, ("a.b", "k", "x", "y")) is None
        assert metadata_at(None, ("a",)) is None

    def test_message(self) -> None:
        """Metadata may be a message."""
        message = ParseDict({"filter_metadata": {"a": {"k": 2.5}}}, Metadata())
        assert metadata_at(message, ("a", "k")) == 2.5


class TestFilterState:
    """What of an object in the filter state is logged."""

    def test_plain(self) -> None:
        """PLAIN is its text."""
        key, value, quoted = filter_state("k:PLAIN")
        assert (key, quoted) == ("k", False)
        assert [value("a"), value(b"b"), value(3)] == ["a", "b", "3"]

    def test_typed(self) -> None:
        """TYPED, which is the default, is a value, which is JSON in text."""
        key, value, quoted = filter_state("k")
        assert (key, quoted) == ("k", True)
        assert [value("a"), value(3), value({"x": 1}), value(b"b")] == ["a", 3, {"x": 1}, "b"]

    def test_field(self) -> None:
        """FIELD is one field."""
        _, value, _ = filter_state("k:FIELD:real")
        assert [value({"real": 1}), value(2.0), value("s"), value([])] == [1, 2.0, None, None]

    @pytest.mark.parametrize("parameter", [None, "", ":PLAIN", "k:x", "k:FIELD", "k:FIELD:"])
    def test_wrong(self, parameter: str | None) -> None:
        """What cannot be read is told."""
        with pytest.raises(ConfigError):
            filter_state(parameter)
