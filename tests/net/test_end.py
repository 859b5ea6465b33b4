"""Tests for meshd.net.end."""

import socket
import struct
from typing import Any

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from meshd.net.end import SocketEnd, plain_address
from tests.net.loop import tcp_pair


class End(SocketEnd):
    """One of a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock


class PlainAddressTests(SynchronousTestCase):
    """What the socket module says, made plain."""

    def test_ip(self) -> None:
        """Of an IP address the IP and the port are kept."""
        self.assertEqual(plain_address(("1.2.3.4", 80)), ("1.2.3.4", 80))
        self.assertEqual(plain_address(("2001:db8::1", 80, 7, 9)), ("2001:db8::1", 80))
        self.assertEqual(plain_address(("::1", 80, 0, 0)), ("::1", 80))

    def test_mapped(self) -> None:
        """IPv4 that came to an IPv6 socket is IPv4; what only begins so is not."""
        self.assertEqual(plain_address(("::ffff:1.2.3.4", 80, 0, 0)), ("1.2.3.4", 80))
        self.assertEqual(plain_address(("::ffff:0:1", 80, 0, 0)), ("::ffff:0:1", 80))

    def test_unix(self) -> None:
        """A unix socket has a path, an abstract one begins with a null, and a nameless one is empty."""
        self.assertEqual(plain_address("/run/x"), "/run/x")
        self.assertEqual(plain_address(b"\0name"), "\0name")
        self.assertEqual((plain_address(""), plain_address(None)), ("", ""))


class Redirected:
    """A socket whose connection netfilter has redirected."""

    def __init__(self, family: int, local: tuple[Any, ...], answer: bytes) -> None:
        self.family, self.local, self.answer = family, local, answer
        self.asked: list[tuple[int, int, int]] = []

    def getsockname(self) -> tuple[Any, ...]:
        """Return where it was redirected to."""
        return self.local

    def getsockopt(self, *option: int) -> bytes:
        """Return the address that is asked for, as the kernel does."""
        self.asked.append(option)  # type: ignore[arg-type]
        return self.answer


class OriginalDestinationTests(SynchronousTestCase):
    """Where a client wanted to go."""

    V4 = struct.pack("=H", socket.AF_INET) + bytes((0x1F, 0x90, 192, 0, 2, 7)) + bytes(8)

    def ask(self, *facts: Any) -> tuple[Any, Any]:
        """Return what is answered, and what the kernel was asked."""
        sock: Any = Redirected(*facts)
        return End(sock).original_destination(), sock.asked

    def test_v4(self) -> None:
        """An IPv4 address is read out of a sockaddr_in; so it is if an IPv6 socket has an IPv4 client."""
        for family, local in ((socket.AF_INET, ("127.0.0.1", 1)), (socket.AF_INET6, ("::ffff:127.0.0.1", 1))):
            found, asked = self.ask(family, local, self.V4)
            self.assertEqual((found, asked), (("192.0.2.7", 8080), [(socket.IPPROTO_IP, 80, 16)]))

    def test_v6(self) -> None:
        """An IPv6 address is read out of a sockaddr_in6."""
        answer = struct.pack("=H", socket.AF_INET6) + bytes((0x1F, 0x90, 0, 0, 0, 0))
        answer += socket.inet_pton(socket.AF_INET6, "2001:db8::7") + bytes(4)
        found, asked = self.ask(socket.AF_INET6, ("::1", 1), answer)
        self.assertEqual((found, asked), (("2001:db8::7", 8080), [(socket.IPPROTO_IPV6, 80, 28)]))

    def test_unix(self) -> None:
        """Of a unix socket's connection nobody can tell."""
        one, other = socket.socketpair()
        self.addCleanup(one.close)
        self.addCleanup(other.close)
        self.assertRaises(OSError, End(one).original_destination)


class SocketEndTests(SynchronousTestCase):
    """An end that has a socket."""

    def test_addresses(self) -> None:
        """Both ends say where they are, the same from either side."""
        one, other = tcp_pair()
        a, b = End(one), End(other)
        self.assertEqual(a.local_address(), b.remote_address())
        self.assertEqual(a.remote_address(), b.local_address())
        self.assertEqual(a.getHost(), b.getPeer())
        self.assertIsInstance(a.getHost(), IPv4Address)
        one.close()
        other.close()
        self.assertEqual(a.remote_address(), "")

    def test_unix(self) -> None:
        """The ends of a socket pair have no name."""
        one, other = socket.socketpair()
        with one, other:
            self.assertEqual(End(one).local_address(), "")
            self.assertEqual(End(one).getPeer(), UNIXAddress(None))

    def test_options(self) -> None:
        """What is set can be read, and is the socket's."""
        one, other = tcp_pair()
        with one, other:
            end = End(one)
            for on in (True, False):
                end.setTcpNoDelay(on)
                end.setTcpKeepAlive(on)
                self.assertEqual((end.getTcpNoDelay(), end.getTcpKeepAlive()), (on, on))
                self.assertEqual(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), on)
