"""
The formats of access logs: ``%COMMAND(PARAMETER):LENGTH%`` in text, or in JSON.

A format is parsed once, at configure time, into texts and Commands; the commands
are compiled by meshd.observe.operators into functions that read a connection's
info, and what is the same for all connections is written down right then.  What
remains to do for each line is to fill a template.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from meshd.observe.operator import Operator
from meshd.observe.operators import compile_operator
from meshd.observe.values import json_text
from meshd.plugin import ConfigError

#: What Envoy logs unless told otherwise; TCP leaves most of it empty.
DEFAULT = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% '
    "%RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "
    '"%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" '
    '"%UPSTREAM_HOST%"\n'
)

#: Makes a line of the info of a connection.
Formatter = Callable[[Any], str]

# As Envoy's own: the parameter is as short as can be, and may hold what a command may not.
_COMMAND = re.compile(r"%([A-Z0-9_]+)(?:\((.*?)\))?(?::(\d+))?%")


@dataclass(frozen=True)
class Command:
    """One command of a format; parameter is None without parentheses, length None without a colon."""

    name: str
    parameter: str | None = None
    length: int | None = None

    def __str__(self) -> str:
        parameter = "" if self.parameter is None else f"({self.parameter})"
        length = "" if self.length is None else f":{self.length}"
        return f"%{self.name}{parameter}{length}%"


def parse(text: str) -> list[str | Command]:
    """Return the texts and commands of a format, in order; raise ConfigError in Envoy's words."""
    pieces: list[str | Command] = []
    literal = ""
    at = 0
    while at < len(text):
        percent = text.find("%", at)
        if percent < 0:
            literal += text[at:]
            break
        literal += text[at:percent]
        if text.startswith("%%", percent):
            literal += "%"
            at = percent + 2
            continue
        match = _COMMAND.match(text, percent)
        if match is None:
            raise ConfigError(
                f"Incorrect configuration: {text}. Couldn't find valid command at position {percent}"
            )
        if literal:
            pieces.append(literal)
            literal = ""
        length = match[3]
        pieces.append(Command(match[1], match[2], None if length is None else int(length)))
        at = match.end()
    if literal:
        pieces.append(literal)
    return pieces


def unparse(pieces: list[str | Command]) -> str:
    """Return the format that parse() reads as pieces."""
    return "".join(piece.replace("%", "%%") if isinstance(piece, str) else str(piece) for piece in pieces)


def compile_text(text: str, omit_empty: bool = False) -> Formatter:
    """Return what writes lines in the format text: no newline is added.  Raise ConfigError."""
    pieces = [piece if isinstance(piece, str) else _operator(piece) for piece in parse(text)]
    return _written(pieces, omit_empty)


def compile_json(struct: Mapping[str, Any], omit_empty: bool = False) -> Formatter:
    """
    Return what writes the JSON object struct with its strings read as formats, and a newline.

    A string that is nothing but one command has its value's type; keys are
    sorted.  Raise ConfigError with the path to the string.
    """
    tree = _tree(struct)
    if omit_empty:
        return lambda info: json_text(_evaluate(tree, info) or {}) + "\n"
    pieces: list[str | Formatter] = []
    _flatten(tree, pieces)
    return _template([*pieces, "\n"])


def _operator(command: Command) -> Operator:
    return compile_operator(command.name, command.parameter, command.length)


def _template(pieces: list[str | Formatter]) -> Formatter:
    """Join texts and what is found by functions; at log time only those are called."""
    template = "".join(piece.replace("%", "%%") if isinstance(piece, str) else "%s" for piece in pieces)
    functions = tuple(piece for piece in pieces if not isinstance(piece, str))
    if not functions:
        constant = template % ()
        return lambda info: constant
    if len(functions) == 1:
        only = functions[0]
        return lambda info: template % (only(info),)
    return lambda info: template % tuple([function(info) for function in functions])


class _Mixed:
    """A string of JSON that is made of more than one command: written, or with nothing for what is empty."""

    def __init__(self, pieces: list[str | Operator]) -> None:
        self.written = _written(pieces, False)
        self.omitting = _written(pieces, True)


def _written(pieces: list[str | Operator], omit_empty: bool) -> Formatter:
    return _template([piece if isinstance(piece, str) else piece.text(omit_empty) for piece in pieces])


def _tree(value: Any) -> Any:
    """Replace the strings of a JSON value by what makes their values."""
    if isinstance(value, Mapping):
        tree = {}
        for key in sorted(value):
            try:
                tree[key] = _tree(value[key])
            except ConfigError as error:
                raise error.under(key) from None
        return tree
    if isinstance(value, list):
        return [_item(index, inner) for index, inner in enumerate(value)]
    if not isinstance(value, str):
        return value
    pieces = [piece if isinstance(piece, str) else _operator(piece) for piece in parse(value)]
    if not pieces:
        return ""
    if len(pieces) == 1:
        return pieces[0]
    return _Mixed(pieces)


def _item(index: int, value: Any) -> Any:
    try:
        return _tree(value)
    except ConfigError as error:
        raise error.under(index) from None


def _flatten(tree: Any, pieces: list[str | Formatter]) -> None:
    if isinstance(tree, Mapping):
        for index, (key, inner) in enumerate(tree.items()):
            pieces.append(f"{',' if index else '{'}{json_text(key)}:")
            _flatten(inner, pieces)
        pieces.append("}" if tree else "{}")
    elif isinstance(tree, list):
        for index, inner in enumerate(tree):
            pieces.append("," if index else "[")
            _flatten(inner, pieces)
        pieces.append("]" if tree else "[]")
    elif isinstance(tree, Operator):
        pieces.append(tree.json())
    elif isinstance(tree, _Mixed):
        written = tree.written
        pieces.append(lambda info: json_text(written(info)))
    else:
        pieces.append(json_text(tree))


def _evaluate(tree: Any, info: Any) -> Any:
    """Return the value of a tree without what is null; lists keep their empty lists."""
    if isinstance(tree, Mapping):
        found = {key: _evaluate(inner, info) for key, inner in tree.items()}
        return {key: value for key, value in found.items() if value is not None} or None
    if isinstance(tree, list):
        return [value for value in (_evaluate(inner, info) for inner in tree) if value is not None]
    if isinstance(tree, Operator):
        return tree.value(info)
    if isinstance(tree, _Mixed):
        return tree.omitting(info)
    return tree
