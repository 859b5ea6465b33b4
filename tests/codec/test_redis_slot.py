"""Tests for meshd.codec.redis_slot."""

from hypothesis import given
from hypothesis import strategies as st

from meshd.codec.redis_slot import SLOTS, hash_tag, slot


class TestSlot:
    """The slot of a key."""

    def test_known(self) -> None:
        """The slots are those of Redis: 0x31C3 is the check value of the specification."""
        assert slot(b"123456789") == 0x31C3
        assert [slot(key) for key in (b"", b"foo", b"bar", b"somekey", b"foo{hash_tag}")] == [
            0, 12182, 5061, 11058, 2515,
        ]  # fmt: skip

    @given(st.binary())
    def test_range(self, key: bytes) -> None:
        """A slot is below 16384, and that of what is hashed of the key."""
        assert 0 <= slot(key) < SLOTS
        assert slot(key) == slot(b"{" + hash_tag(key) + b"}") or b"}" in hash_tag(key) or not hash_tag(key)


class TestHashTag:
    """What of a key is hashed."""

    def test_tag(self) -> None:
        """It is what the first braces hold; all, if they hold nothing or are not closed."""
        cases = {
            b"{user1000}.following": b"user1000",
            b"foo{}{bar}": b"foo{}{bar}",
            b"foo{{bar}}zap": b"{bar",
            b"foo{bar}{zap}": b"bar",
            b"}a{b": b"}a{b",
            b"}{a}": b"a",
            b"": b"",
        }
        assert {key: hash_tag(key) for key in cases} == cases
