"""Tests that the documentation and the examples say what is so."""

import os
import re
import urllib.request
from dataclasses import fields
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from meshd.config.load import load
from meshd.config.supported import supported
from meshd.discover import Plugins, find_plugins
from meshd.options import LATER, Options
from meshd.testing import FakeClient, FakeContext
from tests.test_command import MESHD, CommandCase, free_port

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def code(text: str, language: str) -> list[str]:
    """Return the pieces of code of a language in a Markdown file."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


class ReadmeTests(SynchronousTestCase):
    """The first thing that people read."""

    def setUp(self) -> None:
        self.text = (ROOT / "README.md").read_text()

    def test_config(self) -> None:
        """The configuration is one."""
        [config] = code(self.text, "yaml")
        document = load(None, config, find_plugins(), environ={})
        self.assertEqual(document.warnings, [])
        self.assertEqual([each.name for each in document.bootstrap.static_resources.clusters], ["redis"])

    def test_filter(self) -> None:
        """The filter is one, and does what it says."""
        [source] = code(self.text, "python")
        module: dict[str, Any] = {}
        exec(source, module)
        plugins = Plugins()
        plugins.add(module["shout"], "README.md")
        self.assertEqual(plugins.failed, [])
        client = FakeClient(module["shout"].configure(module["Config"](), FakeContext())())
        client.send(b"hello")
        self.assertEqual(client.upstream.received, b"HELLO")

    def test_links(self) -> None:
        """What it links to is there."""
        for target in re.findall(r"\]\(([^):]+)\)", self.text):
            self.assertTrue((ROOT / target).exists(), target)


class ExampleTests(SynchronousTestCase):
    """docs/examples."""

    def test_all_load(self) -> None:
        """Every example is a configuration, without a warning."""
        for path in sorted((DOCS / "examples").glob("*.yaml")):
            self.assertEqual(load(str(path), None, find_plugins(), environ=os.environ).warnings, [])

    def test_banner(self) -> None:
        """What make run prints names only addresses that the demo has."""
        head, _, rest = (DOCS / "examples/demo.yaml").read_text().partition("\n\n")
        for port in re.findall(r"127\.0\.0\.1[: ](\d+)", head):
            self.assertIn(f"127.0.0.1:{port}", rest)


class DemoTests(CommandCase):
    """What make run starts."""

    def test_front(self) -> None:
        """The front answers as each of the backends in turn, and the admin page is there."""
        text = (DOCS / "examples/demo.yaml").read_text()
        ports = {port: free_port() for port in set(re.findall(r"127\.0\.0\.1:(\d+)", text))}
        for port, other in ports.items():
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{other}")
        self.write("demo.yaml", text)
        process = self.start(*MESHD, "-c", "demo.yaml")
        self.wait_for(ports["8090"], process)
        answers = [get(ports["8080"], "/") for _ in range(30)]
        self.assertEqual(set(answers), {f"I am the {word}.\n" for word in ("first", "second", "third")})
        self.assertEqual(get(ports["9901"], "/ready"), "LIVE\n")


def get(port: int, path: str) -> str:
    """Return what a GET of the path is answered with."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as response:
        return str(response.read().decode())


class PagesTests(SynchronousTestCase):
    """The pages."""

    def test_supported(self) -> None:
        """The list of what is served is what the source says; make docs writes it."""
        self.assertEqual((DOCS / "supported.rst").read_text(), supported(find_plugins()))

    def test_differences(self) -> None:
        """Each difference on purpose that has a test is on the page, and none that has not."""
        tests = (ROOT / "tests/interop/test_differences.py").read_text()
        page = (DOCS / "differences.rst").read_text()
        self.assertEqual(
            set(re.findall(r"``(test_\w+)``", page)), set(re.findall(r"^def (test_\w+)", tests, re.M))
        )

    def test_tests(self) -> None:
        """Each test that a page names is there."""
        for page in DOCS.glob("*.rst"):
            for path, name in re.findall(r"``(tests/[\w/]+\.py)::(test_\w+)``", page.read_text()):
                self.assertIn(f"def {name}(", (ROOT / path).read_text(), f"{page.name} names {path}::{name}")

    def test_index(self) -> None:
        """Each page is in the index."""
        listed = set(re.findall(r"^   (\w+)$", (DOCS / "index.rst").read_text(), re.M))
        self.assertEqual(listed, {page.stem for page in DOCS.glob("*.rst")} - {"index"})

    def test_options(self) -> None:
        """Each option that has no effect yet is in the table of them, and no other."""
        text = (DOCS / "operations.rst").read_text()
        for each in fields(Options):
            named = f"``--{each.name.replace('_', '-')}``" in table_of(text)
            self.assertEqual(named, each.name in LATER, each.name)


def table_of(text: str) -> str:
    """Return the first table of a page."""
    lines = text.splitlines()
    rules = [number for number, line in enumerate(lines) if re.fullmatch("=+  =+", line)]
    return "\n".join(lines[rules[0] : rules[2] + 1])
