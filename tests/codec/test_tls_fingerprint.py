"""Tests for meshd.codec.tls_fingerprint; the values were compared with Envoy's."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from meshd.codec.client_hello import ClientHello, parse
from meshd.codec.tls_fingerprint import ja3, ja3_text, ja4
from tests.codec.hellos import (
    ALPN,
    CHROME,
    GREASE,
    GROUPS,
    SIGNATURES,
    Extensions,
    alpn,
    hello,
    listed,
    points,
    sni,
    versions,
)


def made(extensions: Extensions = (), **fields: Any) -> ClientHello:
    """Return a ClientHello of these extensions."""
    found = parse(hello(extensions, **fields))
    assert found is not None
    return found


class TestJa3:
    """JA3."""

    def test_chrome(self) -> None:
        """Numbers in the client's order, GREASE left out."""
        found = parse(CHROME)
        assert found is not None
        assert ja3_text(found) == (
            "771,4865-4866-4867-49195-49199-49196-49200-52393-52392-49171-49172-156-157-47-53,"
            "10-45-11-17613-18-35-13-5-23-51-0-43-65281-16-65037-27,4588-29-23-24,0"
        )
        assert ja3(found) == hashlib.md5(ja3_text(found).encode()).hexdigest()

    def test_nothing(self) -> None:
        """Fields that are not there are empty, the commas stay."""
        assert ja3_text(made()) == "771,4865-49199,,,"
        assert ja3(made()) == "6ac28f635e78b6e59638f7a1e035f458"

    def test_lists(self) -> None:
        """The legacy version, groups and point formats are in it."""
        found = made([listed(GROUPS, GREASE, 29, 23), points(0, 1)], version=0x0301)
        assert ja3_text(found) == "769,4865-49199,10-11,29-23,0-1"


class TestJa4:
    """JA4."""

    def test_chrome(self) -> None:
        """The fingerprint that Chrome is known by."""
        found = parse(CHROME)
        assert found is not None
        assert ja4(found) == "t13d1516h2_8daaf6152771_d8a2da3f94cd"

    @pytest.mark.parametrize(
        ("hello", "fingerprint"),
        [
            (made(), "t12i020000_c1929292aa6b_000000000000"),
            (made([sni(b"a"), alpn(b"h2")]), "t12d0202h2_c1929292aa6b_000000000000"),
            (made([(GREASE, b"")], ciphers=[GREASE]), "t12i000000_000000000000_000000000000"),
            (made([listed(SIGNATURES, 0x0403)]), "t12i020100_c1929292aa6b_79c50902419d"),
            (made([listed(SIGNATURES)]), "t12i020100_c1929292aa6b_06540eb5c95f"),
        ],
    )
    def test_parts(self, hello: ClientHello, fingerprint: str) -> None:
        """SNI and ALPN are counted and not hashed; what would be hashed and is not there is zeros."""
        assert ja4(hello) == fingerprint

    @pytest.mark.parametrize(
        ("extensions", "letters"),
        [
            ([alpn(b"http/1.1", b"h2")], "h1"),
            ([alpn(b"h")], "hh"),
            ([alpn(b"H2")], "H2"),
            ([alpn(b"\xab\xcd")], "ad"),
            ([alpn(b"a\xff")], "6f"),
            ([(ALPN, b"\0\4\2h2\0")], "h2"),
            ([(ALPN, b"\0\5\5h2")], "00"),
            ([(ALPN, b"\0\0")], "00"),
            ([], "00"),
        ],
    )
    def test_alpn(self, extensions: Extensions, letters: str) -> None:
        """The first and the last letter of the first protocol; hex digits for what is no letter."""
        assert ja4(made(extensions))[8:10] == letters

    @pytest.mark.parametrize(
        ("extensions", "version", "digits"),
        [
            ([versions(0x0304, GREASE)], 0x0303, "13"),
            ([], 0x0302, "11"),
            ([], 0x0301, "10"),
            ([], 0x0300, "00"),
            ([versions(0x0305)], 0x0303, "00"),
            ([versions(GREASE)], 0x0303, "12"),
        ],
    )
    def test_version(self, extensions: Extensions, version: int, digits: str) -> None:
        """The highest version that is offered."""
        assert ja4(made(extensions, version=version))[1:3] == digits

    def test_many(self) -> None:
        """Counts end at 99."""
        found = made([(1000 + n, b"") for n in range(120)], ciphers=range(1, 131))
        assert ja4(found)[4:8] == "9999"
