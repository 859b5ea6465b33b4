"""What tunnels do, against Debian's stunnel4: the same file and clients, the same bytes, ends and log."""

from __future__ import annotations

import contextlib
import hashlib
import signal
import ssl
from pathlib import Path
from typing import Any

import pytest

from tests.interop.peers import Backend, Client, Peer, answer, resets, wait_until
from tests.interop.stunnel_lab import Lab, both
from tests.interop.stunnels import Stunnel


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The lab of all tests here."""
    return Lab(tmp_path_factory.mktemp("stunnel"))


def talk(sock: ssl.SSLSocket, data: bytes) -> bytes:
    """Send, half-close, and return what came until the end."""
    sock.sendall(data)
    got = b""
    while len(got) < len(data):
        more = sock.recv(65536)
        if not more:
            break
        got += more
    sock.unwrap().close()
    return got


def finished(stunnel: Stunnel, times: int = 1) -> list[str]:
    """Return the log of the connections up to notices, once so many are over."""
    stunnel.wait_for("finished (", times)
    return stunnel.lines()


def once(lines: list[str]) -> list[str]:
    """Return lines without repetitions, and without what OpenSSL finds wrong after the first thing."""
    return [each for each in dict.fromkeys(lines) if "unable to verify the first certificate" not in each]


SERVER = "[srv]\naccept = @P0\nconnect = @BACKEND\n@CERT\n"
CLIENT = "[cli]\nclient = yes\naccept = @P1\nconnect = @P0\n"


def test_server(lab: Lab, tmp_path: Path) -> None:
    """A server tunnel passes on, and closes as TLS does."""

    def play(lab: Lab, stunnel: Stunnel) -> Any:
        got = talk(lab.tls(0), b"hello")
        return got, finished(stunnel)

    oracle, ours = both(lab, SERVER, play, tmp_path)
    assert ours == oracle
    assert oracle[0] == b"hello"


def test_both_sides(lab: Lab, tmp_path: Path) -> None:
    """A client tunnel through a server tunnel: bytes, half-close and log are the same."""

    def play(lab: Lab, stunnel: Stunnel) -> Any:
        client = lab.plain(1)
        client.send(b"x" * 300000)
        client.half_close()
        got = client.read_to_end()
        client.close()
        # The lines of the two connections mix.
        return got, sorted(finished(stunnel, 2))

    oracle, ours = both(lab, SERVER + CLIENT, play, tmp_path)
    assert ours == oracle
    assert oracle[0] == (b"x" * 300000, "FIN")


@pytest.mark.parametrize("data", [b"", b"hello world, this is no TLS\r\n", b"GET / HTTP/1.0\r\n\r\n"])
def test_no_tls(lab: Lab, tmp_path: Path, data: bytes) -> None:
    """Who does not speak TLS is told off in the same way."""

    def play(lab: Lab, stunnel: Stunnel) -> Any:
        client = lab.plain(0)
        client.send(data)
        with contextlib.suppress(OSError):
            client.half_close()  # unless the RST is here already
        _, ending = client.read_to_end()
        client.close()
        return ending, finished(stunnel)

    oracle, ours = both(lab, SERVER, play, tmp_path)
    assert ours == oracle


def test_nobody_there(lab: Lab, tmp_path: Path) -> None:
    """Where nobody listens each address is tried, and the client is reset."""
    text = "[dead]\naccept = @P0\nconnect = @P4\nconnect = @P5\n@CERT\n"

    def play(lab: Lab, stunnel: Stunnel) -> Any:
        client = lab.tls(0)
        try:
            ending = "FIN" if client.recv(1) == b"" else "data"
        except ConnectionResetError:
            ending = "RST"
        client.close()
        return ending, finished(stunnel)

    oracle, ours = both(lab, text, play, tmp_path)
    assert ours == oracle


def test_failover(lab: Lab, tmp_path: Path) -> None:
    """The next address serves where the first does not."""
    text = "[srv]\naccept = @P0\nconnect = @P4\nconnect = @BACKEND\n@CERT\n"

    def play(lab: Lab, stunnel: Stunnel) -> Any:
        return talk(lab.tls(0), b"hello"), finished(stunnel)

    oracle, ours = both(lab, text, play, tmp_path)
    assert ours == oracle
    assert oracle[0] == b"hello"


CHECKS = {
    "chain": "verifyChain = yes\nCAfile = @CA\n",
    "wrong root": "verifyChain = yes\nCAfile = @OTHER\n",
    "host": "verifyChain = yes\nCAfile = @CA\ncheckHost = localhost\n",
    "wrong host": "verifyChain = yes\nCAfile = @CA\ncheckHost = example.com\n",
    "one of two hosts": "verifyChain = yes\nCAfile = @CA\ncheckHost = example.com\ncheckHost = localhost\n",
    "ip": "verifyChain = yes\nCAfile = @CA\ncheckIP = 127.0.0.1\n",
    "wrong ip": "verifyChain = yes\nCAfile = @CA\ncheckIP = 127.0.0.2\n",
    "peer": "verifyPeer = yes\nCAfile = @DIR/server.pem\n",
    "wrong peer": "verifyPeer = yes\nCAfile = @CA\n",
    "old level 2": "verify = 2\nCAfile = @CA\n",
    "old level 4": "verify = 4\nCAfile = @DIR/server.pem\n",
    "tls 1.2": "sslVersion = TLSv1.2\n",
    "tls 1.3": "sslVersionMin = TLSv1.3\n",
    "cipher": "sslVersion = TLSv1.2\nciphers = ECDHE-RSA-AES128-GCM-SHA256\n",
    "suite": "ciphersuites = TLS_CHACHA20_POLY1305_SHA256\n",
    "group": "curves = P-256\n",
    "no sni": "sni =\n",
    "no resumption": "sessionResume = no\n",
}


@pytest.mark.parametrize("check", CHECKS)
def test_certificates(lab: Lab, tmp_path: Path, check: str) -> None:
    """A client accepts and refuses the same servers, and says the same why."""

    def play(lab: Lab, stunnel: Stunnel) -> Any:
        client = lab.plain(1)
        if client.try_send(b"hello"):
            with contextlib.suppress(OSError):
                client.half_close()
        got = client.read_to_end()
        client.close()
        stunnel.wait_for("finished (", 2)
        said = [line for line in stunnel.lines(6) if line.startswith(("LOG3[0]", "LOG4[0]", "LOG5[0]"))]
        suite = [line for line in stunnel.lines(6) if "ciphersuite: " in line or "TLS connected" in line]
        return got, once(said), sorted(suite)

    oracle, ours = both(lab, SERVER + CLIENT + CHECKS[check], play, tmp_path)
    assert ours == oracle


CLIENTS: dict[str, tuple[str, str | None]] = {
    "required and there": ("requireCert = yes\nCAfile = @CA\n", "client"),
    "required and not there": ("requireCert = yes\nCAfile = @CA\n", None),
    "verified": ("verifyChain = yes\nCAfile = @CA\n", "client"),
    "unknown": ("verifyChain = yes\nCAfile = @CA\n", "stranger"),
    "none, but one is needed": ("verifyChain = yes\nCAfile = @CA\n", None),
    "pinned": ("verifyPeer = yes\nCAfile = @DIR/client.pem\n", "client"),
    "not pinned": ("verifyPeer = yes\nCAfile = @DIR/client.pem\n", "stranger"),
    "optional": ("verify = 1\nCAfile = @CA\n", None),
    "asked for": ("verify = 0\n", "stranger"),
    "redirected": ("verifyChain = yes\nCAfile = @CA\nredirect = @P4\n", "stranger"),
    "not redirected": ("verifyChain = yes\nCAfile = @CA\nredirect = @P4\n", "client"),
    "redirected without": ("verifyPeer = yes\nCAfile = @CA\nredirect = @P4\n", None),
}


@pytest.mark.parametrize("case", CLIENTS)
def test_client_certificates(lab: Lab, tmp_path: Path, case: str) -> None:
    """A server accepts, refuses and redirects the same clients."""
    options, certificate = CLIENTS[case]
    pair = {"client": lab.client, "stranger": lab.stranger, None: None}[certificate]
    elsewhere = Backend(answer(b"elsewhere"), port=lab.ports[4])

    def play(lab: Lab, stunnel: Stunnel) -> Any:
        got = b""
        with contextlib.suppress(OSError), lab.tls(0, certificate=pair) as client:
            client.sendall(b"hello")
            got = client.recv(100)
        said = [line for line in finished(stunnel) if "Connection " not in line and "readsocket" not in line]
        return got, once(said)

    try:
        oracle, ours = both(lab, SERVER + options, play, tmp_path)
    finally:
        elsewhere.close()
    assert ours == oracle


def test_idle(lab: Lab, tmp_path: Path) -> None:
    """A tunnel where nothing moves is reset on both sides."""

    def play(lab: Lab, stunnel: Stunnel) -> Any:
        client = lab.plain(1)
        client.send(b"hello")
        got = client.read_to_end()
        client.close()
        stunnel.wait_for("finished (", 2)
        return got, [line for line in stunnel.lines(6) if "[0]" in line and "reset" in line]

    oracle, ours = both(lab, SERVER + CLIENT + "TIMEOUTidle = 1\n", play, tmp_path)
    assert ours == oracle
    assert oracle[0] == (b"hello", "RST")


def test_close_timeout(lab: Lab, tmp_path: Path) -> None:
    """A side that does not end after the other is not waited for, nor is its reset an error then."""

    def script(peer: Peer) -> None:
        peer.read_to_end()
        wait_until(lambda: peer.released or peer.ending != "FIN", "the end")

    def play(lab: Lab, stunnel: Stunnel) -> Any:
        client = lab.plain(1)
        client.send(b"hello")
        client.half_close()
        got = client.read_to_end()
        client.close()
        return got, sorted(finished(stunnel, 2))

    # Not the same time for both: which of them ended first would be chance.
    text = SERVER + "TIMEOUTclose = 3\n" + CLIENT + "TIMEOUTclose = 1\n"
    oracle, ours = both(lab, text, play, tmp_path, script)
    assert ours == oracle


def test_busy(lab: Lab, tmp_path: Path) -> None:
    """A client that does not speak at all is reset."""

    def play(lab: Lab, stunnel: Stunnel) -> Any:
        client = lab.plain(0)
        got = client.read_to_end()
        client.close()
        finished(stunnel)
        return got, stunnel.lines(6)

    oracle, ours = both(lab, "TIMEOUTbusy = 1\n" + SERVER, play, tmp_path)
    assert ours == oracle


def test_sni(lab: Lab, tmp_path: Path) -> None:
    """Clients are sent to the service that they name."""
    text = (
        "[srv]\naccept = @P0\nconnect = @BACKEND\n@CERT\n"
        "[virtual]\nsni = srv:*.example.com\nconnect = @P4\n@CLIENTCERT\n"
        "[exact]\nsni = srv:one.example.org\nconnect = @P5\n@CLIENTCERT\n"
    )
    others = [Backend(answer(b"virtual"), port=lab.ports[4])]
    others.append(Backend(answer(b"exact!!"), port=lab.ports[5]))

    def play(lab: Lab, stunnel: Stunnel) -> Any:
        got = []
        for name in ("a.example.com", "one.example.org", "two.example.org", None):
            with lab.tls(0, name) as client:
                client.sendall(b"default")
                subject = client.getpeercert(binary_form=True)
                got.append((client.recv(100), hashlib.sha256(subject or b"").hexdigest()[:8]))
                client.unwrap()
        stunnel.wait_for("finished (", 4)
        return got, [line for line in stunnel.lines() if "SNI" in line or "accepted" in line]

    try:
        oracle, ours = both(lab, text, play, tmp_path)
    finally:
        for each in others:
            each.close()
    assert ours == oracle


def test_psk(lab: Lab, tmp_path: Path) -> None:
    """Who knows the key gets in without certificates."""
    secrets = tmp_path / "psk"
    secrets.write_text("me:00112233445566778899aabbccddeeff\nyou:a text of more than sixteen\n")
    secrets.chmod(0o600)
    text = (
        f"[srv]\naccept = @P0\nconnect = @BACKEND\nPSKsecrets = {secrets}\nciphers = PSK\n"
        f"[cli]\nclient = yes\naccept = @P1\nconnect = @P0\nPSKsecrets = {secrets}\nPSKidentity = you\n"
        "ciphers = PSK\n"
    )

    def play(lab: Lab, stunnel: Stunnel) -> Any:
        client = lab.plain(1)
        client.send(b"hello")
        client.half_close()
        got = client.read_to_end()
        client.close()
        stunnel.wait_for("finished (", 2)
        return got, [line for line in stunnel.lines(6) if "TLS accepted" in line]

    oracle, ours = both(lab, text, play, tmp_path)
    assert ours[0] == oracle[0] == (b"hello", "FIN")
    # As later versions of stunnel say it.
    assert ours[1] == ["LOG6[1]: TLS accepted: PSK"]


def test_unix_sockets(lab: Lab, tmp_path: Path) -> None:
    """Both ends may be paths."""
    text = (
        f"[srv]\naccept = {tmp_path}/in\nconnect = @BACKEND\n@CERT\n"
        f"[cli]\nclient = yes\naccept = {tmp_path}/plain\nconnect = {tmp_path}/in\n"
    )

    def play(lab: Lab, stunnel: Stunnel) -> Any:
        client = Client(str(tmp_path / "plain"))
        client.send(b"hello")
        client.half_close()
        got = client.read_to_end()
        client.close()
        return got, sorted(finished(stunnel, 2))

    oracle, ours = both(lab, text, play, tmp_path)
    assert ours == oracle


def test_reset_by_backend(lab: Lab, tmp_path: Path) -> None:
    """A backend that resets ends the client's connection."""

    def play(lab: Lab, stunnel: Stunnel) -> Any:
        client = lab.tls(0)
        client.sendall(b"hello")
        with contextlib.suppress(OSError):
            assert client.recv(10) == b""
        client.close()
        finished(stunnel)

    both(lab, SERVER, play, tmp_path, resets(5))


def test_reload(lab: Lab, tmp_path: Path) -> None:
    """A reload keeps the connections that there are, and serves by the new file."""

    def play(lab: Lab, stunnel: Stunnel) -> Any:
        old = lab.tls(0)
        old.sendall(b"one")
        assert old.recv(3) == b"one"
        text = stunnel.path.read_text()
        stunnel.path.write_text(text + "foo = bar\n")
        stunnel.signal(signal.SIGHUP)
        stunnel.wait_for("Failed to reload the configuration file")
        stunnel.path.write_text(text.replace("[srv]", "[new]"))
        stunnel.signal(signal.SIGHUP)
        stunnel.wait_for("bound to", 2)
        wait_until(lambda: _serves(lab), "the new service")
        new = lab.tls(0)
        new.sendall(b"two")
        assert new.recv(3) == b"two"
        old.sendall(b"three")
        assert old.recv(5) == b"three"
        stunnel.wait_for("s_connect: connected", 2)
        stunnel.signal(signal.SIGUSR2)
        stunnel.wait_for("Listed ")
        listed = stunnel.lines(0, "ui")
        old.unwrap().close()
        new.unwrap().close()
        stunnel.wait_for("Service [new] finished")
        assert stunnel.stop() == 0
        assert "Accepting new connections" in stunnel.said()
        assert stunnel.said().count("Accepting new connections") == 1
        # Which numbers there are depends on how often the new service was tried.
        # What was counted when is the oracle's own affair.
        named = sorted(line.split(": ", 2)[-1].partition(",")[0] for line in listed)
        return named, "LOG5[ui]: Terminated" in stunnel.said()

    oracle, ours = both(lab, SERVER, play, tmp_path)
    assert ours == oracle


def _serves(lab: Lab) -> bool:
    try:
        lab.tls(0).unwrap().close()
    except OSError:
        return False
    return True
