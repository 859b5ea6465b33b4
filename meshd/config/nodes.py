"""
YAML and JSON text to values that remember where they stood.

Scalars mean what they mean to Envoy, whose parser is yaml-cpp, and not what
PyYAML would make of them: ``y`` is true, ``1:30`` and ``8_0`` are strings, and
so is every number with a fraction (a field of type double takes the string).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from meshd.config.env import BadReference, escape, substitute
from meshd.config.errors import BadConfig, Place, Problem, Report, dotted

#: How deep values may be nested: protobuf's own limit for JSON.
MAX_DEPTH = 100
#: How many values there may be, with aliases expanded.
MAX_SIZE = 1_000_000

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_BOOLS = {
    spelling: word in ("y", "yes", "true", "on")
    for word in ("y", "n", "yes", "no", "true", "false", "on", "off")
    for spelling in (word, word.upper(), word.capitalize())
}
_NULLS = frozenset(("", "~", "null", "Null", "NULL"))
_INTEGER = re.compile(r"[+-]?(?:0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)\Z")


class Broken:
    """The value of a node that could not be read, which was said."""


BROKEN = Broken()


class Node:
    """
    One value of a config, and its place.

    value is None, a bool, an int of 32 bits, a string, a list of Nodes or a
    dict of Nodes by key; keys has the places of the keys of a dict.
    """

    __slots__ = ("keys", "place", "size", "value")

    def __init__(self, value: Any, place: Place, keys: dict[str, Place] | None = None, size: int = 1) -> None:
        self.value = value
        self.place = place
        self.keys = keys if keys is not None else {}
        self.size = size

    def key_place(self, key: str) -> Place:
        """Return where key stands, or where all of this does."""
        return self.keys.get(key, self.place)

    def without(self, *keys: str) -> Node:
        """Return a copy of a mapping that lacks keys."""
        return Node({k: v for k, v in self.value.items() if k not in keys}, self.place, self.keys, self.size)

    def what(self) -> str:
        """Say what kind of value this is, for an error."""
        value = self.value
        if isinstance(value, dict):
            return "an object"
        if isinstance(value, list):
            return "a list"
        if value is None:
            return "null"
        if isinstance(value, bool):
            return "true" if value else "false"
        return f"the number {value}" if isinstance(value, int) else f"{value!r}"


def scalar(text: str) -> bool | int | str | None:
    """Return what an unquoted YAML scalar means to Envoy."""
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if text[0] in "+-0123456789" and len(text) < 24 and _INTEGER.match(text):
        number = _integer(text)
        if -(2**31) <= number < 2**31:
            return number
        # Envoy passes on as digits what JSON might round; so a string field takes it.
        return str(number) if -(2**63) <= number < 2**63 else text
    return text


def _integer(text: str) -> int:
    digits = text.lstrip("+-")
    octal = len(digits) > 1 and digits[0] == "0" and digits[1] not in "xX"
    return int(text, 8 if octal else 0)


def plain(node: Node) -> Any:
    """Return the value of a node, without places."""
    value = node.value
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value


def from_plain(value: Any, place: Place) -> Node:
    """Make nodes of Python values, all in one place; numbers with a fraction become strings, as in YAML."""
    if isinstance(value, Mapping):
        return Node({str(key): from_plain(each, place) for key, each in value.items()}, place)
    if isinstance(value, (list, tuple)):
        return Node([from_plain(each, place) for each in value], place)
    if isinstance(value, float):
        whole = value.is_integer() and abs(value) < 2**31
        return Node(int(value) if whole else repr(value), place)
    return Node(value, place)


def walk(node: Node, path: tuple[str | int, ...] = ()) -> Iterator[tuple[Place, tuple[str | int, ...]]]:
    """Yield the place and the path of a node, its keys, and all below."""
    yield node.place, path
    if isinstance(node.value, dict):
        for key, each in node.value.items():
            if key in node.keys:
                yield node.keys[key], (*path, key)
            yield from walk(each, (*path, key))
    elif isinstance(node.value, list):
        for number, each in enumerate(node.value):
            yield from walk(each, (*path, number))


class _Open:
    """A list or mapping whose end has not come."""

    __slots__ = ("anchor", "ignored", "key", "key_place", "node", "wants_key")

    def __init__(self, node: Node, anchor: str | None) -> None:
        self.node = node
        self.anchor = anchor
        self.wants_key = isinstance(node.value, dict)
        self.key = ""
        self.key_place = node.place
        self.ignored = False


class Composer:
    """Makes one tree of nodes of the text of a file."""

    def __init__(self, file: str, environ: Mapping[str, str], report: Report) -> None:
        self.file = file
        self.environ = environ
        self.report = report
        self.open: list[_Open] = []
        self.anchors: dict[str, Node | None] = {}
        self.root: Node | None = None

    def compose(self, text: str) -> Node:
        """Return the first document of text; raise BadConfig if it is not YAML."""
        try:
            for event in yaml.parse(text, Loader=LOADER):
                if self.root is not None and isinstance(event, yaml.DocumentStartEvent):
                    self._warn_of_more(event)
                    break
                self._event(event)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise self._bad(_sentence(error, text, mark), self._place(mark)) from None
        except yaml.reader.ReaderError as error:
            before = text[: error.position]
            line = before.count("\n") + 1
            place = Place(self.file, line, len(before) - (before.rfind("\n") + 1) + 1)
            raise self._bad(f"not YAML: {error.reason}", place) from None
        except yaml.YAMLError as error:
            raise self._bad(f"not YAML: {error}", Place(self.file, 0, 0)) from None
        return self.root or Node(None, Place(self.file, 1, 1))

    def _event(self, event: Any) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.CollectionStartEvent):
            place = self._place(event.start_mark)
            self._refuse_key("a list or an object", place)
            if len(self.open) >= MAX_DEPTH:
                raise self._bad(f"nested more than {MAX_DEPTH} deep", place)
            value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
            self.open.append(_Open(Node(value, place), event.anchor))
            if event.anchor:
                self.anchors[event.anchor] = None
        elif isinstance(event, yaml.CollectionEndEvent):
            done = self.open.pop()
            if done.anchor:
                self.anchors[done.anchor] = done.node
            self._value(done.node)

    def _scalar(self, event: Any) -> None:
        place = self._place(event.start_mark)
        # What comes from the environment is a string, whatever it looks like.
        text = self._substituted(event.value, place)
        if self.open and self.open[-1].wants_key:
            self._key(event, text, place)
            return
        node = Node(text if text is not event.value else _meaning(event), place)
        if event.anchor:
            self.anchors[event.anchor] = node
        self._value(node)

    def _key(self, event: Any, text: str, place: Place) -> None:
        top = self.open[-1]
        top.wants_key = False
        top.key, top.key_place = text, place._replace(of_key=True)
        top.ignored = event.tag == "!ignore"
        if event.anchor:
            self.anchors[event.anchor] = Node(text, place)
        if text == "<<" and not event.style:
            self._problem(place, "YAML merge keys (<<) are refused, as by Envoy: write the fields out")
            top.ignored = True
        elif not event.style and text in ("~", "Null", "NULL", ""):
            top.key = "null"

    def _alias(self, event: Any) -> None:
        place = self._place(event.start_mark)
        self._refuse_key("an alias", place)
        if event.anchor not in self.anchors:
            raise self._bad(f"there is no anchor &{event.anchor} before this alias", place)
        node = self.anchors[event.anchor]
        if node is None:
            raise self._bad(f"the alias *{event.anchor} stands inside of what it names", place)
        self._value(node)

    def _value(self, node: Node) -> None:
        if not self.open:
            self.root = node
            return
        top = self.open[-1]
        parent = top.node
        parent.size += node.size
        if parent.size > MAX_SIZE:
            raise self._bad(f"more than {MAX_SIZE} values, aliases expanded", parent.place)
        if isinstance(parent.value, list):
            parent.value.append(node)
            return
        if not top.ignored:
            if top.key in parent.value:
                where = self.report.problem(top.key_place, self._path(), "given before; the last one counts")
                self.report.warnings.append(where)
            parent.value[top.key] = node
            parent.keys[top.key] = top.key_place
        top.wants_key = True

    def _refuse_key(self, what: str, place: Place) -> None:
        if self.open and self.open[-1].wants_key:
            raise self._bad(f"a key must be a string, not {what}", place)

    def _substituted(self, text: str, place: Place) -> str:
        if "${" not in text:
            return text
        try:
            return substitute(text, self.environ)
        except BadReference as error:
            self._problem(place, str(error))
            return escape(text)

    def _warn_of_more(self, event: Any) -> None:
        message = "only the first document of a file is read"
        self.report.warnings.append(self.report.problem(self._place(event.start_mark), "", message))

    def _path(self) -> str:
        parts: list[str | int] = []
        for each in self.open:
            if isinstance(each.node.value, list):
                parts.append(len(each.node.value))
            elif not each.wants_key:
                parts.append(each.key)
        return dotted(parts)

    def _problem(self, place: Place, message: str) -> None:
        self.report.problems.append(self.report.problem(place, self._path(), message))

    def _bad(self, message: str, place: Place) -> BadConfig:
        problem = Problem(self.file, place.line, place.column, self._path(), message)
        return BadConfig([*self.report.problems, problem])

    def _place(self, mark: Any) -> Place:
        return Place(self.file, mark.line + 1, mark.column + 1) if mark else Place(self.file, 0, 0)


def _meaning(event: Any) -> bool | int | str | None:
    """Return what a scalar means; for yaml-cpp any tag but a lone ! undoes the quotes."""
    text: str = event.value
    if event.tag == "!" or (event.style and not event.tag):
        return text
    value = scalar(text)
    return text if value is None and event.tag else value


def _sentence(error: yaml.MarkedYAMLError, text: str, mark: Any) -> str:
    context = f" {error.context}" if error.context else ""
    lines = text.splitlines()
    hint = ""
    if mark and "${" in "".join(lines[max(0, mark.line - 1) : mark.line + 1]):
        hint = " (within [ ] or { } a ${NAME} needs quotes)"
    return f"not YAML: {error.problem}{context}{hint}"
