"""Tests for meshd.new_filter."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from meshd.new_filter import BadName, new_filter


class NewFilterTests(SynchronousTestCase):
    """A filter in an empty directory."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)

    def run_python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python in the directory, where meshd is what runs these tests."""
        path = os.pathsep.join([str(self.directory), str(Path(__file__).parent.parent)])
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.directory,
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def test_files(self) -> None:
        """The filter is a drop-in, its test beside it."""
        written = [str(path.relative_to(self.directory)) for path in new_filter("count", self.directory)]
        self.assertEqual(written, ["meshd/filters/network/count.py", "tests/test_count.py"])

    def test_in_the_source(self) -> None:
        """In meshd's own source, the test is where those of the other filters are."""
        (self.directory / "tests/filters/network").mkdir(parents=True)
        _, test = new_filter("count", self.directory)
        self.assertEqual(test, self.directory / "tests/filters/network/test_count.py")

    def test_its_test_passes(self) -> None:
        """The test that is written passes as it is."""
        for name in ("count", "link", "config2", "config"):
            new_filter(name, self.directory)
        run = self.run_python("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")
        self.assertEqual(run.returncode, 0, run.stdout)
        self.assertIn("8 passed", run.stdout)

    def test_is_found(self) -> None:
        """The filter is found by its name."""
        new_filter("count", self.directory)
        run = self.run_python(
            "-c",
            "from meshd.discover import find_plugins;print(find_plugins().by_name('network', 'count').name)",
        )
        self.assertEqual(run.stdout, "meshd.filters.network.count\n")

    def test_is_clean(self) -> None:
        """What is written passes the types and the style of meshd's own source."""
        files = [str(path) for path in new_filter("count", self.directory)]
        root = Path(__file__).parent.parent
        first_party = 'lint.isort.known-first-party = ["meshd"]'
        config = ("--config", str(root / "pyproject.toml"), "--config", first_party)
        run = self.run_python("-m", "ruff", "check", *config, *files)
        self.assertEqual(run.returncode, 0, run.stdout)

    def test_wrong_names(self) -> None:
        """A name that no module can have is refused, and nothing is written."""
        for name in ("", "My", "a-b", "a.b", "../a", "class", "1a"):
            self.assertRaises(BadName, new_filter, name, self.directory)
        self.assertEqual(list(self.directory.iterdir()), [])

    def test_nothing_is_overwritten(self) -> None:
        """A file that is there stays as it is."""
        filter, _ = new_filter("count", self.directory)
        filter.write_text("mine")
        self.assertRaises(FileExistsError, new_filter, "count", self.directory)
        self.assertEqual(filter.read_text(), "mine")
