"""Tests that the source is laid out and written as it is meant to be."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent

MODULE_LINES = 450
FUNCTION_LINES = 60

#: Words that say nothing about what a thing is.
WORDS = ("manager", "handler", "processor", "engine", "helper", "util", "utils", "base", "common", "impl")

#: Names that are Envoy's.
OF_ENVOY = ("base_id", "use_dynamic_base_id", "base_id_path")

#: Modules whose test is another file than that of their name, or that have nothing to test, and why.
TESTED_ELSEWHERE = {
    "meshd/errors.py": "no behaviour",
    "meshd/metrics.py": "no behaviour",
    "meshd/rpc.py": "no behaviour; tests/grpc/test_channel.py",
    "meshd/interfaces.py": "no behaviour; verifyObject holds providers to it in tests/test_discover.py",
    "meshd/plugin.py": "tests/test_discover.py",
    "meshd/tap.py": "tests/test_command.py",
    "meshd/stunnel/model.py": "plain values; tests/stunnel/test_reading.py",
}


def modules(*packages: str) -> list[Path]:
    """Return the source files of the packages, but for those of the link meshd/filters."""
    return sorted(path for package in packages for path in (ROOT / package).rglob("*.py"))


def relative(path: Path) -> str:
    """Return the path from the root of the source."""
    return str(path.relative_to(ROOT))


def its_test(path: Path) -> Path:
    """Return where the test of a module is."""
    inside = path.relative_to(ROOT)
    parts = inside.parts[1:] if inside.parts[0] == "meshd" else inside.parts
    if path.stem == "__init__":
        return ROOT.joinpath("tests", *parts[:-2], f"test_{parts[-2]}.py")
    return ROOT.joinpath("tests", *parts[:-1], f"test_{path.stem}.py")


def names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield the names that a module gives to classes, functions, arguments and variables."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno


def words_of(name: str) -> set[str]:
    """Return the words of a name: HttpFilter, http_filter and HTTP_FILTER are http and filter."""
    return {word.lower() for word in re.findall("[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", name)}


class LayoutTests(SynchronousTestCase):
    """Where things are."""

    def test_every_module_has_its_test(self) -> None:
        """The test of meshd/a/b.py is tests/a/test_b.py."""
        missing = [
            relative(path)
            for path in modules("meshd", "filters")
            if path.stat().st_size
            and not (path.name == "__init__.py" and is_map(path))
            and relative(path) not in TESTED_ELSEWHERE
            and not its_test(path).exists()
        ]
        self.assertEqual("\n".join(missing), "")

    def test_exceptions_are_needed(self) -> None:
        """What is tested elsewhere is there, and is not tested in its own file too."""
        for name in TESTED_ELSEWHERE:
            self.assertTrue((ROOT / name).exists(), name)
            self.assertFalse(its_test(ROOT / name).exists(), name)

    def test_names_of_files(self) -> None:
        """No file is named by a word that says nothing."""
        wrong = [
            relative(path)
            for path in modules("meshd", "filters", "tests")
            if words_of(path.stem) & set(WORDS)
        ]
        self.assertEqual("\n".join(wrong), "")


class TextTests(SynchronousTestCase):
    """How the modules are written."""

    def setUp(self) -> None:
        paths = modules("meshd", "filters", "tests")
        self.trees = {relative(path): ast.parse(path.read_text()) for path in paths if path.stat().st_size}

    def test_docstrings(self) -> None:
        """Each module says what it is for; each test says what holds."""
        wrong = [name for name, tree in self.trees.items() if not ast.get_docstring(tree)]
        for name, tree in self.trees.items():
            if Path(name).name.startswith("test_"):
                wrong += [f"{name}: {each.name}" for each in cases_in(tree) if not ast.get_docstring(each)]
        self.assertEqual("\n".join(wrong), "")

    def test_size(self) -> None:
        """No module and no function is too long to be looked over."""
        wrong = []
        for name, tree in self.trees.items():
            lines = (ROOT / name).read_text().count("\n")
            if lines > MODULE_LINES:
                wrong.append(f"{name} has {lines} lines")
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    length = (node.end_lineno or node.lineno) - node.lineno + 1
                    if length > FUNCTION_LINES:
                        wrong.append(f"{name}:{node.lineno}: {node.name} has {length} lines")
        self.assertEqual("\n".join(wrong), "")

    def test_words(self) -> None:
        """No name is made of a word that says nothing."""
        wrong = [
            f"{path}:{line}: {name}"
            for path, tree in self.trees.items()
            if not path.startswith("tests/")
            for name, line in names(tree)
            if words_of(name) & set(WORDS) and name not in OF_ENVOY
        ]
        self.assertEqual("\n".join(wrong), "")

    def test_reactor(self) -> None:
        """The reactor, and mocks, are imported where they may be only."""
        wrong = []
        for path, tree in self.trees.items():
            for name in imported(tree):
                if name.startswith(("unittest.mock", "mock.")):
                    wrong.append(f"{path} imports {name}")
                if name == "twisted.internet.reactor" and not may_import_reactor(path):
                    wrong.append(f"{path} imports {name}")
        self.assertEqual("\n".join(wrong), "")

    def test_no_paths_of_a_machine(self) -> None:
        """No file names the place on somebody's machine where it was written."""
        wrong = []
        places = [*(ROOT / "docs").rglob("*.rst"), *(ROOT / "docs").rglob("*.yaml"), ROOT / "README.md"]
        for path in [*places, *(ROOT / name for name in self.trees)]:
            if path != Path(__file__) and re.search("/(home|root|work)/[a-z]", path.read_text()):
                wrong.append(relative(path))
        self.assertEqual("\n".join(wrong), "")


def is_map(path: Path) -> bool:
    """Whether an __init__.py has nothing but a docstring, imports and the like."""
    tree = ast.parse(path.read_text())
    return not any(isinstance(node, ast.ClassDef | ast.FunctionDef) for node in tree.body)


def cases_in(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    """Yield the test functions and methods of a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the full names of what a module imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def may_import_reactor(path: str) -> bool:
    """Whether the file is one where a process begins, or a test: ruff asks those for a reason."""
    return path.startswith(("meshd/process/", "tests/")) or path == "meshd/tap.py"
