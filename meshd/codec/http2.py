"""
The client's side of an HTTP/2 connection (RFC 9113): h2, and what h2 leaves to whoever uses it.

h2 knows frames, header compression and the states of streams.  Added here: what
the peer's windows do not take yet waits; what has come is credited at once; and a
GOAWAY lets the streams that the peer still answers go on (RFC 9113 section 6.8),
where h2 would take the connection for closed.

receive() returns events; what is to be sent, also because of what was received,
is what take() returns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import h2.events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import H2Error, NoAvailableStreamIDError
from h2.settings import SettingCodes, Settings

Pairs = Sequence[tuple[bytes, bytes]]

# Error codes of RFC 9113 section 7.
NO_ERROR, PROTOCOL_ERROR, REFUSED_STREAM, CANCEL = 0x0, 0x1, 0x7, 0x8

_HEAD = 9
_GOAWAY = 7
_LARGEST_WINDOW = 2**31 - 1
_DEFAULT_WINDOW = 65535
_PING = b"meshd..."


class ProtocolError(Exception):
    """The peer does not speak HTTP/2 rightly: the connection is over once what take() returns is sent."""


class Exhausted(Exception):
    """There can be no other stream on this connection: its numbers are used up, or the peer wants no more."""


@dataclass(frozen=True, slots=True)
class Options:
    """What we allow: streams at a time, and the windows (bytes) of a stream and of the connection."""

    max_streams: int = 2**31 - 1
    stream_window: int = 16 << 20
    connection_window: int = 24 << 20


@dataclass(frozen=True, slots=True)
class Headers:
    """The headers of an answer, or its trailers; ended says that nothing follows."""

    stream: int
    pairs: tuple[tuple[bytes, bytes], ...]
    ended: bool


@dataclass(frozen=True, slots=True)
class Data:
    """A part of an answer's body."""

    stream: int
    data: bytes
    ended: bool


@dataclass(frozen=True, slots=True)
class Reset:
    """The peer gave a stream up, with an error code."""

    stream: int
    code: int


@dataclass(frozen=True, slots=True)
class Leaving:
    """GOAWAY: the peer has not seen, and will not see, our streams above last; the others go on."""

    last: int
    code: int
    text: bytes = b""


@dataclass(frozen=True, slots=True)
class Room:
    """The peer may allow more streams than before."""


@dataclass(frozen=True, slots=True)
class Pong:
    """The peer has answered a ping."""


Event = Headers | Data | Reset | Leaving | Room | Pong


@dataclass(slots=True)
class _Waiting:
    """What a stream has for the peer that its windows do not take yet."""

    parts: deque[bytes] = field(default_factory=deque)
    ended: bool = False


class ClientConnection:
    """An HTTP/2 connection, as its client sees it, with prior knowledge that the peer speaks HTTP/2."""

    def __init__(self, options: Options = Options()) -> None:
        self._options = options
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        window = min(options.stream_window, _LARGEST_WINDOW)
        self._h2.local_settings = Settings(
            client=True,
            initial_values={
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.INITIAL_WINDOW_SIZE: window,
                SettingCodes.MAX_HEADER_LIST_SIZE: self._h2.DEFAULT_MAX_HEADER_LIST_SIZE,
            },
        )
        self._h2.initiate_connection()
        if options.connection_window > _DEFAULT_WINDOW:
            self._h2.increment_flow_control_window(options.connection_window - _DEFAULT_WINDOW)
        self._buffer = bytearray()
        self._waiting: dict[int, _Waiting] = {}
        #: Whether the peer has said that it takes no more streams.
        self.leaving = False
        self.failed = False

    # Sending.

    def take(self) -> bytes:
        """Return what is to be sent now; it is returned once."""
        return self._h2.data_to_send()

    @property
    def room(self) -> int:
        """How many more streams may be opened now."""
        if self.leaving or self.failed:
            return 0
        limit = min(self._options.max_streams, self._h2.remote_settings.max_concurrent_streams)
        return max(0, limit - self._h2.open_outbound_streams)

    def open(self, headers: Iterable[tuple[bytes, bytes]], ended: bool = False) -> int:
        """Open a stream with these headers; return its number.  Raise Exhausted if there can be no other."""
        if self.leaving or self.failed:
            raise Exhausted
        try:
            stream = self._h2.get_next_available_stream_id()
        except NoAvailableStreamIDError:
            self.leaving = True
            raise Exhausted from None
        self._h2.send_headers(stream, list(headers), end_stream=ended)
        return stream

    def send(self, stream: int, data: bytes, ended: bool = False) -> None:
        """Send data on a stream that is open, as soon as its windows take it."""
        waiting = self._waiting.setdefault(stream, _Waiting())
        if data:
            waiting.parts.append(data)
        waiting.ended = ended
        self._pump(stream)

    def unsent(self, stream: int) -> int:
        """Return how many bytes of a stream wait for the peer to take more."""
        waiting = self._waiting.get(stream)
        return sum(map(len, waiting.parts)) if waiting is not None else 0

    def reset(self, stream: int, code: int = CANCEL) -> None:
        """Give a stream up; nothing if it is over."""
        self._waiting.pop(stream, None)
        try:
            self._h2.reset_stream(stream, code)
        except H2Error:
            pass  # it ended by itself in the meantime

    def ping(self) -> None:
        """Ask whether the peer is there."""
        if not self.failed:
            self._h2.ping(_PING)

    def close(self) -> None:
        """Say that we are leaving, too."""
        if not self.failed:
            self.failed = True
            self._h2.close_connection()

    def _pump(self, stream: int) -> None:
        """Send what the windows take of what a stream has."""
        connection, waiting = self._h2, self._waiting[stream]
        parts = waiting.parts
        while parts:
            room = min(connection.local_flow_control_window(stream), connection.max_outbound_frame_size)
            if room <= 0:
                return
            part = parts.popleft()
            if len(part) > room:
                parts.appendleft(part[room:])
                part = part[:room]
            connection.send_data(stream, part, end_stream=waiting.ended and not parts)
            if not parts and waiting.ended:
                del self._waiting[stream]
                return
        del self._waiting[stream]
        if waiting.ended:
            connection.end_stream(stream)

    # Receiving.

    def receive(self, data: bytes) -> list[Event]:
        """Return what data says.  Raise ProtocolError; then nothing else is of use but take()."""
        events: list[Event] = []
        try:
            for part in self._parts(data):
                if isinstance(part, Leaving):
                    self.leaving = True
                    events.append(part)
                    continue
                for event in self._h2.receive_data(part):
                    self._translate(event, events)
        except H2Error as error:
            self.failed = True
            raise ProtocolError(str(error) or type(error).__name__) from None
        except ProtocolError:
            self.close()
            raise
        return events

    def _parts(self, data: bytes) -> Iterator[bytes | Leaving]:
        """Yield what has come in whole frames, and each GOAWAY, which h2 is not to see."""
        buffer = self._buffer
        buffer += data
        start = at = 0
        while len(buffer) - at >= _HEAD:
            size = int.from_bytes(buffer[at : at + 3], "big")
            if size > self._h2.max_inbound_frame_size:
                raise ProtocolError(f"a frame of {size} bytes is too long")
            end = at + _HEAD + size
            if len(buffer) < end:
                break
            if buffer[at + 3] == _GOAWAY:
                if at > start:
                    yield bytes(buffer[start:at])
                yield _read_goaway(bytes(buffer[at:end]))
                start = end
            at = end
        if at > start:
            yield bytes(buffer[start:at])
        del buffer[:at]

    def _translate(self, event: h2.events.Event, events: list[Event]) -> None:
        if isinstance(event, h2.events.DataReceived):
            size = event.flow_controlled_length or 0
            self._h2.acknowledge_received_data(size, event.stream_id)
            events.append(Data(event.stream_id, event.data or b"", event.stream_ended is not None))
        elif isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
            pairs = tuple((bytes(name), bytes(value)) for name, value in event.headers or ())
            events.append(Headers(event.stream_id, pairs, event.stream_ended is not None))
        elif isinstance(event, h2.events.StreamReset):
            self._waiting.pop(event.stream_id, None)
            events.append(Reset(event.stream_id, int(event.error_code or 0)))
        elif isinstance(event, h2.events.WindowUpdated):
            self._resume(event.stream_id)
        elif isinstance(event, h2.events.PingAckReceived):
            events.append(Pong())
        elif isinstance(event, h2.events.RemoteSettingsChanged):
            self._resume(0)
            events.append(Room())

    def _resume(self, stream: int) -> None:
        """Go on with what waited for the windows of a stream, or (0) of all."""
        for each in [stream] if stream else list(self._waiting):
            if each in self._waiting:
                self._pump(each)


def _read_goaway(frame: bytes) -> Leaving:
    """Read a GOAWAY frame (RFC 9113 section 6.8).  Raise ProtocolError."""
    if len(frame) < _HEAD + 8 or frame[5:9] != b"\0\0\0\0":
        raise ProtocolError("a GOAWAY is malformed")
    last = int.from_bytes(frame[_HEAD : _HEAD + 4], "big") & 0x7FFFFFFF
    code = int.from_bytes(frame[_HEAD + 4 : _HEAD + 8], "big")
    return Leaving(last, code, frame[_HEAD + 8 :])
