"""Tests for meshd.codec.dialogue.connect; the bytes are those of stunnel 5.68, recorded."""

from __future__ import annotations

import pytest

from meshd.codec.dialogue import connect
from meshd.codec.dialogue.script import CLIENT, LINES_LIMIT, SERVER, Outcome, Target
from tests.codec.dialogue.talking import meet, talk
from tests.codec.dialogue.test_ntlm import CHALLENGE

TARGET = "target.example:443"
HEAD = b"CONNECT target.example:443 HTTP/1.1\r\nHost: target.example:443\r\n"
OK = b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n"


class TestClient:
    """Going through a proxy."""

    def test_plain(self) -> None:
        """The proxy is asked for the target; what follows its headers is TLS."""
        made = talk(connect.client(TARGET), (SERVER, OK + b"\x16"))
        assert made.heard[SERVER] == HEAD + b"\r\n"
        assert made.end is Outcome.START_TLS
        assert made.rest()[1] == b"\x16"

    @pytest.mark.parametrize("answer", [b"HTTP/1.0 204\r\n\r\n", b"http/1.1 200 x\r\n\r\n"])
    def test_success(self, answer: bytes) -> None:
        """Any status 2xx will do."""
        assert talk(connect.client(TARGET), (SERVER, answer)).end is Outcome.START_TLS

    @pytest.mark.parametrize("line", [b"HTTP/1.1 407 Auth", b"junk", b"HTTP/2 200 x", b"HTTP/1.1 20 x", b""])
    def test_refused(self, line: bytes) -> None:
        """Any other answer fails the dialogue."""
        failed = talk(connect.client(TARGET), (SERVER, line + b"\r\n\r\n")).failed
        assert failed is not None and failed.reset

    def test_basic(self) -> None:
        """Name and password are sent at once; headers of the config come last."""
        made = talk(connect.client(TARGET, "user", "pass", headers=("X-A: b", "C: d e")))
        assert made.heard[SERVER] == (
            HEAD + b"Proxy-Authorization: basic dXNlcjpwYXNz\r\nX-A: b\r\nC: d e\r\n\r\n"
        )

    def test_half_credentials(self) -> None:
        """A name without a password is not sent."""
        assert talk(connect.client(TARGET, "user")).heard[SERVER] == HEAD + b"\r\n"

    def test_ntlm(self) -> None:
        """NTLM takes a second request, after the first one's answer is read to its end."""
        challenge = (
            b"HTTP/1.1 407 Auth\r\nProxy-Authenticate: Basic\r\nproxy-authenticate: NTLM "
            + CHALLENGE
            + b"\r\nContent-Length: 3\r\n\r\nabc"
        )
        made = talk(
            connect.client(TARGET, "user", "SecREt01", "ntlm", "DOMAIN"), (SERVER, challenge), (SERVER, OK)
        )
        assert made.heard[SERVER] == (
            HEAD + b"Proxy-Connection: keep-alive\r\n"
            b"Proxy-Authorization: NTLM TlRMTVNTUAABAAAAAgIAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n"
            + HEAD
            + b"Proxy-Authorization: NTLM TlRMTVNTUAADAAAAAAAAAGIAAAAYABgAQAAAAAYABgBYAAAABAAEAF4AAAAAAAAA"
            b"YgAAAAAAAABiAAAAAgIAACWpjBwx6BhHRmspst9GgPOZWPuMITqcxkRPTUFJTnVzZXI=\r\n\r\n"
        )
        assert made.end is Outcome.START_TLS

    @pytest.mark.parametrize(
        "answer",
        [
            OK,
            b"HTTP/1.1 407 Auth\r\nProxy-Authenticate: Basic\r\n\r\n",
            b"HTTP/1.1 407 Auth\r\nProxy-Authenticate: NTLM x\r\n\r\n",
            b"HTTP/1.1 407 Auth\r\nProxy-Authenticate: NTLM x\r\nContent-Length: 99999999\r\n\r\n",
            b"HTTP/1.1 407 Auth\r\n" + b"A: b\r\n" * (LINES_LIMIT + 1),
        ],
    )
    def test_no_challenge(self, answer: bytes) -> None:
        """A proxy that does not do NTLM, or answers without end, fails the dialogue."""
        made = talk(connect.client(TARGET, "user", "x", "ntlm"), (SERVER, answer))
        assert made.failed is not None


class TestServer:
    """Being the proxy."""

    @pytest.mark.parametrize(
        ("target", "addresses"),
        [
            (b"127.0.0.1:4711", ("127.0.0.1",)),
            (b"[2001:db8::1]:4711", ("2001:db8::1",)),
            (b"2001:db8::1:4711", ("2001:db8::1",)),
            (b"here.example:4711", ("192.0.2.7", "2001:db8::7")),
        ],
    )
    def test_target(self, target: bytes, addresses: tuple[str, ...]) -> None:
        """The target is found, the client told so; what it says then is TLS."""
        made = talk(
            connect.server("stunnel/5.68"),
            (CLIENT, b"CONNECT " + target + b" HTTP/1.1\r\nA: b\r\n\r\n\x16"),
        )
        assert made.heard[CLIENT] == b"HTTP/1.0 200 OK\r\nServer: stunnel/5.68\r\n\r\n"
        assert made.target == Target(addresses, 4711)
        assert made.end is Outcome.START_TLS
        assert made.rest()[0] == b"\x16"

    @pytest.mark.parametrize(
        ("line", "answer"),
        [
            (b"GET / HTTP/1.0", b"400 Bad Request Method"),
            (b"CONNECT 127.0.0.1:4711", b"400 Bad Request Protocol"),
            (b"CONNECT 127.0.0.1 HTTP/1.0", b"404 Not Found"),
            (b"CONNECT 127.0.0.1:99999 HTTP/1.0", b"404 Not Found"),
            (b"CONNECT nosuch.invalid:1 HTTP/1.0", b"404 Not Found"),
            (b"CONNECT \xff:1 HTTP/1.0", b"404 Not Found"),
        ],
    )
    def test_refused(self, line: bytes, answer: bytes) -> None:
        """What is asked for wrongly, or is not there, is answered, and fails."""
        made = talk(connect.server(), (CLIENT, line + b"\r\n\r\n"))
        assert made.heard[CLIENT] == b"HTTP/1.0 " + answer + b"\r\nServer: meshd\r\n\r\n"
        assert made.target is None
        assert made.failed is not None and made.failed.reset

    def test_long_headers(self) -> None:
        """The headers of a client are listened to up to a limit, all together."""
        header = b"A: " + b"x" * 40_000 + b"\r\n"
        made = talk(
            connect.server(), (CLIENT, b"CONNECT here.example:1 HTTP/1.1\r\n"), *[(CLIENT, header)] * 2
        )
        assert made.failed is not None and made.failed.text == "the client sends too many headers"

    def test_lower_case(self) -> None:
        """Case does not matter."""
        made = talk(connect.server(), (CLIENT, b"connect here.example:1 http/1.1\r\n\r\n"))
        assert made.end is Outcome.START_TLS


def test_meet() -> None:
    """The two sides understand each other."""
    client, server = meet(connect.client("here.example:443"), connect.server())
    assert client.end is Outcome.START_TLS is server.end
    assert server.target == Target(("192.0.2.7", "2001:db8::7"), 443)
