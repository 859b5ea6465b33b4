"""Tests that modules import only what lies below them."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent

#: Of third parties, what any part may import, and what codecs may not.
OUTSIDE = (
    "OpenSSL", "attrs", "cryptography", "envoy", "google", "h2", "service_identity", "treq", "twisted",
    "udpa", "validate", "xds", "xxhash", "yaml", "zope",
)  # fmt: skip

#: The parts of the source from the lowest up, and what each may import of meshd's own besides itself.
CONTRACTS = ["meshd.errors", "meshd.interfaces", "meshd.metrics", "meshd.plugin", "meshd.rpc"]
OBJECTS = [
    "meshd.config",
    "meshd.discover",
    "meshd.grpc",
    "meshd.net",
    "meshd.observe",
    "meshd.tls",
    "meshd.upstream",
]
LAYERS = {
    "codec": [],
    "errors.py": [],
    "metrics.py": [],
    "rpc.py": [],
    "interfaces.py": ["meshd.errors", "meshd.metrics", "meshd.rpc"],
    "plugin.py": ["meshd.interfaces"],
    "filter.py": ["meshd.interfaces"],
    "discover.py": ["meshd.interfaces"],
    "options.py": ["meshd"],
    "config": [*CONTRACTS, "meshd.discover"],
    "policy": [*CONTRACTS, "meshd.codec", "meshd.config.plain"],
    "observe": [*CONTRACTS, "meshd.codec", "meshd.config.plain"],
    "net": [*CONTRACTS, "meshd.filter", "meshd.config.plain", "meshd.observe"],
    "upstream": [*CONTRACTS, "meshd.filter", "meshd.codec", "meshd.config.plain", "meshd.config.unpack",
                 "meshd.observe", "meshd.net"],
    "grpc": [*CONTRACTS, "meshd.codec", "meshd.config.plain", "meshd.observe.info",
             "meshd.upstream.http2_options"],
    "tls": [*CONTRACTS, "meshd.filter", "meshd.codec", "meshd.config.plain", "meshd.config.unpack",
            "meshd.observe", "meshd.net"],
    "testing": [*CONTRACTS, "meshd.filter", "meshd.observe", "meshd.upstream"],
    # observe.info: what a terminal filter notes of its upstream.
    "filters": [*CONTRACTS, "meshd.filter", "meshd.codec", "meshd.policy", "meshd.config.plain",
                "meshd.observe.info"],
    "admin": [*CONTRACTS, *OBJECTS, "meshd"],
    "xds": [*CONTRACTS, *OBJECTS],
    "process": [*CONTRACTS, *OBJECTS, "meshd", "meshd.admin", "meshd.options", "meshd.xds"],
    "stunnel": [*CONTRACTS, *OBJECTS, "meshd", "meshd.options", "meshd.process"],
    "tap.py": ["meshd.config", "meshd.discover", "meshd.observe", "meshd.options", "meshd.process",
               "meshd.stunnel"],
    "new_filter.py": [],
    "command.py": ["meshd", "meshd.config", "meshd.discover", "meshd.new_filter", "meshd.options",
                   "meshd.stunnel", "meshd.tap"],
    "__init__.py": [],
}  # fmt: skip

#: Parts that are below Twisted (no I/O, no interfaces, no protobufs), and what of third parties they import.
SANS_IO = {"codec": ("cffi", "cryptography", "h2")}


def imports(path: Path) -> Iterator[str]:
    """Yield the full names of the modules, or of what is in them, that a source file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)


def files(part: str) -> list[Path]:
    """Return the source files of a part."""
    path = ROOT / "meshd" / part
    return [path] if path.suffix else sorted(path.rglob("*.py"))


def below(name: str, allowed: list[str]) -> bool:
    """Whether name is one of those allowed, or in one; meshd itself is allowed for its version only."""
    if name in ("meshd", "meshd.__version__"):
        return "meshd" in allowed
    return any(name == each or name.startswith(each + ".") for each in allowed if each != "meshd")


class LayerTests(SynchronousTestCase):
    """The table above."""

    def test_every_part(self) -> None:
        """Every module and package of meshd is in the table."""
        parts = {
            path.name
            for path in (ROOT / "meshd").iterdir()
            if path.suffix == ".py" or (path.is_dir() and path.name != "__pycache__")
        }
        self.assertEqual(parts - set(LAYERS), set())

    def test_own(self) -> None:
        """No module imports from a layer above its own, and no filter another."""
        wrong = []
        for part, allowed in LAYERS.items():
            own = [f"meshd.{part.removesuffix('.py')}"]
            for path in files(part):
                if part == "filters":
                    own = own_package(path)
                for name in imports(path):
                    if name.split(".")[0] == "meshd" and not below(name, allowed + own):
                        wrong.append(f"{path.relative_to(ROOT)} imports {name}")
        self.assertEqual("\n".join(wrong), "")

    def test_third_parties(self) -> None:
        """Only what is a dependency is imported, and no import is relative."""
        wrong = []
        for part in LAYERS:
            allowed = SANS_IO.get(part, OUTSIDE)
            for path in files(part):
                for name in imports(path):
                    top = name.split(".")[0]
                    if part == "testing" and top == "hypothesis":
                        continue  # inside of a function that only tests call
                    if top not in sys.stdlib_module_names and top != "meshd" and top not in allowed:
                        wrong.append(f"{path.relative_to(ROOT)} imports {name}")
        self.assertEqual("\n".join(wrong), "")

    def test_protobufs(self) -> None:
        """What moves bytes does not import Envoy's protobufs: they are read where config is."""
        wrong = [
            f"{path.relative_to(ROOT)} imports {name}"
            for part in (
                "codec",
                "errors.py",
                "interfaces.py",
                "filter.py",
                "plugin.py",
                "options.py",
                "tap.py",
            )
            for path in files(part)
            for name in imports(path)
            if name.startswith("envoy.")
        ]
        self.assertEqual("\n".join(wrong), "")


def own_package(path: Path) -> list[str]:
    """Return the package that a filter may import of the filters: its own, if it is one."""
    parts = path.relative_to(ROOT / "meshd" / "filters").parts
    return [".".join(("meshd", "filters", *parts[:2]))] if len(parts) > 2 else []
