"""
The message types that a config may name by ``@type``.

The modules of xds-protos are imported when a type of theirs is first named,
so that a small config pays for what it uses only.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor

from meshd.config.errors import did_you_mean

#: The packages of xds-protos; no other module is imported because a config names it.
ROOTS = ("envoy", "udpa", "xds", "google")

TYPED_STRUCTS = frozenset(("xds.type.v3.TypedStruct", "udpa.type.v1.TypedStruct"))


def message_class(name: str) -> Any:
    """Return the class of the message of that full name, None if it is not known."""
    descriptor = _descriptor(name)
    return None if descriptor is None else message_factory.GetMessageClass(descriptor)


@cache
def _descriptor(name: str) -> Descriptor | None:
    pool: Any = descriptor_pool.Default()
    try:
        return pool.FindMessageTypeByName(name)  # type: ignore[no-any-return]
    except KeyError:
        pass
    package = [part for part in name.split(".") if part[:1].islower()]
    if not package or package[0] not in ROOTS or not all(part.isidentifier() for part in package):
        return None
    _import_package(".".join(package))
    try:
        return pool.FindMessageTypeByName(name)  # type: ignore[no-any-return]
    except KeyError:
        return None


def _import_package(name: str) -> None:
    try:
        package = importlib.import_module(name)
    except ImportError:
        return
    for module in pkgutil.iter_modules(getattr(package, "__path__", ())):
        if module.name.endswith("_pb2"):
            importlib.import_module(f"{name}.{module.name}")


def near_type(name: str) -> str:
    """Return "; did you mean ...?" for a message type that is not known."""
    last = name.rsplit(".", 1)[-1]
    # The messages of v2 are there too, and no longer of use.
    names = [each for each in _all_names() if ".v2" not in each]
    same_last = [each for each in names if each.rsplit(".", 1)[-1].lower() == last.lower()]
    return did_you_mean(name, same_last) or did_you_mean(name, names)


@cache
def _all_names() -> tuple[str, ...]:
    """Import all of xds-protos (a second) to learn the names; wanted for an error only."""
    names: set[str] = set()
    pool: Any = descriptor_pool.Default()
    for root in ("envoy", "udpa", "xds"):
        path = importlib.import_module(root).__path__
        for module in pkgutil.walk_packages(path, f"{root}."):
            if module.name.endswith("_pb2"):
                file = importlib.import_module(module.name).DESCRIPTOR.name
                names.update(
                    pool.FindFileByName(file).message_types_by_name[each].full_name
                    for each in pool.FindFileByName(file).message_types_by_name
                )
    return tuple(sorted(names))
