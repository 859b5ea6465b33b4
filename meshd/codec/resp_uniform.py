"""
Pipelines whose commands look alike, and their replies, taken apart all at once.

What is done here for many commands by a few calls into C costs a fifth of doing
it one by one.  Whatever does not fit is None, and is for resp and resp_reply.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

_NULL = b"$-1"
_NULL_LINE = b"$-1\r\n"

_SIZES = {b"$%d" % size: size for size in range(1025)}
#: The number in the first line of a short string ($12), by that line; None for all others.
line_size = _SIZES.get
#: The same for replies, where null is a string too: see _lines.
_size = {_NULL: 0, **_SIZES}.get

#: By the first line of a command, how many lines it has.
_WIDTHS = {b"*%d" % count: 2 * count + 1 for count in range(2, 65)}


def bulk(argument: bytes) -> bytes:
    """Return what follows the $ that argument begins with as a bulk string."""
    return b"%d\r\n%b\r\n" % (len(argument), argument)


class Uniform:
    """
    Whole commands, all with the same number of arguments.

    columns[0] has the names, columns[1] the first arguments, and so on.
    """

    __slots__ = ("_lines", "_width", "columns", "count", "data")

    def __init__(self, data: bytes, lines: list[bytes], width: int, columns: list[list[bytes]]) -> None:
        self.data = data
        self._lines = lines
        self._width = width
        self.columns = columns
        self.count = len(columns[0])

    @property
    def head(self) -> bytes:
        """The first line, which all commands have."""
        return self._lines[0] + b"\r\n"

    @property
    def pieces(self) -> list[bytes]:
        """The commands, each without the head."""
        pieces = self.data.split(self.head)
        if len(pieces) == self.count + 1:
            return pieces[1:]
        # There is an argument that ends like the head.
        lines, width = self._lines, self._width
        starts = range(0, len(lines), width)
        return [b"\r\n".join(lines[start + 1 : start + width]) + b"\r\n" for start in starts]

    def arguments(self) -> list[bytes]:
        """Return all arguments but the names, those of the first command first."""
        return list(chain.from_iterable(zip(*self.columns[1:])))  # noqa: B905 - they are as many

    def bulks(self) -> list[bytes]:
        """Return for each of arguments() what follows the $ that it begins with as a bulk string."""
        data, lines = self.data, self._lines
        head = b"\r\n".join(lines[:3]) + b"\r\n"
        if data.count(b"$") == self.count * len(self.columns) and data.count(head) == self.count:
            return data.replace(head, b"").split(b"$")[1:]
        # There is a $ in an argument, or names differ, or an argument ends as a command begins.
        return list(map(bulk, self.arguments()))


def uniform(data: bytes) -> Uniform | None:
    """Return what data consists of, if it is commands that look alike, with short arguments without CRLF."""
    lines = data.split(b"\r\n")
    width = _WIDTHS.get(lines[0])
    if lines.pop() or width is None or len(lines) % width:
        return None
    heads = lines[::width]
    if heads.count(heads[0]) != len(heads):
        return None
    columns = []
    for index in range(2, width, 2):
        column = lines[index::width]
        if not _fits(lines[index - 1 :: width], column, line_size):
            return None
        columns.append(column)
    return Uniform(data, lines, width, columns)


def _fits(heads: list[bytes], column: list[bytes], size_of: Callable[[bytes], int | None]) -> bool:
    """Whether lines have the lengths that they should have: then they end where their strings do."""
    first = heads[0]
    if heads.count(first) == len(heads):  # so it is with names, and often with keys
        return set(map(len, column)) == {size_of(first)}
    return list(map(size_of, heads)) == list(map(len, column))


# Replies.


def _lines(data: bytes) -> list[bytes]:
    """
    Return the lines of data; the last is what follows the last CRLF.

    After null there is an empty one, so that it is a string like others.  So there
    is after any line that ends in $-1: then what follows does not fit.
    """
    if _NULL_LINE in data:
        data = data.replace(_NULL_LINE, _NULL_LINE + b"\r\n")
    return data.split(b"\r\n")


def count_replies(data: bytes) -> int | None:
    """
    Return how many replies data is, if they are whole and look alike.

    They are strings and nulls, or arrays of such, or all +OK.
    """
    return _count(_lines(data))


def _count(lines: list[bytes]) -> int | None:
    """Do so for their lines, the last of which is dropped."""
    if lines.pop() or not lines:
        return None
    first = lines[0][:1]
    if first == b"+":
        return len(lines) if lines.count(lines[0]) == len(lines) else None
    if first == b"*":
        return _count_arrays(lines)
    if first != b"$" or len(lines) % 2 or not _fits(lines[::2], lines[1::2], _size):
        return None
    return len(lines) // 2


def _count_arrays(lines: list[bytes]) -> int | None:
    index = count = 0
    while index < len(lines):
        after = _array_end(lines, index + 1, _COUNTS.get(lines[index]))
        if after is None:
            return None
        index = after
        count += 1
    return count


#: How replies that are one line begin.
_SIMPLE = frozenset((b"+", b":", b"-", b"_", b"#", b",", b"("))

#: The number of elements in the first line of a short array (*10), by that line.
_COUNTS = {b"*%d" % count: count for count in range(1025)}


def split_short(data: bytes) -> list[bytes | list[bytes]] | None:
    """
    Return the replies that data consists of, if all are lines, short strings, or arrays of short strings.

    A string in them must have no CRLF.  An array is a list of its lines, two for each
    element, that after null empty: see joined.
    """
    lines = _lines(data)
    if lines.pop():
        return None
    replies: list[bytes | list[bytes]] = []
    index, end = 0, len(lines)
    while index < end:
        line = lines[index]
        index += 1
        size = _size(line)
        if size is not None:
            if index == end or len(lines[index]) != size:
                return None
            replies.append(_NULL_LINE if line == _NULL else b"%b\r\n%b\r\n" % (line, lines[index]))
            index += 1
        elif line[:1] in _SIMPLE:
            replies.append(line + b"\r\n")
        else:
            after = _array_end(lines, index, _COUNTS.get(line))
            if after is None:
                return None
            replies.append(lines[index - 1 : after])
            index = after
    return replies


def pairs(array: list[bytes]) -> list[tuple[bytes, ...]]:
    """Return the lines of each element of an array of split_short: two, or one for null."""
    found = zip(array[1::2], array[2::2])  # noqa: B905 - they come in pairs
    return list(found) if _NULL not in array else [pair[:1] if pair[0] == _NULL else pair for pair in found]


def joined(reply: bytes | list[bytes]) -> bytes:
    """Return the bytes of a reply of split_short."""
    if isinstance(reply, bytes):
        return reply
    lines = reply if _NULL not in reply else [reply[0], *chain.from_iterable(pairs(reply))]
    return b"\r\n".join(lines) + b"\r\n"


def _array_end(lines: list[bytes], start: int, count: int | None) -> int | None:
    """Return the end of an array of count strings or nulls that begin at start; None if it is none."""
    if count is None:
        return None
    end = start + 2 * count
    own = lines[start:end]
    return end if len(own) == 2 * count and (not own or _fits(own[::2], own[1::2], _size)) else None


def split_replies(data: bytes) -> list[bytes] | None:
    """Return the replies that data consists of, under the same condition."""
    lines = _lines(data)
    count = _count(lines)
    if count is None:
        return None
    if lines[0][:1] == b"+":
        return [lines[0] + b"\r\n"] * count
    if lines[0][:1] == b"*":
        return list(map(joined, split_short(data) or ()))
    each = zip(lines[::2], lines[1::2])  # noqa: B905 - they come in pairs
    if _NULL not in lines:
        return [b"%b\r\n%b\r\n" % pair for pair in each]
    return [_NULL_LINE if pair[0] == _NULL else b"%b\r\n%b\r\n" % pair for pair in each]
