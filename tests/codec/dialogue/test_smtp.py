"""Tests for meshd.codec.dialogue.smtp; the bytes are those of stunnel 5.68, recorded."""

from __future__ import annotations

import pytest

from meshd.codec.dialogue import smtp
from meshd.codec.dialogue.script import CLIENT, SERVER, First, Outcome
from tests.codec.dialogue.talking import Talk, meet, talk


class TestClient:
    """Asking a server for TLS."""

    def test_tls(self) -> None:
        """The client gets the greeting; the server is asked for TLS."""
        made = talk(
            smtp.client(),
            (SERVER, b"220-a\r\n220 mx x\r\n"),
            (SERVER, b"250-mx\r\n250 STARTTLS\r\n"),
            (SERVER, b"220 go\r\n\x16\x03"),
        )
        assert made.heard == {
            CLIENT: b"220-a\r\n220 mx x\r\n",
            SERVER: b"EHLO localhost\r\nSTARTTLS\r\n",
        }
        assert made.end is Outcome.START_TLS
        assert made.rest() == (b"", b"\x16\x03")

    def test_name(self) -> None:
        """EHLO says the name that was given."""
        assert talk(smtp.client("my.name"), (SERVER, b"220 x\r\n")).heard[SERVER] == b"EHLO my.name\r\n"

    def test_unkind_greeting(self) -> None:
        """What else the server greets with is handed on too, and the dialogue goes on."""
        made = talk(smtp.client(), (SERVER, b"554 no\r\n"))
        assert made.heard == {CLIENT: b"554 no\r\n", SERVER: b"EHLO localhost\r\n"}

    @pytest.mark.parametrize(
        "answers", [b"502 no\r\n", b"250 ok\r\n454 no\r\n", b"250 ok\r\n220-x\r\n221\r\n"]
    )
    def test_no_tls(self, answers: bytes) -> None:
        """A server that does not know EHLO or STARTTLS fails the dialogue, with a reset."""
        failed = talk(smtp.client(), (SERVER, b"220 mx\r\n" + answers)).failed
        assert failed is not None and failed.reset


class TestLogin:
    """Authenticating."""

    def test_plain(self) -> None:
        """PLAIN sends name and password at once."""
        made = talk(smtp.login("user", "pass"), (SERVER, b"250 mx\r\n"), (SERVER, b"235 ok\r\n"))
        assert made.heard[SERVER] == b"HELO localhost\r\nAUTH PLAIN AHVzZXIAcGFzcw==\r\n"
        assert made.end is Outcome.DONE

    def test_login(self) -> None:
        """LOGIN sends name and password as they are asked for."""
        made = talk(
            smtp.login("user", "pass", "login", "my.name"),
            (SERVER, b"250 mx\r\n"),
            (SERVER, b"334 VXNlcm5hbWU6\r\n"),
            (SERVER, b"334 UGFzc3dvcmQ6\r\n"),
            (SERVER, b"235 ok\r\n"),
        )
        assert made.heard[SERVER] == b"HELO my.name\r\nAUTH LOGIN\r\ndXNlcg==\r\ncGFzcw==\r\n"
        assert made.end is Outcome.DONE

    @pytest.mark.parametrize(
        ("method", "answers"),
        [("plain", b"500\r\n"), ("plain", b"250 x\r\n535 no\r\n"), ("login", b"250 x\r\n500 no\r\n")],
    )
    def test_refused(self, method: str, answers: bytes) -> None:
        """A refusal fails the dialogue; the password is not in its text."""
        failed = talk(smtp.login("user", "s3cret", method), (SERVER, answers)).failed
        assert failed is not None and "s3cret" not in failed.text


class TestServer:
    """Offering TLS."""

    def test_tls(self) -> None:
        """The greeting says who stands before the server; the answer to EHLO is STARTTLS only."""
        made = talk(
            smtp.server(),
            (SERVER, b"220-mx.example ESMTP\r\n220-two\r\n220 three\r\n"),
            (CLIENT, b"ehlo  a b\n"),
            (CLIENT, b"starttls x\r\nmore"),
            wait=True,
        )
        assert made.heard[CLIENT] == (
            b"220-mx.example stunnel for ESMTP\r\n220-two\r\n220 three\r\n"
            b"250-mx.example\r\n250 STARTTLS\r\n220 Go ahead\r\n"
        )
        assert made.heard[SERVER] == b""
        assert made.end is Outcome.START_TLS
        assert made.rest() == (b"more", b"")

    @pytest.mark.parametrize(
        ("greeting", "sent"),
        [
            (b"220 mx\r\n", b"220 mx stunnel\r\n"),
            (b"220  mx foo\r\n", b"220  stunnel for mx foo\r\n"),
            (b"220 m\rx foo\r\n", b"220 mx stunnel for foo\r\n"),
        ],
    )
    def test_greetings(self, greeting: bytes, sent: bytes) -> None:
        """A greeting of few words is handed on too."""
        assert talk(smtp.server(), (SERVER, greeting), wait=True).heard[CLIENT] == sent

    def test_client_first(self) -> None:
        """A client that speaks before the greeting speaks TLS; nothing of what it says is taken."""
        made = talk(smtp.server(0.2), (CLIENT, b"\x16\x03\x01"), (SERVER, b"220 mx\r\n"))
        assert made.asked == [First(0.2)]
        assert made.end is Outcome.START_TLS
        assert made.heard[CLIENT] == b""
        assert made.rest() == (b"\x16\x03\x01", b"220 mx\r\n")

    @pytest.mark.parametrize("greeting", [b"554 no\r\n", b"220\r\n", b"220-a\r\n250 b\r\n"])
    def test_unknown_greeting(self, greeting: bytes) -> None:
        """What is no greeting of SMTP fails the dialogue."""
        failed = talk(smtp.server(), (SERVER, greeting), wait=True).failed
        assert failed is not None and failed.reset

    @pytest.mark.parametrize("line", [b"HELO x\r\n", b"EHLO x\r\nMAIL FROM:<a>\r\n", b"EHLO x\r\nEHLO y\r\n"])
    def test_no_tls(self, line: bytes) -> None:
        """A client that does not want TLS gets none of the server."""
        failed = talk(smtp.server(), (SERVER, b"220 mx x\r\n"), (CLIENT, line), wait=True).failed
        assert failed is not None and failed.reset

    def test_close(self) -> None:
        """A client that goes away fails the dialogue."""
        made = Talk(smtp.server())
        made.close(CLIENT)
        made.say(SERVER, b"220 mx x\r\n")
        assert made.failed is not None


def test_meet() -> None:
    """The two sides understand each other."""
    client, server = meet(smtp.client(), smtp.server(), b"220 mx ESMTP\r\n")
    assert client.end is Outcome.START_TLS is server.end
    assert client.heard[CLIENT] == b"220 mx stunnel for ESMTP\r\n"
