"""Tests for meshd.codec.proxy_protocol."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshd.codec import proxy_protocol
from meshd.codec.proxy_protocol import CRC32C, V2_SIGNATURE, Address, Header, ProtocolError, decode, encode
from meshd.testing import check_chunks, check_rubbish, split_anywhere

V4 = (("10.1.2.3", 1111), ("10.4.5.6", 2222))
V6 = (("2001:db8::1", 1), ("::ffff:1.2.3.4", 2))


def addresses(kind: int) -> st.SearchStrategy[Address]:
    """Return a strategy of addresses of one family: 4, 6, or 0 for unix."""
    if kind == 0:
        return st.binary(max_size=50).map(lambda name: "/" + name.hex())
    hosts = (st.ip_addresses(v=4) if kind == 4 else st.ip_addresses(v=6)).map(
        lambda ip: ip.compressed if ip.version == 4 or ip.ipv4_mapped is None else f"::ffff:{ip.ipv4_mapped}"
    )
    return st.tuples(hosts, st.integers(0, 65535))


def pairs(*kinds: int) -> st.SearchStrategy[tuple[Address, Address]]:
    """Return a strategy of two addresses of one family."""
    return st.sampled_from(kinds).flatmap(lambda kind: st.tuples(addresses(kind), addresses(kind)))


TLVS = st.lists(
    st.tuples(st.integers(0, 255).filter(lambda kind: kind != CRC32C), st.binary(max_size=40)), max_size=4
).map(tuple)
V1_HEADERS = pairs(4, 6).map(lambda pair: Header(1, *pair))
V2_HEADERS = st.builds(
    lambda pair, tlvs, datagram: Header(2, pair[0], pair[1], tlvs, datagram=datagram),
    pairs(0, 4, 6),
    TLVS,
    st.booleans(),
)
HEADERS = V1_HEADERS | V2_HEADERS | st.builds(lambda tlvs: Header(2, tlvs=tlvs), TLVS)


class Peek:
    """Decodes as a listener filter does: all that has come so far, again and again."""

    def __init__(self) -> None:
        self.data = b""
        self.done = False

    def receive(self, data: bytes) -> list[object]:
        self.data += data
        found = None if self.done else decode(self.data)
        self.done = self.done or found is not None
        return [] if found is None else [found]


def same_address(left: Address | None, right: Address | None) -> bool:
    """Whether two addresses mean the same, however they are spelled."""
    if isinstance(left, tuple) and isinstance(right, tuple):
        return (ipaddress.ip_address(left[0]), left[1]) == (ipaddress.ip_address(right[0]), right[1])
    return left == right


class TestProperties:
    """What holds for any bytes."""

    @given(st.data(), HEADERS)
    def test_chunks(self, data: st.DataObject, header: Header) -> None:
        """However the header is cut, it is the same header."""
        check_chunks(Peek, data.draw(split_anywhere(encode(header) + b"rest")), ProtocolError)

    @given(HEADERS, st.booleans())
    def test_round_trip(self, header: Header, checksum: bool) -> None:
        """A header decodes to what was encoded."""
        found = decode(encode(header, checksum and header.version == 2))
        assert found is not None
        again = found[0]
        assert again.tlvs[: len(header.tlvs)] == header.tlvs
        assert same_address(again.source, header.source)
        assert same_address(again.destination, header.destination)
        assert decode(encode(again)) == (again, len(encode(again)))

    @given(st.binary(max_size=400))
    def test_rubbish(self, data: bytes) -> None:
        """Rubbish is a ProtocolError, or waits for more, or is a header."""
        for start in (b"", b"PROXY ", b"PROXY TCP4 ", V2_SIGNATURE, V2_SIGNATURE + b"\x21\x11\x00\x20"):
            check_rubbish(decode, start + data, ProtocolError)

    @given(HEADERS)
    def test_size(self, header: Header) -> None:
        """What follows the header is not counted as part of it."""
        wire = encode(header)
        found = decode(wire + b"PROXY ")
        assert found is not None and found[1] == len(wire)


class TestVersion1:
    """The line of text."""

    def test_tcp4(self) -> None:
        """A line names both ends."""
        line = b"PROXY TCP4 10.1.2.3 10.4.5.6 1111 2222\r\n"
        assert decode(line + b"GET") == (Header(1, *V4), len(line))
        assert encode(Header(1, *V4)) == line

    def test_tcp6(self) -> None:
        """IPv6 addresses come back as the kernel prints them."""
        assert decode(b"PROXY TCP6 2001:DB8:0::1 ::ffff:1.2.3.4 1 2\r\n") == (Header(1, *V6), 45)

    @pytest.mark.parametrize("rest", ["", " ", " a b c d", " " + "x" * 92])
    def test_unknown(self, rest: str) -> None:
        """UNKNOWN names no one, whatever follows it, up to 108 bytes."""
        line = f"PROXY UNKNOWN{rest}\r\n".encode()
        assert decode(line) == (Header(1), len(line))

    @pytest.mark.parametrize(
        "line",
        [
            "PROXY TCP4 1.2.3 10.4.5.6 1 2",
            "PROXY TCP4 010.1.2.3 10.4.5.6 1 2",
            "PROXY TCP4 10.1.2.3 10.4.5.6 1 65536",
            "PROXY TCP4 10.1.2.3 10.4.5.6 1 2 3",
            "PROXY TCP4 ::1 ::1 1 2",
            "PROXY TCP6 1.2.3.4 1.2.3.4 1 2",
            "PROXY  TCP4 10.1.2.3 10.4.5.6 1 2",
            "PROXY UNIX a b",
            "PROXY ",
            "PROXY UNKNOWN " + "x" * 93,
        ],
    )
    def test_malformed(self, line: str) -> None:
        """A malformed line is an error of version 1."""
        with pytest.raises(ProtocolError) as caught:
            decode(line.encode() + b"\r\n")
        assert caught.value.version == 1

    def test_endless(self) -> None:
        """A line that does not end is an error after 108 bytes, and no header."""
        line = b"PROXY UNKNOWN ".ljust(108, b"x")
        assert decode(line) is None
        with pytest.raises(ProtocolError) as caught:
            decode(line + b"x")
        assert caught.value.version is None

    def test_other(self) -> None:
        """Bytes that cannot become a header are an error at once."""
        for data in (b"G", b"PROXYX", b"\r\nx", V2_SIGNATURE[:-1] + b"x"):
            with pytest.raises(ProtocolError):
                decode(data)

    def test_cannot_say(self) -> None:
        """Unix sockets are UNKNOWN to version 1; TLVs cannot be said."""
        assert encode(Header(1, "/a", "/b")) == b"PROXY UNKNOWN\r\n"
        with pytest.raises(ValueError):
            encode(Header(1, *V4, tlvs=((1, b""),)))


class TestVersion2:
    """The binary header."""

    WIRE = V2_SIGNATURE + b"\x21\x11\x00\x0c" + bytes([10, 1, 2, 3, 10, 4, 5, 6]) + b"\x04\x57\x08\xae"

    def test_inet(self) -> None:
        """The bytes are those of the document."""
        assert encode(Header(2, *V4)) == self.WIRE
        assert decode(self.WIRE) == (Header(2, *V4), 28)

    def test_mixed(self) -> None:
        """Where one address is IPv6, the other is mapped."""
        found = decode(encode(Header(2, V4[0], V6[0])))
        assert found is not None and found[0].source == ("::ffff:10.1.2.3", 1111)

    def test_unix(self) -> None:
        """Paths, and abstract names, are kept."""
        header = Header(2, "/run/a", "\0name")
        assert decode(encode(header)) == (header, 16 + 216)

    def test_local(self) -> None:
        """A local header says nothing of addresses, whatever is in it."""
        wire = V2_SIGNATURE + b"\x20\xff\x00\x03abc"
        assert decode(wire) == (Header(2, local=True), 19)
        assert encode(Header(2, *V4, local=True)) == V2_SIGNATURE + b"\x20\x00\x00\x00"

    @pytest.mark.parametrize(
        "rest",
        [
            b"\x11\x11\x00\x00",
            b"\x22\x11\x00\x00",
            b"\x21\x10\x00\x0c",
            b"\x21\x01\x00\x00",
            b"\x21\x41\x00\x00",
            b"\x21\x11\x00\x0b",
            b"\x21\x00\x00\x01\x02",
            b"\x21\x00\x00\x02\x02\x00",
            b"\x21\x00\x00\x04\x02\x00\x02a",
        ],
    )
    def test_malformed(self, rest: bytes) -> None:
        """A malformed header is an error of version 2."""
        with pytest.raises(ProtocolError) as caught:
            decode(V2_SIGNATURE + rest)
        assert caught.value.version == 2

    def test_checksum(self) -> None:
        """A checksum is made, checked, and made anew when a header is sent on."""
        assert proxy_protocol.crc32c(b"123456789") == 0xE3069283
        wire = encode(Header(2, *V4, tlvs=((2, b"host"),)), checksum=True)
        found = decode(wire)
        assert found is not None and [kind for kind, _ in found[0].tlvs] == [2, CRC32C]
        assert decode(encode(found[0])) == found
        for spoilt in (wire[:20] + b"\xff" + wire[21:], wire[:-1] + bytes([wire[-1] ^ 1])):
            with pytest.raises(ProtocolError):
                decode(spoilt)

    def test_cannot_say(self) -> None:
        """What does not fit is a ValueError."""
        for header in (
            Header(2, tlvs=((1, bytes(65533)),)),
            Header(2, "/" * 109, "/"),
            Header(2, ("x", 1), ("y", 1)),
        ):
            with pytest.raises(ValueError):
                encode(header)
