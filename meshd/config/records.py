"""
Plain values to attrs classes: the config of filters that have no protobuf message.

The annotations of the class say what each attribute takes: str, int, float,
bool, datetime.timedelta (a duration such as "0.25s"), Any, Literal, an Enum,
another attrs class, a protobuf message class (in the form that Envoy's config has),
list, tuple, set and dict of these, and X | None.  Numbers
may be given as strings, as protobuf's JSON has it.  Validators run as attrs
runs them; what they raise is the error of their attribute.
"""

from __future__ import annotations

import enum
import re
import types
import typing
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import attrs
from google.protobuf.message import Message

from meshd.config.errors import Report, did_you_mean
from meshd.config.lenient import read_plain
from meshd.config.scalars import BadValue, boolean, duration, number, text, whole
from meshd.plugin import ConfigError


class BadRecord(ConfigError):
    """All that is wrong with a record: errors has a ConfigError for each thing."""

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        super().__init__("; ".join(error.message for error in errors), *errors[0].path)
        self.errors = list(errors)

    def under(self, *path: str | int) -> BadRecord:
        """Return the same errors, seen from further out."""
        return BadRecord([error.under(*path) for error in self.errors])


def read_record(cls: type[Any], values: Mapping[str, Any]) -> Any:
    """Return an instance of the attrs class cls; raise BadRecord with all that is wrong."""
    attrs.resolve_types(cls)
    fields = {field.alias: field for field in attrs.fields(cls) if field.init}
    given: dict[str, Any] = {}
    errors: list[ConfigError] = []
    for key, value in values.items():
        if key not in fields:
            near = did_you_mean(key, (str(each) for each in fields))
            errors.append(ConfigError(f"{cls.__name__} has no field {key!r}{near}", key))
            continue
        if value is None and fields[key].default is not attrs.NOTHING:
            continue
        try:
            # A converter takes what it likes.
            given[key] = value if fields[key].converter else read_value(fields[key].type, value)
        except ConfigError as error:
            errors.extend(each.under(key) for each in flat(error))
    for key, field in fields.items():
        if key not in values and field.default is attrs.NOTHING:
            errors.append(ConfigError(f"the field {key!r} of {cls.__name__} is required", str(key)))
    if errors:
        raise BadRecord(errors)
    return _make(cls, given)


def flat(error: ConfigError) -> list[ConfigError]:
    """Return the errors that one stands for."""
    return error.errors if isinstance(error, BadRecord) else [error]


def _make(cls: type[Any], given: Mapping[str, Any]) -> Any:
    errors: list[ConfigError] = []
    try:
        # Not disabled() around all: __attrs_post_init__ may make records of its own.
        with attrs.validators.disabled():
            record = cls(**given)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(_text(error)) from error
    for field in attrs.fields(cls):
        if field.validator is None:
            continue
        try:
            field.validator(record, field, getattr(record, field.name))
        except Exception as error:
            errors.append(ConfigError(_text(error), str(field.alias)))
    if errors:
        raise BadRecord(errors)
    return record


def _text(error: Exception) -> str:
    """Return what a validator has to say; those of attrs put values behind the sentence."""
    first = error.args[0] if error.args else ""
    return first if isinstance(first, str) and first else f"{type(error).__name__}: {error}".rstrip(": ")


def read_value(kind: Any, value: Any) -> Any:
    """Return value as the annotation kind says; raise ConfigError."""
    if kind is None or kind is Any or kind is object:
        return value
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        return read_value(typing.get_args(kind)[0], value)
    if origin in (typing.Union, types.UnionType):
        return _union(typing.get_args(kind), value)
    if origin is typing.Literal:
        return _one_of({str(each): each for each in typing.get_args(kind)}, value)
    if isinstance(origin or kind, type):
        return _of_class(kind, origin or kind, typing.get_args(kind), value)
    raise ConfigError(f"meshd cannot read a config field of type {kind}")


def _of_class(kind: Any, cls: type[Any], args: tuple[Any, ...], value: Any) -> Any:
    if attrs.has(cls):
        if not isinstance(value, Mapping):
            raise ConfigError(f"expected an object, not {value!r}")
        return read_record(cls, value)
    if issubclass(cls, Message):
        return _message(cls, value)
    if issubclass(cls, enum.Enum):
        names: dict[str, Any] = {str(each.value): each for each in cls}
        names.update({each.name: each for each in cls})
        return _one_of(names, value)
    if cls in _SCALARS:
        try:
            return _SCALARS[cls](value)
        except BadValue as error:
            raise ConfigError(f"{error}, not {value!r}") from None
    if issubclass(dict, cls):
        return _dict(args, value)
    if cls is tuple and args and args[-1] is not Ellipsis:
        return _pair(args, value)
    for made in (list, tuple, set, frozenset):
        if issubclass(made, cls):
            return made(_items(args[0] if args else Any, value))
    raise ConfigError(f"meshd cannot read a config field of type {kind}")


def _message(cls: type[Message], value: Any) -> Message:
    report = Report()
    message = cls()
    read_plain(_whole_numbers(value), message, report)
    if report.problems:
        raise BadRecord([ConfigError(each.message, *_parts(each.path)) for each in report.problems])
    return message


def _parts(path: str) -> list[str | int]:
    """Take a path such as a[0].b["c"] apart."""
    return [int(part) if part.isdigit() else part for part in re.findall(r'[^.\[\]"]+', path)]


def _whole_numbers(value: Any) -> Any:
    """Return plain values, with the whole numbers that a Struct made floats of as integers."""
    if isinstance(value, Mapping):
        return {key: _whole_numbers(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _items(kind: Any, value: Any) -> list[Any]:
    items = value if isinstance(value, list) else [value]
    result: list[Any] = []
    errors: list[ConfigError] = []
    for place, each in enumerate(items):
        try:
            result.append(read_value(kind, each))
        except ConfigError as error:
            errors.extend(one.under(place) for one in flat(error))
    if errors:
        raise BadRecord(errors)
    return result


def _pair(kinds: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list) or len(value) != len(kinds):
        raise ConfigError(f"expected a list of {len(kinds)}, not {value!r}")
    return tuple(_items(kind, [each])[0] for kind, each in zip(kinds, value, strict=True))


def _dict(args: tuple[Any, ...], value: Any) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"expected an object, not {value!r}")
    key_kind, value_kind = args or (Any, Any)
    result: dict[Any, Any] = {}
    errors: list[ConfigError] = []
    for key, each in value.items():
        try:
            result[read_value(key_kind, key)] = read_value(value_kind, each)
        except ConfigError as error:
            errors.extend(one.under(key) for one in flat(error))
    if errors:
        raise BadRecord(errors)
    return result


def _union(kinds: tuple[Any, ...], value: Any) -> Any:
    if value is None and type(None) in kinds:
        return None
    last = ConfigError("expected a value, not null")
    for kind in kinds:
        if kind is type(None):
            continue
        try:
            return read_value(kind, value)
        except ConfigError as error:
            last = error
    raise last


def _one_of(names: Mapping[str, Any], value: Any) -> Any:
    found = names.get(str(value).lower() if isinstance(value, bool) else str(value))
    if found is None:
        near = did_you_mean(str(value), names)
        raise ConfigError(f"expected one of {', '.join(names)}, not {value!r}{near}")
    return found


def _integer(value: Any) -> int:
    # A Struct holds all numbers as doubles.
    return whole(int(value) if isinstance(value, float) and value.is_integer() else value, -(2**63), 2**64)


def _real(value: Any) -> float:
    return value if isinstance(value, float) else number(value)


def _duration(value: Any) -> timedelta:
    seconds, nanos = duration(value)
    return timedelta(seconds=seconds, microseconds=nanos // 1000)


_SCALARS: dict[type[Any], Any] = {
    str: text,
    int: _integer,
    float: _real,
    bool: boolean,
    timedelta: _duration,
    bytes: lambda value: text(value).encode(),
}
