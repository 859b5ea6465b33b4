"""
The syntax of a stunnel.conf: lines, sections, comments, include.

A line is blank, a comment (; or #), [section], or option = value.  Nothing is
quoted or continued; a comment has its own line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

#: What stands before the options, in comments, that stunnel has not.
EXTRA = "meshd:"
_BLANKS = " \t\n\v\f\r"


@attrs.frozen
class Failure(Exception):
    """What is wrong with a configuration, as the log is told; lines come before it."""

    text: str
    before: tuple[str, ...] = ()


@attrs.frozen
class Line:
    """One line that says something: kind is section, option, extra or broken."""

    path: str
    number: int
    text: str
    kind: str
    name: str
    value: str = ""

    def failure(self, message: str, before: tuple[str, ...] = ()) -> Failure:
        """Return the error that message is of this line."""
        return Failure(f'{self.path}:{self.number}: "{self.text}": {message}', before)


def lines(text: str, path: str) -> Iterator[Line]:
    """Yield the lines of a file's text that say something; "broken" is one without an equals sign."""
    for number, raw in enumerate(text.split("\n"), 1):
        raw = raw.removesuffix("\r")
        line = raw.strip(_BLANKS)
        if not line:
            continue
        if line[0] in ";#":
            if extra := _extra(line):
                yield Line(path, number, raw, "extra", *extra)
            continue
        if line[0] == "[" and line[-1] == "]":
            yield Line(path, number, raw, "section", line[1:-1])
            continue
        name, equals, value = line.partition("=")
        kind = "option" if equals else "broken"
        yield Line(path, number, raw, kind, name.rstrip(_BLANKS), value.lstrip(_BLANKS))


def _extra(line: str) -> tuple[str, str] | None:
    """Return name and value of ``; meshd: name = value``, None if it is another comment."""
    comment = line.lstrip(";#" + _BLANKS)
    if not comment.lower().startswith(EXTRA):
        return None
    name, _, value = comment[len(EXTRA) :].partition("=")
    return name.strip(_BLANKS), value.strip(_BLANKS)


def decode(data: bytes) -> tuple[str, bool]:
    """Return the text of a file's bytes, and whether it began with a byte order mark."""
    mark = data.startswith(b"\xef\xbb\xbf")
    return data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape"), mark


def included(line: Line, read: Callable[[str], bytes]) -> Iterator[tuple[str, str]]:
    """Yield path and text of the files in the directory that an include line names; raise Failure."""
    directory = Path(line.value)
    try:
        paths = sorted(directory.iterdir())
    except OSError as error:
        reason = f"scandir: {error.strerror} ({error.errno})"
        raise line.failure("Failed to include directory", (reason,)) from None
    for path in paths:
        if path.is_dir():
            continue
        try:
            text, _ = decode(read(str(path)))
        except OSError as error:
            reason = f"{path}: {error.strerror} ({error.errno})"
            raise line.failure("Failed to include a file", (reason,)) from None
        yield str(path), text
