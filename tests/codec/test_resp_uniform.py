"""Tests for meshd.codec.resp_uniform."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from meshd.codec.resp import ProtocolError, RequestParser, encode
from meshd.codec.resp_reply import Error, ReplySplitter, Simple
from meshd.codec.resp_reply import encode as encode_value
from meshd.codec.resp_uniform import count_replies, joined, pairs, split_replies, split_short, uniform

WORDS = st.sampled_from(
    [
        b"$2",
        b"$10",
        b"0123456789",
        b"*2",
        b"*3",
        b"$3",
        b"$1",
        b"$0",
        b"\r\n",
        b"GET",
        b"a",
        b"",
        b"+OK",
        b"\r",
        b"$-1",
        b":1",
    ]
)

#: Strings that lie in one line, and do not look like null.
TEXTS = st.binary(max_size=12).filter(lambda text: b"\r\n" not in text and not text.endswith(b"$-1"))
VALUES = st.one_of(st.none(), TEXTS)
REPLIES = st.lists(
    st.one_of(VALUES, st.integers(-9, 9), st.just(Simple(b"OK")), st.just(Error(b"no")), st.lists(VALUES)),
    min_size=1,
    max_size=6,
)


class TestUniform:
    """Commands that look alike."""

    @given(st.lists(st.lists(st.binary(max_size=9), min_size=3, max_size=3), min_size=1, max_size=5))
    def test_same(self, commands: list[list[bytes]]) -> None:
        """What is taken apart at once is what the parser finds one by one."""
        wire = b"".join(map(encode, commands))
        found = uniform(wire)
        if found is None:
            assert any(b"\r\n" in each or each[-1:] == b"\r" for command in commands for each in command)
            return
        assert [list(each) for each in zip(*found.columns, strict=True)] == commands
        assert [found.head + piece for piece in found.pieces] == [encode(command) for command in commands]
        assert found.arguments() == [each for command in commands for each in command[1:]]
        assert [b"$" + bulk for bulk in found.bulks()] == [
            b"$%d\r\n%b\r\n" % (len(each), each) for each in found.arguments()
        ]

    @given(st.lists(WORDS, max_size=14))
    def test_rubbish(self, words: list[bytes]) -> None:
        """Whatever is taken apart, the parser would have taken apart so, too."""
        for wire in (b"".join(words), b"".join(word + b"\r\n" for word in words)):
            found = uniform(wire)
            if found is not None:
                requests = RequestParser().receive(wire)
                assert [args for args, _ in requests] == [
                    list(each) for each in zip(*found.columns, strict=True)
                ]

    def test_not(self) -> None:
        """Commands with different numbers of arguments, parts of one, and others are left alone."""
        get = encode([b"GET", b"a"])
        for wire in (
            get + encode([b"SET", b"a", b"b"]),
            get[:-1],
            get + b"*2\r\n",
            b"PING\r\n",
            b"",
            get + b"\r\n",
            b"*2\r\n$3\r\nGET\r\n$-1\r\n\r\n",
        ):
            assert uniform(wire) is None


class TestReplies:
    """Replies that look alike."""

    @given(st.lists(st.one_of(st.none(), st.just(b"$-1"), st.binary(max_size=12)), min_size=1, max_size=6))
    def test_same(self, values: list[bytes | None]) -> None:
        """They are cut as ReplySplitter cuts them."""
        wires = list(map(encode_value, values))
        found = split_replies(b"".join(wires))
        assert found in (None, wires)
        assert count_replies(b"".join(wires)) in (None, len(wires))

    @given(st.lists(WORDS, max_size=10))
    def test_rubbish(self, words: list[bytes]) -> None:
        """Whatever is cut, ReplySplitter would have cut so, too."""
        for wire in (b"".join(words), b"".join(word + b"\r\n" for word in words)):
            found, count = split_replies(wire), count_replies(wire)
            if count is not None:
                try:
                    replies = ReplySplitter().receive(wire)
                    assert count == len(replies)
                    assert found in (None, replies)
                except ProtocolError:
                    raise AssertionError(f"{wire!r} is no reply") from None

    def test_ok(self) -> None:
        """So are those of SET."""
        assert split_replies(b"+OK\r\n" * 3) == [b"+OK\r\n"] * 3
        assert split_replies(b"+OK\r\n:1\r\n") is None
        assert split_replies(b"$1\r\na\r\n$-1\r\n") == [b"$1\r\na\r\n", b"$-1\r\n"]
        assert count_replies(b"$1\r\na\r\n$-1\r\n") == 2
        # A value that looks like null is left to others.
        assert count_replies(b"$-1\r\n$3\r\n$-1\r\n") is None

    @given(REPLIES)
    def test_short(self, values: list[Any]) -> None:
        """Replies of any kinds, arrays too, are cut where they end."""
        wires = list(map(encode_value, values))
        found = split_short(b"".join(wires))
        assert found is not None
        assert list(map(joined, found)) == wires
        for reply, value in zip(found, values, strict=True):
            if isinstance(reply, list):
                assert [b"\r\n".join(pair) + b"\r\n" for pair in pairs(reply)] == list(
                    map(encode_value, value)
                )

    @given(st.lists(WORDS, max_size=10))
    def test_short_rubbish(self, words: list[bytes]) -> None:
        """Whatever is cut, ReplySplitter would have cut so, too."""
        for wire in (b"".join(words), b"".join(word + b"\r\n" for word in words)):
            found = split_short(wire)
            if found is not None:
                assert list(map(joined, found)) == ReplySplitter().receive(wire)
