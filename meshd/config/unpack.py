"""
From the extensions that a config names to the plugins, and to what those are configured with.

An extension is a message with a name and a typed_config: a network filter, a
listener filter, a transport socket.  As in Envoy the type of typed_config says
which plugin is meant, and the name is free; only without a typed_config is it
the name that says so.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message

from meshd.config.errors import Report, did_you_mean
from meshd.config.lenient import read_plain
from meshd.config.records import read_record
from meshd.config.types import TYPED_STRUCTS, message_class
from meshd.plugin import ConfigError

KINDS = {
    "network": "network filter",
    "listener": "listener filter",
    "transport_socket": "transport socket",
}
#: Where a name alone says which transport socket is meant: that it is for a cluster (meshd.discover).
UPSTREAM_SOCKET = "upstream_transport_socket"


def kind_text(kind: str) -> str:
    """Return what messages call a kind of plugin."""
    return KINDS["transport_socket" if kind == UPSTREAM_SOCKET else kind]


def type_name(url: str) -> str:
    """Return the name of the message type that a type URL names."""
    return url.rsplit("/", 1)[-1]


def open_any(packed: Any) -> Message | None:
    """
    Return the message in an Any, None if it is empty or of a type that is not known.

    A TypedStruct that stands for a known message is returned as that message.
    """
    cls = message_class(type_name(packed.type_url)) if packed.type_url else None
    if cls is None:
        return None
    message: Any = cls()
    try:
        message.ParseFromString(packed.value)
    except DecodeError:
        return None
    if message.DESCRIPTOR.full_name not in TYPED_STRUCTS:
        return message  # type: ignore[no-any-return]
    meant = message_class(type_name(message.type_url))
    if meant is None:
        return message  # type: ignore[no-any-return]
    inner: Any = meant()
    read_plain(json_format.MessageToDict(message.value), inner, Report())
    return inner  # type: ignore[no-any-return]


def meant_type(extension: Any) -> str:
    """Return the type that typed_config is of, also where it is a TypedStruct; empty if there is none."""
    return packed_type(extension.typed_config)


def packed_type(packed: Any) -> str:
    """Return the type that an Any is of, also where that is a TypedStruct; empty if there is none."""
    name = type_name(packed.type_url)
    if name not in TYPED_STRUCTS:
        return name
    struct: Any = message_class(name)()
    try:
        struct.ParseFromString(packed.value)
    except DecodeError:
        return name
    return type_name(struct.type_url)


def find(plugins: Any, kind: str, extension: Any) -> Any:
    """
    Return the plugin of kind ("network", "listener" or "transport_socket") that an extension means.

    Raise ConfigError if there is none.
    """
    wanted = meant_type(extension)
    plugin = plugins.by_type(kind, wanted) if wanted else plugins.by_name(kind, extension.name)
    if plugin is not None:
        return plugin
    known = plugins.of_kind(kind)
    if wanted:
        names = [plugin_type(each) for each in known.values()]
        raise ConfigError(_not_found(plugins, kind, wanted, names), "typed_config", "@type")
    raise ConfigError(_not_found(plugins, kind, extension.name, list(known)), "name")


def plugin_type(plugin: Any) -> str:
    """Return the type that names the plugin: the full name of its message, or its own name."""
    return str(plugin.config.DESCRIPTOR.full_name if is_message(plugin.config) else plugin.name)


def is_message(config: Any) -> bool:
    """Whether a plugin's config class is a protobuf message (else it is an attrs class)."""
    return isinstance(config, type) and issubclass(config, Message)


def _not_found(plugins: Any, kind: str, name: str, names: list[str]) -> str:
    text = f"meshd has no {kind_text(kind)} {name!r}{did_you_mean(name, names)}"
    if plugins.failed:
        text += "; these plugins failed to import: " + ", ".join(
            f"{module} ({why})" for module, why in plugins.failed
        )
    return text


def unpack(plugins: Any, kind: str, extension: Any) -> tuple[Any, Any]:
    """
    Return the plugin that an extension means, and its config.

    The config is a protobuf message, or an instance of the plugin's attrs
    class.  Raise ConfigError, whose path is from the extension on.
    """
    plugin = find(plugins, kind, extension)
    packed = extension.typed_config
    if is_message(plugin.config):
        if not packed.type_url:
            return plugin, plugin.config()
        message = open_any(packed)
        if not isinstance(message, plugin.config):
            raise ConfigError(f"cannot be read as {plugin_type(plugin)}", "typed_config")
        return plugin, message
    try:
        return plugin, read_record(plugin.config, _struct(packed))
    except ConfigError as error:
        raise error.under("typed_config") from None


def open_record(packed: Any, name: str, cls: type[Any]) -> Any:
    """Return what the TypedStruct of type name in an Any says, as an instance of the attrs class cls."""
    extension = _Extension(packed)
    if meant_type(extension) != name:
        raise ConfigError(f"meshd serves {name} here, not {meant_type(extension) or 'nothing'}", "@type")
    return read_record(cls, _struct(packed))


class _Extension:
    """An Any as a typed_config."""

    def __init__(self, packed: Any) -> None:
        self.typed_config = packed


def _struct(packed: Any) -> dict[str, Any]:
    """Return what the TypedStruct in an Any holds."""
    message: Any = open_any(packed)
    if message is None or not packed.type_url:
        return {}
    return dict(json_format.MessageToDict(message.value))
