"""
What must hold of a Bootstrap that was read: walks it once, and notes what does not.

The rules of the messages (rules.py), and that nothing is set that nobody
serves (served.py, and what the plugins say).  What goes across messages,
clusters that do not exist and the like, is in references.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import attrs
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from meshd.config.errors import Report, Spot, did_you_mean
from meshd.config.lenient import check_duration, is_map
from meshd.config.records import flat
from meshd.config.rules import broken, rules_of
from meshd.config.served import CORE, EXTENSIONS, TYPES, VALUES
from meshd.config.unpack import find, is_message, open_any, packed_type, type_name, unpack
from meshd.plugin import ConfigError

__all__ = ["Checker", "Where", "unpack"]

#: What of a message is served, by field; None of a field: all of it (as far as CORE says).
Serves = dict[str, Any]

_DURATION = "google.protobuf.Duration"
_STRUCT = "google.protobuf.Struct"


class Where(NamedTuple):
    """A part of the message: the nearest spot, and the path from there on."""

    spot: Spot
    rest: tuple[str | int, ...] = ()

    def child(self, *path: str | int) -> Where:
        """Return the part at path below this one."""
        spot, rest = self
        for key in path:
            if not rest and key in spot.children:
                spot = spot.children[key]
            else:
                rest = (*rest, key)
        return Where(spot, rest)

    @property
    def excused(self) -> bool:
        """Whether it, or a part around it, could not be read: what seems to be wrong with it says nothing."""
        spot: Spot | None = self.spot
        while spot is not None:
            if spot.bad:
                return True
            spot = spot.parent
        return False


class Checker:
    """
    Walks a message, and notes in report what is wrong.

    With allow_unserved it is a warning only if something is not served.
    """

    def __init__(self, plugins: Any, report: Report, allow_unserved: bool = False) -> None:
        self.plugins = plugins
        self.report = report
        self.allow_unserved = allow_unserved

    def error(self, where: Where, text: str, at_key: bool = False) -> None:
        """Note that a part is wrong, unless it could not be read anyway."""
        if not where.excused:
            self.report.error(where.spot, text, *where.rest, at_key=at_key)

    def warn(self, where: Where, text: str) -> None:
        """Note that a part is to be warned of."""
        self.report.warn(where.spot, text, *where.rest)

    def message(self, message: Any, where: Where, serves: Serves | None = None, served: bool = True) -> None:
        """
        Check message and all in it.

        serves is what is served of it, if its plugin says so, else CORE does.
        If it is itself not served (that was said), only the rules are checked.
        """
        wrong: set[str | int] = set()
        for path, text, missing in broken(message):
            wrong.update(path[:1])
            # Where a field could not be read, it may be the one that is missing.
            if not (missing and where.spot.damaged and not where.rest):
                self.error(where.child(*path), text)
        name = message.DESCRIPTOR.full_name
        if serves is None and name in CORE:
            serves = dict.fromkeys(CORE[name])
        if name in EXTENSIONS and served:
            self._extension(message, where, EXTENSIONS[name])
        skipped = rules_of(message.DESCRIPTOR).skipped
        for field, value in message.ListFields():
            below = where.child(field.name)
            field_served = served and self._is_served(field, value, below, serves)
            if field.message_type is None or field.name in skipped:
                continue
            if name in EXTENSIONS and field.name == "typed_config" and served:
                continue
            deeper = serves.get(field.name) if serves else None
            for at, each in parts_of(field, value, below):
                if each.DESCRIPTOR.full_name == _DURATION and field.name in wrong:
                    continue  # A rule has said it.
                self._one(field, each, at, deeper, field_served)

    def _field(
        self, field: FieldDescriptor, value: Any, where: Where, serves: Serves | None, served: bool
    ) -> None:
        if is_map(field):
            entry: Any = field.message_type
            if entry.fields_by_name["value"].message_type is not None:
                for key in value:
                    self._one(field, value[key], where.child(key), serves, served)
        elif field.is_repeated:
            for number, item in enumerate(value):
                self._one(field, item, where.child(number), serves, served)
        else:
            self._one(field, value, where, serves, served)

    def _one(
        self, field: FieldDescriptor, value: Any, where: Where, serves: Serves | None, served: bool
    ) -> None:
        name = value.DESCRIPTOR.full_name
        if name == _DURATION:
            text = check_duration(value.seconds, value.nanos)
            if text:
                self.error(where, text)
        elif name == "google.protobuf.Any":
            holder: Any = field.containing_type
            if served and is_map(field) and (holder.full_name, field.name) in TYPES:
                self._check_type(TYPES[holder.full_name, field.name], value, where)
            inner = open_any(value)
            if inner is not None:
                self.message(inner, where, serves, served)
        elif name != _STRUCT:
            container: Any = field.containing_type
            key = (container.full_name, field.name)
            if served and key in TYPES and name.endswith("TypedExtensionConfig"):
                self._check_type(TYPES[key], value.typed_config, where.child("typed_config"))
            self.message(value, where, serves, served)

    def _is_served(self, field: FieldDescriptor, value: Any, where: Where, serves: Serves | None) -> bool:
        """Note it if a field that is set, or its value, is not served."""
        containing: Any = field.containing_type
        container = containing.full_name
        if serves is not None and field.name not in serves:
            self._unserved(where, f"meshd does not serve the field {field.name} of {container}", at_key=True)
            return False
        key = (container, field.name)
        if key in VALUES and field.enum_type is not None:
            known = field.enum_type.values_by_number.get(value)
            if known is not None and known.name not in VALUES[key]:
                allowed = ", ".join(VALUES[key])
                self._unserved(where, f"meshd does not serve {known.name}, but of {field.name} {allowed}")
        elif (
            key in TYPES
            and field.message_type is not None
            and field.message_type.full_name == "google.protobuf.Any"
        ):
            self._check_type(TYPES[key], value, where)
        return True

    def _check_type(self, allowed: tuple[str, ...], packed: Any, where: Where) -> None:
        name = packed_type(packed)
        if name not in allowed and type_name(packed.type_url) not in allowed:
            near = did_you_mean(name, allowed)
            self._unserved(
                where.child("@type"), f"meshd does not serve {name or 'an empty typed_config'} here{near}"
            )

    def _unserved(self, where: Where, text: str, at_key: bool = False) -> None:
        if where.excused:
            return
        if self.allow_unserved:
            self.report.warn(where.spot, text, *where.rest, at_key=at_key)
        else:
            self.report.error(where.spot, text, *where.rest, at_key=at_key)

    def _extension(self, message: Any, where: Where, kind: str) -> None:
        """Check a filter or transport socket by what its plugin says."""
        if where.child("typed_config").spot.bad and not message.typed_config.type_url:
            return  # Its type could not be read, which was said.
        try:
            plugin = find(self.plugins, kind, message)
            if is_message(plugin.config):
                inner = open_any(message.typed_config)
                if inner is not None:
                    self.message(inner, where.child("typed_config"), tree(plugin.serves))
            else:
                _, record = unpack(self.plugins, kind, message)
                self._messages_in(record, where.child("typed_config"))
        except ConfigError as error:
            for each in flat(error):
                self.error(where.child(*each.path), each.message)

    def _messages_in(self, record: Any, where: Where) -> None:
        """Check the messages that a record has as attributes."""
        for attribute in attrs.fields(type(record)):
            value = getattr(record, attribute.name)
            if isinstance(value, Message):
                self.message(value, where.child(attribute.alias))


def _is_any(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.full_name == "google.protobuf.Any"


def parts_of(field: FieldDescriptor, value: Any, where: Where) -> Iterator[tuple[Where, Any]]:
    """Yield the messages that a field holds, single or many, and where each is."""
    if is_map(field):
        entry: Any = field.message_type
        if entry.fields_by_name["value"].message_type is not None:
            for key in value:
                yield where.child(key), value[key]
    elif field.is_repeated:
        for number, item in enumerate(value):
            yield where.child(number), item
    else:
        yield where, value


def tree(serves: tuple[str, ...]) -> Serves:
    """Turn dotted names to what is served by field: ("a", "b.c") to {"a": None, "b": {"c": None}}."""
    result: Serves = {}
    for name in serves:
        first, dot, rest = name.partition(".")
        if not dot:
            result[first] = None
        elif result.get(first, {}) is not None:
            result.setdefault(first, {})[rest] = None
    return {key: tree(tuple(below)) if below else None for key, below in result.items()}
