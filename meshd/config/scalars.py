"""
The values of single protobuf fields, as Envoy's JSON parser reads them.

Each function takes a Node's value and returns what the field takes, or
raises BadValue with what was expected.  All of it was tried on Envoy 1.40.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

from meshd.config.errors import did_you_mean

_WHOLE = re.compile(r"[+-]?[0-9]+\Z")
_HEX = re.compile(r"[+-]?0[xX][0-9a-fA-F]+\Z")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\Z")
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)\Z", re.IGNORECASE)
_DURATION = re.compile(r"(-?)([0-9]{1,12})(?:\.([0-9]{1,9}))?s\Z")
_BOOLS = {
    **dict.fromkeys(("true", "t", "yes", "y", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "0"), False),
}
#: The longest duration that protobuf knows, in seconds: 10,000 years.
LONGEST = 315_576_000_000


class BadValue(Exception):
    """A value that the field does not take; the text says what it takes."""


def whole(value: Any, low: int, high: int) -> int:
    """Read an integer of low..high: a number, or a string of one, hexadecimal or without a fraction."""
    number: int | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str) and len(value) <= 64:
        if _WHOLE.match(value):
            number = int(value)
        elif _HEX.match(value):
            number = int(value, 16)
        elif _DECIMAL.match(value):
            fraction = float(value)
            if abs(fraction) < 2.0**64 and fraction.is_integer():
                number = int(fraction)
    if number is None:
        raise BadValue("expected a whole number")
    if not low <= number <= high:
        raise BadValue(f"expected a whole number of {low} to {high}")
    return number


def number(value: Any) -> float:
    """Read a floating-point number: a number, or a string of one."""
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str):
        if _DECIMAL.match(value) or _NOT_FINITE.match(value):
            return float(value)
        if _HEX.match(value):
            return float(int(value, 16))
    raise BadValue("expected a number")


def boolean(value: Any) -> bool:
    """Read a bool: true or false, or a string of one."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _BOOLS:
        return _BOOLS[value.lower()]
    raise BadValue("expected true or false")


def text(value: Any) -> str:
    """Read a string; numbers and bools are none."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise BadValue("expected a string of Unicode characters") from None
        return value
    raise BadValue("expected a string" + (" (put it in quotes)" if isinstance(value, (bool, int)) else ""))


def octets(value: Any) -> bytes:
    """Read bytes, given in base64 of either alphabet, padded or not."""
    if isinstance(value, str):
        standard = value.replace("-", "+").replace("_", "/").rstrip("=")
        try:
            return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
        except (binascii.Error, ValueError):
            pass
    raise BadValue("expected bytes in base64")


def enumeration(value: Any, enum: EnumDescriptor) -> int:
    """Read an enum: a name in any case, or a number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        found = enum.values_by_name.get(value) or enum.values_by_name.get(value.upper())
        if found is None:
            found = next((each for each in enum.values if each.name.lower() == value.lower()), None)
        if found is not None:
            return int(found.number)
        if _WHOLE.match(value) and len(value) < 10:
            return int(value)
        names = [each.name for each in enum.values]
        raise BadValue(f"expected one of {', '.join(names)}" + did_you_mean(value, names))
    raise BadValue(f"expected one of {', '.join(each.name for each in enum.values)}")


def duration(value: Any) -> tuple[int, int]:
    """Read a duration such as "0.25s" to seconds and nanoseconds."""
    match = _DURATION.match(value) if isinstance(value, str) else None
    if not match:
        raise BadValue('expected a duration in seconds, such as "1s" or "0.25s"')
    sign = -1 if match[1] else 1
    seconds = int(match[2])
    if seconds > LONGEST:
        raise BadValue(f"expected a duration of {LONGEST}s at most")
    return sign * seconds, sign * int((match[3] or "").ljust(9, "0"))


_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


def field_value(value: Any, field: FieldDescriptor) -> Any:
    """Read what a field that is no message takes; raise BadValue."""
    kind = field.cpp_type
    if kind in _RANGES:
        return whole(value, *_RANGES[kind])
    if kind == FieldDescriptor.CPPTYPE_STRING:
        return octets(value) if field.type == FieldDescriptor.TYPE_BYTES else text(value)
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return boolean(value)
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        enum: Any = field.enum_type
        return enumeration(value, enum)
    return number(value)
