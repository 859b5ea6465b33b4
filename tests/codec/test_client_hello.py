"""Tests for meshd.codec.client_hello: what is accepted is what Envoy 1.40 was seen to accept."""

from __future__ import annotations

import dataclasses
import ssl
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshd.codec.client_hello import ClientHello, Closed, Parser, ProtocolError, TooLarge, parse
from meshd.codec.tls_fingerprint import ja3, ja4
from meshd.testing.codecs import check_chunks, check_round_trip, check_rubbish, split_anywhere
from tests.codec.hellos import (
    ALPN,
    CHROME,
    CHROME_CIPHERS,
    CHROME_EXTENSIONS,
    ECH,
    ECH_GREASE,
    GREASE,
    GROUPS,
    PSK,
    SIGNATURES,
    SNI,
    TICKET,
    VERSIONS,
    alpn,
    body,
    counted,
    hello,
    message,
    numbers,
    openssl_hello,
    records,
    sni,
    versions,
)

NO_RANDOM = bytes(range(32))
WARNING = records(b"\1\x5a", kind=21)
EMPTY = records(b"")


def found(data: bytes, limit: int = 16384) -> ClientHello:
    """Return the ClientHello that is there."""
    made = parse(data, limit)
    assert made is not None
    return made


class TestFields:
    """What a ClientHello tells."""

    def test_chrome(self) -> None:
        """All that a browser's says is there, in its order."""
        made = found(CHROME)
        assert made.legacy_version == 0x0303
        assert made.cipher_suites == CHROME_CIPHERS
        assert made.extensions == tuple(number for number, _ in CHROME_EXTENSIONS)
        assert made.versions == (0xBABA, 0x0304, 0x0303)
        assert made.max_version == 0x0304
        assert made.groups == (0xDADA, 0x11EC, 29, 23, 24)
        assert made.signature_algorithms[:3] == (0x0403, 0x0804, 0x0401)
        assert made.point_formats == (0,)
        assert made.server_name == "www.example.com"
        assert made.alpn == ("h2", "http/1.1")
        assert made.has_ech
        assert not made.has_session_ticket
        assert not made.has_psk
        assert (made.random, made.session_id, made.size) == (NO_RANDOM, bytes(32), len(CHROME))

    def test_openssl(self) -> None:
        """OpenSSL's are read, with the versions that it was told to offer."""
        made = found(openssl_hello("Foo.Example.com", ["h2"]))
        assert (made.server_name, made.alpn) == ("foo.example.com", ("h2",))
        assert (made.versions, made.max_version) == ((0x0304, 0x0303), 0x0304)
        made = found(openssl_hello(highest=ssl.TLSVersion.TLSv1_2))
        assert (made.server_name, made.alpn) == ("", ())
        assert (made.versions, made.max_version) == ((0x0303,), 0x0303)

    def test_nothing(self) -> None:
        """Without extensions, with no or an empty list of them, everything else is empty."""
        for made in (found(hello(None)), found(hello([]))):
            assert (made.server_name, made.alpn, made.groups, made.point_formats) == ("", (), (), ())
            assert made.signature_algorithms == made.extensions == ()
            assert made.versions == (0x0303,)
            assert not made.has_ech

    def test_session(self) -> None:
        """A ticket counts if there is one in the extension; a pre-shared key always."""
        assert not found(hello([(TICKET, b"")])).has_session_ticket
        assert found(hello([(TICKET, b"abc")])).has_session_ticket
        assert found(hello([(PSK, b"abc")])).has_psk

    @pytest.mark.parametrize(
        ("extension", "offered", "highest"),
        [
            (versions(GREASE), (GREASE,), 0x0303),
            (versions(GREASE, 0x0301), (GREASE, 0x0301), 0x0301),
            (versions(0x0302, 0x0303, 0x0301), (0x0302, 0x0303, 0x0301), 0x0303),
            ((VERSIONS, b"\0"), (0x0303,), 0x0303),
            ((VERSIONS, b"\3\3\4\3"), (0x0304,), 0x0304),
            ((VERSIONS, b"\2\3\3\3\4"), (0x0303,), 0x0303),
            ((VERSIONS, b""), (), 0),
            ((VERSIONS, b"\6\3\4"), (), 0),
        ],
    )
    def test_versions(self, extension: tuple[int, bytes], offered: tuple[int, ...], highest: int) -> None:
        """The extension counts, GREASE does not; a list that is cut short counts as none at all."""
        made = found(hello([extension]))
        assert (made.versions, made.max_version) == (offered, highest)

    @pytest.mark.parametrize(
        "value", [b"", b"\0", b"\0\0", b"\0\4\2h2\0", b"\0\5\2h2\5a", b"\0\3\2h2\0", b"\0\7\2h2", b"\0\1\0"]
    )
    def test_bad_alpn(self, value: bytes) -> None:
        """A malformed list of protocols is none, but the hello is good."""
        assert found(hello([(ALPN, value)])).alpn == ()

    def test_bytes(self) -> None:
        """Names and protocols that are no UTF-8 go back to the same bytes."""
        made = found(hello([sni(b"\xc3\x84\xff"), alpn(b"\xab\xcd")]))
        assert made.server_name.encode("utf-8", "surrogateescape") == b"\xc3\x84\xff"
        assert made.alpn[0].encode("utf-8", "surrogateescape") == b"\xab\xcd"

    def test_short_lists(self) -> None:
        """Of a list that is cut short there is what can be read."""
        made = found(hello([(GROUPS, b"\0\4\0\x1d\0"), (SIGNATURES, b"\0"), (11, b"")]))
        assert (made.groups, made.signature_algorithms, made.point_formats) == ((29,), (), ())

    def test_frozen(self) -> None:
        """A ClientHello does not change, and can be in a set."""
        made = found(CHROME)
        with pytest.raises(dataclasses.FrozenInstanceError):
            made.legacy_version = 0  # type: ignore[misc]
        assert {made, found(CHROME)} == {made}


GOOD = {
    "the longest name": hello([sni(b"a" * 255)]),
    "an unknown version": hello(version=0xFFFF),
    "any compression": hello(compressions=b"\1\2"),
    "the longest session id": hello(session_id=bytes(32)),
    "more after it": hello() + b"\x14\x03\x03\0\1\1",
    "records of a byte": hello(CHROME_EXTENSIONS, size=1),
    "records of any minor version": records(message(body()), 5, version=0x03FF),
    "empty records": EMPTY * 32 + hello(size=9) + EMPTY * 33,
    "warnings": WARNING * 4 + records(message(body())[:9]) + WARNING * 4 + records(message(body())[9:]),
    "any other extension": hello([(GROUPS, b"x"), (23, b"x"), (51, b"x"), (0xFF01, b"x")]),
    "ECH": hello([(ECH, ECH_GREASE)]),
    "ECH without a key and a payload": hello([(ECH, bytes(10))]),
    "an inner ECH": hello([(ECH, b"\1x")]),
    "ECH of an unknown kind": hello([(ECH, b"\2")]),
}

BAD = {
    "http": (b"GET /", "HTTP_REQUEST"),
    "a post": (b"POST / HTTP/1.1", "HTTP_REQUEST"),
    "almost a post": (b"POSTS", "WRONG_VERSION_NUMBER"),
    "connect": (b"CONNECT a", "HTTPS_PROXY_REQUEST"),
    "text": (b"hello", "WRONG_VERSION_NUMBER"),
    "an SSLv2 hello": (b"\x80\x2e\x01\x03\x01" + bytes(43), "WRONG_VERSION_NUMBER"),
    "a later record of version 2": (
        records(b"\1\0\0") + records(b"\x2c", version=0x0200),
        "WRONG_VERSION_NUMBER",
    ),
    "a record too long": (b"\x16\3\1\x41\x41", "ENCRYPTED_LENGTH_TOO_LONG"),
    "application data": (records(b"abc", kind=23), "UNEXPECTED_RECORD"),
    "a record of no type": (records(b"abc", kind=99), "UNEXPECTED_RECORD"),
    "33 empty records": (EMPTY * 33 + hello(), "TOO_MANY_EMPTY_FRAGMENTS"),
    "5 warnings": (WARNING * 5 + hello(), "TOO_MANY_WARNING_ALERTS"),
    "a fatal alert": (records(b"\2\x28", kind=21), "SSLV3_ALERT_HANDSHAKE_FAILURE"),
    "a later alert": (records(b"\2\x78", kind=21), "TLSV1_ALERT_NO_APPLICATION_PROTOCOL"),
    "an alert of an unknown kind": (records(b"\2\xc8", kind=21), "reason(1200)"),
    "an alert of an unknown level": (records(b"\3\x28", kind=21), "UNKNOWN_ALERT_TYPE"),
    "a long alert": (records(b"\1\x5a\1", kind=21), "BAD_ALERT"),
    "another message": (records(message(body(), 2) + b"x"), "UNEXPECTED_MESSAGE"),
    "a message too long": (records(b"\1\0\x40\1"), "EXCESSIVE_MESSAGE_SIZE"),
    "more in the record": (records(message(body()) + b"x"), "EXCESS_HANDSHAKE_DATA"),
    "more in the record, and no name": (
        records(message(body([sni(b"")])) + b"x"),
        "EXCESS_HANDSHAKE_DATA",
    ),
    "more in the record, and malformed": (
        records(message(body(ciphers=())) + b"x"),
        "CLIENTHELLO_PARSE_FAILED",
    ),
    "nothing in it": (records(message(b"")), "CLIENTHELLO_PARSE_FAILED"),
    "cut in the session id": (records(message(body()[:40])), "CLIENTHELLO_PARSE_FAILED"),
    "no compression field": (records(message(body(None)[:-2])), "CLIENTHELLO_PARSE_FAILED"),
    "a long session id": (hello(session_id=bytes(33)), "CLIENTHELLO_PARSE_FAILED"),
    "no cipher suites": (hello(ciphers=()), "CLIENTHELLO_PARSE_FAILED"),
    "half a cipher suite": (records(message(body(None)[:35] + b"\0\1\0\1\0")), "CLIENTHELLO_PARSE_FAILED"),
    "no compression": (hello(compressions=b""), "CLIENTHELLO_PARSE_FAILED"),
    "an extension twice": (hello([(23, b""), (23, b"")]), "CLIENTHELLO_PARSE_FAILED"),
    "more after the extensions": (hello(tail=b"x"), "CLIENTHELLO_PARSE_FAILED"),
    "a byte for extensions": (hello(None, tail=b"x"), "CLIENTHELLO_PARSE_FAILED"),
    "an extension cut short": (hello(None, tail=counted(2, b"\0\1\0\5a")), "CLIENTHELLO_PARSE_FAILED"),
    "half an extension": (hello(None, tail=counted(2, b"\0\1\0")), "CLIENTHELLO_PARSE_FAILED"),
    "no name": (hello([sni(b"")]), "ERROR_PARSING_EXTENSION"),
    "a name too long": (hello([sni(b"a" * 256)]), "ERROR_PARSING_EXTENSION"),
    "a name with a zero": (hello([sni(b"a\0b")]), "ERROR_PARSING_EXTENSION"),
    "a name of another kind": (hello([sni(b"a", 1)]), "ERROR_PARSING_EXTENSION"),
    "two names": (hello([(SNI, counted(2, b"\0\0\1a\0\0\1b"))]), "ERROR_PARSING_EXTENSION"),
    "no list of names": (hello([(SNI, b"")]), "ERROR_PARSING_EXTENSION"),
    "empty ECH": (hello([(ECH, b"")]), "DECODE_ERROR"),
    "short ECH": (hello([(ECH, bytes(9))]), "DECODE_ERROR"),
    "ECH with more": (hello([(ECH, bytes(11))]), "DECODE_ERROR"),
    "ECH cut short": (hello([(ECH, ECH_GREASE[:-1]), sni(b"")]), "DECODE_ERROR"),
}


class TestBytes:
    """What is a ClientHello and what is none."""

    @pytest.mark.parametrize("data", GOOD.values(), ids=GOOD)
    def test_good(self, data: bytes) -> None:
        """It is one."""
        assert parse(data) is not None

    @pytest.mark.parametrize(("data", "reason"), BAD.values(), ids=BAD)
    def test_bad(self, data: bytes, reason: str) -> None:
        """It is none, for BoringSSL's reason."""
        with pytest.raises(ProtocolError) as caught:
            parse(data)
        assert (caught.value.reason, str(caught.value)) == (reason, reason)

    @pytest.mark.parametrize(
        "data", [b"", b"h", b"hell", b"\x16\3", b"\x16\3\1\x40\0", records(b"\1\0\x40\0")]
    )
    def test_more(self, data: bytes) -> None:
        """Five bytes are needed to tell, and then the whole of each record."""
        assert parse(data) is None

    def test_closed(self) -> None:
        """close_notify is told apart."""
        for before in (b"", records(message(body())[:9])):
            with pytest.raises(Closed):
                parse(before + records(b"\1\0", kind=21))

    def test_too_large(self) -> None:
        """What has not ended within the limit is too large; what ends at it is not."""
        data = hello([(21, bytes(300))])
        assert parse(data, len(data)) is not None
        assert parse(data[:-2], len(data) - 1) is None
        for sent in (data, data[:-1]):
            with pytest.raises(TooLarge):
                parse(sent, len(data) - 1)

    def test_high_limit(self) -> None:
        """A limit above the usual lets longer messages pass, in several records."""
        data = hello([(21, bytes(40000))], 10000)
        with pytest.raises(ProtocolError, match="EXCESSIVE_MESSAGE_SIZE"):
            parse(data)
        assert found(data, 65536).size == len(data)

    @pytest.mark.parametrize(
        ("data", "consumed"),
        [
            (b"hello there", 5),
            (CHROME + b"more", len(CHROME)),
            (hello(ciphers=()), 50),
            (CHROME[:40], 5),
            (hello([(21, bytes(30000))], 1000), 1005),
            (b"\x16\3\1\x40\0" + bytes(20000), 16384),
        ],
    )
    def test_consumed(self, data: bytes, consumed: int) -> None:
        """It is known how many bytes were looked at."""
        parser = Parser()
        check_rubbish(parser.feed, data, ProtocolError)
        assert parser.consumed == consumed


class Fed:
    """A parser in the form that the properties are written for."""

    def __init__(self) -> None:
        self.parser = Parser(4096)
        self.data = b""
        self.over = False

    def receive(self, data: bytes) -> list[ClientHello]:
        """Feed all that came so far."""
        self.data += data
        made = None if self.over else self.parser.feed(self.data)
        self.over = self.over or made is not None
        return [] if made is None else [made]


NUMBER = st.integers(0, 0xFFFF)
CLIENT_HELLOS = st.builds(
    ClientHello,
    NUMBER,
    st.just(NO_RANDOM),
    st.binary(max_size=32),
    st.lists(NUMBER, min_size=1, max_size=40).map(lambda suites: numbers(*suites)),
    st.binary(min_size=1, max_size=5),
    st.dictionaries(NUMBER.filter(lambda n: n not in (SNI, ECH)), st.binary(max_size=60), max_size=20),
    st.just(0),
)


def encoded(value: ClientHello, size: int = 16384) -> bytes:
    """Return a ClientHello in records of size bytes at most."""
    return hello(
        list(value.bodies.items()),
        size,
        version=value.legacy_version,
        ciphers=value.cipher_suites,
        session_id=value.session_id,
        compressions=value.compression_methods,
    )


def mutated(data: bytes, changes: dict[int, int]) -> bytes:
    """Return data with bytes at some places, modulo its length, changed."""
    made = bytearray(data)
    for place, value in changes.items():
        made[place % len(made)] = value
    return bytes(made)


RUBBISH = st.one_of(
    st.binary(max_size=200),
    st.binary(max_size=200).map(lambda data: records(data, 50)),
    st.binary(max_size=200).map(lambda data: records(message(data))),
    st.dictionaries(st.sampled_from([SNI, ECH, ALPN, VERSIONS, GROUPS, SIGNATURES, 11]), st.binary())
    .map(lambda extensions: hello(list(extensions.items()))),
    st.builds(
        mutated,
        st.sampled_from([CHROME, hello([sni(b"a.b"), alpn(b"h2")], 7), WARNING + hello(size=20)]),
        st.dictionaries(st.integers(0, 600), st.integers(0, 255), max_size=4),
    ),
)  # fmt: skip


class TestProperties:
    """The three that every codec keeps."""

    @given(st.data(), st.one_of(RUBBISH, CLIENT_HELLOS.map(lambda value: encoded(value, 60))))
    def test_chunks(self, data: Any, wire: bytes) -> None:
        """However the bytes come, they mean the same."""
        check_chunks(Fed, data.draw(split_anywhere(wire)), ProtocolError)

    @given(CLIENT_HELLOS, st.integers(1, 2000))
    def test_round_trip(self, value: ClientHello, size: int) -> None:
        """What was made of fields is read as these fields, in records of any size."""
        check_round_trip(
            lambda wire: dataclasses.replace(found(wire, 65536), size=0),
            lambda wanted: encoded(wanted, size),
            value,
        )

    @given(RUBBISH)
    def test_rubbish(self, data: bytes) -> None:
        """Anything is a ClientHello, a ProtocolError or too little; nothing asked of a ClientHello raises."""

        def ask(wire: bytes) -> None:
            made = parse(wire, 300)
            if made is not None:
                values = [
                    getattr(made, name)
                    for name, what in vars(ClientHello).items()
                    if isinstance(what, property)
                ]
                assert len(values) == 12
                assert len(ja3(made)) == 32
                assert len(ja4(made)) == 36

        check_rubbish(ask, data, ProtocolError)

    @given(st.lists(st.binary(min_size=1, max_size=30), max_size=5), st.binary(max_size=30))
    def test_limit(self, pieces: list[bytes], last: bytes) -> None:
        """No parser waits for more than its limit."""
        parser, data = Parser(40), b""
        for piece in [*pieces, last]:
            data += piece
            try:
                if parser.feed(data) is None:
                    assert len(data) < 40
            except ProtocolError:
                return
