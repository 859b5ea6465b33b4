"""
Files of key material, in the format of NSS (SSLKEYLOGFILE), which Wireshark reads.

A line is written at once, so that what is captured can be read while it goes on.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from twisted.logger import Logger

log = Logger(namespace="meshd.tls")


class KeyLogs:
    """The files, one of a path."""

    def __init__(self) -> None:
        self._writers: dict[str, Callable[[bytes], object]] = {}

    def open(self, path: str) -> Callable[[bytes], object]:
        """Return what appends a line to the file.  Raise OSError if it cannot be opened."""
        if path not in self._writers:
            self._writers[path] = self._writer(path)
        return self._writers[path]

    def _writer(self, path: str) -> Callable[[bytes], object]:
        # Who has the keys can read the connections: nobody but the owner.
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        failed = False

        def write(line: bytes) -> None:
            nonlocal failed
            try:
                os.write(descriptor, line + b"\n")
            except OSError as error:
                if not failed:
                    log.error("cannot write keys to {path}: {error}", path=path, error=error)
                failed = True

        return write
