"""Tests for meshd.stunnel.values."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshd.stunnel import values
from meshd.stunnel.model import Address, SocketOption
from meshd.stunnel.values import Bad


class TestReaders:
    """Values one by one."""

    @pytest.mark.parametrize(
        ("read", "text", "value"),
        [
            (values.yes_no, "YES", True),
            (values.yes_no, "no", False),
            (values.number("x"), "12", 12),
            (values.seconds("x"), "-1", -1),
            (values.level, "7", ("", 7)),
            (values.level, "local0.Info", ("local0", 6)),
            (values.version, "all", ""),
            (values.version, "tlsv1.2", "TLSv1.2"),
            (values.user, str(os.getuid()), os.getuid()),
            (values.group, "root", 0),
            (values.secret("x"), "00:11" + "22" * 14, bytes((0, 0x11)) + b"\x22" * 14),
            (values.socket_option, "l:so_linger=1:60", SocketOption("l", "SO_LINGER", (1, 60))),
            (values.socket_option, "a:SO_BINDTODEVICE=lo", SocketOption("a", "SO_BINDTODEVICE", "lo")),
            (values.retry, "yes", 1000),
            (values.retry, "250", 250),
            (values.retry, "0", None),
            (values.words, " a  b ", ["a", "b"]),
        ],
    )
    def test_good(self, read: Callable[[str], Any], text: str, value: Any) -> None:
        """Each is read to a plain value."""
        assert read(text) == value

    @pytest.mark.parametrize(
        ("read", "text"),
        [
            (values.yes_no, "maybe"),
            (values.number("x", 0, 5), "6"),
            (values.number("x"), "1x"),
            (values.level, "8"),
            (values.level, "nowhere.5"),
            (values.version, "SSLv2"),
            (values.user, "no such user"),
            (values.secret("x"), "aa"),
            (values.secret("x"), "zz"),
            (values.socket_option, "x:SO_KEEPALIVE=1"),
            (values.socket_option, "a:SO_KEEPALIVE=2"),
            (values.socket_option, "a:SO_LINGER=1"),
            (values.socket_option, "a:SO_SNDBUF=big"),
        ],
    )
    def test_bad(self, read: Callable[[str], Any], text: str) -> None:
        """What cannot be read is refused."""
        with pytest.raises(Bad):
            read(text)


class TestAddresses:
    """Ports, hosts and paths."""

    @pytest.mark.parametrize(
        ("text", "address"),
        [
            ("80", Address("80", "0.0.0.0", 80)),
            ("a:80", Address("a:80", "a", 80)),
            ("::1:443", Address("::1:443", "::1", 443)),
            (":::443", Address(":::443", "::", 443)),
            ("[::1]:443", Address("[::1]:443", "::1", 443)),
            ("a:https", Address("a:https", "a", 443)),
            ("/run/x", Address("/run/x", path="/run/x")),
        ],
    )
    def test_good(self, text: str, address: Address) -> None:
        """The last colon counts; services have names; a path begins with a slash."""
        assert values.address(text, "0.0.0.0") == address

    def test_service(self) -> None:
        """A port that is none is told as stunnel does."""
        with pytest.raises(Bad) as bad:
            values.address("a:nosuchservice", "")
        assert bad.value.lines == ('Unknown TCP service "nosuchservice"',)

    @given(st.text())
    def test_anything(self, text: str) -> None:
        """Any text is an address or is refused."""
        try:
            assert 0 <= values.address(text, "h").port < 65536
        except Bad:
            pass

    def test_resolve(self) -> None:
        """IP addresses are themselves."""
        assert values.resolve("127.0.0.1") == ["127.0.0.1"]
