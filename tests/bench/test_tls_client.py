"""
The client of the rows of TLS, against Python's own server.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench import tls_client, tls_proxies
from tests.bench.programs import Failed

BIG = 1 << 20


def serve(listening: socket.socket, context: ssl.SSLContext) -> None:
    """Answer the client's requests, one connection after the other, until the socket is closed."""
    kept = []
    while True:
        try:
            raw, _ = listening.accept()
        except OSError:
            return
        try:
            made = context.wrap_socket(raw, server_side=True)
            request = made.recv(4096)
            made.sendall(b"x" * BIG if b"/big" in request else b"ok")
            if b"close" in request:
                made.close()
            else:
                kept.append(made)
        except OSError:  # that of wait_for_port, or of a client that failed
            raw.close()


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """Return the port of a server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*tls_proxies.certificate(tmp_path))
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=serve, args=(listening, context))
    thread.start()
    yield int(listening.getsockname()[1])
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join()


class TestClient:
    """What it does and counts."""

    def test_bulk(self, port: int, tmp_path: Path) -> None:
        """A download has all bytes, by TLS 1.3 with the cipher that is wanted."""
        seen = tls_client.run("bulk", port, BIG, tls_client.environment(tmp_path))
        assert seen.check(False) == BIG
        with pytest.raises(Failed, match="a download ended after"):
            tls_client.run("bulk", port, BIG + 1, tls_client.environment(tmp_path))

    def test_handshakes(self, port: int, tmp_path: Path) -> None:
        """Handshakes are full, or all but the first of each client resumed."""
        env = tls_client.environment(tmp_path)
        assert tls_client.run("full", port, 0.2, env).check(False) > 0
        seen = tls_client.run("resumed", port, 0.2, env)
        assert seen.resumed >= seen.count - tls_client.AT_ONCE > 0

    def test_idle(self, port: int, tmp_path: Path) -> None:
        """It holds connections, and is gone afterwards."""
        with tls_client.holding(port, 3, tls_client.environment(tmp_path)) as seen:
            assert seen.check(False) == 3

    def test_nobody(self, port: int, tmp_path: Path) -> None:
        """It fails where nobody listens."""
        with socket.create_server(("127.0.0.1", 0)) as other:
            free = other.getsockname()[1]
        env = tls_client.environment(tmp_path)
        with pytest.raises(Failed), tls_client.holding(free, 1, env):
            pass
        with pytest.raises(Failed):
            tls_client.run("full", free, 0.1, env)


class TestSeen:
    """A run that is not of what was to be measured fails."""

    @pytest.mark.parametrize(
        ("seen", "resumed"),
        [
            (tls_client.Seen(9, 0, "TLSv1.2", tls_client.CIPHER), False),
            (tls_client.Seen(9, 0, "TLSv1.3", "TLS_AES_128_GCM_SHA256"), False),
            (tls_client.Seen(99, 90, "TLSv1.3", tls_client.CIPHER), True),
            (tls_client.Seen(9, 1, "TLSv1.3", tls_client.CIPHER), False),
        ],
    )
    def test_refused(self, seen: tls_client.Seen, resumed: bool) -> None:
        """Another version or cipher, or handshakes of the other kind."""
        with pytest.raises(Failed):
            seen.check(resumed)
