"""Tests for meshd.codec.resp_reply."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshd.codec.resp import ProtocolError
from meshd.codec.resp_reply import (
    BigNumber,
    Error,
    Map,
    Push,
    ReplySplitter,
    Set,
    Simple,
    Verbatim,
    decode,
    encode,
)
from meshd.testing import check_chunks, check_round_trip, check_rubbish, cut, split_anywhere

TEXTS = st.text("abcdefgh ", max_size=9).map(str.encode)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.integers().map(BigNumber),
    st.floats(allow_nan=False),
    st.binary(max_size=20),
    TEXTS.map(Simple),
    TEXTS.map(Error),
    TEXTS.map(lambda text: Verbatim(b"txt:" + text)),
    st.just(Error(b"two\r\nlines")),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(Set),
        st.lists(inner, max_size=4).map(Push),
        st.lists(st.tuples(inner, inner), max_size=3).map(Map),
    ),
    max_leaves=12,
)


def typed(value: Any) -> Any:
    """Return value with the types of all in it, which == does not tell."""
    if isinstance(value, list):
        return type(value), [typed(item) for item in value]
    if isinstance(value, tuple):
        return tuple(map(typed, value))
    return type(value), value


class TestProperties:
    """What each codec keeps."""

    @given(st.data(), st.lists(VALUES, max_size=5))
    def test_chunks(self, data: st.DataObject, values: list[Any]) -> None:
        """However replies are cut, they are the same."""
        wires = [encode(value, 3) for value in values] + [b"$-1\r\n", b"*-1\r\n", b"|1\r\n+a\r\n:1\r\n:2\r\n"]
        assert ReplySplitter().receive(b"".join(wires)) == wires
        check_chunks(ReplySplitter, data.draw(split_anywhere(b"".join(wires))), ProtocolError)

    @given(VALUES)
    def test_round_trip(self, value: Any) -> None:
        """What was encoded decodes to itself, type for type."""
        check_round_trip(lambda wire: typed(decode(wire)), lambda _: encode(value, 3), typed(value))

    @given(st.binary(max_size=200))
    def test_rubbish(self, data: bytes) -> None:
        """Rubbish is an error or replies."""
        for head in (b"", b"*1\r\n", b"$"):
            check_rubbish(ReplySplitter(1000).receive, head + data, ProtocolError)
            check_rubbish(decode, head + data, ProtocolError)


class TestSplitter:
    """A server that does not behave, or is generous."""

    @pytest.mark.parametrize(
        "wire",
        [b"garbage\r\n", b"\x00", b"$x\r\n", b"*1\r\n$3\r\nabcde\r\n", b"+" + b"a" * 70000, b"$1001\r\n",
         b"*9\r\n" + (b"$300\r\n%b\r\n" % bytes(300)) * 4],
    )  # fmt: skip
    def test_wrong(self, wire: bytes) -> None:
        """What is not RESP, or too long, is an error."""
        with pytest.raises(ProtocolError):
            ReplySplitter(1000).receive(wire)

    def test_large_in_pieces(self) -> None:
        """A large reply in many pieces is not looked at for each of them."""
        wire = b"*2\r\n:1\r\n" + encode(bytes(8_000_000))
        splitter = ReplySplitter()
        pieces = cut(wire + b"+OK\r\n", range(0, len(wire), 1000))
        assert [each for piece in pieces for each in splitter.receive(piece)] == [wire, b"+OK\r\n"]


class TestValues:
    """What RESP2 makes of RESP3's types."""

    @pytest.mark.parametrize(
        ("value", "wire"),
        [
            (None, b"$-1\r\n"),
            (True, b":1\r\n"),
            (1.5, b"$3\r\n1.5\r\n"),
            (2.0, b"$1\r\n2\r\n"),
            (float("-inf"), b"$4\r\n-inf\r\n"),
            (BigNumber(7), b"$1\r\n7\r\n"),
            (Verbatim(b"txt:abc"), b"$3\r\nabc\r\n"),
            (Map([(b"a", 1)]), b"*2\r\n$1\r\na\r\n:1\r\n"),
            (Set([1]), b"*1\r\n:1\r\n"),
            (Push([1]), b"*1\r\n:1\r\n"),
        ],
    )
    def test_resp2(self, value: Any, wire: bytes) -> None:
        """They are what a Redis server sends to a client of RESP2."""
        assert encode(value) == wire

    @pytest.mark.parametrize(
        "wire", [b"+a\r\n+b\r\n", b"+a", b"*1\r\n" * 50 + b":1\r\n", b"#x\r\n", b"", b",x\r\n"]
    )
    def test_wrong(self, wire: bytes) -> None:
        """More or less than one value is an error, and so is one too deep."""
        with pytest.raises(ProtocolError):
            decode(wire)
