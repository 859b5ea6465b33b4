"""Tests for meshd.codec.dialogue.imap; the bytes are those of stunnel 5.68, recorded."""

from __future__ import annotations

import pytest

from meshd.codec.dialogue import imap
from meshd.codec.dialogue.script import CLIENT, LINES_LIMIT, SERVER, Outcome
from tests.codec.dialogue.talking import Talk, meet, talk

GREETING = b"* OK [CAPABILITY IMAP4rev1 LITERAL+] Dovecot ready.\r\n"
GREETED = b"* OK [KAPABILITY IMAP4rev1 LITERAL+] Dovecot ready. (stunnel)\r\n"


class TestClient:
    """Asking a server for TLS."""

    def test_tls(self) -> None:
        """The client gets a greeting without capabilities; the server is asked for TLS."""
        made = talk(imap.client(), (SERVER, GREETING), (SERVER, b"* 1 EXISTS\r\nstunnel OK go\r\n"))
        assert made.heard == {CLIENT: b"* OK Connected.\r\n", SERVER: b"stunnel STARTTLS\r\n"}
        assert made.end is Outcome.START_TLS

    def test_unknown_greeting(self) -> None:
        """A server that does not welcome us is left, with a reset."""
        failed = talk(imap.client(), (SERVER, b"* BYE\r\n")).failed
        assert failed is not None and failed.reset

    def test_no_tls(self) -> None:
        """Of a server that does no TLS the client is told so, and that reaches it."""
        made = talk(imap.client(), (SERVER, b"* OK\r\nstunnel NO go\r\n"))
        assert made.heard[CLIENT] == b"* OK Connected.\r\n* BYE stunnel: Server does not support TLS\r\n"
        assert made.failed is not None and not made.failed.reset


class TestServer:
    """Offering TLS."""

    def offered(self, *words: tuple[str, bytes]) -> Talk:
        """Return the talk after the greeting."""
        made = talk(imap.server(), (SERVER, GREETING), wait=True)
        assert made.heard[CLIENT] == GREETED
        made.heard[CLIENT] = b""
        for side, data in words:
            made.say(CLIENT if side == "client" else SERVER, data)
        return made

    def test_tls(self) -> None:
        """STARTTLS is answered, and begins TLS."""
        made = self.offered((CLIENT, b"a2 starttls\r\n"))
        assert made.heard == {CLIENT: b"a2 OK Begin TLS negotiation now\r\n", SERVER: b""}
        assert made.end is Outcome.START_TLS

    def test_capabilities(self) -> None:
        """CAPABILITY is the backend's to answer; STARTTLS is added."""
        made = self.offered(
            (CLIENT, b"a1 capability\r\n"),
            (SERVER, b"* CAPABILITY IMAP4rev1 IDLE\r\n* OK other\r\na1 OK done\r\n"),
            (CLIENT, b"a2 STARTTLS\r\n"),
        )
        assert made.heard[SERVER] == b"a1 capability\r\n"
        assert made.heard[CLIENT] == (
            b"* CAPABILITY IMAP4rev1 IDLE STARTTLS\r\n* OK other\r\na1 OK done\r\n"
            b"a2 OK Begin TLS negotiation now\r\n"
        )
        assert made.end is Outcome.START_TLS

    def test_no_capabilities(self) -> None:
        """If the backend cannot tell, the client and it are taken leave of."""
        made = self.offered((CLIENT, b"a1 CAPABILITY\r\n"), (SERVER, b"a1 NO done\r\n"))
        assert made.heard == {
            CLIENT: b"a1 NO done\r\n* BYE unexpected server response\r\n",
            SERVER: b"a1 CAPABILITY\r\nstunnel LOGOUT\r\n",
        }
        made.say(SERVER, b"* BYE\r\nstunnel OK bye\r\n")
        assert made.failed is not None and not made.failed.reset

    def test_logout(self) -> None:
        """A client may log out; the backend has to say that it did, then both connections end."""
        made = self.offered((CLIENT, b"a1 LOGOUT\r\n"))
        assert made.heard == {
            CLIENT: b"* BYE server terminating\r\na1 OK LOGOUT completed\r\n",
            SERVER: b"stunnel LOGOUT\r\n",
        }
        made.say(SERVER, b"* BYE\r\n")
        assert made.failed is None
        made.say(SERVER, b"stunnel OK bye\r\n")
        assert made.failed is not None and not made.failed.reset

    @pytest.mark.parametrize(
        ("line", "heard"),
        [
            (b"a1 LOGIN a b\r\n", b"* BYE stunnel: unexpected command\r\na1 BAD LOGIN a b unexpected\r\n"),
            (b"LOGIN\r\n", b""),
            (b"\r\n", b""),
        ],
    )
    def test_unexpected(self, line: bytes, heard: bytes) -> None:
        """Other commands, passwords above all, are not for clear text."""
        made = self.offered((CLIENT, line))
        assert made.heard == {CLIENT: heard, SERVER: b"stunnel LOGOUT\r\n"}

    def test_client_first(self) -> None:
        """A client that speaks before the greeting speaks TLS."""
        made = talk(imap.server(), (CLIENT, b"\x16\x03"), (SERVER, GREETING))
        assert made.end is Outcome.START_TLS
        assert made.rest() == (b"\x16\x03", GREETING)

    @pytest.mark.parametrize("greeting", [b"* BYE no\r\n", b"* PREAUTH x\r\n"])
    def test_unknown_greeting(self, greeting: bytes) -> None:
        """A backend that does not welcome us fails the dialogue; one that knows who we are, too."""
        failed = talk(imap.server(), (SERVER, greeting), wait=True).failed
        assert failed is not None and failed.reset

    def test_endless(self) -> None:
        """A client that only ever asks for capabilities comes to an end."""
        made = self.offered()
        for _ in range(LINES_LIMIT):
            made.say(CLIENT, b"a CAPABILITY\r\n")
            made.say(SERVER, b"a OK\r\n")
        made.say(SERVER, b"stunnel OK\r\n")
        assert made.failed is not None


def test_meet() -> None:
    """The two sides understand each other."""
    client, server = meet(imap.client(), imap.server(), GREETING)
    assert client.end is Outcome.START_TLS is server.end
