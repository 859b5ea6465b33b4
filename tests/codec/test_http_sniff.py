"""Tests for meshd.codec.http_sniff: each case is what Envoy 1.40 was seen to do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshd.codec.http_sniff import PREFACE, sniff

HTTP10 = [
    "GET / HTTP/1.0", "GET / HTTP/0.9", "GET / HTTP/2.0", "GET / HTTP/1.2", "GET / HTTP/9.9", "GET /",
    "GET / ", "GET /  ", "get /", "foo /",
]  # fmt: skip
HTTP11 = [
    "GET / HTTP/1.1", "get / HTTP/1.1", "FOO / HTTP/1.1", "X-Y / HTTP/1.1", "GET  / HTTP/1.1",
    "GET / HTTP/1.1 ",
    "GET\t/\tHTTP/1.1", "GET / HTTP/1.1\t", "GET /\x01 HTTP/1.1", "GET http://a/b HTTP/1.1", "GET * HTTP/1.1",
    "GET *a HTTP/1.1", "GET http:// HTTP/1.1", "GET ftp://a HTTP/1.1", "GET h2+x://a HTTP/1.1",
    "PRI / HTTP/1.1", "GET HTTP://a HTTP/1.1", 'GET http://a/"<> HTTP/1.1',
    "GET http://u@h:1/p?q HTTP/1.1", "PRI * HTTP/1.1",
    "GET http://[::1]/ HTTP/1.1", "GET http://a%b HTTP/1.1", "GET http://a_b~!$&'()*+,;= HTTP/1.1",
    "GET http://?q HTTP/1.1", "GET http://a?q HTTP/1.1", "GET /a#f HTTP/1.1", 'GET /a\\b`{}|^" HTTP/1.1',
    "CONNECT a:1 HTTP/1.1", "CONNECT a HTTP/1.1", "CONNECT / HTTP/1.1", "CONNECT [::1]:443 HTTP/1.1",
    "CONNECT * HTTP/1.1", "CONNECT a@b:1 HTTP/1.1", "A" * 9000 + " / HTTP/1.1",
]  # fmt: skip
OTHER = [
    "foo bar baz", "hello", "123", "GET / FOO/1.1", "GET a HTTP/1.1", "HTTP/1.1 200 OK", "GET / HTTP/1.1x",
    "GET / HTTP/11", "GET / HTTP/1.", "GET /\xff HTTP/1.1", " GET / HTTP/1.1", "*1", "PING", "(A / HTTP/1.1",
    "G@T / HTTP/1.1", "G\x01T / HTTP/1.1", "G\x7fT / HTTP/1.1", "GET / x HTTP/1.1", "GET / http/1.1",
    "GET \r", "GET / HTTP/1.1 HTTP/1.1", "GET / HTTP/1.10", "GET / HTTP/a.b", "GET / HTTP/ 1.1",
    "GET ", "GET",
    "PING x", "GET http:/a HTTP/1.1", "GET 1ttp://a HTTP/1.1", "GET a:1 HTTP/1.1", "GET http://a b HTTP/1.1",
    "GET http://a\x7f HTTP/1.1", "GET http://u@@h/ HTTP/1.1", "GET http://a^b HTTP/1.1", "GET http HTTP/1.1",
    "GET http://a#f HTTP/1.1", "GET /\x7f HTTP/1.1", "GET /a\x0cb HTTP/1.1", "connect a:1 HTTP/1.1",
]  # fmt: skip


class TestSniff:
    """The first bytes of a connection."""

    @pytest.mark.parametrize("line", HTTP10)
    def test_http10(self, line: str) -> None:
        """Any version but 1.1, and none, is HTTP/1.0."""
        assert sniff(line.encode("latin-1") + b"\r\n") == "http/1.0"

    @pytest.mark.parametrize("line", HTTP11)
    def test_http11(self, line: str) -> None:
        """Methods are any token; lines may end without a CR."""
        assert sniff(line.encode("latin-1") + b"\r\nHost: a") == "http/1.1"
        assert sniff(line.encode("latin-1") + b"\n") == "http/1.1"

    def test_http2(self) -> None:
        """The preface of HTTP/2 is h2c; one that goes wrong is a request line."""
        assert sniff(PREFACE) == sniff(PREFACE + b"more") == "h2c"
        assert sniff(b"PRI * HTTP/2.0\r\n\r\nSX") == "http/1.0"

    @pytest.mark.parametrize("line", OTHER)
    def test_other(self, line: str) -> None:
        """What is not quite a request line is none."""
        assert sniff(line.encode("latin-1") + b"\r\n") == ""

    @pytest.mark.parametrize(
        "start", ["\r", "\n", " ", "\t", "\x01", "\x16\x03\x01", "\x7f", "\xff", "(", "G\0", "G("]
    )
    def test_at_once(self, start: str) -> None:
        """A byte that cannot be of a method decides at once."""
        assert sniff(start.encode("latin-1")) == ""

    @pytest.mark.parametrize(
        "start", ["", "G", "hello", "PRI", "PRI *", "PRX", "GET /", "GET / HTTP/1.1\r", "GE T\x01"]
    )
    def test_more(self, start: str) -> None:
        """An unfinished line waits."""
        assert sniff(start.encode("latin-1")) is None

    @given(st.binary(max_size=60), st.sampled_from([b"", b"GET ", b"GET / ", b"PRI * HTTP/2.0\r\n"]))
    def test_rubbish(self, data: bytes, start: bytes) -> None:
        """Any bytes have an answer; and more of them do not change one."""
        answers = [sniff((start + data)[:end]) for end in range(len(start + data) + 1)]
        decided = [answer for answer in answers if answer is not None]
        assert len(set(decided)) <= 1
        assert None not in answers[len(answers) - len(decided) :]
