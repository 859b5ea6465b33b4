"""Tests for meshd.discover."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from textwrap import dedent
from typing import Any

import attrs
from envoy.extensions.filters.network.connection_limit.v3.connection_limit_pb2 import ConnectionLimit
from google.protobuf.struct_pb2 import Struct
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from meshd.discover import KINDS, Plugins, find_plugins
from meshd.plugin import ListenerFilterPlugin, NetworkFilterPlugin

ACME = """
    import attrs
    from meshd.filter import NetworkFilter
    from meshd.plugin import NetworkFilterPlugin

    @attrs.define
    class Config:
        greeting: str = "hello"

    {object} = NetworkFilterPlugin("{name}", Config, lambda config, context: NetworkFilter, ("greeting",))
"""


@attrs.define
class Config:
    """A config without protobuf."""

    size: int = 0


def configure(config: Any, context: Any) -> Any:
    """Make nothing."""


def plugin(name: str, config: Any = Config, serves: tuple[str, ...] = ()) -> NetworkFilterPlugin:
    """Return a plugin of a network filter."""
    return NetworkFilterPlugin(name, config, configure, serves)


class AddTests(SynchronousTestCase):
    """Plugins that are taken in, or not."""

    def setUp(self) -> None:
        self.plugins = Plugins()

    def add(self, *plugins: Any) -> None:
        """Add the plugins."""
        for number, each in enumerate(plugins, 1):
            self.plugins.add(each, f"file {number}")

    def test_kind(self) -> None:
        """A plugin is found under the kind that its interface says."""
        listener = ListenerFilterPlugin("acme.peek", Config, configure, ())
        self.add(plugin("acme.echo"), listener)
        self.assertEqual(list(self.plugins.network), ["acme.echo"])
        self.assertEqual(list(self.plugins.listener), ["acme.peek"])
        self.assertEqual([each.kind for each in self.plugins.found], ["network", "listener"])
        self.assertEqual(self.plugins.origin(listener), "file 2")

    def test_two_of_one_name(self) -> None:
        """Of two plugins of one name the first is used, and the second is said to have failed."""
        first = plugin("acme.echo")
        self.add(first, plugin("acme.echo"))
        self.assertIs(self.plugins.network["acme.echo"], first)
        self.assertEqual(
            self.plugins.failed,
            [("acme.echo (file 2)", "another plugin has this name, and is used: file 1")],
        )

    def test_one_twice(self) -> None:
        """A plugin that another module imports is found once."""
        first = plugin("acme.echo")
        self.add(first, first)
        self.assertEqual((len(self.plugins.found), self.plugins.failed), (1, []))

    def test_serves_what_is_not_there(self) -> None:
        """A plugin that claims to serve a field which its config has not is refused."""
        self.add(plugin("acme.a", ConnectionLimit, ("stat_prefix", "max_conections")))
        self.add(plugin("acme.b", ConnectionLimit, ("runtime_enabled.default_value", "delay.minutes")))
        self.add(plugin("acme.c", Config, ("size", "sise")))
        reasons = [reason for _, reason in self.plugins.failed]
        self.assertEqual(
            reasons,
            [
                f"it serves {field!r}, which its config has not"
                for field in ("max_conections", "delay.minutes", "sise")
            ],
        )

    def test_strange_config(self) -> None:
        """A plugin whose config is neither a message nor an attrs class is refused."""
        self.add(plugin("acme.a", dict), plugin("acme.b", "text"), plugin("", Config))
        self.assertEqual(len(self.plugins.failed), 3)
        self.assertEqual(self.plugins.network, {})

    def test_incomplete(self) -> None:
        """An object that says it is a plugin and is not one is refused with what it lacks."""

        class Half:
            name = "acme.half"

        half = Half()
        from zope.interface import directlyProvides

        directlyProvides(half, KINDS["network"])
        self.add(half)
        [(what, reason)] = self.plugins.failed
        self.assertEqual(what, "acme.half (file 1)")
        self.assertIn("config", reason)


class LookupTests(SynchronousTestCase):
    """By type and by name."""

    def setUp(self) -> None:
        self.plugins = Plugins()
        self.limit = plugin("envoy.filters.network.connection_limit", ConnectionLimit)
        self.mine = plugin("acme.filters.mine")
        for each in (self.limit, self.mine):
            self.plugins.add(each, "here")

    def test_by_type(self) -> None:
        """A protobuf config is found by its full name, an attrs config by the plugin's."""
        name = "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit"
        self.assertIs(self.plugins.by_type("network", name), self.limit)
        self.assertIs(self.plugins.by_type("network", "acme.filters.mine"), self.mine)
        self.assertIsNone(self.plugins.by_type("listener", name))

    def test_type_of_several(self) -> None:
        """A type that two plugins share does not say which."""
        self.plugins.add(plugin("acme.one", Struct), "here")
        self.plugins.add(plugin("acme.two", Struct), "here")
        self.assertIsNone(self.plugins.by_type("network", "google.protobuf.Struct"))

    def test_by_name(self) -> None:
        """A full name is enough, and so is its last part."""
        for name in ("envoy.filters.network.connection_limit", "connection_limit"):
            self.assertIs(self.plugins.by_name("network", name), self.limit)
        self.assertIsNone(self.plugins.by_name("network", "limit"))

    def test_ambiguous(self) -> None:
        """The last part of two names is the name of neither."""
        self.plugins.add(plugin("acme.connection_limit"), "here")
        self.assertIsNone(self.plugins.by_name("network", "connection_limit"))


class FoundTests(SynchronousTestCase):
    """What meshd ships."""

    def test_all_are_whole(self) -> None:
        """Every plugin that ships can be imported and provides its whole interface."""
        plugins = find_plugins()
        self.assertEqual(plugins.failed, [])
        for each in plugins.found:
            verifyObject(KINDS[each.kind], each.plugin)

    def test_named_as_the_file(self) -> None:
        """The last part of a filter's name is that of its module, where those that go with it may be too."""
        names: dict[str, set[str]] = {}
        for each in find_plugins().found:
            if each.kind != "transport_socket":
                path = Path(each.origin)
                module = path.parent.name if path.name == "__init__.py" else path.stem
                names.setdefault(module, set()).add(each.plugin.name.rpartition(".")[2])
        for module, found in names.items():
            self.assertIn(module, found)


class DropInTests(TestCase):
    """The filters of third parties, in a directory that is on sys.path."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name).resolve()

    def write(self, path: str, text: str) -> None:
        """Write a file below the directory."""
        file = self.directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text))

    def find(self, *more: str) -> Any:
        """Return the names and origins of all plugins, and what failed, as another process sees them."""
        program = (
            "import json; from meshd.discover import find_plugins; p = find_plugins();"
            "print(json.dumps([{each.plugin.name: each.origin for each in p.found}, p.failed]))"
        )
        path = os.pathsep.join([str(self.directory), *more, *filter(None, sys.path)])
        run = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(run.stdout)

    def test_places(self) -> None:
        """A filter is found in meshd/filters/network, in twisted/plugins and by an entry point."""
        self.write("meshd/filters/network/one.py", ACME.format(object="one", name="acme.one"))
        self.write("twisted/plugins/acme_two.py", ACME.format(object="two", name="acme.two"))
        self.write("acme_three.py", ACME.format(object="three", name="acme.three"))
        self.write("acme_four.py", ACME.format(object="four", name="acme.four"))
        self.write("acme-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: acme\nVersion: 1\n")
        self.write(
            "acme-1.dist-info/entry_points.txt",
            "[meshd.filters]\nthree = acme_three:three\nfour = acme_four\n",
        )
        found, failed = self.find()
        self.assertEqual(failed, [])
        ours = {name: origin for name, origin in found.items() if name.startswith("acme.")}
        self.assertEqual(
            ours,
            {
                "acme.one": str(self.directory / "meshd/filters/network/one.py"),
                "acme.two": str(self.directory / "twisted/plugins/acme_two.py"),
                "acme.three": "entry point three = acme_three:three of acme 1",
                "acme.four": "entry point four = acme_four of acme 1",
            },
        )

    def test_broken(self) -> None:
        """What cannot be imported is said to have failed, with the reason and the line."""
        self.write("meshd/filters/network/no_import.py", "import no_such_module\n")
        self.write("meshd/filters/network/no_python.py", "def :\n")
        self.write("meshd/filters/listener/leaves.py", "raise SystemExit('no')\n")
        self.write("twisted/plugins/acme_bad.py", "\n1 / 0\n")
        self.write("acme-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: acme\nVersion: 1\n")
        self.write("acme-1.dist-info/entry_points.txt", "[meshd.filters]\ngone = acme_gone\nempty = json\n")
        _, failed = self.find()
        reasons = dict(failed)
        here = self.directory
        self.assertEqual(
            reasons["meshd.filters.network.no_import"],
            "ModuleNotFoundError: No module named 'no_such_module' "
            f"({here}/meshd/filters/network/no_import.py, line 1)",
        )
        self.assertIn("SyntaxError", reasons["meshd.filters.network.no_python"])
        self.assertIn("SystemExit: no", reasons["meshd.filters.listener.leaves"])
        self.assertEqual(
            reasons["twisted.plugins.acme_bad"],
            f"ZeroDivisionError: division by zero ({here}/twisted/plugins/acme_bad.py, line 2)",
        )
        self.assertIn("acme_gone", reasons["entry point gone = acme_gone of acme 1"])
        self.assertEqual(reasons["entry point empty = json of acme 1"], "the module has no plugin")

    def test_shadowed(self) -> None:
        """Of two modules of one name the first is used; a directory that is named twice is one."""
        self.write("meshd/filters/network/connection_limit.py", ACME.format(object="mine", name="acme.mine"))
        self.write("meshd/filters/network/one.py", ACME.format(object="one", name="acme.one"))
        found, failed = self.find(str(self.directory))
        self.assertIn("acme.one", found)
        self.assertNotIn("acme.mine", found)
        [(what, reason)] = failed
        module = "meshd.filters.network.connection_limit"
        self.assertEqual(what, f"{module} in {self.directory / 'meshd/filters/network'}")
        self.assertIn(f"another module is called {module}, and is used", reason)

    def test_read_only(self) -> None:
        """Plugins are found in a directory that cannot be written to, or whose cache is rubbish."""
        self.write("twisted/plugins/acme_two.py", ACME.format(object="two", name="acme.two"))
        self.write("twisted/plugins/dropin.cache", "rubbish")
        (self.directory / "twisted/plugins").chmod(0o555)
        self.addCleanup((self.directory / "twisted/plugins").chmod, 0o755)
        found, failed = self.find()
        self.assertIn("acme.two", found)
        self.assertEqual(failed, [])
