"""Plays one scenario on both stunnels: certificates, ports, a backend, and what came of it."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.interop.peers import Backend, Client, Peer, echo
from tests.interop.stunnels import FOREGROUND, KINDS, Stunnel
from tests.ports import free_port
from tests.tls.authority import Authority

LOUD = FOREGROUND + "debug = 7\n"


class Lab:
    """Certificates, free ports and a backend for one pair of plays."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.root = Authority("meshd test root", kind="rsa2048")
        self.leaf = self.root.issue("localhost", dns=["localhost"], ip=["127.0.0.1"], kind="rsa2048")
        self.other = Authority("another root", kind="rsa2048")
        (directory / "ca.pem").write_bytes(self.root.alone)
        (directory / "other.pem").write_bytes(self.other.alone)
        self.chain, self.key = self.leaf.write(directory, "server")
        self.client = self.root.issue("client", kind="rsa2048").write(directory, "client")
        self.stranger = self.other.issue("stranger", kind="rsa2048").write(directory, "stranger")
        for each in directory.glob("*.key"):
            each.chmod(0o600)
        self.ports = [free_port() for _ in range(6)]

    def conf(self, text: str, backend: int = 0) -> str:
        """Fill in the places of a stunnel.conf."""
        names = {
            "CERT": f"cert = {self.chain}\nkey = {self.key}",
            "CA": str(self.directory / "ca.pem"),
            "OTHER": str(self.directory / "other.pem"),
            "CLIENTCERT": f"cert = {self.client[0]}\nkey = {self.client[1]}",
            "DIR": str(self.directory),
            "BACKEND": f"127.0.0.1:{backend}",
            **{f"P{number}": f"127.0.0.1:{port}" for number, port in enumerate(self.ports)},
        }
        for name in sorted(names, key=len, reverse=True):
            text = text.replace(f"@{name}", names[name])
        return text

    def context(self, certificate: tuple[str, str] | None = None, alpn: Sequence[str] = ()) -> ssl.SSLContext:
        """Return what a client of our own connects with; it trusts everybody."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if certificate:
            context.load_cert_chain(*certificate)
        return context

    def tls(self, port: int, name: str | None = None, **options: Any) -> ssl.SSLSocket:
        """Connect with TLS."""
        sock = socket.create_connection(("127.0.0.1", self.ports[port]), 5)
        return self.context(**options).wrap_socket(sock, server_hostname=name)

    def plain(self, port: int) -> Client:
        """Connect without TLS."""
        return Client(("127.0.0.1", self.ports[port]))


Play = Callable[[Lab, Stunnel], Any]


@contextlib.contextmanager
def running(lab: Lab, kind: str, text: str, directory: Path) -> Iterator[Stunnel]:
    """Have a stunnel for a while."""
    stunnel = Stunnel(kind, text, directory)
    try:
        yield stunnel
    finally:
        stunnel.stop()


def both(lab: Lab, text: str, play: Play, tmp_path: Path, script: Callable[[Peer], None] = echo) -> list[Any]:
    """Play on both, each with a backend of its own, and return the outcomes, the oracle's first."""
    outcomes = []
    for kind in KINDS:
        backend = Backend(script, port=lab.ports[3])
        try:
            with running(lab, kind, lab.conf(LOUD + text, backend.port), tmp_path) as stunnel:
                outcomes.append(play(lab, stunnel))
        finally:
            backend.close()
    return outcomes
