"""Tests for meshd.codec.resp."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshd.codec.resp import Limits, ProtocolError, Request, RequestParser, encode, split_words
from meshd.testing import check_chunks, check_round_trip, check_rubbish, cut, events_of, split_anywhere

COMMANDS = st.lists(st.binary(max_size=40), min_size=1, max_size=5)
SMALL = Limits(bulk=1000, arguments=100, inline=100, request=2000)


class Strict(RequestParser):
    """Raises at once what is wrong, also after commands."""

    def receive(self, data: bytes) -> list[Request]:
        found = super().receive(data)
        if self.error is not None:
            raise self.error
        return found


def decode(data: bytes) -> list[bytes]:
    """Return the arguments of the one command in data."""
    (request,) = RequestParser().receive(data)
    assert request[1] == data
    return request[0]


class TestProperties:
    """What each codec keeps."""

    @given(st.data(), st.lists(COMMANDS, max_size=6))
    def test_chunks(self, data: st.DataObject, commands: list[list[bytes]]) -> None:
        """However commands are cut, they are the same."""
        wire = b"".join(map(encode, commands)) + b"GET 'a b'\r\n*1\r\n:1\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"
        check_chunks(RequestParser, data.draw(split_anywhere(wire)), ProtocolError)
        events, error = events_of(RequestParser, [wire], ProtocolError)
        assert error is None
        assert [each[0] for each in events] == [*commands, [b"GET", b"a b"], [], [b"GET", b"k"]]

    @given(COMMANDS)
    def test_round_trip(self, command: list[bytes]) -> None:
        """What was encoded decodes to itself, and its bytes are those that came."""
        check_round_trip(decode, encode, command)

    @given(st.binary(max_size=300))
    def test_rubbish(self, data: bytes) -> None:
        """Rubbish is an error or commands."""
        for head in (b"", b"*", b"*3\r\n$", b"*2\r\n$3\r\nGET\r\n"):
            check_rubbish(RequestParser(SMALL).receive, head + data, ProtocolError)

    @given(
        st.lists(st.sampled_from([b"*", b"$", b"3", b"1", b"\r\n", b"-1", b"GET", b"a", b":", b"%", b">"]))
    )
    def test_likely_rubbish(self, parts: list[bytes]) -> None:
        """So is rubbish of RESP's own words, however it is cut."""
        check_chunks(lambda: Strict(SMALL), parts or [b""], ProtocolError)


class TestRequests:
    """Commands, well-formed or not."""

    @pytest.mark.parametrize(
        "wire",
        [b"*1\r\n$-1\r\n", b"+OK\r\n", b":1\r\n", b"$1\r\na\r\n",
         b"*1\r\n*1\r\n$1\r\na\r\n", b"%1\r\n$1\r\na\r\n$1\r\nb\r\n", b"*2\r\n$1\r\na\r\n#t\r\n"],
    )  # fmt: skip
    def test_no_command(self, wire: bytes) -> None:
        """A value that is no command is a request without arguments, and what follows is read."""
        requests = RequestParser().receive(wire + b"PING\r\n")
        assert [each[0] for each in requests] == [[], [b"PING"]]

    @pytest.mark.parametrize(
        "wire",
        [b"@x\r\n", b"*x\r\n", b"*1\r\n$x\r\n", b"*1\r\n$-2\r\n", b"*1\r\n$4\r\nPINGxx", b"*1\r\n@a",
         b"*101\r\n", b"*1\r\n$1001\r\n", b"a" * 101, b"*" + b"1" * 40, b'GET "a\r\n', b'GET "a"b\r\n',
         b"*4\r\n$1\r\na\r\n" + (b"$900\r\n%b\r\n" % bytes(900)) * 2 + b"$900\r\n"],
    )  # fmt: skip
    def test_wrong(self, wire: bytes) -> None:
        """What is not RESP, or beyond a limit, is an error."""
        with pytest.raises(ProtocolError):
            RequestParser(SMALL).receive(wire)

    @pytest.mark.parametrize("wire", [b"*0\r\n", b"*-1\r\n", b"\r\n", b" \n"])
    def test_empty(self, wire: bytes) -> None:
        """An empty command is passed over."""
        parser = RequestParser()
        assert [each[0] for each in parser.receive(wire + b"PING\r\n" + wire)] == [[b"PING"]]
        assert parser.buffered == 0

    def test_before_what_is_wrong(self) -> None:
        """Commands before what is wrong are not lost."""
        parser = RequestParser()
        assert parser.receive(b"PING\r\n@") == [([b"PING"], b"*1\r\n$4\r\nPING\r\n")]
        assert parser.error is not None
        with pytest.raises(ProtocolError):
            parser.receive(b"")

    def test_large_in_pieces(self) -> None:
        """A large argument in many pieces is not looked at for each of them."""
        wire = encode([b"SET", b"k", bytes(8_000_000)])
        parser = RequestParser()
        found = [each for chunk in cut(wire, range(0, len(wire), 1000)) for each in parser.receive(chunk)]
        assert found == [([b"SET", b"k", bytes(8_000_000)], wire)]
        assert parser.buffered == 0


class TestWords:
    """Inline commands."""

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            (b"  SET k  v ", [b"SET", b"k", b"v"]),
            (b'SET "a b" \'c "d\'', [b"SET", b"a b", b'c "d']),
            (rb'"\x41\n\"\q" ' + rb"'it\'s\n'", [b'A\n"q', rb"it's\n"]),
            (b'a"b c" ""', [b"ab c", b""]),
            (b"", []),
        ],
    )
    def test_split(self, line: bytes, words: list[bytes]) -> None:
        """A line is split as Redis splits it."""
        assert split_words(line) == words
