"""Backends of resumed sessions, against Debian's stunnel4."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.peers import Backend, answer
from tests.interop.stunnel_lab import Lab, both
from tests.interop.stunnels import Stunnel


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The lab of all tests here."""
    return Lab(tmp_path_factory.mktemp("stunnel"))


def resume(lab: Lab, version: ssl.TLSVersion, times: int) -> list[bytes]:
    """Connect, then resume the session so often; return which backend answered each time."""
    context = lab.context()
    context.minimum_version = context.maximum_version = version
    session = None
    found = []
    for _ in range(times + 1):
        sock = socket.create_connection(("127.0.0.1", lab.ports[0]), 5)
        with context.wrap_socket(sock, session=session) as tls:
            assert tls.session_reused is (session is not None)
            tls.sendall(b"x")
            found.append(tls.recv(1))
            session = session or tls.session
            with contextlib.suppress(OSError, ssl.SSLError):
                tls.unwrap()
    return found


@contextlib.contextmanager
def second() -> Iterator[int]:
    """Have another backend; return its port."""
    backend = Backend(answer(b"2", closing=True))
    try:
        yield backend.port
    finally:
        backend.close()


TEXT = "[srv]\naccept = @P0\nconnect = @BACKEND\nconnect = 127.0.0.1:%d\nfailover = rr\n@CERT\n"


def test_persistence(lab: Lab, tmp_path: Path) -> None:
    """A client that resumes a session of the cache always has the same backend, whatever failover says."""

    def play(lab: Lab, stunnel: Stunnel) -> Any:
        found = [resume(lab, ssl.TLSVersion.TLSv1_2, 3) for _ in range(2)]
        first = "reused" in stunnel.said()
        return [len(set(each)) for each in found], first, stunnel.said().count("persistence: ")

    with second() as port:
        text = TEXT % port + "options = NO_TICKET\n"
        oracle, ours = both(lab, text, play, tmp_path, answer(b"1", closing=True))
    assert ours == oracle and ours[0] == [1, 1]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tickets(lab: Lab, tmp_path: Path, version: ssl.TLSVersion) -> None:
    """A session that is in a ticket says nothing of the backend."""

    def play(lab: Lab, stunnel: Stunnel) -> Any:
        found = resume(lab, version, 3)
        return len(set(found)), [line for line in stunnel.lines(5) if "persistence" in line]

    with second() as port:
        oracle, ours = both(lab, TEXT % port, play, tmp_path, answer(b"1", closing=True))
    assert ours == oracle and ours[0] == 2
