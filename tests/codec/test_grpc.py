"""Tests for meshd.codec.grpc."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshd.codec.grpc import (
    LONGEST,
    Deframer,
    ProtocolError,
    Status,
    TooLong,
    decode_message,
    decode_status,
    decode_timeout,
    encode_timeout,
    frame,
    status_of_http,
    status_of_reset,
)
from meshd.testing import check_chunks, check_round_trip, check_rubbish, split_anywhere

MESSAGES = st.lists(st.binary(max_size=40), max_size=6)


class TestProperties:
    """What holds for any bytes."""

    @given(st.data(), MESSAGES)
    def test_chunks(self, data: st.DataObject, messages: list[bytes]) -> None:
        """However messages are cut, they are the same messages."""
        check_chunks(
            Deframer, data.draw(split_anywhere(b"".join(map(frame, messages)) + b"\0")), ProtocolError
        )

    @given(MESSAGES)
    def test_round_trip(self, messages: list[bytes]) -> None:
        """Messages come out as they went in."""
        check_round_trip(
            lambda wire: Deframer().receive(wire), lambda some: b"".join(map(frame, some)), messages
        )

    @given(st.binary(max_size=60), st.integers(0, 40))
    def test_rubbish(self, data: bytes, limit: int) -> None:
        """Rubbish is a ProtocolError, or messages within the limit, and no more is kept than one has."""
        deframer = Deframer(limit)

        def receive(data: bytes) -> None:
            assert all(len(message) <= limit for message in deframer.receive(data))
            assert deframer.buffered <= limit + 5

        check_rubbish(receive, data, ProtocolError)

    @given(st.binary(max_size=12))
    def test_rubbish_in_headers(self, value: bytes) -> None:
        """So it is of the values of headers, which are else what they are."""
        check_rubbish(decode_timeout, value, ProtocolError)
        assert decode_status(value) in Status
        assert isinstance(decode_message(value), str)

    @given(st.floats(0.001, 1e12))
    def test_timeouts(self, seconds: float) -> None:
        """A time survives, to the digits that there are."""
        again = decode_timeout(encode_timeout(seconds))
        assert min(seconds, 99_999_999 * 3600) == pytest.approx(again, rel=1e-3, abs=6e-4)


class TestDeframer:
    """The frames."""

    def test_frame(self) -> None:
        """A frame has no flags, and the length in four bytes."""
        assert frame(b"abc") == b"\0\0\0\0\3abc"
        assert frame(b"") == b"\0" * 5

    def test_too_long(self) -> None:
        """A message beyond the limit is an error as soon as its head is there."""
        deframer = Deframer(3)
        assert deframer.receive(frame(b"abc")) == [b"abc"]
        with pytest.raises(TooLong):
            deframer.receive(b"\0\0\0\0\4")

    def test_compressed(self) -> None:
        """A message that is compressed is an error: we offer no compression."""
        with pytest.raises(ProtocolError):
            Deframer().receive(b"\1\0\0\0\0")

    def test_cut_off(self) -> None:
        """What is there of a message is told."""
        deframer = Deframer()
        assert deframer.receive(frame(b"a") + b"\0\0\0") == [b"a"]
        assert deframer.buffered == 3

    def test_longest(self) -> None:
        """A length that 32 bits do not say cannot be framed."""

        class Huge(bytes):
            def __len__(self) -> int:
                return LONGEST + 1

        with pytest.raises(ValueError):
            frame(Huge())


class TestHeaders:
    """What the headers say."""

    @pytest.mark.parametrize(
        ("seconds", "value"),
        [
            (0.2, b"200m"),
            (0.0001, b"1m"),
            (99_999.999, b"99999999m"),
            (100_000, b"100000S"),
            (100_000_000, b"1666666M"),
            (6e9, b"1666666H"),
            (1e15, b"99999999H"),
        ],
    )
    def test_timeout(self, seconds: float, value: bytes) -> None:
        """Times are in the smallest unit that has digits enough, as in Envoy."""
        assert encode_timeout(seconds) == value

    def test_timeout_units(self) -> None:
        """All units are read."""
        assert [decode_timeout(b"2" + unit) for unit in (b"H", b"M", b"S")] == [7200, 120, 2]
        assert decode_timeout(b"3m") == decode_timeout(b"3000u") == decode_timeout(b"3000000n")
        for wrong in (b"", b"1", b"s1", b"1s", b"-1S", b"123456789S"):
            with pytest.raises(ProtocolError):
                decode_timeout(wrong)

    def test_status(self) -> None:
        """A status is a number; what is none, or not known, is UNKNOWN."""
        assert decode_status(b"0") is Status.OK
        assert decode_status(b"16") is Status.UNAUTHENTICATED
        for wrong in (b"", b"17", b"-1", b"x", b"\xd9\xa3"):
            assert decode_status(wrong) is Status.UNKNOWN

    def test_message(self) -> None:
        """A text is percent-encoded UTF-8."""
        assert decode_message(b"gr%C3%BC%C3%9Fe 100%25 %zz%") == "gr\u00fc\u00dfe 100% %zz%"
        assert decode_message(b"%FF") == "\ufffd"

    def test_http(self) -> None:
        """Without a status the HTTP status tells, as gRPC's document has it."""
        assert status_of_http(401) is Status.UNAUTHENTICATED
        assert status_of_http(404) is Status.UNIMPLEMENTED
        assert {status_of_http(code) for code in (429, 502, 503, 504)} == {Status.UNAVAILABLE}
        assert {status_of_http(code) for code in (200, 302, 500)} == {Status.UNKNOWN}

    def test_reset(self) -> None:
        """So does the error of a stream that was reset."""
        assert status_of_reset(7) is Status.UNAVAILABLE
        assert status_of_reset(8) is Status.CANCELLED
        assert status_of_reset(11) is Status.RESOURCE_EXHAUSTED
        assert status_of_reset(12) is Status.PERMISSION_DENIED
        assert {status_of_reset(code) for code in (0, 1, 2, 99)} == {Status.INTERNAL}
