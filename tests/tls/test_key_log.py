"""Tests for meshd.tls.key_log."""

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from meshd.tls.key_log import KeyLogs


class KeyLogTests(SynchronousTestCase):
    """A file of keys."""

    def test_lines(self) -> None:
        """Each line is in the file at once, and only its owner can read it."""
        path = self.mktemp()
        KeyLogs().open(path)(b"CLIENT_RANDOM aa bb")
        self.assertEqual(Path(path).read_bytes(), b"CLIENT_RANDOM aa bb\n")
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)

    def test_shared(self) -> None:
        """Two contexts that name one path write to one file, after what was there."""
        path = self.mktemp()
        Path(path).write_bytes(b"old\n")
        logs = KeyLogs()
        logs.open(path)(b"one")
        logs.open(path)(b"two")
        self.assertEqual(Path(path).read_bytes(), b"old\none\ntwo\n")

    def test_nowhere(self) -> None:
        """A path that cannot be opened is told at once."""
        self.assertRaises(OSError, KeyLogs().open, "/nonexistent/keys")

    def test_full(self) -> None:
        """A device that is full costs the lines, and nobody else notices."""
        write = KeyLogs().open("/dev/full")
        for _ in range(2):
            write(b"line")
