"""TLS through the real process: tunnels, openssl, curl, many handshakes, certificates that change."""

from __future__ import annotations

import hashlib
import os
import selectors
import socket
import ssl
import subprocess
import threading
from typing import Any

import pytest

from tests.integration.test_real_traffic import Daemon, program, where
from tests.integration.tls import (
    BLOCK,
    CA,
    CLIENT,
    GIGABYTE,
    LEAF,
    NAME,
    Somewhere,
    connect,
    downstream,
    echo_server,
    files,
    read_all,
    terminated,
    trusting,
    tunnel,
    upstream,
)
from tests.interop.case import Case
from tests.interop.oracle import Proxy
from tests.interop.peers import FIN, Peer, wait_until
from tests.interop.yaml_parts import bootstrap, cluster, listener, tcp_proxy
from tests.ports import free_port

# Tunnels.


class Digests:
    """A backend's script: it takes so many bytes to the end, sends as many, and keeps the digest."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.digest = b""

    def __call__(self, peer: Peer) -> None:
        self.digest = take(peer.sock)
        give(peer.sock, self.size)


def take(sock: socket.socket) -> bytes:
    """Read to the end; return the digest of what came."""
    digest, buffer = hashlib.sha256(), bytearray(1 << 18)
    while size := sock.recv_into(buffer):
        digest.update(memoryview(buffer)[:size])
    return digest.digest()


def give(sock: socket.socket, size: int) -> None:
    """Send so many bytes, and the end."""
    for _ in range(0, size, len(BLOCK)):
        sock.sendall(BLOCK)
    sock.shutdown(socket.SHUT_WR)


def digest_of(size: int) -> bytes:
    """Return the digest of what give() sends."""
    digest = hashlib.sha256()
    for _ in range(0, size, len(BLOCK)):
        digest.update(BLOCK)
    return digest.digest()


@pytest.mark.parametrize(
    ("version", "size"),
    [("TLSv1_3", 1 << 24), ("TLSv1_2", 1 << 24), pytest.param("TLSv1_3", GIGABYTE, marks=pytest.mark.slow)],
)
def test_tunnel(case: Case, version: str, size: int) -> None:
    """What goes through both ends of a tunnel, each way after the other's end, arrives whole."""
    script = Digests(size)
    proxy = case.start(tunnel(case.backend(script), version))
    wanted = digest_of(size)
    with socket.create_connection(where(proxy), 60) as sock:
        give(sock, size)
        assert take(sock) == wanted
    assert script.digest == wanted
    stats = proxy.stats()
    assert stats["listener.end.ssl.handshake"] == stats["cluster.tunnel.ssl.handshake"] == 1
    assert stats["listener.end.ssl.connection_error"] == stats["cluster.tunnel.ssl.connection_error"] == 0


def test_tunnel_both_ways_at_once(case: Case) -> None:
    """Both directions at the same time, so that each has to wait for the other now and then."""
    size = 1 << 25
    wanted = digest_of(size)
    found: list[bytes] = []

    def both(peer: Peer) -> None:
        sending = threading.Thread(target=give, args=(peer.sock, size))
        sending.start()
        found.append(take(peer.sock))
        sending.join()

    proxy = case.start(tunnel(case.backend(both)))
    with socket.create_connection(where(proxy), 60) as sock:
        sending = threading.Thread(target=give, args=(sock, size))
        sending.start()
        assert take(sock) == wanted
        sending.join()
    wait_until(lambda: found, "the backend to have read all")
    assert found == [wanted]


def test_tunnel_half_closes(case: Case) -> None:
    """A half-close goes through, whoever is first; so does an end without a word."""

    def last(peer: Peer) -> None:
        if peer.read(1) == b"1":  # who ends first
            peer.read_to_end()
            peer.send(b"after your end")
        else:
            peer.send(b"before your end")
            peer.half_close()
            peer.read_to_end()

    case.start(tunnel(case.backend(last)))
    first = case.client()
    first.send(b"1 and all")
    first.half_close()
    assert first.read_to_end() == (b"after your end", FIN)
    second = case.client()
    second.send(b"2")
    assert second.read_to_end() == (b"before your end", FIN)
    second.send(b"still")
    second.half_close()


def test_tunnel_reset(case: Case) -> None:
    """A client that resets takes its tunnel with it, and nothing else."""
    proxy = case.start(tunnel(case.backend()))
    clients = [case.client() for _ in range(2)]
    for client in clients:
        client.send(b"x" * 100_000)
        client.read(100_000)
    clients[0].reset()
    proxy.await_stat("listener.end.downstream_cx_active", 1)
    clients[1].send(b"y")
    assert clients[1].read(1) == b"y"


# openssl, curl.


def s_client(proxy: Proxy, *options: str, said: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run openssl s_client, and say this; it ends when the server does or its input has ended."""
    host, port = where(proxy)
    command = [program("openssl"), "s_client", "-connect", f"{host}:{port}", *options]
    return subprocess.run(command, input=said, capture_output=True, timeout=30, check=False)


def test_s_client(case: Case) -> None:
    """openssl s_client finds the certificate good, agrees on version and ALPN."""
    ca, chain_file, key = files(case.directory, CLIENT)
    proxy = case.start(
        echo_server(
            downstream(
                {"alpn_protocols": ["h2", "x"], "validation_context": CA}, require_client_certificate=True
            )
        )
    )
    good = ["-CAfile", ca, "-verify_return_error", "-verify_hostname", NAME, "-servername", NAME]
    own = ["-cert", chain_file, "-key", key]
    for option, version in (("-tls1_2", b"TLSv1.2"), ("-tls1_3", b"TLSv1.3")):
        done = s_client(proxy, *good, *own, option, "-alpn", "x", said=b"hello\n")
        assert b"Verify return code: 0 (ok)" in done.stdout, done.stdout + done.stderr
        assert version in done.stdout
        assert b"ALPN protocol: x" in done.stdout
    done = s_client(proxy, *good, "-tls1_2")
    assert done.returncode != 0 and b"handshake failure" in done.stderr
    proxy.await_stat("listener.front.ssl.fail_verify_no_cert", 1)
    done = s_client(proxy, *good, *own, "-tls1_1")
    assert done.returncode != 0
    assert proxy.stat("listener.front.ssl.handshake") == 2


def test_renegotiation(case: Case) -> None:
    """A client that wants to renegotiate is refused."""
    proxy = case.start(echo_server())
    done = s_client(proxy, "-tls1_2", said=b"R\nafter\n")
    assert b"RENEGOTIATING" in done.stdout + done.stderr
    assert b"no renegotiation" in done.stderr
    assert proxy.stat("listener.front.ssl.handshake") == 1


def test_s_server(case: Case) -> None:
    """Towards openssl s_server meshd is a client like any other; one of another name it refuses."""
    _, chain_file, key = files(case.directory, LEAF)
    port = free_port()
    server = [program("openssl"), "s_server", "-accept", str(port), "-cert", chain_file, "-key", key, "-rev"]
    case.have(Daemon(port, *server, "-quiet"))
    host = Somewhere()
    host.port = port
    other = upstream(sni="bad.example")
    proxy = case.start(
        bootstrap(
            listener(tcp_proxy(access_log=[])),
            listener(tcp_proxy("other"), name="second"),
            clusters=[
                cluster(host, transport_socket=upstream()),
                cluster(host, name="other", transport_socket=other),
            ],
        )
    )
    client = case.client()
    client.send(b"drawer\n")
    assert client.read(7) == b"reward\n"
    client.close()
    refused = case.client("second")
    assert refused.read_to_end()[0] == b""
    line = case.log()[0]
    assert "CERTIFICATE_VERIFY_FAILED" in line["UPSTREAM_TRANSPORT_FAILURE_REASON"]
    assert NAME in line["UPSTREAM_TRANSPORT_FAILURE_REASON"]
    assert proxy.stat("cluster.other.ssl.fail_verify_san") == 1


def test_curl(case: Case) -> None:
    """curl gets a page by https, with its certificate checked."""

    def page(peer: Peer) -> None:
        while b"\r\n\r\n" not in bytes(peer.received):
            peer.some()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
        peer.half_close()

    ca, *_ = files(case.directory, LEAF)
    proxy = case.start(
        bootstrap(listener(terminated(tcp_proxy(access_log=[]))), clusters=[cluster(case.backend(page))])
    )
    host, port = where(proxy)
    for name, status in ((NAME, 0), ("bad.example", 60)):
        done = subprocess.run(
            [
                *(program("curl"), "-sS", "--cacert", ca, "--resolve", f"{name}:{port}:{host}"),
                f"https://{name}:{port}/",
            ],
            capture_output=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == status, done.stderr
        assert done.stdout == (b"" if status else b"hello")


# Handshakes.


def test_many_handshakes(case: Case) -> None:
    """2,000 clients that begin at the same time all have their handshake and their answer."""
    proxy = case.start(echo_server(transport_socket_connect_timeout="60s"))
    context, address = trusting(), where(proxy)
    selector = selectors.DefaultSelector()
    for _ in range(2000):
        raw = socket.create_connection(address, 30)
        raw.setblocking(False)
        made = context.wrap_socket(raw, server_hostname=NAME, do_handshake_on_connect=False)
        selector.register(made, selectors.EVENT_WRITE, "shaking")
    answered = 0
    while selector.get_map():
        events = selector.select(30)
        assert events, f"{len(selector.get_map())} connections stand still"
        for key, _ in events:
            sock: Any = key.fileobj
            try:
                if key.data == "shaking":
                    sock.do_handshake()
                    sock.send(b"hello")
                    selector.modify(sock, selectors.EVENT_READ, "asking")
                    continue
                assert sock.recv(100) == b"hello"
            except ssl.SSLWantReadError:
                selector.modify(sock, selectors.EVENT_READ, key.data)
                continue
            answered += 1
            selector.unregister(sock)
            sock.close()
    selector.close()
    assert answered == 2000
    stats = proxy.stats("ssl|handshake_timeouts|connect_timeout")
    assert stats["listener.front.ssl.handshake"] == 2000
    assert stats["listener.front.ssl.connection_error"] == 0


def test_slow_handshake(case: Case) -> None:
    """A client that dawdles over its handshake is cut off; one beside it is served."""
    proxy = case.start(echo_server(transport_socket_connect_timeout="1s"))
    slow = case.client()
    slow.send(b"\x16\x03\x01")
    with connect(proxy) as made:
        made.sendall(b"quick")
        assert read_all(made, 5) == b"quick"
        assert slow.read_to_end()[0] == b""
        made.sendall(b"again")
        assert read_all(made, 5) == b"again"
    proxy.await_stat("listener.front.downstream_cx_transport_socket_connect_timeout", 1)


def test_rubbish(case: Case) -> None:
    """Whatever is sent in place of a handshake ends that connection, and is counted."""
    proxy = case.start(echo_server())
    rubbish = (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b"\0" * 100, os.urandom(1) * 5000)
    for data in rubbish:
        client = case.client()
        client.try_send(data)
        client.half_close()
        client.read_to_end()
    with connect(proxy) as made:
        made.sendall(b"fine")
        assert read_all(made, 4) == b"fine"
    assert proxy.stat("listener.front.ssl.handshake") == 1
    proxy.await_stat("listener.front.downstream_cx_active", 0)


def test_resumption(case: Case) -> None:
    """Python's ssl resumes its sessions, with TLS 1.2 and 1.3."""
    proxy = case.start(echo_server())
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = trusting(maximum_version=version)
        session = None
        for resumed in (False, True):
            raw = socket.create_connection(where(proxy), 20)
            with context.wrap_socket(raw, server_hostname=NAME, session=session) as made:
                made.sendall(b"hello")
                assert read_all(made, 5) == b"hello"
                assert made.session_reused is resumed
                session = made.session
    assert proxy.stat("listener.front.ssl.session_reused") == 2
