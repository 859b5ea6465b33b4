"""
Writes docs/supported.rst: what meshd serves of Envoy's config.

It is made from the very tables that the check of a config uses, so that it
cannot promise what is then refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from meshd.config.served import CORE, EXTENSIONS, TYPES, VALUES
from meshd.config.types import message_class
from meshd.config.unpack import KINDS, is_message, plugin_type

_INTRODUCTION = """\
.. This file is generated; edit meshd/config/supported.py or what the plugins say they serve.

What is supported
=================

meshd reads Envoy's v3 bootstrap. A field that is set and not listed here is an error that names the
field and its line; with ``--allow-unserved`` it is a warning. Of a message that is not listed every
field is served. A name with a dot is a field of a message within: ``weighted_clusters.clusters``.
"""


def supported(plugins: Any) -> str:
    """Return the text of docs/supported.rst for the core and the plugins that were found."""
    return "\n".join([_INTRODUCTION, *_plugins(plugins), *_core()])


def _heading(text: str, underline: str) -> Iterator[str]:
    yield from (text, underline * len(text), "")


def _plugins(plugins: Any) -> Iterator[str]:
    for kind, title in KINDS.items():
        found = getattr(plugins, kind)
        yield from _heading(f"{title.capitalize()}s", "-")
        for name in sorted(found):
            plugin = found[name]
            yield from _heading(name, "~")
            yield f"Config: ``{plugin_type(plugin)}``" + (
                "" if is_message(plugin.config) else " (an attrs class)"
            )
            yield ""
            if is_message(plugin.config):
                yield from _fields(plugin.serves, plugin.config.DESCRIPTOR.fields_by_name)
            else:
                names = [each.alias for each in attrs.fields(plugin.config) if each.init]
                yield from _fields(plugin.serves or names, names)


def _fields(served: Sequence[str], known: Any) -> Iterator[str]:
    if served:
        yield "Served: " + ", ".join(f"``{name}``" for name in sorted(served)) + "."
        yield ""
    tops = {name.partition(".")[0] for name in served}
    missing = sorted(name for name in known if name not in tops)
    if missing:
        yield "Not served: " + ", ".join(f"``{name}``" for name in missing) + "."
        yield ""


def _core() -> Iterator[str]:
    yield from _heading("The core", "-")
    for name in sorted({*CORE, *(container for container, _ in TYPES)}):
        yield from _heading(name, "~")
        cls = message_class(name)
        fields = cls.DESCRIPTOR.fields_by_name
        yield from _fields(CORE.get(name, tuple(fields)), fields)
        for (container, field), values in sorted(VALUES.items()):
            if container == name:
                yield f"Values of ``{field}``: " + ", ".join(f"``{value}``" for value in values) + "."
                yield ""
        for (container, field), types in sorted(TYPES.items()):
            if container == name:
                yield f"Messages in ``{field}``: " + ", ".join(f"``{each}``" for each in types) + "."
                yield ""
        if name in EXTENSIONS:
            yield f"Its ``typed_config`` is that of a {KINDS[EXTENSIONS[name]]}, see above."
            yield ""
