"""Tests for meshd.config.plain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from envoy.config.core.v3.address_pb2 import CidrRange
from envoy.config.core.v3.base_pb2 import DataSource
from envoy.extensions.filters.network.connection_limit.v3.connection_limit_pb2 import ConnectionLimit
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from envoy.type.v3.percent_pb2 import FractionalPercent, Percent
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import ParseDict
from hypothesis import given
from hypothesis import strategies as st

from meshd.config import plain
from meshd.plugin import ConfigError
from meshd.testing import check_rubbish


def cidr(prefix: str, length: int = 0) -> Any:
    """Return a CidrRange."""
    return ParseDict({"address_prefix": prefix, "prefix_len": length}, CidrRange())


class TestNumbers:
    """Durations, percentages and wrappers."""

    def test_seconds(self) -> None:
        """A duration is a float."""
        assert plain.seconds(Duration(seconds=1, nanos=250_000_000)) == 1.25

    def test_optional(self) -> None:
        """What is not set is the default, what is set to zero is zero."""
        message = ParseDict({"delay": "0s", "max_connections": 0}, ConnectionLimit())
        assert plain.optional_seconds(message, "delay", 5) == 0
        assert plain.wrapped(message, "max_connections", 5) == 0
        assert plain.optional_seconds(ConnectionLimit(), "delay", 5) == 5
        assert plain.wrapped(ConnectionLimit(), "max_connections", 5) == 5

    def test_fraction(self) -> None:
        """Both kinds of percentages are a number up to 1."""
        assert plain.fraction(Percent(value=12.5)) == 0.125
        assert plain.fraction(FractionalPercent(numerator=5, denominator="TEN_THOUSAND")) == 0.0005
        assert plain.fraction(FractionalPercent(numerator=500)) == 1


class TestCidr:
    """Address ranges."""

    def test_matcher(self) -> None:
        """An address is in any of the ranges, or in none; host bits do not matter."""
        matches = plain.cidr_matcher([cidr("10.1.2.3", 8), cidr("2001:db8::", 32)])
        assert matches("10.255.0.1") and matches("2001:db8::1")
        assert not matches("11.0.0.1") and not matches("2001:db9::1")

    def test_no_length(self) -> None:
        """Without a length it is the whole family, as in Envoy."""
        assert plain.cidr(CidrRange(address_prefix="10.0.0.0")).prefixlen == 0

    @pytest.mark.parametrize(
        ("message", "path"), [(cidr("x"), "address_prefix"), (cidr("::1", 129), "prefix_len")]
    )
    def test_errors(self, message: Any, path: str) -> None:
        """What is no range is an error that says which, and where."""
        with pytest.raises(ConfigError) as caught:
            plain.cidr_matcher([cidr("10.0.0.0", 8), message])
        assert caught.value.path == (1, path)


class TestString:
    """String matchers."""

    @pytest.mark.parametrize(
        ("config", "yes", "no"),
        [
            ({"exact": "aB"}, "aB", "ab"),
            ({"exact": "aB", "ignore_case": True}, "Ab", "abc"),
            ({"prefix": "a"}, "ab", "ba"),
            ({"suffix": "A", "ignore_case": True}, "ba", "ab"),
            ({"contains": "b"}, "abc", "ac"),
            ({"safe_regex": {"regex": "a+"}}, "aa", "aab"),
        ],
    )
    def test_match(self, config: dict[str, Any], yes: str, no: str) -> None:
        """Each kind matches what it says."""
        matches = plain.string_matcher(ParseDict(config, StringMatcher()))
        assert matches(yes) and not matches(no)

    @given(st.text(max_size=20))
    def test_rubbish(self, regex: str) -> None:
        """Any regular expression works or is a ConfigError."""
        message = StringMatcher(safe_regex={"regex": regex})
        check_rubbish(lambda _: plain.string_matcher(message)("abc"), b"", ConfigError)

    def test_unset(self) -> None:
        """A matcher without a pattern is an error."""
        with pytest.raises(ConfigError):
            plain.string_matcher(StringMatcher())


class TestDataSource:
    """Where bytes come from."""

    def test_sources(self, tmp_path: Path) -> None:
        """A file, the environment, bytes, a text, or nothing."""
        (tmp_path / "f").write_bytes(b"\xff")
        assert plain.data_source(DataSource(filename=str(tmp_path / "f"))) == b"\xff"
        assert plain.data_source(DataSource(environment_variable="X"), {"X": "é"}) == "é".encode()
        assert plain.data_source(DataSource(inline_bytes=b"\0")) == b"\0"
        assert plain.data_source(DataSource(inline_string="é")) == "é".encode()
        assert plain.data_source(DataSource()) == b""

    @pytest.mark.parametrize("field", ["filename", "environment_variable"])
    def test_missing(self, field: str) -> None:
        """What is not there is an error."""
        with pytest.raises(ConfigError) as caught:
            plain.data_source(DataSource(**{field: "/no/such"}), {})
        assert caught.value.path == (field,)

    def test_watched(self) -> None:
        """Watching is not served."""
        with pytest.raises(ConfigError):
            plain.data_source(DataSource(filename="/x", watched_directory={"path": "/"}))
