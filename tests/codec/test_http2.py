"""Tests for meshd.codec.http2, with h2's server at the other end."""

from __future__ import annotations

from typing import Any

import h2.events
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes
from hypothesis import given
from hypothesis import strategies as st

from meshd.codec.http2 import (
    CANCEL,
    REFUSED_STREAM,
    ClientConnection,
    Data,
    Exhausted,
    Headers,
    Leaving,
    Options,
    Pong,
    ProtocolError,
    Reset,
    Room,
)
from meshd.testing import check_chunks, check_rubbish, split_anywhere

REQUEST = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a"), (b":authority", b"b")]
ANSWER = [(b":status", b"200"), (b"x-a", b"b")]


def goaway(last: int, code: int = 0, text: bytes = b"") -> bytes:
    """Return a GOAWAY frame."""
    body = last.to_bytes(4, "big") + code.to_bytes(4, "big") + text
    return len(body).to_bytes(3, "big") + b"\7\0\0\0\0\0" + body


class Ends:
    """A client and a server that hear of each other when pass_on() is called."""

    def __init__(self, options: Options | None = None, **settings: int) -> None:
        self.client = ClientConnection(options or Options())
        self.server = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self.server.initiate_connection()
        if settings:
            self.server.update_settings({SettingCodes[name]: value for name, value in settings.items()})
        self.pass_on()

    def pass_on(self) -> tuple[list[Any], list[Any]]:
        """Let both hear all; return what the client and the server have heard."""
        by_client: list[Any] = []
        by_server: list[Any] = []
        while True:
            up, down = self.client.take(), self.server.data_to_send()
            if not (up or down):
                return by_client, by_server
            by_server += self.server.receive_data(up)
            by_client += self.client.receive(down)

    def open(self, ended: bool = True) -> int:
        """Open a stream, and let the server hear of it."""
        stream = self.client.open(REQUEST, ended)
        self.pass_on()
        return stream

    def answered(self, *parts: bytes) -> bytes:
        """Return what the server sends to answer a new stream with these parts and trailers."""
        stream = self.open()
        self.server.send_headers(stream, ANSWER)
        for part in parts:
            self.server.send_data(stream, part)
        self.server.send_headers(stream, [(b"x-t", b"u")], end_stream=True)
        return self.server.data_to_send()


def primed() -> ClientConnection:
    """Return a client with a stream, whose server has sent its settings."""
    client = ClientConnection()
    client.receive(b"\0\0\0\4\0\0\0\0\0")
    client.open(REQUEST, ended=True)
    return client


PARTS = st.lists(st.binary(max_size=50), max_size=4)


class TestProperties:
    """What holds for any bytes."""

    @given(st.data(), PARTS, st.booleans())
    def test_chunks(self, data: st.DataObject, parts: list[bytes], leaves: bool) -> None:
        """However an answer is cut, it is the same answer."""
        wire = Ends().answered(*parts)
        if leaves:
            wire = goaway(1) + wire
        check_chunks(primed, data.draw(split_anywhere(wire)), ProtocolError)

    @given(PARTS, st.integers(0, 3))
    def test_round_trip(self, parts: list[bytes], ahead: int) -> None:
        """What is sent is what the server gets, and the other way round."""
        ends = Ends()
        for _ in range(ahead):
            ends.open()
        stream = ends.client.open(REQUEST)
        for part in parts:
            ends.client.send(stream, part)
        ends.client.send(stream, b"", ended=True)
        _, heard = ends.pass_on()
        got = b"".join(each.data for each in heard if isinstance(each, h2.events.DataReceived))
        assert got == b"".join(parts)
        assert any(isinstance(each, h2.events.StreamEnded) for each in heard)
        ends.server.send_headers(stream, ANSWER)
        for part in parts:
            ends.server.send_data(stream, part)
        ends.server.end_stream(stream)
        seen, _ = ends.pass_on()
        assert seen[0] == Headers(stream, tuple(ANSWER), False)
        assert b"".join(each.data for each in seen[1:]) == b"".join(parts)
        assert [each.ended for each in seen[1:]] == [False] * len(parts) + [True]

    @given(st.binary(max_size=200))
    def test_rubbish(self, data: bytes) -> None:
        """Rubbish is a ProtocolError, or events; afterwards nothing can be opened."""
        client = primed()
        try:
            client.receive(data)
        except ProtocolError:
            assert client.room == 0

    @given(st.integers(0, 12), st.integers(0, 255), st.integers(0, 5), st.binary(max_size=40))
    def test_rubbish_in_frames(self, kind: int, flags: int, stream: int, body: bytes) -> None:
        """So it is of whole frames of any kind with anything in them."""
        head = len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
        check_rubbish(primed().receive, head + body, ProtocolError)

    @given(st.data())
    def test_spoilt(self, data: st.DataObject) -> None:
        """So it is of an answer in which a byte was changed."""
        wire = bytearray(Ends().answered(b"abc"))
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
        check_rubbish(primed().receive, bytes(wire), ProtocolError)


class TestStreams:
    """Streams, one by one."""

    def test_answer(self) -> None:
        """Headers, data and trailers come as they were sent."""
        ends = Ends()
        wire = ends.answered(b"ab", b"")
        assert ends.client.receive(wire) == [
            Headers(1, tuple(ANSWER), False),
            Data(1, b"ab", False),
            Data(1, b"", False),
            Headers(1, ((b"x-t", b"u"),), True),
        ]

    def test_reset_by_server(self) -> None:
        """A stream that the server gives up is told with its code, also of an extension."""
        ends = Ends()
        stream = ends.open(ended=False)
        ends.server.reset_stream(stream, REFUSED_STREAM)
        assert ends.pass_on()[0] == [Reset(stream, REFUSED_STREAM)]

    def test_reset(self) -> None:
        """A stream of ours that we give up is over; what was on its way is not told, nor an error."""
        ends = Ends()
        stream = ends.open(ended=False)
        ends.server.send_headers(stream, ANSWER)
        ends.client.reset(stream)
        _, heard = ends.pass_on()
        assert [each.error_code for each in heard if isinstance(each, h2.events.StreamReset)] == [CANCEL]
        ends.client.reset(stream)
        ends.client.reset(99)
        assert ends.pass_on() == ([], [])

    def test_room(self) -> None:
        """There are as many streams as both sides allow, and more when the server allows more."""
        ends = Ends(MAX_CONCURRENT_STREAMS=2)
        assert ends.client.room == 2
        stream = ends.open()
        assert ends.client.room == 1
        ends.server.send_headers(stream, ANSWER, end_stream=True)
        ends.pass_on()
        assert ends.client.room == 2
        ends.server.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 5})
        assert ends.pass_on()[0] == [Room()]
        assert ends.client.room == 5
        assert Ends(Options(max_streams=3)).client.room == 3

    def test_ping(self) -> None:
        """A ping is answered."""
        ends = Ends()
        ends.server.ping(b"12345678")
        _, heard = ends.pass_on()
        assert any(isinstance(each, h2.events.PingAckReceived) for each in heard)
        ends.client.ping()
        assert ends.pass_on()[0] == [Pong()]
        ends.client.close()
        ends.client.ping()


class TestFlow:
    """Flow control."""

    def test_windows(self) -> None:
        """What the windows do not take waits, and goes in order once they do."""
        ends = Ends()
        stream = ends.open(ended=False)
        data = bytes(range(256)) * 1000
        ends.client.send(stream, data[:100_000])
        ends.client.send(stream, data[100_000:], ended=True)
        assert ends.client.unsent(stream) == len(data) - 65535
        heard = b""
        while not heard.endswith(data[-1:]) or len(heard) < len(data):
            for event in ends.server.receive_data(ends.client.take()):
                if isinstance(event, h2.events.DataReceived):
                    heard += event.data or b""
                    ends.server.acknowledge_received_data(event.flow_controlled_length or 0, stream)
            ends.client.receive(ends.server.data_to_send())
        assert heard == data
        assert ends.client.unsent(stream) == 0

    def test_larger_window(self) -> None:
        """A larger window of streams lets go what waits; a window may be less than nothing, too."""
        ends = Ends(INITIAL_WINDOW_SIZE=10)
        stream = ends.open(ended=False)
        ends.client.send(stream, b"x" * 30, ended=True)
        assert ends.client.unsent(stream) == 20
        for size, left in ((5, 20), (30, 0)):
            ends.server.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: size})
            ends.pass_on()
            assert ends.client.unsent(stream) == left

    def test_credit(self) -> None:
        """What has come is credited: a server may send more than the windows without end."""
        ends = Ends(Options(stream_window=1000, connection_window=65535))
        stream = ends.open()
        ends.server.send_headers(stream, ANSWER)
        for _ in range(200):
            ends.server.send_data(stream, b"x" * 1000)
            ends.pass_on()

    def test_waiting_is_forgotten(self) -> None:
        """What waits on a stream that was reset, by either side, is forgotten."""
        ends = Ends(INITIAL_WINDOW_SIZE=1)
        for by_server in (True, False):
            stream = ends.open(ended=False)
            ends.client.send(stream, b"xyz")
            if by_server:
                ends.pass_on()
                ends.server.reset_stream(stream)
            else:
                ends.client.reset(stream)
            ends.pass_on()
            assert ends.client.unsent(stream) == 0


class TestEnds:
    """How a connection ends."""

    def test_goaway(self) -> None:
        """A server that leaves still answers the streams that it names; others cannot be opened."""
        ends = Ends()
        stream = ends.open()
        assert ends.client.receive(goaway(stream, text=b"bye")) == [Leaving(stream, 0, b"bye")]
        assert ends.client.room == 0
        with pytest.raises(Exhausted):
            ends.client.open(REQUEST)
        ends.server.send_headers(stream, ANSWER, end_stream=True)
        assert ends.pass_on()[0] == [Headers(stream, tuple(ANSWER), True)]

    def test_in_order(self) -> None:
        """It is told where it stands among the frames."""
        ends = Ends()
        wire = goaway(9) + ends.answered(b"x") + goaway(1, 2)
        kinds = [type(event) for event in ends.client.receive(wire)]
        assert kinds == [Leaving, Headers, Data, Headers, Leaving]

    @pytest.mark.parametrize("wire", [b"\0\0\7\7\0\0\0\0\0" + bytes(7), goaway(0)[:8] + b"\1" + bytes(8)])
    def test_malformed(self, wire: bytes) -> None:
        """A GOAWAY that is too short, or of a stream, is an error, and the server is told so."""
        client = primed()
        client.take()
        with pytest.raises(ProtocolError):
            client.receive(wire)
        assert client.take()[3] == 7

    def test_http1(self) -> None:
        """An answer of HTTP/1 is an error as soon as its first bytes are there."""
        with pytest.raises(ProtocolError):
            primed().receive(b"HTTP/1.1 400 Bad Request\r\n")

    def test_too_long(self) -> None:
        """So is a frame that is longer than we allow, before it is there."""
        with pytest.raises(ProtocolError):
            primed().receive((16385).to_bytes(3, "big") + bytes(6))

    def test_numbers(self) -> None:
        """A connection whose numbers are used up is exhausted."""
        ends = Ends()
        ends.client._h2.highest_outbound_stream_id = 2**31 - 1
        with pytest.raises(Exhausted):
            ends.client.open(REQUEST)
        assert ends.client.room == 0

    def test_close(self) -> None:
        """We say when we leave, once."""
        ends = Ends()
        ends.client.close()
        ends.client.close()
        _, heard = ends.pass_on()
        assert [type(each) for each in heard] == [h2.events.ConnectionTerminated]
        with pytest.raises(Exhausted):
            ends.client.open(REQUEST)
