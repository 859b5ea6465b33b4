"""Tests for meshd.codec.dialogue.script: what holds for all dialogues, and for any bytes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshd.codec.dialogue import cifs, connect, imap, ldap, nntp, pgsql, pop3, smtp, socks
from meshd.codec.dialogue.script import (
    CLIENT,
    EARLY_LIMIT,
    LINE_LIMIT,
    SERVER,
    Exactly,
    Failed,
    First,
    Line,
    Outcome,
    Script,
    Side,
    Until,
    say,
)
from tests.codec.dialogue.talking import Talk, check_cutting, talk

#: All scripts, and words that have come up in each.
SCRIPTS: dict[str, Callable[[], Script]] = {
    "smtp client": smtp.client,
    "smtp login": partial(smtp.login, "me", "secret"),
    "smtp login by login": partial(smtp.login, "me", "secret", "login"),
    "smtp server": smtp.server,
    "pop3 client": pop3.client,
    "pop3 server": pop3.server,
    "imap client": imap.client,
    "imap server": imap.server,
    "nntp client": nntp.client,
    "ldap client": ldap.client,
    "pgsql client": pgsql.client,
    "pgsql server": pgsql.server,
    "cifs client": cifs.client,
    "cifs server": cifs.server,
    "connect client": partial(connect.client, "here.example:443"),
    "connect client with ntlm": partial(connect.client, "here.example:443", "me", "secret", "ntlm"),
    "connect server": connect.server,
    "socks client": partial(socks.client, "here.example", 443),
    "socks server": socks.server,
}

WORDS = st.sampled_from(
    [
        b"220 mx.example ready\r\n", b"220-mx\r\n", b"250-a\r\n", b"250 b\r\n", b"334 x\r\n", b"235 ok\r\n",
        b"EHLO me\r\n", b"STARTTLS\r\n", b"+OK hello\r\n", b"CAPA\r\n", b"STLS\r\n", b"* OK hello\r\n",
        b"a1 CAPABILITY\r\n", b"* CAPABILITY IMAP4\r\n", b"a1 OK done\r\n", b"a1 STARTTLS\r\n",
        b"a1 LOGOUT\r\n",
        b"stunnel OK\r\n", b"200 hello\r\n", b"382 go\r\n", b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\0\4\0\4\0",
        b"S", pgsql.SSL_REQUEST, cifs.USE_TLS, b"\x81\0\0\x02ab", b"HTTP/1.1 200 OK\r\n", b"X: y\r\n",
        b"\r\n",
        b"HTTP/1.1 407 No\r\n", b"Proxy-Authenticate: NTLM TlRMTVNTUAACAAAA\r\n", b"Content-Length: 3\r\n",
        b"CONNECT here.example:443 HTTP/1.1\r\n", b"\5\1\0", b"\5\0", b"\5\0\0\1\1\2\3\4\0\1",
        b"\5\1\0\3\x0chere.example\1\xbb", b"\4\1\1\xbb\0\0\0\1me\0here.example\0",
    ]
)  # fmt: skip
SPEECH = st.lists(
    st.tuples(st.sampled_from([CLIENT, SERVER]), WORDS | st.binary(min_size=1, max_size=40)), max_size=12
)


def lines(*, patience: float = 1.0) -> Script:
    """A script of one wait and two lines."""
    spoke: bool = yield First(patience)
    first: bytes = yield Line(CLIENT)
    yield say(CLIENT, str(spoke), first)
    second: bytes = yield Line(SERVER)
    yield say(SERVER, second)
    return Outcome.DONE


class TestProperties:
    """What holds of every script."""

    @pytest.mark.parametrize("name", SCRIPTS)
    @given(words=SPEECH, cuts=st.lists(st.integers(1, 60), max_size=4), wait=st.booleans())
    def test_chunks(self, name: str, words: list[tuple[Side, bytes]], cuts: list[int], wait: bool) -> None:
        """However what is said is cut, the same comes of it."""
        check_cutting(SCRIPTS[name], words, cuts, wait)

    @pytest.mark.parametrize("name", SCRIPTS)
    @given(words=SPEECH, ended=st.sampled_from([CLIENT, SERVER]))
    def test_rubbish(self, name: str, words: list[tuple[Side, bytes]], ended: Side) -> None:
        """Whatever is said, the dialogue waits, fails with a text, or is done; nothing else is raised."""
        made = talk(SCRIPTS[name](), *words)
        made.close(ended)
        assert made.failed is None or made.failed.text
        assert made.failed is None or made.end is None

    @pytest.mark.parametrize("name", SCRIPTS)
    @pytest.mark.parametrize("side", [CLIENT, SERVER])
    def test_limit(self, name: str, side: Side) -> None:
        """Who says more than the limit without coming to the point is not listened to for ever."""
        made = Talk(SCRIPTS[name]())
        made.take(made.run.waited())
        said = 0
        while made.failed is None and made.end is None:
            made.say(side, b"x" * 8192)
            said += 8192
            assert said <= EARLY_LIMIT + LINE_LIMIT


class TestDialogue:
    """The run of a script."""

    def test_lines(self) -> None:
        """Lines end with LF; their CRs are nobody's business."""
        made = talk(lines(), (CLIENT, b"o\rne\r\nmore"), (SERVER, b"two\n"))
        assert made.heard == {CLIENT: b"True\r\none\r\n", SERVER: b"two\r\n"}
        assert made.end is Outcome.DONE
        assert made.rest() == (b"more", b"")

    def test_first(self) -> None:
        """The client has its time to speak first; when it is over, the script hears so once."""
        made = Talk(lines())
        assert made.asked == [First(1.0)]
        made.take(made.run.waited())
        made.take(made.run.waited())
        made.say(CLIENT, b"late\n")
        assert made.heard[CLIENT] == b"False\r\nlate\r\n"

    def test_first_is_not_taken(self) -> None:
        """What the client says first is still there, and the time that is over afterwards means nothing."""
        made = Talk(lines())
        made.say(CLIENT, b"early")
        made.take(made.run.waited())
        made.say(CLIENT, b"\n")
        assert made.heard[CLIENT] == b"True\r\nearly\r\n"

    def test_other_side(self) -> None:
        """What the other side says meanwhile is kept until it is its turn."""
        made = talk(lines(), (SERVER, b"two\nthree"), (CLIENT, b"one\n"))
        assert made.heard[SERVER] == b"two\r\n"
        assert made.rest() == (b"", b"three")

    def test_end_of_wanted(self) -> None:
        """The end of who is listened to fails the dialogue; that of the other does once it is wanted."""
        made = Talk(lines())
        made.close(SERVER)
        made.say(CLIENT, b"one\n")
        assert made.failed is not None
        assert made.failed.text == "the server closed the connection unexpectedly"
        assert made.failed.reset

    def test_said_before_the_end(self) -> None:
        """What was said before an end counts."""
        made = Talk(lines())
        made.say(SERVER, b"two\n")
        made.close(SERVER)
        made.say(CLIENT, b"one\n")
        assert made.end is Outcome.DONE

    def test_longest_line(self) -> None:
        """A line may be as long as the limit, and no longer."""
        assert talk(lines(), (CLIENT, b"x" * LINE_LIMIT + b"\n")).failed is None
        for data in (b"x" * (LINE_LIMIT + 1) + b"\n", b"x" * (LINE_LIMIT + 1)):
            failed = talk(lines(), (CLIENT, data)).failed
            assert failed is not None and failed.text == "what the client says is too long"

    def test_out_of_turn(self) -> None:
        """Who says far too much before its turn fails the dialogue."""
        failed = talk(lines(), (SERVER, b"x" * (EARLY_LIMIT + 1))).failed
        assert failed is not None and failed.text == "the server says too much before its turn"

    def test_until(self) -> None:
        """Until takes the zero byte too, and keeps to its limit."""

        def script() -> Script:
            name: bytes = yield Until(CLIENT, 3)
            two: bytes = yield Exactly(CLIENT, 2)
            yield say(CLIENT, name, two)
            return Outcome.DONE

        assert talk(script(), (CLIENT, b"abc\0xyz")).heard[CLIENT] == b"abc\r\nxy\r\n"
        assert talk(script(), (CLIENT, b"abcd")).failed is not None

    def test_nothing_after_the_end(self) -> None:
        """After a failure nothing more is said."""

        def script() -> Script:
            yield Line(CLIENT)
            raise Failed("no")

        made = talk(script(), (CLIENT, b"\n"), (CLIENT, b"\n"))
        assert made.failed is not None
        assert made.run.ended(CLIENT) == [] == made.run.waited() == made.run.resolved([])
