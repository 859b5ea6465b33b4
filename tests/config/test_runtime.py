"""Tests for meshd.config.runtime."""

import os
from pathlib import Path
from typing import Any

import pytest
from envoy.config.bootstrap.v3.bootstrap_pb2 import LayeredRuntime
from envoy.config.core.v3.base_pb2 import RuntimeFeatureFlag, RuntimeFractionalPercent
from google.protobuf.json_format import ParseDict
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from meshd.config.runtime import NoAdminLayer, Runtime
from meshd.interfaces import IRuntime
from meshd.net.timers import Timers
from meshd.observe.stats import Store
from meshd.plugin import ConfigError


def layered(*layers: dict[str, Any], dice: float = 0.5, cluster: str = "") -> tuple[Runtime, Store]:
    """Return a runtime of layers, and its statistics."""
    store = Store()
    config = ParseDict({"layers": list(layers)}, LayeredRuntime())
    return Runtime(config, store, lambda: dice, cluster), store


def static(name: str = "static", **values: Any) -> dict[str, Any]:
    return {"name": name, "static_layer": values}


ADMIN = {"name": "admin", "admin_layer": {}}


class TestStatic:
    """Layers of the config."""

    def test_interface(self) -> None:
        """It is what filters are promised."""
        verifyObject(IRuntime, layered()[0])

    def test_flat(self) -> None:
        """Nested names are joined; fractions stay one value; numbers are whole where they can be."""
        runtime, _ = layered(
            static(
                a={"b": 1, "d": {"e": True}}, frac={"numerator": 5}, f=2.5, big=12345678901, s="x", empty={}
            )
        )
        assert {key: final for key, (_, final) in runtime.entries().items()} == {
            "a.b": "1",
            "a.d.e": "true",
            "big": "12345678901",
            "empty": "{}",
            "f": "2.5",
            "frac": '{"numerator":5}',
            "s": "x",
        }

    def test_last_wins(self) -> None:
        """The last layer that has a key decides."""
        runtime, _ = layered(static("one", k=1, only=2), static("two", k=3))
        assert (runtime.get("k"), runtime.get("only"), runtime.get("none")) == ("3", "2", None)
        assert runtime.entries()["k"] == ({"one": "1", "two": "3"}, "3")
        assert runtime.layers == ["one", "two"]

    @pytest.mark.parametrize("value", [None, [1]])
    def test_refused(self, value: Any) -> None:
        """Lists and nulls are no values."""
        with pytest.raises(ConfigError, match=r"Invalid runtime entry value for a\.k") as raised:
            layered(static(a={"k": value}))
        assert raised.value.path == ("layers", 0, "static_layer")

    def test_numbers(self) -> None:
        """Layers, keys and loads are counted."""
        _, store = layered(static(a=1, b=2), ADMIN)
        numbers = {stat.name: getattr(stat, "value", None) for stat in store}
        assert numbers == {
            "runtime.admin_overrides_active": 0,
            "runtime.deprecated_feature_seen_since_process_start": 0,
            "runtime.deprecated_feature_use": 0,
            "runtime.load_error": 0,
            "runtime.load_success": 1,
            "runtime.num_keys": 2,
            "runtime.num_layers": 2,
            "runtime.override_dir_exists": 0,
            "runtime.override_dir_not_exists": 1,
        }


class TestAdmin:
    """The layer that the admin page changes."""

    def test_modify(self) -> None:
        """A value overrides those below, until it is taken back."""
        runtime, store = layered(static(k=1), ADMIN)
        runtime.modify("k", "2")
        assert runtime.get("k") == "2"
        assert store.gauge("runtime.admin_overrides_active").value == 1
        runtime.modify("k", "")
        assert runtime.get("k") == "1"
        assert store.gauge("runtime.admin_overrides_active").value == 0

    @pytest.mark.parametrize("layers", [[], [static(k=1)]])
    def test_none(self, layers: list[dict[str, Any]]) -> None:
        """Without an admin layer, as there is none by default, nothing can be changed."""
        runtime, _ = layered(*layers)
        assert not runtime.modifiable
        with pytest.raises(NoAdminLayer, match="No admin layer specified"):
            runtime.modify("k", "1")

    def test_nothing(self) -> None:
        """Without a config there are no layers."""
        runtime = Runtime(None, Store())
        assert (runtime.layers, runtime.entries()) == ([], {})


class TestDisk:
    """Layers of files."""

    def layer(self, root: Path, **fields: Any) -> dict[str, Any]:
        return {"name": "disk", "disk_layer": {"symlink_root": str(root / "current"), **fields}}

    def make(self, root: Path, version: str, files: dict[str, str]) -> None:
        """Write a version, and have the link lead to it all at once."""
        for name, text in files.items():
            path = root / version / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (root / "new").symlink_to(root / version)
        os.replace(root / "new", root / "current")

    def test_files(self, tmp_path: Path) -> None:
        """Each file is a key, its text without comments the value."""
        self.make(tmp_path, "v1", {"a/b/num": " 77 \n", "com": "# why\nval\n"})
        runtime, _ = layered(self.layer(tmp_path))
        assert {key: final for key, (_, final) in runtime.entries().items()} == {
            "a.b.num": " 77",
            "com": "val",
        }

    def test_subdirectory(self, tmp_path: Path) -> None:
        """It can be a directory below, also one of this service cluster's."""
        self.make(tmp_path, "v1", {"envoy/k": "1", "envoy/mine/k": "2"})
        runtime, _ = layered(self.layer(tmp_path, subdirectory="envoy"))
        assert runtime.get("mine.k") == "2"
        runtime, store = layered(
            self.layer(tmp_path, subdirectory="envoy", append_service_cluster=True), cluster="mine"
        )
        assert runtime.get("k") == "2"
        assert store.counter("runtime.override_dir_exists").value == 1

    def test_absent(self, tmp_path: Path) -> None:
        """A directory that is not there is no layer."""
        self.make(tmp_path, "v1", {"k": "1"})
        runtime, store = layered(static(k=1), self.layer(tmp_path, subdirectory="nope"))
        assert runtime.layers == ["static"]
        assert store.counter("runtime.load_success").value == 1

    def test_no_link(self) -> None:
        """A link that is not there is an error."""
        with pytest.raises(ConfigError, match="unable to add filesystem watch for file /nonexistent/current"):
            layered(self.layer(Path("/nonexistent")))

    def test_moved(self, tmp_path: Path) -> None:
        """When the link is moved the files are read anew."""
        self.make(tmp_path, "v1", {"k": "1", "gone": "1"})
        runtime, store = layered(self.layer(tmp_path), ADMIN)
        runtime.modify("mine", "x")
        clock = Clock()
        runtime.watch(Timers(clock))
        clock.advance(1.1)
        assert store.counter("runtime.load_success").value == 2
        self.make(tmp_path, "v2", {"k": "2"})
        clock.pump([0.6, 0.6])
        assert (runtime.get("k"), runtime.get("gone"), runtime.get("mine")) == ("2", None, "x")
        assert store.counter("runtime.load_success").value == 3

    def test_nothing_to_watch(self) -> None:
        """Without disk layers nothing is looked at."""
        clock = Clock()
        layered(static(k=1))[0].watch(Timers(clock))
        assert clock.getDelayedCalls() == []

    def test_unreadable(self, tmp_path: Path) -> None:
        """A layer that cannot be read is an error that is counted, and the others go on."""
        self.make(tmp_path, "v1", {"k": "1"})
        (tmp_path / "v1" / "loop").symlink_to(tmp_path / "v1")
        runtime, store = layered(static(k=5), self.layer(tmp_path))
        assert runtime.get("k") == "5"
        assert store.counter("runtime.load_error").value == 1


class TestFlags:
    """Feature flags."""

    @pytest.mark.parametrize(
        ("value", "default", "result"),
        [
            *((True, False, True), (False, True, False), ("false", True, False), ("TRUE ", False, True)),
            *((3, True, True), (3, False, False), ("maybe", False, False)),
        ],
    )
    def test_value(self, value: Any, default: bool, result: bool) -> None:
        """What is neither true nor false is the default."""
        runtime, _ = layered(static(k=value))
        flag = ParseDict({"runtime_key": "k", "default_value": default}, RuntimeFeatureFlag())
        assert runtime.enabled(flag) is result

    def test_default(self) -> None:
        """Without a value there is the default, and without one it is true."""
        runtime, _ = layered()
        assert runtime.enabled(RuntimeFeatureFlag())
        assert not runtime.enabled(
            ParseDict({"runtime_key": "k", "default_value": False}, RuntimeFeatureFlag())
        )


class TestFractions:
    """Shares of all."""

    @pytest.mark.parametrize(
        ("value", "share"),
        [
            *((5, 0.05), ("5", 0.05), (200, 1), (0, 0), (-1, None), (2.5, None), ("x", None), (True, None)),
            ({"numerator": 5}, 0.05),
            ({"numerator": 5, "denominator": "TEN_THOUSAND"}, 0.0005),
            ("{numerator: 5, denominator: MILLION}", 0.000005),
            ("numerator: 3", 0.03),
            ({"denominator": "HUNDRED"}, 0),
            *(("{numerator: x}", None), ("{numerator: 1, denominator: FEW}", None), ("{a: 1}", None)),
            *(("{", None), ("[1]", None)),
        ],
    )
    def test_value(self, value: Any, share: float | None) -> None:
        """A value is a number of percent or a fraction; others are the default, which is a half."""
        wanted = 0.5 if share is None else share
        message = ParseDict(
            {"runtime_key": "k", "default_value": {"numerator": 50}}, RuntimeFractionalPercent()
        )
        for dice in (wanted - 0.0000001, wanted):
            runtime, _ = layered(static(k=value), dice=dice)
            assert runtime.sampled(message) is (dice < wanted)

    @given(st.text())
    def test_rubbish(self, value: str) -> None:
        """Any text can stand there."""
        runtime, _ = layered(static(k=value))
        runtime.sampled(RuntimeFractionalPercent(runtime_key="k"))


class TestErrors:
    """Layers that cannot be served."""

    @pytest.mark.parametrize(
        ("layers", "path", "words"),
        [
            ([{"name": "r", "rtds_layer": {"name": "x"}}], ("layers", 0, "rtds_layer"), "rtds_layer"),
            ([static("a"), static("a")], ("layers", 1, "name"), "Duplicate layer name: a"),
            ([ADMIN, {"name": "b", "admin_layer": {}}], ("layers", 1), "Too many admin layers"),
            ([{"name": "a"}], ("layers", 0), "without a kind"),
        ],
    )
    def test_error(self, layers: list[dict[str, Any]], path: tuple[Any, ...], words: str) -> None:
        """It is said what, and where."""
        with pytest.raises(ConfigError, match=words) as raised:
            layered(*layers)
        assert raised.value.path == path
