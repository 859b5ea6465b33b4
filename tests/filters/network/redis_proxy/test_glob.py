"""Tests for meshd.filters.network.redis_proxy.glob; tests/integration/test_redis_routes.py has a server."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from meshd.filters.network.redis_proxy.glob import literal_start, matcher

PATTERN = st.text("ab*?[]^-\\", max_size=12).map(str.encode)
KEY = st.text("ab*[]^-\\", max_size=8).map(str.encode)


class GlobTests(SynchronousTestCase):
    """Patterns of keys."""

    def test_matches(self) -> None:
        """Stars, question marks, classes and backslashes mean what they mean in Redis."""
        for pattern, yes, no in (
            (b"", b"", b"a"),
            (b"*", b"anything", None),
            (b"a*", b"a", b"ba"),
            (b"*b*c", b"abbcc", b"abbcd"),
            (b"a?c", b"abc", b"ac"),
            (b"[ab]x", b"bx", b"cx"),
            (b"[^ab]x", b"cx", b"ax"),
            (b"[a-c]", b"b", b"d"),
            (b"[c-a]", b"b", b"d"),
            (b"[a\\]]", b"]", b"\\"),
            (b"[]", None, b"]"),
            (b"[ab", b"b", b"["),
            (b"\\*", b"*", b"x"),
            (b"a\\", b"a\\", b"a"),
        ):
            matches = matcher(pattern)
            if yes is not None:
                self.assertTrue(matches(yes), pattern)
            if no is not None:
                self.assertFalse(matches(no), pattern)

    def test_slow(self) -> None:
        """No pattern takes for ever."""
        self.assertFalse(matcher(b"a*" * 50 + b"b")(b"a" * 2000))

    def test_literal_start(self) -> None:
        """What a pattern begins with is told."""
        for pattern, start in ((b"abc", b"abc"), (b"ab*c?", b"ab"), (b"a[b]*", b"a"), (b"\\a", b"")):
            self.assertEqual(literal_start(pattern), start)

    @given(PATTERN, KEY)
    def test_any(self, pattern: bytes, key: bytes) -> None:
        """Whatever the pattern is: what it matches begins as it does, and * before it matches more."""
        if matcher(pattern)(key):
            self.assertTrue(key.startswith(literal_start(pattern)))
            self.assertTrue(matcher(b"*" + pattern)(b"x" + key))

    @given(KEY)
    def test_quoted(self, key: bytes) -> None:
        """A key whose bytes are all quoted is matched by itself only."""
        quoted = b"".join(b"\\" + bytes([byte]) for byte in key)
        self.assertTrue(matcher(quoted)(key))
        self.assertFalse(matcher(quoted)(key + b"a"))
