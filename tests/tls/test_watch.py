"""Tests for meshd.tls.watch."""

import os
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from meshd.testing import FakeTimers
from meshd.tls.watch import STEP, Watcher, states_of


class WatchCase(SynchronousTestCase):
    """A watcher that looks when the test lets time pass."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.clock = Clock()
        self.watcher = Watcher()
        self.changes = 0

    def changed(self) -> None:
        """Count a change."""
        self.changes += 1

    def write(self, name: str, text: str) -> str:
        """Write a file, return its path."""
        path = self.directory / name
        path.write_text(text)
        return str(path)

    def look(self) -> int:
        """Let the watcher look; return how many changes it has told so far."""
        self.clock.advance(STEP)
        return self.changes


class FileTests(WatchCase):
    """A file."""

    def setUp(self) -> None:
        super().setUp()
        self.path = self.write("a", "one")
        self.watcher.add(states_of([self.path]), self.changed)
        self.watcher.start(FakeTimers(self.clock))

    def test_same(self) -> None:
        """A file that stays as it is does not change."""
        self.assertEqual((self.look(), self.look()), (0, 0))

    def test_written(self) -> None:
        """One that is written to changes, once."""
        self.write("a", "longer")
        self.assertEqual((self.look(), self.look()), (1, 1))

    def test_renamed_over(self) -> None:
        """Another file of that name is a change, though it be as long and as old."""
        before = os.stat(self.path)
        new = self.write("b", "two")
        os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
        os.rename(new, self.path)
        self.assertEqual(self.look(), 1)

    def test_gone(self) -> None:
        """One that is gone changes when it is there again."""
        os.unlink(self.path)
        self.assertEqual(self.look(), 0)
        self.write("a", "new")
        self.assertEqual(self.look(), 1)

    def test_stopped(self) -> None:
        """Who is stopped looks no more, and leaves no timer."""
        self.watcher.stop()
        self.write("a", "longer")
        self.assertEqual(self.look(), 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_error(self) -> None:
        """What a callback raises does not keep the watcher from looking again."""
        calls = []

        def broken() -> None:
            calls.append(1)
            raise RuntimeError("broken")

        self.watcher.add(states_of([self.path]), broken)
        self.write("a", "longer")
        self.assertRaises(RuntimeError, self.look)
        self.write("a", "longer still")
        self.assertRaises(RuntimeError, self.look)
        self.assertEqual(len(calls), 2)


class LinkTests(WatchCase):
    """Files behind links, as Kubernetes has them."""

    def test_exchanged(self) -> None:
        """A link to another directory changes all files below it."""
        for name in ("v1", "v2"):
            (self.directory / name).mkdir()
            self.write(f"{name}/cert", name)
        os.symlink("v1", self.directory / "..data")
        os.symlink("..data/cert", self.directory / "cert")
        self.watcher.add(states_of([str(self.directory / "cert")]), self.changed)
        self.watcher.start(FakeTimers(self.clock))
        self.assertEqual(self.look(), 0)
        os.symlink("v2", self.directory / "..new")
        os.rename(self.directory / "..new", self.directory / "..data")
        self.assertEqual(self.look(), 1)


class OrderTests(WatchCase):
    """When what is watched."""

    def test_before_the_start(self) -> None:
        """What changes between the reading and the start is told after the start."""
        path = self.write("a", "one")
        self.watcher.add(states_of([path]), self.changed)
        self.write("a", "longer")
        self.assertEqual(self.look(), 0)
        self.watcher.start(FakeTimers(self.clock))
        self.assertEqual(self.look(), 1)

    def test_after_the_start(self) -> None:
        """Watches may come later; without any nothing ticks."""
        self.watcher.start(FakeTimers(self.clock))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        path = self.write("a", "one")
        self.watcher.add(states_of([path]), self.changed)
        self.write("a", "longer")
        self.assertEqual(self.look(), 1)

    def test_others(self) -> None:
        """A watch may be of other files from now on."""
        first, second = self.write("a", "one"), self.write("b", "two")
        watch = self.watcher.add(states_of([first]), self.changed)
        self.watcher.start(FakeTimers(self.clock))
        watch.watch(states_of([second]))
        self.write("a", "longer")
        self.assertEqual(self.look(), 0)
        self.write("b", "longer")
        self.assertEqual(self.look(), 1)
