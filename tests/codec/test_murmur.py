"""Tests for meshd.codec.murmur."""

from hypothesis import given
from hypothesis import strategies as st

from meshd.codec import murmur
from meshd.codec.murmur import MURMUR_SEED, murmur2, murmur2_each, pure_murmur2


class TestMurmur:
    """The hash of a key."""

    @given(st.binary(max_size=80))
    def test_agree(self, data: bytes) -> None:
        """The library's and our own are the same."""
        assert murmur2(data) == pure_murmur2(data, MURMUR_SEED)

    @given(st.lists(st.binary(max_size=30)))
    def test_each(self, keys: list[bytes]) -> None:
        """Many at once have each their own."""
        assert list(murmur2_each(keys)) == list(map(pure_murmur2, keys))

    def test_known(self) -> None:
        """It is what std::hash<std::string> gives."""
        assert murmur2(b"hello") == 2762169579135187400

    def test_no_library(self) -> None:
        """Without the library, or with another that has the name, we do without."""
        assert murmur._of_library("libnone.so.0") is None
        assert murmur._of_library("libc.so.6") is None
