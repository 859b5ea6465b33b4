"""Slow readers: what meshd holds for one stays within twice its limit, and no byte is lost."""

import contextlib
import hashlib
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.interop.case import Case
from tests.interop.oracle import Proxy
from tests.interop.peers import FIN, Peer, wait_until
from tests.interop.yaml_parts import Part, bootstrap, cluster, listener, network, tcp_proxy

LIMIT = 16384
PATTERN = bytes(range(251)) * 4177  # about a megabyte, of no power of two


def narrow(*hosts: object) -> Part:
    """A relay with buffer limits of 16 KiB on both sides."""
    upstream = cluster(*hosts, per_connection_buffer_limit_bytes=LIMIT)  # type: ignore[arg-type]
    return bootstrap(
        listener(tcp_proxy(access_log=[]), per_connection_buffer_limit_bytes=LIMIT), clusters=[upstream]
    )


class Gate:
    """A script that reads nothing until it is opened, then all."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.digest = hashlib.sha256()

    def __call__(self, peer: Peer) -> None:
        self.opened.wait(60)
        while data := peer.some():
            self.digest.update(data)
        peer.half_close()


def stuff(peer: Peer) -> int:
    """Send PATTERN over and over until nothing is taken for 0.3 s, or 64 MiB were; return how much went."""
    peer.sock.settimeout(0.3)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < 64 << 20:
            sent += peer.sock.send(PATTERN[sent % len(PATTERN) :])
    peer.sock.settimeout(10)
    return sent


def pattern_digest(size: int) -> bytes:
    """Return the digest of the first size bytes of PATTERN repeated."""
    digest = hashlib.sha256()
    for start in range(0, size, len(PATTERN)):
        digest.update(PATTERN[: size - start])
    return digest.digest()


def steady(value: Callable[[], int]) -> int:
    """Wait until a number no longer changes; return it."""
    seen = [value()]
    end = time.monotonic() + 10
    while time.monotonic() < end:
        time.sleep(0.05)
        seen.append(value())
        if len(seen) > 3 and len(set(seen[-4:])) == 1:
            return seen[-1]
    raise AssertionError(f"still changing: {seen[-5:]}")


def resident(proxy: Proxy) -> int:
    """Return the resident memory of the process, in bytes."""
    pages = Path(f"/proc/{proxy.process.pid}/statm").read_text().split()[1]
    return int(pages) * 4096


def test_backend_does_not_read(case: Case) -> None:
    """Toward a backend that does not read, at most twice the limit is held; later all arrives."""
    gate = Gate()
    proxy = case.start(narrow(case.backend(gate, rcvbuf=4096)))
    client = case.client()
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    sent = stuff(client)
    taken = steady(lambda: proxy.stat("tcp.t.downstream_cx_rx_bytes_total"))
    passed = proxy.stat("cluster.c.upstream_cx_tx_bytes_total")
    assert taken - passed <= 2 * LIMIT
    assert proxy.stat("cluster.c.upstream_cx_tx_bytes_buffered") <= 2 * LIMIT
    assert proxy.stat("tcp.t.downstream_flow_control_paused_reading_total") >= 1
    gate.opened.set()
    client.half_close()
    assert client.read_to_end() == (b"", FIN)
    assert gate.digest.digest() == pattern_digest(sent)
    assert proxy.stat("tcp.t.downstream_flow_control_resumed_reading_total") >= 1


def test_client_does_not_read(case: Case) -> None:
    """Toward a client that does not read, at most twice the limit is held; later all arrives."""
    sent: list[int] = []

    def flood(peer: Peer) -> None:
        peer.read(1)
        sent.append(stuff(peer))
        peer.half_close()
        peer.read_to_end()

    proxy = case.start(narrow(case.backend(flood)))
    client = case.client(rcvbuf=4096)
    client.send(b"x")
    wait_until(lambda: sent, "the backend to be stuck")
    taken = steady(lambda: proxy.stat("cluster.c.upstream_cx_rx_bytes_total"))
    passed = proxy.stat("tcp.t.downstream_cx_tx_bytes_total")
    assert taken - passed <= 2 * LIMIT
    assert proxy.stat("tcp.t.downstream_cx_tx_bytes_buffered") <= 2 * LIMIT
    assert proxy.stat("cluster.c.upstream_flow_control_backed_up_total") + proxy.stat(
        "cluster.c.upstream_flow_control_paused_reading_total"
    )
    received = client.read_to_end()
    assert received[1] == FIN
    assert len(received[0]) == sent[0]
    assert hashlib.sha256(received[0]).digest() == pattern_digest(sent[0])


def test_many_slow_readers(case: Case) -> None:
    """Fifty stuck connections cost no more memory than their buffers may hold."""
    gate = Gate()
    proxy = case.start(narrow(case.backend(gate, rcvbuf=4096)))
    case.client().send(b"warm")
    before = resident(proxy)
    for _ in range(50):
        client = case.client()
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        client.sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            for _ in range(64):
                client.sock.send(PATTERN)
    steady(lambda: proxy.stat("tcp.t.downstream_cx_rx_bytes_total"))
    assert resident(proxy) - before < 50 * 2 * LIMIT + (4 << 20)
    gate.opened.set()


def test_echo_to_one_who_does_not_read(case: Case) -> None:
    """An echo whose client does not read stops reading too."""
    proxy = case.start(bootstrap(listener(network("echo", "Echo"), per_connection_buffer_limit_bytes=LIMIT)))
    client = case.client(rcvbuf=4096)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    before = resident(proxy)
    sent = stuff(client)
    assert sent < 64 << 20
    assert resident(proxy) - before < 8 << 20
    client.half_close()
    data, ending = client.read_to_end()
    assert ending == FIN
    assert hashlib.sha256(data).digest() == pattern_digest(sent)


def test_fast_beside_slow(case: Case) -> None:
    """A stuck connection does not hold up another of the same listener and cluster."""
    gate = Gate()

    def script(peer: Peer) -> None:
        if peer.read(1) == b"s":
            gate(peer)
        else:
            peer.send(b"quick")
            peer.read_to_end()

    case.start(narrow(case.backend(script, rcvbuf=4096)))
    slow = case.client()
    slow.send(b"s")
    stuff(slow)
    for _ in range(20):
        quick = case.client()
        quick.send(b"q")
        assert quick.read(5) == b"quick"
        quick.close()
    gate.opened.set()
