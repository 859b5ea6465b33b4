"""
The validate.rules that the fields of Envoy's messages carry.

The rules of a message are read from its descriptor once, and become functions
from a value to what is wrong with it, in the words of protoc-gen-validate (and
so of Envoy).
"""

from __future__ import annotations

import ipaddress
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any
from urllib.parse import urlsplit

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from validate import validate_pb2

from meshd.config.lenient import is_map

#: Returns what is wrong with a value, None if nothing is.
Check = Callable[[Any], str | None]

_INTEGERS = (("", "int"), ("u", "int"), ("s", "int"), ("", "fixed"), ("s", "fixed"))
_NUMBERS = frozenset(
    ("float", "double", *(f"{sign}{kind}{bits}" for sign, kind in _INTEGERS for bits in (32, 64)))
)
_HEADER_NAME = re.compile(r":?[0-9a-zA-Z!#$%&'*+\-.^_|~`]+\Z")
_HEADER_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*\Z")
_LAX_HEADER = re.compile(r"[^\x00\n\r]*\Z")
_LABEL = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)\Z")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")


@dataclass(frozen=True)
class FieldRules:
    """What holds for one field: checks of its value, of each of its items, keys and values."""

    field: FieldDescriptor
    required: bool = False
    checks: tuple[Check, ...] = ()
    items: tuple[Check, ...] = ()
    keys: tuple[Check, ...] = ()
    values: tuple[Check, ...] = ()
    #: What the field holds is not looked into.
    skip: bool = False


@dataclass(frozen=True)
class MessageRules:
    """What holds for one message: its fields' rules, and the oneofs one of which must be given."""

    fields: tuple[FieldRules, ...] = ()
    oneofs: tuple[str, ...] = ()
    skipped: frozenset[str] = field(default_factory=frozenset)


@cache
def rules_of(descriptor: Descriptor) -> MessageRules:
    """Return the rules of a message, read from its descriptor."""
    options = descriptor.GetOptions().Extensions
    if options[validate_pb2.disabled] or options[validate_pb2.ignored]:
        return MessageRules()
    fields = []
    for each in descriptor.fields:
        extensions = each.GetOptions().Extensions
        if each.GetOptions().HasExtension(validate_pb2.rules):
            fields.append(_read(each, extensions[validate_pb2.rules]))
    return MessageRules(
        tuple(fields),
        tuple(each.name for each in descriptor.oneofs if each.GetOptions().Extensions[validate_pb2.required]),
        frozenset(each.field.name for each in fields if each.skip),
    )


def broken(message: Any) -> Iterator[tuple[tuple[str | int, ...], str, bool]]:
    """
    Yield the rules that a message, not those in it, breaks.

    Each as the path from the message on, what is wrong, and whether that is
    something missing.
    """
    rules = rules_of(message.DESCRIPTOR)
    for name in rules.oneofs:
        if message.WhichOneof(name) is None:
            oneof = message.DESCRIPTOR.oneofs_by_name[name]
            names = ", ".join(each.name for each in oneof.fields)
            yield (), f"one of {names} is required", True
    for each in rules.fields:
        yield from _broken_field(message, each)


def _broken_field(message: Any, rules: FieldRules) -> Iterator[tuple[tuple[str | int, ...], str, bool]]:
    descriptor = rules.field
    name = descriptor.name
    if descriptor.is_repeated:
        yield from _broken_items(getattr(message, name), name, rules)
        return
    if descriptor.has_presence and not message.HasField(name):
        # In a oneof another member may be what is given.
        if rules.required and descriptor.containing_oneof is None:
            yield (name,), "value is required", True
        return
    value = getattr(message, name)
    for check in rules.checks:
        wrong = check(value)
        if wrong:
            # A scalar of proto3 is never absent: the empty string is what was not given.
            yield (name,), wrong, not descriptor.has_presence and not value
            return


def _broken_items(
    target: Any, name: str, rules: FieldRules
) -> Iterator[tuple[tuple[str | int, ...], str, bool]]:
    for check in rules.checks:
        wrong = check(target)
        if wrong:
            yield (name,), wrong, not target
    if is_map(rules.field):
        for key in target:
            for wrong in (*_wrong(rules.keys, key), *_wrong(rules.values, target[key])):
                yield (name, key), wrong, False
        return
    if rules.items:
        for number, item in enumerate(target):
            for wrong in _wrong(rules.items, item):
                yield (name, number), wrong, False


def _wrong(checks: tuple[Check, ...], value: Any) -> Iterator[str]:
    for check in checks:
        text = check(value)
        if text:
            yield text
            return


# From the rules to the checks.


def _read(descriptor: FieldDescriptor, rules: Any) -> FieldRules:
    kind = rules.WhichOneof("type")
    chosen: Any = getattr(rules, kind) if kind else None
    required = rules.message.required
    if kind in ("any", "duration", "timestamp"):
        required = required or chosen.required
    if kind == "repeated":
        return FieldRules(
            descriptor,
            checks=tuple(_sizes(chosen, "item")) + ((_unique,) if chosen.unique else ()),
            items=tuple(_checks(chosen.items, descriptor)),
            skip=chosen.items.message.skip,
        )
    if kind == "map":
        entry: Any = descriptor.message_type
        return FieldRules(
            descriptor,
            checks=tuple(_sizes(chosen, "pair")),
            keys=tuple(_checks(chosen.keys, entry.fields_by_name["key"])),
            values=tuple(_checks(chosen.values, entry.fields_by_name["value"])),
            skip=chosen.values.message.skip,
        )
    return FieldRules(descriptor, required, tuple(_checks(rules, descriptor)), skip=rules.message.skip)


def _checks(rules: Any, descriptor: FieldDescriptor) -> Iterator[Check]:
    kind = rules.WhichOneof("type")
    if kind is None:
        return
    chosen = getattr(rules, kind)
    checks = list(_of_kind(kind, chosen, descriptor))
    message = descriptor.message_type
    if message is not None and message.full_name.endswith("Value") and kind not in ("any", "repeated", "map"):
        checks = [_unwrapped(check) for check in checks]
    if "ignore_empty" in chosen.DESCRIPTOR.fields_by_name and chosen.ignore_empty:
        checks = [_unless_empty(check) for check in checks]
    yield from checks


def _of_kind(kind: str, rules: Any, descriptor: FieldDescriptor) -> Iterator[Check]:
    if kind in _NUMBERS:
        yield from _ordered(rules, lambda value: value, str)
    elif kind == "duration":
        yield from _ordered(rules, _nanoseconds, _seconds_text)
    elif kind == "timestamp":
        yield from _ordered(rules, _nanoseconds, lambda value: value.ToJsonString())
    elif kind == "bool":
        if rules.HasField("const"):
            yield _equal(rules.const, str(rules.const).lower())
    elif kind == "enum":
        yield from _enum(rules, descriptor)
    elif kind == "any":
        yield from _members(rules, lambda value: value.type_url)
    elif kind in ("string", "bytes"):
        yield from _text(rules, kind)


def _ordered(rules: Any, measure: Callable[[Any], Any], show: Callable[[Any], str]) -> Iterator[Check]:
    """Yield the checks of what can be compared: const, in, and ranges."""
    if rules.HasField("const"):
        yield _test(
            lambda value: measure(value) == measure(rules.const), f"value must equal {show(rules.const)}"
        )
    low, high = _bound(rules, "gt", "gte"), _bound(rules, "lt", "lte")
    if low or high:
        yield _range(low, high, measure, show)
    if "in" in rules.DESCRIPTOR.fields_by_name:
        yield from _members(rules, measure, measure)


def _bound(rules: Any, strict: str, equal: str) -> tuple[Any, bool] | None:
    """Return a bound, and whether it is itself allowed."""
    if rules.HasField(strict):
        return getattr(rules, strict), False
    return (getattr(rules, equal), True) if rules.HasField(equal) else None


def _range(
    low: tuple[Any, bool] | None,
    high: tuple[Any, bool] | None,
    measure: Callable[[Any], Any],
    show: Callable[[Any], str],
) -> Check:
    def above(value: Any) -> bool:
        return (
            low is None or measure(value) > measure(low[0]) or (low[1] and measure(value) == measure(low[0]))
        )

    def below(value: Any) -> bool:
        return (
            high is None
            or measure(value) < measure(high[0])
            or (high[1] and measure(value) == measure(high[0]))
        )

    if low is None and high is not None:
        equal = "or equal to " if high[1] else ""
        return _test(below, f"value must be less than {equal}{show(high[0])}")
    if high is None and low is not None:
        equal = "or equal to " if low[1] else ""
        return _test(above, f"value must be greater than {equal}{show(low[0])}")
    assert low is not None and high is not None
    text = f"{'[' if low[1] else '('}{show(low[0])}, {show(high[0])}{']' if high[1] else ')'}"
    if measure(low[0]) > measure(high[0]):
        return _test(lambda value: above(value) or below(value), f"value must be outside range {text}")
    return _test(lambda value: above(value) and below(value), f"value must be inside range {text}")


def _members(
    rules: Any, measure: Callable[[Any], Any], listed: Callable[[Any], Any] = lambda value: value
) -> Iterator[Check]:
    allowed = [listed(each) for each in getattr(rules, "in")]
    refused = [listed(each) for each in rules.not_in]
    if allowed:
        shown = ", ".join(map(str, allowed))
        yield _test(lambda value: measure(value) in allowed, f"value must be in list [{shown}]")
    if refused:
        shown = ", ".join(map(str, refused))
        yield _test(lambda value: measure(value) not in refused, f"value must not be in list [{shown}]")


def _enum(rules: Any, descriptor: FieldDescriptor) -> Iterator[Check]:
    if rules.HasField("const"):
        yield _equal(rules.const, str(rules.const))
    if rules.defined_only:
        enum: Any = descriptor.enum_type
        known = frozenset(enum.values_by_number)
        yield _test(lambda value: value in known, "value must be one of the defined enum values")
    yield from _members(rules, lambda value: value)


def _text(rules: Any, kind: str) -> Iterator[Check]:
    unit = "characters" if kind == "string" else "bytes"
    if rules.HasField("const"):
        yield _equal(rules.const, repr(rules.const))
    yield from _lengths(rules, "", unit, len)
    if kind == "string":
        yield from _lengths(rules, "bytes", "bytes", lambda value: len(value.encode()))
    if rules.HasField("pattern"):
        pattern: Any = rules.pattern if kind == "string" else rules.pattern.encode()
        match = re.compile(pattern)
        yield _test(
            lambda value: match.search(value), f'value does not match regex pattern "{rules.pattern}"'
        )
    for name, holds in _CONTAINS.items():
        if name in rules.DESCRIPTOR.fields_by_name and rules.HasField(name):
            wanted = getattr(rules, name)
            yield _test(partial(_has_part, holds, wanted), f"value does not have {name} {wanted!r}")
    yield from _members(rules, lambda value: value)
    yield from _well_known(rules)


_CONTAINS: dict[str, Callable[[Any, Any], bool]] = {
    "prefix": lambda value, part: value.startswith(part),
    "suffix": lambda value, part: value.endswith(part),
    "contains": lambda value, part: part in value,
    "not_contains": lambda value, part: part not in value,
}


def _has_part(holds: Callable[[Any, Any], bool], part: Any, value: Any) -> bool:
    return holds(value, part)


def _lengths(rules: Any, suffix: str, unit: str, length: Callable[[Any], int]) -> Iterator[Check]:
    for word, holds, text in _LENGTHS:
        name = f"{word}_{suffix or 'len'}" if word != "len" else f"len_{suffix}".rstrip("_")
        if name in rules.DESCRIPTOR.fields_by_name and rules.HasField(name):
            limit = getattr(rules, name)
            yield _test(partial(_long, holds, length, limit), f"value length must be {text}{limit} {unit}")


_LENGTHS: tuple[tuple[str, Callable[[int, int], bool], str], ...] = (
    ("len", operator.eq, ""),
    ("min", operator.ge, "at least "),
    ("max", operator.le, "at most "),
)


def _long(holds: Callable[[int, int], bool], length: Callable[[Any], int], limit: int, value: Any) -> bool:
    return holds(length(value), limit)


def _sizes(rules: Any, unit: str) -> Iterator[Check]:
    least, most = getattr(rules, f"min_{unit}s"), getattr(rules, f"max_{unit}s")
    checks = []
    if least:
        checks.append(
            _test(lambda value: len(value) >= least, f"value must contain at least {least} {unit}(s)")
        )
    if most:
        checks.append(
            _test(lambda value: len(value) <= most, f"value must contain no more than {most} {unit}(s)")
        )
    yield from (_unless_empty(each) for each in checks) if rules.ignore_empty else checks


def _well_known(rules: Any) -> Iterator[Check]:
    kind = rules.WhichOneof("well_known")
    if kind is None:
        return
    if kind == "well_known_regex":
        is_name = rules.well_known_regex == validate_pb2.HTTP_HEADER_NAME
        pattern = _LAX_HEADER if not rules.strict else _HEADER_NAME if is_name else _HEADER_VALUE
        what = "name" if is_name else "value"
        yield _test(pattern.match, f"value is not a valid HTTP header {what}")
        return
    holds, text = _KNOWN[kind]
    yield _test(holds, f"value must be a valid {text}")


def _is_address(value: Any, version: int | None = None) -> bool:
    try:
        found = ipaddress.ip_address(value)
    except ValueError:
        return False
    return version is None or found.version == version


def _is_hostname(value: str) -> bool:
    name = value.removesuffix(".")
    return len(name) <= 253 and all(_LABEL.match(label) for label in name.split("."))


def _is_uri(value: str, absolute: bool = True) -> bool:
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return not re.search(r"[\s<>\"\\^`{|}]", value) and (bool(parts.scheme) or not absolute)


def _is_email(value: str) -> bool:
    local, at, domain = value.rpartition("@")
    return bool(at) and 0 < len(local) <= 64 and len(value) <= 254 and _is_hostname(domain)


_KNOWN: dict[str, tuple[Callable[[Any], Any], str]] = {
    "email": (_is_email, "email address"),
    "hostname": (_is_hostname, "hostname"),
    "ip": (_is_address, "IP address"),
    "ipv4": (lambda value: _is_address(value, 4), "IPv4 address"),
    "ipv6": (lambda value: _is_address(value, 6), "IPv6 address"),
    "uri": (_is_uri, "URI"),
    "uri_ref": (lambda value: _is_uri(value, absolute=False), "URI"),
    "address": (lambda value: _is_address(value) or _is_hostname(value), "hostname or IP address"),
    "uuid": (_UUID.match, "UUID"),
}


def _test(holds: Callable[[Any], Any], text: str) -> Check:
    return lambda value: None if holds(value) else text


def _equal(wanted: Any, shown: str) -> Check:
    return _test(lambda value: value == wanted, f"value must equal {shown}")


def _unwrapped(check: Check) -> Check:
    return lambda value: check(value.value)


def _unless_empty(check: Check) -> Check:
    return lambda value: check(value) if value else None


def _unique(target: Any) -> str | None:
    seen = [each.SerializeToString() if hasattr(each, "SerializeToString") else each for each in target]
    return None if len(set(seen)) == len(seen) else "repeated value must contain unique items"


def _nanoseconds(value: Any) -> int:
    return int(value.seconds) * 10**9 + int(value.nanos)


def _seconds_text(value: Any) -> str:
    return str(value.ToJsonString())
