"""Tests for tests.bench.subscribers."""

import os
from pathlib import Path

import pytest

from tests.bench import redis_rows
from tests.bench.programs import Failed, Program
from tests.bench.subscribers import MESSAGE, audience, words
from tests.ports import free_port


def test_words() -> None:
    """Words are written as Redis wants them."""
    assert words(b"GET", b"key") == b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n"
    assert MESSAGE.startswith(b"*3\r\n$7\r\nmessage\r\n")


class TestAudience:
    """Subscribers of a real server."""

    def test_counts(self, tmp_path: Path) -> None:
        """Each message is counted for each that got it."""
        port = free_port()
        command = redis_rows.server(tmp_path, port)
        with Program("redis", command, min(os.sched_getaffinity(0)), tmp_path) as server:
            server.wait_for_port(port)
            with audience(port, 20) as run:
                assert run(1, 0) == 20
                assert run(16, 0) == 320

    def test_refused(self, tmp_path: Path) -> None:
        """A server that does not let them subscribe is a failure."""
        port = free_port()
        command = [*redis_rows.server(tmp_path, port), "--requirepass", "secret"]
        with Program("redis", command, min(os.sched_getaffinity(0)), tmp_path) as server:
            server.wait_for_port(port)
            with pytest.raises(Failed, match="NOAUTH"), audience(port, 1):
                pass

    def test_nobody(self) -> None:
        """So is a port where there is nobody."""
        with pytest.raises(Failed, match="connection 0"), audience(free_port(), 1):
            pass
