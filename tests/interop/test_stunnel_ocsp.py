"""Asking an OCSP responder about clients and servers, against Debian's stunnel4."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.interop.stunnel_lab import Lab, both
from tests.interop.stunnels import Stunnel
from tests.tls.authority import Authority


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The lab of all tests here."""
    return Lab(tmp_path_factory.mktemp("stunnel"))


@contextlib.contextmanager
def responder(answer: bytes) -> Iterator[str]:
    """Have a responder that always says the same; yield its URL."""

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Type", "application/ocsp-response")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


CLIENT = (
    "[srv]\naccept = @P0\nconnect = @BACKEND\n@CERT\n"
    "[cli]\nclient = yes\naccept = @P1\nconnect = @P0\nverifyChain = yes\nCAfile = @CA\n"
)


def play_client(lab: Lab, stunnel: Stunnel) -> Any:
    """Say something through the client tunnel; return the answer, and what is said of the certificate."""
    client = lab.plain(1)
    client.send(b"hello")
    with contextlib.suppress(OSError):
        client.half_close()
    got = client.read_to_end()
    client.close()
    stunnel.wait_for("finished (", 2)
    said = stunnel.lines(4, "0")
    return got, [line for line in said if "Rejected by" in line or "verify failed" in line]


@pytest.mark.parametrize("status", ["good", "revoked"])
def test_client(lab: Lab, tmp_path: Path, status: str) -> None:
    """A client tunnel asks about the server's certificate."""
    with responder(lab.root.ocsp(lab.leaf, status)) as url:
        oracle, ours = both(lab, f"{CLIENT}OCSP = {url}\n", play_client, tmp_path)
    assert ours == oracle
    assert (oracle[0] == (b"hello", "FIN")) == (status == "good")


@pytest.mark.parametrize(
    "flag", ["", "NOINTERN", "NOSIGS", "NOVERIFY", "NOCHAIN", "NOEXPLICIT", "NODELEGATED"]
)
@pytest.mark.parametrize("signer", ["issuer", "delegate", "server", "forger"])
def test_flags(lab: Lab, tmp_path: Path, flag: str, signer: str) -> None:
    """Flags leave checks of the response out, or change nothing."""
    owners = {
        "issuer": None,
        "delegate": lab.root.issue("delegate", uses=["ocsp"], kind="rsa2048"),
        "server": lab.root.issue("a server", kind="rsa2048"),
        "forger": Authority("meshd test root", kind="rsa2048"),
    }
    line = f"OCSPflag = {flag}\n" if flag else ""
    with responder(lab.root.ocsp(lab.leaf, responder=owners[signer])) as url:
        oracle, ours = both(lab, f"{CLIENT}OCSP = {url}\n{line}", play_client, tmp_path)
    assert ours == oracle


@pytest.mark.parametrize("status", ["good", "revoked"])
def test_server(lab: Lab, tmp_path: Path, status: str) -> None:
    """A server tunnel asks about the client's certificate."""
    text = "[srv]\naccept = @P0\nconnect = @BACKEND\n@CERT\nverifyChain = yes\nCAfile = @CA\n"

    def play(lab: Lab, stunnel: Stunnel) -> Any:
        got = b""
        with contextlib.suppress(OSError), lab.tls(0, certificate=(pair[0], pair[1])) as client:
            client.sendall(b"hello")
            got = client.recv(100)
        stunnel.wait_for("finished (")
        return got, [line for line in stunnel.lines(4) if "Rejected by" in line or "verify failed" in line]

    leaf = lab.root.issue("asked", kind="rsa2048")
    pair = leaf.write(lab.directory, f"asked-{status}")
    with responder(lab.root.ocsp(leaf, status)) as url:
        oracle, ours = both(lab, f"{text}OCSP = {url}\n", play, tmp_path)
    assert ours == oracle
    assert oracle[0] == (b"hello" if status == "good" else b"")
