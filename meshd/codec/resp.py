"""
RESP requests: what a Redis client sends, and where the bytes of each command lie.

A request is an array of bulk strings, or a line of words (an inline command:
the Redis protocol specification, "Inline commands").  Empty ones are passed over,
as Redis does: redis-cli --pipe sends some.  Nothing here depends on how the bytes
were cut.  RESP replies are in resp_reply.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

#: An array that begins with two bulk strings, the first of them a word: nearly every command.
_HEAD = re.compile(rb"\*([1-9]\d{0,5})\r\n\$([1-9]\d?)\r\n([A-Za-z.]+)\r\n\$(\d{1,9})\r\n").match
_BULK = re.compile(rb"\r\n\$(\d{1,9})\r\n").match

_STAR, _DOLLAR, _CR, _LF = b"*$\r\n"

#: Bytes of a line that holds a type and a number.
_NUMBER_LINE = 32

#: What begins an inline command, as in Envoy: letters, digits, white space.
_INLINE = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 \t\v\f\r\n")

#: Elements per unit of the length of RESP's aggregate types.
_AGGREGATES = {ord("*"): 1, ord("~"): 1, ord(">"): 1, ord("%"): 2}
_LINES = frozenset(b"+-:_#,(")
_BLOBS = frozenset(b"$!=")


class ProtocolError(Exception):
    """Bytes that are not RESP, or beyond a limit; the text is Redis's."""


class Limits(NamedTuple):
    """What a client may send; the defaults are Redis's."""

    #: Bytes of one argument.
    bulk: int = 512 * 1024 * 1024
    #: Arguments of one command.
    arguments: int = 1024 * 1024
    #: Bytes of an inline command.
    inline: int = 64 * 1024
    #: Bytes of a whole command.
    request: int = 1024 * 1024 * 1024


#: One command: its arguments, and its bytes as an array of bulk strings (those that came, or for an inline
#: command an equivalent).  There are no arguments if it is a value that is no command: a number, a map,
#: an array with anything but strings.
Request = tuple[list[bytes], bytes]


def encode(arguments: Sequence[bytes]) -> bytes:
    """Return a command as an array of bulk strings."""
    parts = [b"*%d\r\n" % len(arguments)]
    for each in arguments:
        parts.append(b"$%d\r\n%b\r\n" % (len(each), each))
    return b"".join(parts)


class RequestParser:
    """Finds the commands in what a client sends."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        #: What is wrong with what came after the commands that were returned.
        self.error: ProtocolError | None = None
        self._chunks: list[bytes] = []
        #: Bytes of a command that is not complete.
        self.buffered = 0
        #: Bytes without which there is nothing to be found out.
        self._need = 0
        self._restart()

    def _restart(self) -> None:
        self._position = 0  # within a command that is not complete
        self._missing = 0  # elements
        self._arguments: list[bytes] = []
        self._valid = True
        self._skipped = False

    def receive(self, data: bytes) -> list[Request]:
        """
        Return the commands that are complete now.

        Raise ProtocolError; if there are commands before what is wrong, they are
        returned, and error is what the next call raises.
        """
        found: list[Request] = []
        try:
            if self.error is not None:
                raise self.error
            self._receive(data, found)
        except ProtocolError as error:
            self.error = error
            if not found:
                raise
        return found

    def _receive(self, data: bytes, found: list[Request]) -> None:
        if self._chunks:
            self._chunks.append(data)
            self.buffered += len(data)
            if self.buffered < self._need:
                return
            data = b"".join(self._chunks)
            self._chunks.clear()
        start, end, bulk_limit = 0, len(data), self._limits.bulk
        while start < end:
            if not self._missing:
                head = _HEAD(data, start)
                if head is not None:
                    count, name_size, name, size = head.groups()
                    begin = head.end()
                    stop = begin + int(size)
                    if int(name_size) == len(name) and stop < end and stop - begin <= bulk_limit:
                        arguments = [name, data[begin:stop]]
                        more = int(count) - 2
                        while more > 0:
                            bulk = _BULK(data, stop)
                            if bulk is None:
                                break
                            begin = bulk.end()
                            stop = begin + int(bulk[1])
                            if stop >= end or stop - begin > bulk_limit:
                                break
                            arguments.append(data[begin:stop])
                            more -= 1
                        stop += 2
                        if not more and data[stop - 2 : stop] == b"\r\n":
                            found.append((arguments, data[start:stop]))
                            start = stop
                            continue
            after = self._step(data, start, found)
            if after is None:
                self._keep(data[start:] if start else data)
                return
            start = after
        self.buffered = self._need = 0

    def _keep(self, rest: bytes) -> None:
        self._chunks = [rest]
        self.buffered = len(rest)
        if max(self.buffered, self._need) > self._limits.request:
            raise ProtocolError("too big request")

    def _step(self, data: bytes, start: int, found: list[Request]) -> int | None:
        """Go on with the value at start: its end, or None if it is not complete."""
        self._need = 0
        if not self._missing:
            if data[start] in _INLINE:
                return self._inline(data, start, found)
            self._missing = 1
            self._valid = False  # unless an array says otherwise
        position = start + self._position
        first = not self._position
        while self._missing:
            after = self._element(data, position, first, start)
            if after is None:
                self._position = position - start
                return None
            position, first = after, False
        arguments, skipped = self._arguments if self._valid else [], self._skipped
        self._restart()
        if not skipped:
            found.append((arguments, data[start:position]))
        return position

    def _element(self, data: bytes, position: int, first: bool, start: int) -> int | None:
        """Take one value's head, or a whole string; None if it is not all there."""
        line = self._line(data, position)
        if line is None:
            return None
        kind = data[position]
        if kind in _LINES:
            self._valid = False
            self._missing -= 1
            return line
        number = self._number(data, position, line, kind)
        if first and kind == _STAR and number <= 0:
            self._skipped = True
            self._missing = 0
            return line
        if kind in _BLOBS:
            return self._blob(data, line, number, kind, start)
        self._valid = first and kind == _STAR and number > 0
        self._missing += max(number, 0) * _AGGREGATES[kind] - 1
        if self._missing > self._limits.arguments:
            raise ProtocolError("invalid multibulk length")
        return line

    def _line(self, data: bytes, position: int) -> int | None:
        """Return where the next line begins, None if this one has no end yet."""
        if position >= len(data):
            return None
        kind = data[position]
        limit = self._limits.inline if kind in _LINES else _NUMBER_LINE
        if kind not in _LINES and kind not in _BLOBS and kind not in _AGGREGATES:
            raise ProtocolError(f"expected '$', got '{chr(kind)}'")
        end = data.find(b"\r\n", position, position + limit)
        if end < 0:
            if len(data) - position >= limit:
                raise ProtocolError("too big mbulk count string")
            return None
        return end + 2

    def _number(self, data: bytes, position: int, line: int, kind: int) -> int:
        text = data[position + 1 : line - 2]
        digits = text[1:] if text[:1] == b"-" else text
        if not digits.isdigit() or len(digits) > 18:
            raise ProtocolError("invalid bulk length" if kind in _BLOBS else "invalid multibulk length")
        return int(text)

    def _blob(self, data: bytes, line: int, size: int, kind: int, start: int) -> int | None:
        if size < 0:
            if size != -1:
                raise ProtocolError("invalid bulk length")
            self._valid = False
            self._missing -= 1
            return line
        if size > self._limits.bulk:
            raise ProtocolError("invalid bulk length")
        stop = line + size
        if stop + 2 > len(data):
            self._need = stop + 2 - start
            return None
        if data[stop] != _CR or data[stop + 1] != _LF:
            raise ProtocolError("invalid bulk length")
        if kind == _DOLLAR:
            self._arguments.append(data[line:stop])
        else:
            self._valid = False
        self._missing -= 1
        return stop + 2

    def _inline(self, data: bytes, start: int, found: list[Request]) -> int | None:
        end = data.find(b"\n", start, start + self._limits.inline)
        if end < 0:
            if len(data) - start >= self._limits.inline:
                raise ProtocolError("too big inline request")
            return None
        arguments = split_words(data[start:end].removesuffix(b"\r"))
        if arguments:
            found.append((arguments, encode(arguments)))
        return end + 1


_ESCAPES = {ord("n"): b"\n", ord("r"): b"\r", ord("t"): b"\t", ord("b"): b"\b", ord("a"): b"\a"}
_SPACE = b" \t\v\f\r\n\0"
_WORD = re.compile(
    rb"""(?P<space>[ \t\v\f\r\n\0]+)|"(?P<double>(?:[^"\\]|\\.)*)"(?![^ \t\v\f\r\n\0])"""
    rb"""|'(?P<single>(?:[^'\\]|\\.)*)'(?![^ \t\v\f\r\n\0])|(?P<plain>[^ \t\v\f\r\n\0"']+)""",
    re.DOTALL,
)
_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)


def split_words(line: bytes) -> list[bytes]:
    r"""
    Return the words of an inline command; raise ProtocolError for quotes without an end.

    As Redis's sdssplitargs: "..." with escapes, '...' with \' only, and a quote may
    follow other letters of its word.
    """
    words: list[bytes] = []
    joined = False  # to the word before
    position = 0
    while position < len(line):
        match = _WORD.match(line, position)
        if match is None:
            raise ProtocolError("unbalanced quotes in request")
        position = match.end()
        kind = match.lastgroup
        if kind == "space":
            joined = False
            continue
        text = match[kind]  # type: ignore[index]
        if kind == "double":
            text = _ESCAPE.sub(_unescape, text)
        elif kind == "single":
            text = text.replace(b"\\'", b"'")
        if joined:
            words[-1] += text
        else:
            words.append(text)
        joined = True
    return words


def _unescape(match: re.Match[bytes]) -> bytes:
    if match[1]:
        return bytes([int(match[1], 16)])
    return _ESCAPES.get(match[2][0], match[2])
