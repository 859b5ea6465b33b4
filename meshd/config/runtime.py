"""
The runtime: values that an operator changes while meshd runs.

They come in layers, of which the last that has a key decides: static layers from
the config, disk layers (a directory reached through a symbolic link, each file of
which is a key), and the admin layer, which the admin page changes.  A disk layer
is read anew when its link is moved, which is how files are swapped all at once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

import yaml
from google.protobuf.json_format import MessageToDict
from zope.interface import implementer

from meshd.config.plain import fraction as fraction_of
from meshd.interfaces import IRuntime, IScope, ITimers
from meshd.plugin import ConfigError

#: Seconds between two looks at the links of disk layers.
POLL_INTERVAL = 1.0

_DENOMINATORS = {"HUNDRED": 100, "TEN_THOUSAND": 10_000, "MILLION": 1_000_000}

#: A key's values by the names of the layers that have it, and the one that counts.
Entry = tuple[Mapping[str, str], str]


class NoAdminLayer(Exception):
    """There is no layer that could be changed."""

    def __init__(self) -> None:
        super().__init__("No admin layer specified")


class _Layer:
    """One layer; load() reads it again, and says whether it is there."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.values: dict[str, str] = {}

    def load(self) -> bool:
        """Read it again: there is nothing to read."""
        return True

    def moved(self) -> bool:
        """Return whether it has to be read again."""
        return False


class _DiskLayer(_Layer):
    """The files below a directory."""

    def __init__(self, name: str, root: str, subdirectory: str, override: bool) -> None:
        super().__init__(name)
        #: Whether it is the layer of this service cluster only.
        self.override = override
        self._root = root
        self._directory = os.path.join(root, subdirectory) if subdirectory else root
        self._seen = self._target()

    def _target(self) -> str:
        return os.path.realpath(self._root)

    def load(self) -> bool:
        """Read all files; raise OSError if that cannot be done."""
        self._seen = self._target()
        if not os.path.isdir(self._directory):
            self.values = {}
            return False
        values: dict[str, str] = {}
        self._walk(self._directory, "", values, 0)
        self.values = values
        return True

    def _walk(self, directory: str, prefix: str, values: dict[str, str], depth: int) -> None:
        # As in Envoy: a link that leads back to itself must not be followed for ever.
        if depth > 16:
            raise OSError(f"{directory} is nested too deep")
        for name in sorted(os.listdir(directory)):
            path = os.path.join(directory, name)
            if os.path.isdir(path):
                self._walk(path, f"{prefix}{name}.", values, depth + 1)
            else:
                with open(path, encoding="utf-8", errors="replace") as file:
                    lines = [line for line in file.read().splitlines() if not line.startswith("#")]
                values[prefix + name] = "\n".join(lines).rstrip()

    def moved(self) -> bool:
        return self._target() != self._seen


class _AdminLayer(_Layer):
    """What the admin page said."""


@implementer(IRuntime)
class Runtime:
    """
    The runtime of a LayeredRuntime message; without layers if there is none.

    stats is the root scope, for runtime.*; random throws the dice; service_cluster
    is --service-cluster, for the disk layers that want it.  Raise ConfigError.
    """

    def __init__(
        self,
        config: Any,
        stats: IScope,
        random: Callable[[], float] | None = None,
        service_cluster: str = "",
    ) -> None:
        scope = stats.scope("runtime")
        self._load_success = scope.counter("load_success")
        self._load_error = scope.counter("load_error")
        self._override_exists = scope.counter("override_dir_exists")
        self._override_absent = scope.counter("override_dir_not_exists")
        self._num_keys = scope.gauge("num_keys")
        self._num_layers = scope.gauge("num_layers")
        self._overrides = scope.gauge("admin_overrides_active")
        scope.counter("deprecated_feature_use")
        scope.gauge("deprecated_feature_seen_since_process_start")
        self._random = random or Random().random
        self._all = [] if config is None else _read_layers(config.layers, service_cluster)
        self._admin = next((layer for layer in self._all if isinstance(layer, _AdminLayer)), None)
        self._present: list[_Layer] = []
        self._values: dict[str, str] = {}
        self._load()

    def _load(self) -> None:
        present, failed = [], False
        for layer in self._all:
            try:
                if layer.load():
                    present.append(layer)
            except OSError:
                failed = True
        self._present = present
        self._merge()
        override = any(isinstance(layer, _DiskLayer) and layer.override for layer in present)
        (self._override_exists if override else self._override_absent).inc()
        (self._load_error if failed else self._load_success).inc()

    def _merge(self) -> None:
        self._values = {key: value for layer in self._present for key, value in layer.values.items()}
        self._num_keys.set(len(self._values))
        self._num_layers.set(len(self._present))
        self._overrides.set(1 if self._admin is not None and self._admin.values else 0)

    def watch(self, timers: ITimers) -> None:
        """Look from now on whether disk layers have moved."""
        if any(isinstance(layer, _DiskLayer) for layer in self._all):
            timers.call_later(POLL_INTERVAL, lambda: self._look(timers))

    def _look(self, timers: ITimers) -> None:
        if any(layer.moved() for layer in self._all):
            self._load()
        self.watch(timers)

    # IRuntime.

    def get(self, key: str) -> str | None:
        return self._values.get(key)

    def enabled(self, flag: Any) -> bool:
        default = flag.default_value.value if flag.HasField("default_value") else True
        value = self._values.get(flag.runtime_key) if flag.runtime_key else None
        return {"true": True, "false": False}.get((value or "").strip().lower(), bool(default))

    def sampled(self, fraction: Any) -> bool:
        value = self._values.get(fraction.runtime_key) if fraction.runtime_key else None
        share = None if value is None else _fraction_of(value)
        return self._random() < (fraction_of(fraction.default_value) if share is None else share)

    # The admin page.

    @property
    def layers(self) -> Sequence[str]:
        """The names of the layers, the one that decides last."""
        return [layer.name for layer in self._present]

    @property
    def modifiable(self) -> bool:
        """Whether there is an admin layer."""
        return self._admin is not None

    def entries(self) -> dict[str, Entry]:
        """Return each key, sorted, with its values by layer and the one that counts."""
        return {
            key: (
                {layer.name: layer.values[key] for layer in self._present if key in layer.values},
                self._values[key],
            )
            for key in sorted(self._values)
        }

    def modify(self, key: str, value: str) -> None:
        """Have the admin layer give key value, or nothing if that is empty; raise NoAdminLayer."""
        if self._admin is None:
            raise NoAdminLayer
        if value:
            self._admin.values[key] = value
        else:
            self._admin.values.pop(key, None)
        self._load()


def _read_layers(messages: Sequence[Any], service_cluster: str) -> list[_Layer]:
    layers: list[_Layer] = []
    for index, message in enumerate(messages):
        try:
            layers.append(_read_layer(message, service_cluster))
        except ConfigError as error:
            raise error.under("layers", index) from None
        if message.name in [layer.name for layer in layers[:-1]]:
            raise ConfigError(f"Duplicate layer name: {message.name}", "layers", index, "name")
        if sum(isinstance(layer, _AdminLayer) for layer in layers) > 1:
            raise ConfigError(
                "Too many admin layers specified in LayeredRuntime, at most one may be specified",
                "layers",
                index,
            )
    return layers


def _read_layer(message: Any, service_cluster: str) -> _Layer:
    kind = message.WhichOneof("layer_specifier")
    if kind == "admin_layer":
        return _AdminLayer(message.name)
    if kind == "static_layer":
        layer = _Layer(message.name)
        try:
            _flatten(MessageToDict(message.static_layer), "", layer.values)
        except ConfigError as error:
            raise error.under(kind) from None
        return layer
    if kind == "disk_layer":
        disk = message.disk_layer
        if not os.path.lexists(disk.symlink_root):
            raise ConfigError(
                f"unable to add filesystem watch for file {disk.symlink_root}: No such file or directory",
                kind,
                "symlink_root",
            )
        parts = [disk.subdirectory] if disk.subdirectory else []
        if disk.append_service_cluster:
            parts.append(service_cluster)
        return _DiskLayer(message.name, disk.symlink_root, "/".join(parts), disk.append_service_cluster)
    if kind:
        raise ConfigError(f"meshd does not serve the field {kind}", kind)
    raise ConfigError("a layer without a kind: static_layer, disk_layer or admin_layer")


def _flatten(struct: Mapping[str, Any], prefix: str, values: dict[str, str]) -> None:
    """Note the values of a static layer: nested names are joined by dots, fractions stay as they are."""
    for name, value in struct.items():
        key = prefix + name
        if isinstance(value, dict) and value and not {"numerator", "denominator"} & set(value):
            _flatten(value, f"{key}.", values)
        elif value is None or isinstance(value, list):
            raise ConfigError(f"Invalid runtime entry value for {key}")
        else:
            values[key] = _text(value)


def _text(value: Any) -> str:
    return (
        value if isinstance(value, str) else json.dumps(_whole(value), separators=(",", ":"), sort_keys=True)
    )


def _whole(value: Any) -> Any:
    """Make whole numbers of floats that are: a Struct has nothing else."""
    if isinstance(value, dict):
        return {key: _whole(inner) for key, inner in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e18 else value


def _fraction_of(value: str) -> float | None:
    """Return what a value says: percent, if it is an integer, or a fraction; None if it is neither."""
    try:
        read = yaml.safe_load(value)
    except yaml.YAMLError:
        return None
    if isinstance(read, int) and not isinstance(read, bool):
        return min(1.0, read / 100) if read >= 0 else None
    if not isinstance(read, dict) or not set(read) <= {"numerator", "denominator"}:
        return None
    numerator, denominator = read.get("numerator", 0), read.get("denominator", "HUNDRED")
    if not isinstance(numerator, int) or isinstance(numerator, bool) or numerator < 0:
        return None
    parts = _DENOMINATORS.get(str(denominator).upper())
    return None if parts is None else min(1.0, numerator / parts)
