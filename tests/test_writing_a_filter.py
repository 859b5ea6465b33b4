"""Tests that the code of docs/writing_a_filter.rst works: it is written to files, and run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parent.parent / "docs" / "writing_a_filter.rst"

_BLOCK = re.compile(
    r"^(?P<indent> *)\.\. code-block:: \w+\n(?P=indent)   :caption: (?P<name>\S+)\n\n"
    r"(?P<code>(?:(?P=indent)   .*\n|\n)+)",
    re.MULTILINE,
)


def blocks() -> dict[str, str]:
    """Return the code of the document by the names of the files."""
    return {
        found["name"]: textwrap.dedent(found["code"]).strip() + "\n"
        for found in _BLOCK.finditer(DOCUMENT.read_text())
    }


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Write the files of the document, and what pip makes of its pyproject.toml."""
    for name, code in blocks().items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)
    return tmp_path


def run(project: Path, *args: str) -> str:
    """Run Python in the project, and return what it prints."""
    root = str(DOCUMENT.parent.parent)
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join((str(project), root))}
    done = subprocess.run([sys.executable, *args], cwd=project, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class TestDocument:
    """A project that is made of the document."""

    def test_blocks(self) -> None:
        """Every block of code has a name, and is therefore tested."""
        assert DOCUMENT.read_text().count(".. code-block::") == len(blocks())

    def test_tests(self, project: Path) -> None:
        """Its tests pass."""
        run(project, "-m", "unittest", "test_magic_word")

    def test_found(self, project: Path) -> None:
        """Its filters are found, as files and in twisted.plugins, and nothing failed."""
        code = """
            import json
            from meshd.discover import find_plugins
            plugins = find_plugins()
            print(json.dumps([[*plugins.network, *plugins.listener], plugins.failed]))
        """
        names, failed = json.loads(run(project, "-c", textwrap.dedent(code)))
        wanted = {"acme.shout", "acme.magic_word", "acme.ask_first", "acme.whisper", "acme.first_byte"}
        assert wanted <= set(names)
        assert not [each for each in failed if "acme" in each[0]]

    def test_entry_point(self, project: Path) -> None:
        """A filter of the entry-point group is found without any file of the two other kinds."""
        (project / "twisted" / "plugins" / "acme_filters.py").unlink()
        info = project / "acme_filters-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-filters\nVersion: 1.0\n")
        points = re.search(r"entry-points.\"(.*)\"\]\n(.*) = \"(.*)\"", blocks()["pyproject.toml"])
        assert points is not None
        (info / "entry_points.txt").write_text("[{}]\n{} = {}\n".format(*points.groups()))
        code = "from meshd.discover import find_plugins; print(find_plugins().network['acme.whisper'].name)"
        assert run(project, "-c", code) == "acme.whisper\n"

    @pytest.mark.parametrize("name", ["shout.yaml", "magic.yaml", "magic_v3.yaml"])
    def test_config(self, project: Path, name: str) -> None:
        """Its configs are valid."""
        code = f"""
            from meshd.config.load import load
            from meshd.discover import find_plugins
            print(load({name!r}, None, find_plugins(), environ={{}}).warnings)
        """
        assert run(project, "-c", textwrap.dedent(code)) == "[]\n"

    def test_links(self, project: Path) -> None:
        """The filters that its own tests leave out do what they are there for."""
        code = """
            from meshd.filters.listener.first_byte import first_byte
            from meshd.filters.network.ask_first import Config, ask_first
            from meshd.filters.network.shout import shout
            from meshd.testing import CLIENT, FakeClient, FakeContext, inspect_all
            from acme_filters import whisper

            context = FakeContext()
            client = FakeClient(shout.configure(None, context)(), whisper.configure(None, context)())
            client.send(b"abc")
            client.upstream.write(b"DEF")
            assert (client.upstream.received, client.received) == (b"ABC", b"def")

            taken, info = inspect_all(first_byte.configure(None, context)(), b"A")
            assert info.application_protocols == ["byte/65"]

            for allowed in ([CLIENT[0]], []):
                client = FakeClient(ask_first.configure(Config(allowed=allowed), context)())
                client.send(b"abc")
                assert client.paused_by and not client.upstream.connected
                context.clock.advance(0.1)
                assert client.upstream.received == (b"abc" if allowed else b"")
                assert client.dropped is not bool(allowed)

            client = FakeClient(ask_first.configure(Config(allowed=[]), context)())
            client.close()
            assert not context.clock.getDelayedCalls()
        """
        run(project, "-c", textwrap.dedent(code))
