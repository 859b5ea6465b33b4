"""Tests for meshd.upstream.hashing."""

from __future__ import annotations

import pytest

from meshd.codec.murmur import MURMUR_SEED, murmur2
from meshd.upstream.hashing import host_key, xxhash64
from meshd.upstream.host import Host


class TestFunctions:
    """The hash functions."""

    @pytest.mark.parametrize(
        ("data", "expected"),
        [
            (b"foo", 3728699739546630719),
            (b"bar", 5234164152756840025),
            (b"foo\nbar", 8917841378505826757),
            (b"", 17241709254077376921),
        ],
    )
    def test_xxhash(self, data: bytes, expected: int) -> None:
        """The values are those of Envoy's tests."""
        assert xxhash64(data) == expected

    @pytest.mark.parametrize(
        ("data", "seed", "expected"),
        [
            (b"hello", MURMUR_SEED, 2762169579135187400),
            (b"ab", 0, 7115271465109541368),
            (b"abcdefg", 0, 2601573339036254301),
            (b"quick brown fox", 42, 3575930248840144026),
        ],
    )
    def test_murmur(self, data: bytes, seed: int, expected: int) -> None:
        """The values are those of std::hash of libstdc++, and of others' tests."""
        assert murmur2(data, seed) == expected


class TestKeys:
    """What stands for a host."""

    def test_address(self) -> None:
        """It is the address, unless something else is asked for."""
        assert host_key(Host(("::1", 80), hostname="a"), by_hostname=False) == b"[::1]:80"

    def test_hostname(self) -> None:
        """It is the name, if that is asked for."""
        assert host_key(Host(("::1", 80), hostname="a"), by_hostname=True) == b"a"

    def test_metadata(self) -> None:
        """A hash_key in the metadata goes first."""
        host = Host(("::1", 80), hostname="a", metadata={"envoy.lb": {"hash_key": "k"}})
        assert host_key(host, by_hostname=True) == b"k"

    def test_metadata_of_another_kind(self) -> None:
        """A hash_key that is no text does not count."""
        host = Host(("::1", 80), metadata={"envoy.lb": {"hash_key": 7.0}})
        assert host_key(host, by_hostname=False) == b"[::1]:80"
