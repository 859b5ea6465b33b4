"""Cuts protobuf messages to a FieldMask, and takes out of them what is secret."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import DecodeError
from udpa.annotations.sensitive_pb2 import sensitive

REDACTED = "[redacted]"
ANY = "google.protobuf.Any"
#: TypedStructs carry the message that they stand for as a Struct.
TYPED_STRUCTS = ("xds.type.v3.TypedStruct", "udpa.type.v1.TypedStruct")


def trim(message: Any, paths: Sequence[str]) -> bool:
    """Leave of message what the paths name; return False, and leave it alone, if one cannot be followed."""
    if not paths:
        return True
    mask = FieldMask(paths=paths)
    if not all(_passable(message.DESCRIPTOR, path) for path in paths):
        return False
    kept = type(message)()
    mask.MergeMessage(message, kept)
    message.CopyFrom(kept)
    return True


def _passable(descriptor: Any, path: str) -> bool:
    """Return whether path leads somewhere, and not through a repeated field."""
    parts = path.split(".")
    for depth, part in enumerate(parts):
        field = descriptor.fields_by_name.get(part) if descriptor is not None else None
        if field is None or (field.is_repeated and depth < len(parts) - 1):
            return False
        descriptor = field.message_type
    return True


def trim_resource(message: Any, paths: Sequence[str]) -> bool:
    """Like trim; the paths may go on inside one Any of the message, as in "cluster.name"."""
    outer: list[str] = []
    inner: list[str] = []
    through = None
    for path in paths:
        first, _, rest = path.partition(".")
        field = message.DESCRIPTOR.fields_by_name.get(first)
        is_any = field is not None and field.message_type is not None and field.message_type.full_name == ANY
        if not is_any or field.is_repeated or not rest:
            outer.append(path)
            continue
        if through not in (None, first):
            return False
        through = first
        inner.append(rest)
    if through is not None:
        packed = getattr(message, through)
        unpacked = unpack(packed)
        if unpacked is None or not trim(unpacked, inner):
            return False
        packed.Pack(unpacked)
        outer.append(through)
    return trim(message, outer)


def unpack(packed: Any) -> Any:
    """Return the message in an Any; None if its type is not known or its bytes are not of it."""
    descriptor = _descriptor(packed.type_url)
    if descriptor is None:
        return None
    made = message_factory.GetMessageClass(descriptor)()
    try:
        made.ParseFromString(packed.value)
    except DecodeError:
        return None
    return made


def redact(message: Any) -> None:
    """Replace each value that its .proto file marks as sensitive, also inside of Any and TypedStruct."""
    _redact(message, False)


def _redact(message: Any, secret: bool) -> None:
    name = message.DESCRIPTOR.full_name
    if name == ANY:
        _redact_any(message, secret)
        return
    if name in TYPED_STRUCTS:
        _redact_struct(message.value, _descriptor(message.type_url), secret)
        return
    for field, value in message.ListFields():
        hidden = secret or _is_secret(field)
        if _is_map(field):
            _redact_map(value, field.message_type.fields_by_name["value"], hidden)
        elif field.message_type is not None:
            for each in value if field.is_repeated else (value,):
                _redact(each, hidden)
        elif hidden:
            _redact_plain(message, field)


def _is_secret(field: Any) -> bool:
    return bool(field.GetOptions().Extensions[sensitive])


def _is_map(field: Any) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _redact_any(packed: Any, secret: bool) -> None:
    unpacked = unpack(packed)
    if unpacked is None:
        # What is in it cannot be told: better nothing than a secret.
        if secret:
            packed.Clear()
        return
    _redact(unpacked, secret)
    packed.Pack(unpacked)


def _redact_map(values: Any, field: Any, hidden: bool) -> None:
    for key in list(values):
        if field.message_type is not None:
            _redact(values[key], hidden)
        elif hidden:
            values[key] = _hidden(field)


def _redact_plain(message: Any, field: Any) -> None:
    if field.is_repeated:
        values = getattr(message, field.name)
        values[:] = [_hidden(field)] * len(values)
    else:
        setattr(message, field.name, _hidden(field))


def _hidden(field: Any) -> Any:
    if field.type == field.TYPE_BYTES:
        return REDACTED.encode()
    return REDACTED if field.type == field.TYPE_STRING else field.default_value


def _descriptor(type_url: str) -> Any:
    try:
        return descriptor_pool.Default().FindMessageTypeByName(type_url.rpartition("/")[2])
    except KeyError:
        return None


def _redact_struct(struct: Any, descriptor: Any, secret: bool) -> None:
    """Redact a Struct that has the JSON form of descriptor's message (None: of one not known)."""
    names = {} if descriptor is None else {field.json_name: field for field in descriptor.fields}
    for name in list(struct.fields):
        field = names.get(name) or (descriptor.fields_by_name.get(name) if descriptor is not None else None)
        hidden = secret or (field is not None and _is_secret(field))
        inner = field.message_type if field is not None and not _is_map(field) else None
        _redact_value(struct.fields[name], inner, hidden)


def _redact_value(value: Any, descriptor: Any, secret: bool) -> None:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        fields = value.struct_value.fields
        if descriptor is not None and descriptor.full_name == ANY and "@type" in fields:
            descriptor = _descriptor(fields["@type"].string_value)
            kept = fields["@type"].string_value
            _redact_struct(value.struct_value, descriptor, secret)
            fields["@type"].string_value = kept
            return
        _redact_struct(value.struct_value, descriptor, secret)
    elif kind == "list_value":
        for each in value.list_value.values:
            _redact_value(each, descriptor, secret)
    elif secret and kind is not None:
        value.string_value = REDACTED
