"""What operators of access logs make of addresses, metadata and filter state, and how values look as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address, ip_network
from math import isfinite
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from meshd.interfaces import SocketAddress
from meshd.observe.readout import shortest
from meshd.plugin import ConfigError

Getter = Callable[[Any], Any]


def json_text(value: Any) -> str:
    """Return value as compact JSON: keys sorted, numbers as short as they can be."""
    if value is None or isinstance(value, (str, bool)):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        # JSON has no numbers that are none.
        return shortest(value) if isfinite(value) else "null"
    if isinstance(value, Mapping):
        inner = (f"{json_text(str(key))}:{json_text(value[key])}" for key in sorted(value, key=str))
        return "{" + ",".join(inner) + "}"
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return "[" + ",".join(map(json_text, value)) + "]"
    return json_text(plain(value))


def plain(value: Any) -> Any:
    """Return an object of any kind as what JSON has."""
    if isinstance(value, Message):
        return MessageToDict(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)


def text_of(value: Any) -> str:
    """Return a value as it looks among text: strings as they are, all others as JSON."""
    return value if isinstance(value, str) else json_text(value)


# Addresses.


def address_text(address: SocketAddress | None) -> str | None:
    """Return 1.2.3.4:80, [::1]:80 or the path of a unix socket."""
    if address is None or isinstance(address, str):
        return address
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def address_host(address: SocketAddress | None) -> str | None:
    """Return the IP address alone, or the path of a unix socket."""
    return address if address is None or isinstance(address, str) else address[0]


def address_port(address: SocketAddress | None) -> int | None:
    """Return the port; a unix socket has none."""
    return None if address is None or isinstance(address, str) else address[1]


def masked(parameter: str) -> Callable[[SocketAddress | None], str | None]:
    """Return what writes the network of so many bits that an address is in; raise ConfigError."""
    if not parameter.isascii() or not parameter.isdigit() or int(parameter) > 128:
        raise ConfigError(f"Invalid mask '{parameter}': it is the number of bits, from 0 to 128")
    bits = int(parameter)

    def network(address: SocketAddress | None) -> str | None:
        if address is None or isinstance(address, str):
            return None
        try:
            ip = ip_address(address[0].partition("%")[0])
        except ValueError:
            return None
        if bits > ip.max_prefixlen:
            return None
        return str(ip_network((ip, bits), strict=False))

    return network


def without_port(name: str) -> str:
    """Return a host name without the port that may be at its end."""
    host, colon, port = name.rpartition(":")
    return host if colon and port.isdigit() else name


# Metadata and filter state.


def metadata_path(parameter: str) -> tuple[str, ...]:
    """Return "namespace:key:key" taken apart."""
    return tuple(parameter.split(":"))


def metadata_at(metadata: Any, path: Sequence[str]) -> Any:
    """
    Return the value at path in metadata, None if there is none.

    metadata is a mapping by namespace, or a protobuf Metadata message.
    """
    if metadata is None:
        return None
    if isinstance(metadata, Message):
        metadata = MessageToDict(metadata).get("filterMetadata", {})
    for key in path:
        if not isinstance(metadata, Mapping) or key not in metadata:
            return None
        metadata = metadata[key]
    return metadata


def cut(length: int | None) -> Callable[[Any], Any]:
    """Return what cuts strings to length; other values stay as they are."""
    if length is None:
        return lambda value: value
    return lambda value: value[:length] if isinstance(value, str) else value


def filter_state(parameter: str | None) -> tuple[str, Callable[[Any], Any], bool]:
    """
    Read KEY[:PLAIN|TYPED|FIELD:NAME].

    Return the key, what makes the value of an object, and whether it is JSON in
    text, too.  Raise ConfigError.
    """
    key, _, rest = (parameter or "").partition(":")
    if not key:
        raise ConfigError("Invalid filter state configuration, key cannot be empty.")
    kind, colon, field = rest.partition(":")
    if kind not in ("", "PLAIN", "TYPED", "FIELD"):
        raise ConfigError("Invalid filter state serialize type, only support PLAIN/TYPED/FIELD.")
    if kind == "FIELD":
        if not colon or not field:
            raise ConfigError(
                "Invalid filter state serialize type, FIELD should be used with the field name."
            )
        return key, lambda found: _field(found, field), False
    if kind == "PLAIN":
        return key, lambda found: found if isinstance(found, str) else str(plain(found)), False
    return key, _typed, True


def _field(found: Any, field: str) -> Any:
    if isinstance(found, Mapping):
        return found.get(field)
    return None if isinstance(found, str) else getattr(found, field, None)


def _typed(found: Any) -> Any:
    if found is None or isinstance(found, (str, int, float, list, tuple, Mapping)):
        return found
    return plain(found)
