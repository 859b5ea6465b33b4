"""Who may come: ident and libwrap, against Debian's stunnel4."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.interop.network import in_thread, may_make, own_files, own_network
from tests.interop.peers import Backend, Peer
from tests.interop.stunnel_lab import Lab, both
from tests.interop.stunnels import Stunnel

pytestmark = pytest.mark.skipif(not may_make(), reason="networks and mounts are root's to make")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The lab of all tests here."""
    return Lab(tmp_path_factory.mktemp("stunnel"))


def ask(lab: Lab, source: str = "127.0.0.1") -> Any:
    """Say something by TLS; return what is answered, or how it ended."""
    sock = socket.socket()
    sock.settimeout(5)
    with sock:
        sock.bind((source, 0))
        try:
            sock.connect(("127.0.0.1", lab.ports[0]))
            with lab.context().wrap_socket(sock) as tls:
                tls.sendall(b"hi")
                return tls.recv(100)
        except (ssl.SSLError, OSError) as error:
            return type(error).__name__


def identd(reply: bytes | None) -> Callable[[Peer], None]:
    """Return what answers a question with a reply, in which PORTS stands for its own; None: never."""

    def script(peer: Peer) -> None:
        line = b""
        while not line.endswith(b"\n"):
            line += peer.read(1)
        if reply is None:
            peer.read_to_end()
        else:
            peer.send(reply.replace(b"PORTS", line.strip()))

    return script


@pytest.mark.parametrize(
    "reply",
    [
        b"PORTS : USERID : UNIX : bob\r\n",
        b"PORTS : USERID : UNIX : alice\r\n",
        b"PORTS : USERID : OTHER,UTF-8 : bob\n",
        b"PORTS : ERROR : NO-USER\r\n",
        b"PORTS : ERROR\r\n",
        b"rubbish\r\n",
        b"PORTS : USERID : UNIX : bob",
        b"",
        None,
    ],
)
def test_ident(lab: Lab, tmp_path: Path, reply: bytes | None) -> None:
    """The client's machine is asked whose the connection is; only the user that is wanted gets in."""
    text = "[srv]\naccept = @P0\nconnect = @BACKEND\n@CERT\nident = bob\nTIMEOUTbusy = 1\n"

    def play(lab: Lab, stunnel: Stunnel) -> Any:
        got = ask(lab)
        stunnel.wait_for("Connection ")
        lines = [line for line in stunnel.lines(6) if "IDENT" in line or ":113" in line or "s_read" in line]
        return got, without_ports(lines)

    with own_network():
        server = Backend(identd(reply), port=113)
        try:
            oracle, ours = both(lab, text, play, tmp_path)
        finally:
            server.close()
    assert ours == oracle


def without_ports(lines: list[str]) -> list[str]:
    """Return lines without the ports of clients."""
    return [line.split(" from ")[0] + line[line.rfind("(") :] if " from " in line else line for line in lines]


def test_no_identd(lab: Lab, tmp_path: Path) -> None:
    """A client whose machine answers nothing is refused."""
    text = "[srv]\naccept = @P0\nconnect = @BACKEND\n@CERT\nident = bob\n"

    def play(lab: Lab, stunnel: Stunnel) -> Any:
        got = ask(lab)
        stunnel.wait_for("Connection reset")
        return got, stunnel.lines(4)

    with own_network():
        oracle, ours = both(lab, text, play, tmp_path)
    assert ours == oracle


@pytest.mark.parametrize(
    ("allow", "deny"),
    [
        ("", ""),
        ("", "srv: 127.0.0.9\n"),
        ("", "other: ALL\n"),
        ("", "ALL: ALL\n"),
        ("srv: 127.0.0.1 127.0.0.9\n", "ALL: ALL\n"),
        ("ALL: localhost\n", "ALL: ALL\n"),
        ("srv: 127.0.0.9: deny\n", ""),
    ],
)
def test_libwrap(lab: Lab, tmp_path: Path, allow: str, deny: str) -> None:
    """hosts.allow and hosts.deny say who may speak to a section."""
    text = "[srv]\naccept = @P0\nconnect = @BACKEND\n@CERT\nlibwrap = yes\n"
    (tmp_path / "allow").write_text(allow)
    (tmp_path / "deny").write_text(deny)

    def scene() -> list[Any]:
        own_files({"/etc/hosts.allow": tmp_path / "allow", "/etc/hosts.deny": tmp_path / "deny"})
        return both(lab, text, ask_twice, tmp_path)

    oracle, ours = in_thread(scene)
    assert ours == oracle


def ask_twice(lab: Lab, stunnel: Stunnel) -> Any:
    """Ask from two addresses; return the answers, and what was said of libwrap."""
    got = [ask(lab, source) for source in ("127.0.0.9", "127.0.0.1")]
    stunnel.wait_for("Connection ", 2)
    return got, without_ports([line for line in stunnel.lines(7) if "by libwrap" in line])


def test_twist(lab: Lab, tmp_path: Path) -> None:
    """A rule that would put another program in this one's place refuses the client, and no other."""
    text = "[srv]\naccept = @P0\nconnect = @BACKEND\n@CERT\nlibwrap = yes\n"
    (tmp_path / "allow").write_text("srv: 127.0.0.9: twist /bin/true\n")

    def scene() -> list[Any]:
        own_files({"/etc/hosts.allow": tmp_path / "allow"})
        return both(lab, text, ask_twice, tmp_path)

    oracle, ours = in_thread(scene)
    # stunnel loses the process that it asks with.
    assert oracle[0] == ["ConnectionResetError", "ConnectionResetError"]
    assert ours[0] == ["ConnectionResetError", b"hi"]


def test_many(lab: Lab, tmp_path: Path) -> None:
    """Clients that come at the same time are all answered for."""
    text = "[srv]\naccept = @P0\nconnect = @BACKEND\n@CERT\nlibwrap = yes\n"

    def play(lab: Lab, stunnel: Stunnel) -> Any:
        got: list[Any] = []
        threads = [threading.Thread(target=lambda: got.append(ask(lab))) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return got

    assert both(lab, text, play, tmp_path) == [[b"hi"] * 20] * 2
