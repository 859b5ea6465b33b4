r"""
JSON text to nodes, for what is JSON and not YAML.

Most JSON is YAML, and read as such; but tabs between values and surrogate
pairs (``\ud83d\ude00``) are JSON only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

from meshd.config.env import BadReference, substitute
from meshd.config.errors import BadConfig, Place, Problem, Report, dotted
from meshd.config.nodes import MAX_DEPTH, Node, scalar

_SPACE = re.compile(r"[ \t\n\r]*")
_LITERAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null")


class JsonReader:
    """Reads one JSON text; read() raises BadConfig."""

    def __init__(self, text: str, file: str, environ: Mapping[str, str], report: Report) -> None:
        self.text = text
        self.file = file
        self.environ = environ
        self.report = report
        self.path: list[str | int] = []
        self.lines = [0, *(match.end() for match in re.finditer("\n", text))]
        self.line = 0

    def read(self) -> Node:
        """Return the value that the text is."""
        node, end = self._value(self._skip(0))
        if self._skip(end) != len(self.text):
            raise self._bad("the end was expected here", self._skip(end))
        return node

    def _value(self, at: int) -> tuple[Node, int]:
        place = self._place(at)
        if len(self.path) >= MAX_DEPTH:
            raise self._bad(f"nested more than {MAX_DEPTH} deep", at)
        first = self.text[at : at + 1]
        if first == "{":
            return self._object(at, place)
        if first == "[":
            return self._list(at, place)
        if first == '"':
            text, end = self._string(at)
            return Node(text, place), end
        match = _LITERAL.match(self.text, at)
        if not match:
            raise self._bad("a JSON value was expected here", at)
        return Node(scalar(match.group()), place), match.end()

    def _object(self, at: int, place: Place) -> tuple[Node, int]:
        node = Node({}, place)

        def member(at: int) -> int:
            if self.text[at : at + 1] != '"':
                raise self._bad("a key in quotes was expected here", at)
            key_place = self._place(at)._replace(of_key=True)
            key, end = self._string(at)
            colon = self._skip(end)
            if self.text[colon : colon + 1] != ":":
                raise self._bad("':' was expected here", colon)
            self.path.append(key)
            child, end = self._value(self._skip(colon + 1))
            self.path.pop()
            if key in node.value:
                self._note(self.report.warnings, key_place, "given before; the last one counts")
            node.value[key] = child
            node.keys[key] = key_place
            return end

        return node, self._members(at, "}", member)

    def _list(self, at: int, place: Place) -> tuple[Node, int]:
        node = Node([], place)

        def member(at: int) -> int:
            self.path.append(len(node.value))
            child, end = self._value(at)
            self.path.pop()
            node.value.append(child)
            return end

        return node, self._members(at, "]", member)

    def _members(self, at: int, end: str, member: Callable[[int], int]) -> int:
        at = self._skip(at + 1)
        while self.text[at : at + 1] != end:
            at = self._skip(member(at))
            if self.text[at : at + 1] == ",":
                at = self._skip(at + 1)
            elif self.text[at : at + 1] != end:
                raise self._bad(f"',' or {end!r} was expected here", at)
        return at + 1

    def _string(self, at: int) -> tuple[str, int]:
        try:
            text, end = scanstring(self.text, at + 1, True)
            text.encode()
        except json.JSONDecodeError as error:
            raise self._bad(f"not JSON: {error.msg}", error.pos) from None
        except UnicodeEncodeError:
            raise self._bad("half of a surrogate pair", at) from None
        try:
            return substitute(text, self.environ), end
        except BadReference as error:
            self._note(self.report.problems, self._place(at), str(error))
            return text, end

    def _skip(self, at: int) -> int:
        match = _SPACE.match(self.text, at)
        return match.end() if match else at

    def _place(self, at: int) -> Place:
        # Places are asked for in the order of the text, but for errors, which end the reading.
        while self.line + 1 < len(self.lines) and self.lines[self.line + 1] <= at:
            self.line += 1
        return Place(self.file, self.line + 1, at - self.lines[self.line] + 1)

    def _note(self, notes: list[Any], place: Place, message: str) -> None:
        notes.append(self.report.problem(place, dotted(self.path), message))

    def _bad(self, message: str, at: int) -> BadConfig:
        place = self._place(at)
        problem = Problem(self.file, place.line, place.column, dotted(self.path), message)
        return BadConfig([*self.report.problems, problem])
