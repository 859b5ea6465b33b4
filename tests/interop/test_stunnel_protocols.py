"""What is said before TLS, programs and inetd, against Debian's stunnel4."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.interop.oracle import die_with_parent
from tests.interop.peers import Peer
from tests.interop.stunnel_lab import Lab, both
from tests.interop.stunnels import KINDS, Stunnel, command


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The lab of all tests here."""
    return Lab(tmp_path_factory.mktemp("stunnel"))


def conversation(*steps: tuple[bytes, bytes]) -> Callable[[Peer], None]:
    """Return a server that says something, then waits for a line that begins so and answers."""

    def script(peer: Peer) -> None:
        for expected, reply in steps:
            got = b""
            while expected and not got.endswith(b"\n"):
                more = peer.some()
                if not more:
                    return
                got += more
            peer.send(reply)
        while data := peer.some():
            peer.send(data)

    return script


#: By protocol: what a backend says, what a client says to get TLS, and what it waits for.
SERVERS: dict[str, tuple[Callable[[Peer], None], list[tuple[bytes, bytes]]]] = {
    "smtp": (
        conversation((b"", b"220 mail ESMTP\r\n")),
        [(b"", b"220"), (b"EHLO me\r\n", b"250 STARTTLS\r\n"), (b"STARTTLS\r\n", b"220 Go ahead\r\n")],
    ),
    "pop3": (
        conversation((b"", b"+OK pop\r\n")),
        [(b"", b"+OK"), (b"CAPA\r\n", b".\r\n"), (b"STLS\r\n", b"+OK Stunnel starts TLS negotiation\r\n")],
    ),
    "pgsql": (conversation(), [(bytes((0, 0, 0, 8, 4, 210, 22, 47)), b"S")]),
}


@pytest.mark.parametrize("protocol", SERVERS)
def test_server(lab: Lab, tmp_path: Path, protocol: str) -> None:
    """A server begins in clear text, is asked for TLS, and then passes on."""
    script, steps = SERVERS[protocol]
    text = f"[srv]\naccept = @P0\nconnect = @BACKEND\n@CERT\nprotocol = {protocol}\n"

    def play(lab: Lab, stunnel: Stunnel) -> Any:
        sock = socket.create_connection(("127.0.0.1", lab.ports[0]), 5)
        said = []
        for line, expected in steps:
            sock.sendall(line)
            got = b""
            while expected not in got or not (got.endswith(b"\n") or expected == b"S"):
                more = sock.recv(4096)
                assert more, (got, expected)
                got += more
            said.append(got)
        with lab.context().wrap_socket(sock) as tls:
            tls.sendall(b"hello\r\n")
            said.append(tls.recv(100))
            with contextlib.suppress(OSError, ssl.SSLError):
                tls.unwrap()
        stunnel.wait_for("finished (")
        return said, [line for line in stunnel.lines() if "TLS accepted" in line]

    oracle, ours = both(lab, text, play, tmp_path, script)
    assert ours == oracle


def test_socks(lab: Lab, tmp_path: Path) -> None:
    """A SOCKS client inside TLS says where to; this machine's own loopback is refused."""
    text = "[srv]\naccept = @P0\nprotocol = socks\n@CERT\n"

    def play(lab: Lab, stunnel: Stunnel) -> Any:
        said = []
        with lab.tls(0) as tls:
            tls.sendall(b"\x05\x01\x00")
            said.append(tls.recv(2))
            tls.sendall(b"\x05\x01\x00\x01" + socket.inet_aton("127.0.0.1") + b"\x00\x50")
            with contextlib.suppress(OSError):
                said.append(tls.recv(10))
        return said

    oracle, ours = both(lab, text, play, tmp_path)
    assert ours == oracle


def test_proxy(lab: Lab, tmp_path: Path) -> None:
    """The backend is told who the client is."""

    def play(lab: Lab, stunnel: Stunnel) -> Any:
        with lab.tls(0) as tls:
            tls.sendall(b"hello")
            got = b""
            while b"hello" not in got:
                got += tls.recv(200)
            port = tls.getsockname()[1]
            with contextlib.suppress(OSError):
                tls.unwrap()
        return got.replace(str(port).encode(), b"PORT")

    text = "[srv]\naccept = @P0\nconnect = @BACKEND\n@CERT\nprotocol = proxy\n"
    oracle, ours = both(lab, text, play, tmp_path)
    assert ours == oracle
    assert oracle.startswith(b"PROXY TCP4 127.0.0.1 127.0.0.1 PORT ")


CLIENTS: dict[str, str] = {
    "smtp": "protocol = smtp\n",
    "pop3": "protocol = pop3\n",
    "pgsql": "protocol = pgsql\n",
}


@pytest.mark.parametrize("protocol", CLIENTS)
def test_both_sides(lab: Lab, tmp_path: Path, protocol: str) -> None:
    """A client asks a server of the same kind for TLS; what the server greets with reaches the client."""
    script, _ = SERVERS[protocol]
    text = (
        f"[srv]\naccept = @P0\nconnect = @BACKEND\n@CERT\nprotocol = {protocol}\n"
        f"[cli]\nclient = yes\naccept = @P1\nconnect = @P0\n{CLIENTS[protocol]}"
    )

    def play(lab: Lab, stunnel: Stunnel) -> Any:
        client = lab.plain(1)
        got = b"" if protocol == "pgsql" else client.some()
        client.send(b"hello\r\n")
        while b"hello\r\n" not in got:
            more = client.some()
            assert more, (got, stunnel.said())
            got += more
        client.close()
        return got

    oracle, ours = both(lab, text, play, tmp_path, script)
    assert ours == oracle


def test_exec(lab: Lab, tmp_path: Path) -> None:
    """A program serves the clients; it knows who they are."""
    text = "[srv]\naccept = @P0\nexec = /bin/sh\nexecArgs = sh @DIR/serve\n@CERT\n"
    (lab.directory / "serve").write_text('read line; echo "$REMOTE_HOST $line"\n')

    def play(lab: Lab, stunnel: Stunnel) -> Any:
        with lab.tls(0) as tls:
            tls.sendall(b"hello\n")
            got = b""
            with contextlib.suppress(OSError):
                while more := tls.recv(100):
                    got += more
        return got, [line for line in stunnel.lines() if "accepted" in line]

    oracle, ours = both(lab, text, play, tmp_path)
    assert ours == oracle
    assert oracle[0] == b"127.0.0.1 hello\n"


def test_exec_and_connect(lab: Lab, tmp_path: Path) -> None:
    """A program is the client of a server, and begins again."""
    text = (
        "[srv]\naccept = @P0\nconnect = @BACKEND\n@CERT\n"
        "[run]\nclient = yes\nexec = /bin/sh\nexecArgs = sh -c @DIR/once\nconnect = @P0\nretry = yes\n"
    )
    script = lab.directory / "once"
    script.write_text("#!/bin/sh\necho hello; read line\n")
    script.chmod(0o755)

    def play(lab: Lab, stunnel: Stunnel) -> Any:
        stunnel.wait_for("Service [srv] accepted connection from", 2)
        return True

    assert both(lab, text, play, tmp_path) == [True, True]


def test_inetd(lab: Lab, tmp_path: Path) -> None:
    """Without a section the connection is on descriptors 0 and 1, and the process ends with it."""
    outcomes = []
    for kind in KINDS:
        server = socket.create_server(("127.0.0.1", 0))
        path = tmp_path / "inetd.conf"
        where = f"connect = 127.0.0.1:{server.getsockname()[1]}\n"
        path.write_text(f"syslog = no\nclient = yes\noutput = {tmp_path}/{kind}.log\n{where}")
        ours, theirs = socket.socketpair()
        process = subprocess.Popen(
            [*command(kind), str(path)],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=subprocess.DEVNULL,
            preexec_fn=die_with_parent,
        )
        theirs.close()
        server.settimeout(10)
        accepted, _ = server.accept()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(lab.chain, lab.key)
        with context.wrap_socket(accepted, server_side=True) as tls:
            ours.sendall(b"hello")
            got = tls.recv(100)
            tls.sendall(b"bye")
            ours.settimeout(10)
            back = ours.recv(100)
            ours.shutdown(socket.SHUT_WR)  # else both wait for TIMEOUTclose
            with contextlib.suppress(OSError):
                tls.unwrap()
        ours.close()
        server.close()
        outcomes.append((got, back, process.wait(10)))
    assert outcomes[0] == outcomes[1] == (b"hello", b"bye", 0)
