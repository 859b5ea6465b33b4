"""
RESP replies: what a Redis server sends, whole or as values.

ReplySplitter finds where each reply ends and gives its bytes, so that they can
be passed on unread.  decode and encode are for those few replies that are put
together from several.  RESP2 and RESP3 (the Redis protocol specification).
"""

from __future__ import annotations

from typing import Any

from meshd.codec.resp import ProtocolError

_LINES = frozenset(b"+-:_#,(")
_BLOBS = frozenset(b"$!=")
_AGGREGATES = {ord("*"): 1, ord("~"): 1, ord(">"): 1, ord("%"): 2, ord("|"): 2}
_ATTRIBUTE = ord("|")
_ANY = bytes(_LINES | _BLOBS | _AGGREGATES.keys())

#: How many bytes follow the first line of a string of up to a kilobyte, or of null, by that line.
_rest = {b"$-1": 0, **{b"$%d" % size: size + 2 for size in range(1025)}}.get

#: Bytes of a line: of a simple string or an error.
LINE_LIMIT = 64 * 1024


class Error(Exception):
    """An error reply; the text is without the leading minus."""

    def __init__(self, text: bytes) -> None:
        super().__init__(text)
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Error) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)


class Simple(bytes):
    """A simple string: +OK."""


class Push(list[Any]):
    """What the server sends by itself (RESP3)."""


class Verbatim(bytes):
    """A text with its format in front: txt:..."""


class BigNumber(int):
    """A number beyond 64 bits."""


class Map(list[tuple[Any, Any]]):
    """The pairs of a map, in order; the keys need not be hashable."""


class Set(list[Any]):
    """A set, in the order in which it came."""


class ReplySplitter:
    """
    Cuts what a server sends into replies.

    limit is the most bytes that one reply may have.
    """

    def __init__(self, limit: int = 1 << 30) -> None:
        self._limit = limit
        self._chunks: list[bytes] = []
        #: Bytes of a reply that is not complete.
        self.buffered = 0
        self._need = 0
        self._position = 0
        self._missing = 0

    def receive(self, data: bytes) -> list[bytes]:
        """Return the replies that are complete now; raise ProtocolError."""
        if self._chunks:
            self._chunks.append(data)
            self.buffered += len(data)
            if self.buffered < self._need:
                return []
            data = b"".join(self._chunks)
            self._chunks.clear()
        replies: list[bytes] = []
        start, end = 0, len(data)
        position, self._need = self._position, 0
        while start < end:
            if not self._missing:
                after = _simple_end(data, start)
                if after:
                    replies.append(data[start:after])
                    start = position = after
                    continue
                self._missing = 1
            position = self._end_of(data, start, position, end)
            if self._missing:
                break
            replies.append(data[start:position])
            start = position
        self._position = position - start
        self._keep(data, start, position)
        return replies

    def _end_of(self, data: bytes, start: int, position: int, end: int) -> int:
        """Go on from position with the reply that begins at start; self._missing is 0 if it is complete."""
        find, missing = data.find, self._missing
        while missing:
            stop = find(b"\r\n", position)
            if stop < 0:
                break
            kind = data[position]
            if kind in _BLOBS:
                size = _number(data[position + 1 : stop])
                if size >= 0:
                    after = stop + size + 4
                    if after > end:
                        self._need = after - start
                        break
                    if data[after - 2 : after] != b"\r\n":
                        raise ProtocolError("a string is longer than it says")
                    stop = after - 2
                missing -= 1
            elif kind in _LINES:
                missing -= 1
            elif kind in _AGGREGATES:
                size = _number(data[position + 1 : stop])
                missing += max(0, size) * _AGGREGATES[kind] - (kind != _ATTRIBUTE)
            else:
                raise ProtocolError(f"no type of RESP begins with {data[position : position + 1]!r}")
            position = stop + 2
        self._missing = missing
        return position

    def _keep(self, data: bytes, start: int, position: int) -> None:
        """Keep a reply that is not complete."""
        self.buffered = have = len(data) - start
        if not have:
            return
        if position < len(data) and data[position] not in _ANY:
            raise ProtocolError(f"no type of RESP begins with {data[position : position + 1]!r}")
        if not self._need and len(data) - position > LINE_LIMIT:
            raise ProtocolError("a line is too long")
        if max(have, self._need) > self._limit:
            raise ProtocolError("a reply is too long")
        self._chunks = [data[start:] if start else data]


def _simple_end(data: bytes, start: int) -> int:
    """Return the end of the reply at start, 0 unless it is a line or a short string, and whole."""
    stop = data.find(b"\r\n", start)
    if stop < 0:
        return 0
    if data[start] in _LINES:
        return stop + 2
    rest = _rest(data[start:stop])
    if rest is None:
        return 0
    after = stop + 2 + rest
    return after if data[after - 2 : after] == b"\r\n" else 0


def _number(text: bytes) -> int:
    digits = text[1:] if text[:1] == b"-" else text
    if not digits.isdigit() or len(digits) > 18:
        raise ProtocolError(f"{text[:20]!r} is no length")
    return int(text)


def decode(raw: bytes) -> Any:
    """
    Return the value of one whole reply; raise ProtocolError.

    Bulk strings are bytes, simple ones Simple, errors Error (returned, not raised), null None,
    arrays lists, and so on.  Attributes are left out.
    """
    value, end = _value(raw, 0, 0)
    if end != len(raw):
        raise ProtocolError("there is more than one reply")
    return value


#: How deep aggregates may lie in each other.
DEPTH = 32


def _value(raw: bytes, position: int, depth: int) -> tuple[Any, int]:
    stop = raw.find(b"\r\n", position)
    if stop < 0 or depth > DEPTH:
        raise ProtocolError("a reply is not complete, or too deep")
    kind, text = raw[position : position + 1], raw[position + 1 : stop]
    if kind in (b"$", b"!", b"="):
        size = _number(text)
        if size < 0:
            return None, stop + 2
        end = stop + 2 + size
        if raw[end : end + 2] != b"\r\n":
            raise ProtocolError("a string is longer than it says")
        return {b"$": bytes, b"!": Error, b"=": Verbatim}[kind](raw[stop + 2 : end]), end + 2
    if kind and kind[0] in _AGGREGATES:
        return _aggregate(raw, kind, _number(text), stop + 2, depth + 1)
    return _scalar(kind, text), stop + 2


def _aggregate(raw: bytes, kind: bytes, size: int, position: int, depth: int) -> tuple[Any, int]:
    if size < 0:
        return None, position
    items = []
    for _ in range(size * _AGGREGATES[kind[0]]):
        item, position = _value(raw, position, depth)
        items.append(item)
    if kind == b"|":
        return _value(raw, position, depth)
    if kind == b"%":
        return Map(zip(items[::2], items[1::2], strict=True)), position
    return (Set(items) if kind == b"~" else Push(items) if kind == b">" else items), position


def _scalar(kind: bytes, text: bytes) -> Any:
    try:
        if kind == b"+":
            return Simple(text)
        if kind == b"-":
            return Error(text)
        if kind == b":":
            return int(text)
        if kind == b"_":
            return None
        if kind == b"#":
            return {b"t": True, b"f": False}[text]
        if kind == b",":
            return float(text)
        if kind == b"(":
            return BigNumber(text)
    except (ValueError, KeyError):
        raise ProtocolError(f"{text[:20]!r} is no {kind!r}") from None
    raise ProtocolError(f"no type of RESP begins with {kind!r}")


def encode(value: Any, protocol: int = 2) -> bytes:
    """Return a value as a reply, in RESP2 or RESP3; what RESP2 lacks becomes what Redis makes of it."""
    if value is None:
        return b"_\r\n" if protocol == 3 else b"$-1\r\n"
    if isinstance(value, bytes):
        if isinstance(value, Simple):
            return b"+%b\r\n" % value
        if isinstance(value, Verbatim):
            return b"=%d\r\n%b\r\n" % (len(value), value) if protocol == 3 else encode(bytes(value[4:]))
        return b"$%d\r\n%b\r\n" % (len(value), value)
    if isinstance(value, Error):
        if b"\r" in value.text or b"\n" in value.text:
            return b"!%d\r\n%b\r\n" % (len(value.text), value.text)
        return b"-%b\r\n" % value.text
    if isinstance(value, bool):
        return (b"#t\r\n" if value else b"#f\r\n") if protocol == 3 else (b":%d\r\n" % value)
    if isinstance(value, BigNumber):
        return b"(%d\r\n" % value if protocol == 3 else encode(b"%d" % value)
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, float):
        text = _float(value)
        return b",%b\r\n" % text if protocol == 3 else encode(text)
    return _encode_aggregate(value, protocol)


def _float(value: float) -> bytes:
    if value != value or value in (float("inf"), float("-inf")):
        return b"nan" if value != value else b"inf" if value > 0 else b"-inf"
    return repr(value).removesuffix(".0").encode()


def _encode_aggregate(value: Any, protocol: int) -> bytes:
    if isinstance(value, Map):
        items = [item for pair in value for item in pair]
        head = b"%%%d\r\n" % len(value) if protocol == 3 else b"*%d\r\n" % len(items)
    else:
        items = value
        mark = b"*"
        if protocol == 3:
            mark = b">" if isinstance(value, Push) else b"~" if isinstance(value, Set) else b"*"
        head = b"%b%d\r\n" % (mark, len(items))
    return head + b"".join(encode(item, protocol) for item in items)
