"""What meshd-stunnel has and stunnel has not, with real clients and servers."""

from __future__ import annotations

import http.client
from pathlib import Path

import pytest

from tests.interop.peers import Backend, wait_until
from tests.interop.stunnel_lab import Lab, running
from tests.interop.stunnels import FOREGROUND
from tests.ports import free_port


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The lab of all tests here."""
    return Lab(tmp_path_factory.mktemp("stunnel"))


SERVER = "[srv]\naccept = @P0\nconnect = @BACKEND\n@CERT\n"


def test_metrics(lab: Lab, tmp_path: Path) -> None:
    """The admin page counts what the tunnels do."""
    port = free_port()
    backend = Backend()
    text = lab.conf(f"; meshd: admin = {port}\n{FOREGROUND}debug = 6\n{SERVER}", backend.port)
    with running(lab, "meshd", text, tmp_path) as stunnel:
        with lab.tls(0) as tls:
            tls.sendall(b"hello")
            assert tls.recv(5) == b"hello"
            tls.unwrap()
        stunnel.wait_for("Connection closed")
        page = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        page.request("GET", "/stats/prometheus")
        metrics = page.getresponse().read().decode()
        page.close()
    backend.close()
    assert "envoy_tcp_downstream_cx_rx_bytes_total" in metrics and "srv" in metrics
    assert "envoy_listener_ssl_handshake" in metrics


def test_alpn(lab: Lab, tmp_path: Path) -> None:
    """A server chooses one of its protocols."""
    backend = Backend()
    text = lab.conf(f"{FOREGROUND}debug = 6\n{SERVER}; meshd: alpn = h2,http/1.1\n", backend.port)
    with running(lab, "meshd", text, tmp_path), lab.tls(0, alpn=["http/1.1"]) as tls:
        assert tls.selected_alpn_protocol() == "http/1.1"
    backend.close()


def test_proxy_header(lab: Lab, tmp_path: Path) -> None:
    """The backend is told of the client, its TLS and its certificate."""
    backend = Backend()
    more = "verifyChain = yes\nCAfile = @CA\n; meshd: send_proxy = v2\n"
    text = lab.conf(f"{FOREGROUND}debug = 6\n{SERVER}{more}", backend.port)
    with running(lab, "meshd", text, tmp_path), lab.tls(0, "a.example", certificate=lab.client) as tls:
        tls.sendall(b"hello")
        got = b""
        while b"hello" not in got:
            got += tls.recv(1000)
    backend.close()
    assert got.startswith(b"\r\n\r\n\0\r\nQUIT\n\x21\x11")
    assert b"\x02\0\x09a.example" in got and b"\x22\0\x06client" in got and b"\x21\0\x07TLSv1.3" in got


def test_watch(lab: Lab, tmp_path: Path) -> None:
    """A certificate that is replaced is served without a reload."""
    backend = Backend()
    directory = tmp_path / "certificates"
    directory.mkdir()
    chain, key = lab.root.issue("first", kind="rsa2048").write(directory, "it")
    text = f"{FOREGROUND}debug = 6\n[srv]\naccept = @P0\nconnect = @BACKEND\ncert = {chain}\nkey = {key}\n"
    with running(lab, "meshd", lab.conf(text + "; meshd: watch = yes\n", backend.port), tmp_path):

        def shown() -> bytes:
            with lab.tls(0) as tls:
                return tls.getpeercert(binary_form=True) or b""

        before = shown()
        new = lab.root.issue("second", kind="rsa2048")
        for path, data in ((key, new.key_pem), (chain, new.pem)):
            Path(path + ".new").write_bytes(data)
            Path(path + ".new").rename(path)
        wait_until(lambda: shown() == new.der, "the new certificate")
        assert before != new.der
    backend.close()


def test_json(lab: Lab, tmp_path: Path) -> None:
    """The log may be JSON."""
    backend = Backend()
    text = lab.conf(f"; meshd: log = json\n{FOREGROUND}debug = 6\n{SERVER}", backend.port)
    with running(lab, "meshd", text, tmp_path) as stunnel:
        assert '"id": "ui", "message": "Accepting new connections"' in stunnel.said()
    backend.close()
