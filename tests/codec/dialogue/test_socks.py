"""Tests for meshd.codec.dialogue.socks; the bytes are those of stunnel 5.68, recorded."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshd.codec.dialogue import socks
from meshd.codec.dialogue.script import CLIENT, SERVER, Outcome, Target
from tests.codec.dialogue.talking import Talk, meet, talk

IP = b"\xc0\0\x02\x02"
PORT = b"\x10\x01"


class TestClient:
    """Asking a server for a connection."""

    @pytest.mark.parametrize(
        ("host", "address"),
        [
            ("192.0.2.2", b"\x01" + IP),
            ("2001:db8::1", b"\x04 \x01\r\xb8" + bytes(11) + b"\x01"),
            ("target.example", b"\x03\x0etarget.example"),
        ],
    )
    def test_target(self, host: str, address: bytes) -> None:
        """The target is sent as what it is; what follows the reply is the target's."""
        made = talk(
            socks.client(host, 0x1001), (SERVER, b"\5\0"), (SERVER, b"\5\0\0\1\1\2\3\4\0\5" + b"hello")
        )
        assert made.heard[SERVER] == b"\5\1\0\5\1\0" + address + PORT
        assert made.end is Outcome.DONE
        assert made.rest()[1] == b"hello"

    @pytest.mark.parametrize("bound", [b"\3\4abcd\0\5", b"\4" + bytes(18)])
    def test_bound(self, bound: bytes) -> None:
        """Whatever kind of address the reply has, it is read to its end."""
        made = talk(socks.client("192.0.2.2", 1), (SERVER, b"\5\0\5\0\0" + bound + b"x"))
        assert made.end is Outcome.DONE and made.rest()[1] == b"x"

    @pytest.mark.parametrize("answer", [b"\5\xff", b"\4\0", b"\5\0\5\5\0\1\1\2\3\4\0\5", b"\5\0\5\0\0\7"])
    def test_refused(self, answer: bytes) -> None:
        """A refusal fails the dialogue; nothing is reset."""
        failed = talk(socks.client("192.0.2.2", 1), (SERVER, answer)).failed
        assert failed is not None and not failed.reset

    def test_long_name(self) -> None:
        """A name that SOCKS cannot say fails the dialogue."""
        assert talk(socks.client(".".join(["x" * 50] * 6), 1), (SERVER, b"\5\0")).failed is not None


def greeted(request: bytes, allow_loopback: bool = False) -> Talk:
    """Return the talk with a client of version 5 that sent request."""
    made = talk(socks.server(allow_loopback), (CLIENT, b"\5\2\2\0"))
    assert made.heard[CLIENT] == b"\5\0"
    made.heard[CLIENT] = b""
    made.say(CLIENT, request)
    return made


class TestServer5:
    """Version 5."""

    @pytest.mark.parametrize(
        ("request_", "reply", "addresses"),
        [
            (b"\5\1\0\1" + IP + PORT, b"\5\0\0\1" + IP + PORT, ("192.0.2.2",)),
            (b"\5\1\0\3\x09192.0.2.2" + PORT, b"\5\0\0\1" + bytes(6), ("192.0.2.2",)),
            (b"\5\1\0\3\x0chere.example" + PORT, b"\5\0\0\1" + bytes(6), ("192.0.2.7", "2001:db8::7")),
        ],
    )
    def test_target(self, request_: bytes, reply: bytes, addresses: tuple[str, ...]) -> None:
        """The target is found, the client told so; what it says then is for the target."""
        made = greeted(request_ + b"hello")
        assert made.heard[CLIENT] == reply
        assert made.target == Target(addresses, 0x1001)
        assert made.end is Outcome.DONE
        assert made.rest()[0] == b"hello"

    @pytest.mark.parametrize(
        ("request_", "reply"),
        [
            (b"\5\1\0\1\x7f\0\0\1" + PORT, b"\5\2\0\1\x7f\0\0\1" + PORT),
            (b"\5\1\0\4" + bytes(15) + b"\1" + PORT, b"\5\2\0\4" + bytes(15) + b"\1" + PORT),
            (b"\5\1\0\3\x09localhost" + PORT, b"\5\2\0\1" + bytes(6)),
            (b"\5\1\0\3\x0enosuch.invalid" + PORT, b"\5\4\0\1" + bytes(6)),
            (b"\5\2\0\1" + IP + PORT, b"\5\7\0\1" + bytes(6)),
            (b"\5\xf1\0\1" + IP + PORT, b"\5\7\0\1" + bytes(6)),
            (b"\5\1\0\5" + IP + PORT, b"\5\7\0\1" + bytes(6)),
        ],
    )
    def test_refused(self, request_: bytes, reply: bytes) -> None:
        """The loopback, names without address and other commands are refused, which reaches the client."""
        made = greeted(request_)
        assert made.heard[CLIENT] == reply
        assert made.target is None
        assert made.failed is not None and not made.failed.reset

    @pytest.mark.parametrize("address", [b"\x7f\0\0\1", bytes(4)])
    def test_loopback_allowed(self, address: bytes) -> None:
        """The config may allow the loopback."""
        request = b"\5\1\0\1" + address + PORT
        assert greeted(request).target is None
        assert greeted(request, allow_loopback=True).target is not None

    def test_resolve(self) -> None:
        """Tor's RESOLVE is answered with an address, the loopback's too; then that is it."""
        made = greeted(b"\5\xf0\0\3\x09localhost\0\0")
        assert made.heard[CLIENT] == b"\5\0\0\1\x7f\0\0\1\0\0"
        assert made.failed is not None and not made.failed.reset

    def test_resolve_nothing(self) -> None:
        """RESOLVE of a name without address says so."""
        assert greeted(b"\5\xf0\0\3\x0enosuch.invalid\0\0").heard[CLIENT] == b"\5\4\0\1" + bytes(6)

    def test_authentication(self) -> None:
        """A client that has to authenticate is turned away."""
        made = talk(socks.server(), (CLIENT, b"\5\1\2"))
        assert made.heard[CLIENT] == b"\5\xff"
        assert made.failed is not None and not made.failed.reset


class TestServer4:
    """Versions 4 and 4a."""

    @pytest.mark.parametrize(
        ("request_", "reply"),
        [
            (b"\4\1" + PORT + IP + b"user\0", b"\0Z" + PORT + IP),
            (b"\4\1" + PORT + b"\0\0\0\1user\0here.example\0", b"\0Z" + PORT + b"\0\0\0\1"),
        ],
    )
    def test_target(self, request_: bytes, reply: bytes) -> None:
        """The target is found: an IPv4 address, since the version knows no other."""
        made = talk(socks.server(), (CLIENT, request_ + b"hello"))
        assert made.heard[CLIENT] == reply
        assert made.target is not None and all(":" not in each for each in made.target.addresses)
        assert made.end is Outcome.DONE
        assert made.rest()[0] == b"hello"

    @pytest.mark.parametrize(
        "request_",
        [
            b"\4\1" + PORT + b"\x7f\0\0\1user\0",
            b"\4\1" + PORT + b"\0\0\0\1user\0localhost\0",
            b"\4\1" + PORT + b"\0\0\0\1user\0nosuch.invalid\0",
            b"\4\2" + PORT + IP + b"user\0",
        ],
    )
    def test_refused(self, request_: bytes) -> None:
        """The loopback, names without address and other commands are refused."""
        made = talk(socks.server(), (CLIENT, request_))
        assert made.heard[CLIENT] == b"\0[" + request_[2:8]
        assert made.failed is not None and not made.failed.reset

    def test_resolve(self) -> None:
        """Tor's RESOLVE is answered with an address."""
        made = talk(socks.server(), (CLIENT, b"\4\xf0\0\0\0\0\0\1user\0localhost\0"))
        assert made.heard[CLIENT] == b"\0Z\0\0\x7f\0\0\1"

    def test_other_version(self) -> None:
        """Other versions are reset."""
        failed = talk(socks.server(), (CLIENT, b"\3")).failed
        assert failed is not None and failed.reset


@pytest.mark.parametrize(
    ("address", "own"),
    [
        ("127.9.9.9", True), ("::1", True), ("::ffff:127.0.0.1", True), ("0.0.0.0", True), ("::", True),
        ("192.0.2.1", False), ("2001:db8::1", False), ("fe80::1%eth0", False),
    ],
)  # fmt: skip
def test_is_own(address: str, own: bool) -> None:
    """The loopback has many names."""
    assert socks.is_own(address) is own


@given(st.ip_addresses(), st.integers(0, 65535))
def test_meet(ip: object, port: int) -> None:
    """The two sides understand each other, about any address."""
    client, server = meet(socks.client(str(ip), port), socks.server(allow_loopback=True))
    if server.target is not None:
        assert ipaddress.ip_address(server.target.addresses[0]) == ip
        assert server.target.port == port
        assert client.end is Outcome.DONE is server.end
