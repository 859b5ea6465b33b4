"""
Nodes to protobuf messages, as leniently and as strictly as Envoy reads JSON.

One walk of the nodes against the descriptors fills the message, notes all that
is wrong with the place where it stands, and remembers the place of each field.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from meshd.config.errors import Place, Report, Spot, did_you_mean
from meshd.config.nodes import BROKEN, Node, from_plain, plain
from meshd.config.scalars import LONGEST, BadValue, duration, field_value
from meshd.config.types import TYPED_STRUCTS, message_class, near_type

_WRAPPERS = frozenset(
    f"google.protobuf.{name}Value"
    for name in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
)
_STRUCTS = frozenset(("google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue"))
_TEXTS = frozenset(("google.protobuf.Timestamp", "google.protobuf.FieldMask"))
_DURATION = "google.protobuf.Duration"
_ANY = "google.protobuf.Any"
#: Messages whose JSON is no object of their fields; inside of an Any it stands under "value".
_SPECIAL = _WRAPPERS | _STRUCTS | _TEXTS | {_DURATION, _ANY}


@cache
def field_names(descriptor: Descriptor) -> dict[str, FieldDescriptor]:
    """Return the fields of a message by all the names that JSON may call them."""
    names = {field.json_name: field for field in descriptor.fields}
    names.update((field.name, field) for field in descriptor.fields)
    return names


def is_map(field: FieldDescriptor) -> bool:
    """Whether a field is a map, which descriptors show as a list of entries."""
    return bool(field.message_type and field.message_type.GetOptions().map_entry)


class Reader:
    """
    Reads nodes into messages.

    Problems go to report; with allow_unknown a field that the message does not
    have is a warning.
    """

    def __init__(self, report: Report, allow_unknown: bool = False) -> None:
        self.report = report
        self.allow_unknown = allow_unknown

    def message(self, node: Node, message: Any, spot: Spot) -> None:
        """Fill message with what node says."""
        if node.value is BROKEN:
            spot.spoil()
            return
        name = message.DESCRIPTOR.full_name
        if name in _SPECIAL and self._special(node, message, spot, name):
            return
        if not isinstance(node.value, dict):
            self._bad(spot, f"expected an object, not {node.what()}")
            return
        fields = field_names(message.DESCRIPTOR)
        seen: dict[str, str] = {}
        for key, child in node.value.items():
            field = fields.get(key)
            if field is None:
                self._unknown(node, key, message.DESCRIPTOR, spot)
            elif child.value is not None or _takes_null(field):
                self._field(node, key, field, message, spot, seen)

    def _field(
        self, node: Node, key: str, field: FieldDescriptor, message: Any, spot: Spot, seen: dict[str, str]
    ) -> None:
        child = node.value[key]
        below = spot.child(field.name, child.place, node.key_place(key))
        oneof = field.containing_oneof
        for name in {field.name, oneof.name if oneof else field.name}:
            if name in seen:
                self._bad(below, f"{seen[name]!r} is given too, and only one of the two may be", at_key=True)
                return
            seen[name] = key
        if is_map(field):
            self._map(child, field, getattr(message, field.name), below)
        elif field.is_repeated:
            self._list(child, field, getattr(message, field.name), below)
        elif field.message_type is not None:
            sub = getattr(message, field.name)
            sub.SetInParent()
            self.message(child, sub, below)
        else:
            value = self._scalar(child, field, below)
            if value is not None:
                setattr(message, field.name, value)

    def _scalar(self, node: Node, field: FieldDescriptor, spot: Spot) -> Any:
        """Return the value of a field that is no message; None after noting what is wrong with it."""
        try:
            return field_value(node.value, field)
        except BadValue as error:
            self._bad(spot, _expected(error, node))
            return None

    def _list(self, node: Node, field: FieldDescriptor, target: Any, spot: Spot) -> None:
        # One item may stand for a list of one.
        items = node.value if isinstance(node.value, list) else [node]
        for number, item in enumerate(items):
            below = spot.child(number, item.place)
            if field.message_type is not None:
                sub = target.add()
                if item.value is not None or _takes_null(field):
                    self.message(item, sub, below)
                continue
            value = None if item.value is None else self._scalar(item, field, below)
            target.append(_default(field) if value is None else value)

    def _map(self, node: Node, field: FieldDescriptor, target: Any, spot: Spot) -> None:
        if not isinstance(node.value, dict):
            self._bad(spot, f"expected an object, not {node.what()}")
            return
        entry: Any = field.message_type
        key_field, value_field = entry.fields_by_name["key"], entry.fields_by_name["value"]
        for key, child in node.value.items():
            below = spot.child(key, child.place, node.key_place(key))
            below.whole = True
            map_key = self._scalar(Node(key, below.key_place), key_field, below)
            if map_key is None:
                continue
            if value_field.message_type is not None:
                sub = target[map_key]
                if child.value is not None or _takes_null(value_field):
                    self.message(child, sub, below)
                continue
            value = None if child.value is None else self._scalar(child, value_field, below)
            target[map_key] = _default(value_field) if value is None else value

    def _special(self, node: Node, message: Any, spot: Spot, name: str) -> bool:
        """Read a message that has a JSON of its own; return False if it is given as any other message."""
        if name == _ANY:
            self._any(node, message, spot)
            return True
        if name in _STRUCTS:
            self._struct(node, message, spot, name)
            return True
        if isinstance(node.value, dict):
            return False
        if name in _WRAPPERS:
            value = self._scalar(node, message.DESCRIPTOR.fields_by_name["value"], spot)
            if value is not None:
                message.value = value
        elif name == _DURATION:
            try:
                message.seconds, message.nanos = duration(node.value)
            except BadValue as error:
                self._bad(spot, _expected(error, node))
        else:
            self._text(node, message, spot)
        return True

    def _text(self, node: Node, message: Any, spot: Spot) -> None:
        """Read a Timestamp or a FieldMask."""
        kind = "a time such as 2026-01-31T12:00:00Z" if hasattr(message, "seconds") else "names of fields"
        try:
            if not isinstance(node.value, str):
                raise ValueError
            message.FromJsonString(node.value)
        except (ValueError, OverflowError, json_format.ParseError):
            self._bad(spot, f"expected {kind}, not {node.what()}")

    def _struct(self, node: Node, message: Any, spot: Spot, name: str) -> None:
        wanted: Any = {"Struct": dict, "ListValue": list}.get(name.rsplit(".", 1)[-1])
        if wanted and not isinstance(node.value, wanted):
            what = "an object" if wanted is dict else "a list"
            self._bad(spot, f"expected {what}, not {node.what()}")
            return
        try:
            json_format.ParseDict(plain(node), message)
        except (json_format.ParseError, ValueError) as error:
            self._bad(spot, f"cannot be read: {str(error).splitlines()[0]}")
            return
        _mark(node, spot)

    def _any(self, node: Node, message: Any, spot: Spot) -> None:
        spot.whole = True
        if not isinstance(node.value, dict):
            self._bad(spot, f"expected an object with an '@type', not {node.what()}")
            return
        if not node.value:
            return
        url = node.value.get("@type")
        if url is None:
            near = did_you_mean("@type", node.value)
            self._bad(spot, "'@type' is missing, which says what message this is" + near)
            return
        at_url = spot.child("@type", url.place, node.key_place("@type"))
        cls = self._any_class(url, at_url)
        if cls is None:
            spot.spoil()
            return
        inner = cls()
        name = cls.DESCRIPTOR.full_name
        if name in _SPECIAL:
            value = node.value.get("value", Node(None, node.place))
            if value.value is not None:
                self.message(value, inner, spot.child("value", value.place, node.key_place("value")))
        else:
            self.message(node.without("@type"), inner, spot)
        message.type_url = url.value
        message.value = inner.SerializePartialToString(deterministic=True)
        if name in TYPED_STRUCTS:
            self._typed_struct(node, inner, spot)

    def _any_class(self, url: Node, spot: Spot) -> Any:
        """Return the class of a message by its type URL; None after noting what is wrong."""
        if not isinstance(url.value, str) or not url.value.rpartition("/")[0]:
            name = url.value if isinstance(url.value, str) else "package.Message"
            self._bad(spot, f"expected 'type.googleapis.com/{name.lstrip('/')}', not {url.what()}")
            return None
        name = url.value.rsplit("/", 1)[-1]
        cls = message_class(name)
        if cls is None:
            self._bad(spot, f"no message type {name!r} is known" + near_type(name))
        return cls

    def _typed_struct(self, node: Node, struct: Any, spot: Spot) -> None:
        """Read the value of a TypedStruct as the message that it stands for, to find its errors."""
        cls = message_class(struct.type_url.rsplit("/", 1)[-1])
        value = node.value.get("value")
        if value is None or value.value is None:
            return
        if cls is not None:
            self.message(value, cls(), spot.children["value"])
        for key, child in spot.children["value"].children.items():
            spot.children.setdefault(key, child)

    def _unknown(self, node: Node, key: str, descriptor: Descriptor, spot: Spot) -> None:
        near = did_you_mean(key, (field.name for field in descriptor.fields))
        message = f"{descriptor.full_name} has no field {key!r}{near}"
        below = Spot(node.key_place(key), key, spot)
        if self.allow_unknown:
            self.report.warn(below, message)
            return
        spot.damaged = True
        self.report.error(below, message)

    def _bad(self, spot: Spot, message: str, at_key: bool = False) -> None:
        spot.spoil()
        self.report.error(spot, message, at_key=at_key)


def read_plain(value: Any, message: Any, report: Report) -> None:
    """Fill message with plain Python values (dicts, lists, scalars); report has the problems."""
    place = Place("", 0, 0)
    Reader(report).message(from_plain(value, place), message, Spot(place))


def check_duration(seconds: int, nanos: int) -> str | None:
    """Return what is wrong with a duration for Envoy, None if nothing is."""
    if seconds < 0 or nanos < 0:
        return "a duration must not be negative"
    return f"a duration must be {LONGEST}s at most" if seconds > LONGEST or nanos >= 10**9 else None


def _takes_null(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.full_name == "google.protobuf.Value"


def _default(field: FieldDescriptor) -> Any:
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_STRING:
        return b"" if field.type == FieldDescriptor.TYPE_BYTES else ""
    return 0


def _expected(error: BadValue, node: Node) -> str:
    before, semicolon, hint = str(error).partition("; did you")
    return f"{before}, not {node.what()}{semicolon}{hint}"


def _mark(node: Node, spot: Spot) -> None:
    """Make the spots of what lies in a Struct."""
    if isinstance(node.value, dict):
        for key, child in node.value.items():
            below = spot.child(key, child.place, node.key_place(key))
            below.whole = True
            _mark(child, below)
    elif isinstance(node.value, list):
        for number, child in enumerate(node.value):
            _mark(child, spot.child(number, child.place))
