"""Transparent proxying, in a network of its own, against Debian's stunnel4."""

from __future__ import annotations

import os
import select
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from tests.interop.network import may_make, own_network
from tests.interop.peers import Peer
from tests.interop.stunnel_lab import Lab, both
from tests.interop.stunnels import Stunnel

#: Who is redirected; what the stunnels connect from is not.
CLIENT = "127.0.0.5"

pytestmark = pytest.mark.skipif(not may_make(), reason="networks are root's to make")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The lab of all tests here."""
    return Lab(tmp_path_factory.mktemp("stunnel"))


def who(peer: Peer) -> None:
    """Tell a client where it comes from, once it has said something."""
    peer.read(2)
    peer.send(peer.sock.getpeername()[0].encode())


def ask(lab: Lab, port: int, tls: bool) -> Any:
    """Connect from CLIENT to a port of the lab; return what is answered, or how it ended."""
    sock = socket.socket()
    try:
        sock.settimeout(5)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((CLIENT, lab.ports[5]))
        sock.connect(("127.0.0.1", lab.ports[port]))
        if tls:
            sock = lab.context().wrap_socket(sock)
        sock.sendall(b"hi")
        said = b""
        while more := sock.recv(4096):
            said += more
        return said
    except (ssl.SSLError, OSError) as error:
        return type(error).__name__
    finally:
        sock.close()


def ask_nothing(lab: Lab, port: int) -> str:
    """Connect with TLS to a port of the lab; return how that ends: the error of the socket."""
    with lab.tls(port) as sock:
        poll = select.poll()
        poll.register(sock, 0)
        poll.poll(5000)
        return os.strerror(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))


def redirect(lab: Lab, port: int, to: int) -> str:
    """Return what sends the client elsewhere than where it wants to go; others may go there."""
    match = f"-p tcp -s {CLIENT} --dport {lab.ports[port]} --sport {lab.ports[5]}"
    return f"iptables -t nat -A OUTPUT {match} -j REDIRECT --to-ports {lab.ports[to]}"


def test_destination(lab: Lab, tmp_path: Path) -> None:
    """A server goes to where the client wanted to go before it was redirected."""
    text = "[srv]\naccept = @P0\n@CERT\ntransparent = destination\n"

    def play(lab: Lab, stunnel: Stunnel) -> Any:
        got = ask(lab, 3, tls=True)
        stunnel.wait_for("Connection closed")
        target = f"s_connect: connected 127.0.0.1:{lab.ports[3]}"
        return got, target in stunnel.said()

    with own_network(redirect(lab, 3, 0)):
        assert both(lab, text, play, tmp_path, who) == [(b"127.0.0.1", True)] * 2


def test_client(lab: Lab, tmp_path: Path) -> None:
    """A client does so, too: what is redirected to it is encrypted on its way."""
    text = (
        "[cli]\nclient = yes\naccept = @P0\ntransparent = destination\n"
        "[srv]\naccept = @P1\nconnect = @BACKEND\n@CERT\n"
    )
    with own_network(redirect(lab, 1, 0)):
        outcomes = both(lab, text, lambda lab, stunnel: ask(lab, 1, tls=False), tmp_path, who)
    assert outcomes == [b"127.0.0.1"] * 2


def test_unknown(lab: Lab, tmp_path: Path) -> None:
    """Where the kernel does not follow connections the client is reset."""
    text = "[srv]\naccept = @P0\n@CERT\ntransparent = destination\n"

    def play(lab: Lab, stunnel: Stunnel) -> Any:
        # Whether what it says comes before the reset or after would be chance, and Python tells these apart.
        got = ask_nothing(lab, 0)
        stunnel.wait_for("Connection reset")
        return got, [line for line in stunnel.lines() if "ORIGINAL" in line or "reset" in line]

    with own_network():
        oracle, ours = both(lab, text, play, tmp_path)
    assert ours == oracle
    assert ours[0] == "Connection reset by peer"


@pytest.mark.parametrize("mode", ["source", "both"])
def test_source(lab: Lab, tmp_path: Path, mode: str) -> None:
    """The backend sees the client's address, and not the server's."""
    end = "connect = @BACKEND\n" if mode == "source" else ""
    text = f"[srv]\naccept = @P0\n{end}@CERT\ntransparent = {mode}\n"
    port = 3 if mode == "both" else 0

    def play(lab: Lab, stunnel: Stunnel) -> Any:
        return ask(lab, port, tls=True)

    # On one machine the client still has its port, so that the server's connection has another.
    with own_network(redirect(lab, 3, 0)):
        assert both(lab, text, play, tmp_path, who) == [CLIENT.encode()] * 2


def test_exec(lab: Lab, tmp_path: Path) -> None:
    """A program gets the library that makes it see the client as its peer."""
    program = tmp_path / "program"
    # It must not leave before it has read all: what it says would be lost.
    program.write_text("#!/bin/sh\nhead -c 2 > /dev/null\nexec env\n")
    program.chmod(0o755)
    text = f"[srv]\naccept = @P0\nexec = {program}\n@CERT\ntransparent = source\n"

    def play(lab: Lab, stunnel: Stunnel) -> Any:
        lines = ask(lab, 0, tls=True).split(b"\n")
        return sorted(line for line in lines if b"LD_PRELOAD" in line)

    oracle, ours = both(lab, text, play, tmp_path)
    assert ours == oracle and ours
