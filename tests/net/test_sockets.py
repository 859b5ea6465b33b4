"""Tests for meshd.net.sockets."""

import os
import socket
import stat
from typing import Any

from envoy.config.core.v3.address_pb2 import Address
from envoy.config.core.v3.socket_option_pb2 import SocketOption as Option
from google.protobuf.json_format import ParseDict
from twisted.trial.unittest import SynchronousTestCase

from meshd.interfaces import SocketAddress
from meshd.net.sockets import (
    BOUND,
    LISTENING,
    ListenOptions,
    SocketOption,
    close_listening,
    listening_socket,
    read_address,
    read_socket_options,
)
from meshd.plugin import ConfigError

LOCAL = ("127.0.0.1", 0)


def address(**fields: Any) -> Any:
    """Return an Address message."""
    return ParseDict(fields, Address())


class ReadTests(SynchronousTestCase):
    """Messages that are read."""

    def test_ip(self) -> None:
        """An IP address of either family, and its port."""
        for ip in ("127.0.0.1", "0.0.0.0", "::1", "::", "fe80::1%1"):
            message = address(socket_address={"address": ip, "port_value": 80})
            self.assertEqual(read_address(message), ((ip, 80), 0, False))
        message = address(socket_address={"address": "::", "port_value": 1, "ipv4_compat": True})
        self.assertEqual(read_address(message), (("::", 1), 0, True))

    def test_pipe(self) -> None:
        """A path and its mode; @ begins an abstract name."""
        self.assertEqual(
            read_address(address(pipe={"path": "/run/x", "mode": 0o600})), ("/run/x", 0o600, False)
        )
        self.assertEqual(read_address(address(pipe={"path": "@x"})), ("\0x", 0, False))

    def test_errors(self) -> None:
        """What cannot be listened on is an error that says where."""
        for fields, text, path in (
            ({}, "only socket_address and pipe can be listened on", ()),
            (
                {"socket_address": {"address": "example.com", "port_value": 1}},
                "malformed IP address: example.com",
                ("socket_address", "address"),
            ),
            (
                {"socket_address": {"address": "1.2.3", "port_value": 1}},
                "malformed IP address: 1.2.3",
                ("socket_address", "address"),
            ),
            (
                {"socket_address": {"address": "::1", "named_port": "http"}},
                "named ports need a resolver; give port_value",
                ("socket_address", "named_port"),
            ),
            (
                {"socket_address": {"address": "::1", "port_value": 1, "protocol": "UDP"}},
                "meshd listens on TCP only",
                ("socket_address", "protocol"),
            ),
        ):
            error = self.assertRaises(ConfigError, read_address, address(**fields))
            self.assertEqual((error.message, error.path), (text, path))

    def test_options(self) -> None:
        """Options have a number or bytes, and a state; without a value they are an error."""
        options = [
            Option(level=1, name=2, int_value=3),
            Option(level=4, name=5, buf_value=b"six", state=Option.STATE_LISTENING),
        ]
        self.assertEqual(
            read_socket_options(options), (SocketOption(1, 2, 3), SocketOption(4, 5, b"six", LISTENING))
        )
        error = self.assertRaises(ConfigError, read_socket_options, [*options, Option(level=1)])
        self.assertEqual(error.path, ("socket_options", 2))


class ListenCase(SynchronousTestCase):
    """Makes listening sockets that end with the test."""

    def listen(self, where: SocketAddress, **options: Any) -> socket.socket:
        """Return a listening socket."""
        sock = listening_socket(where, ListenOptions(**options))
        self.addCleanup(close_listening, sock)
        return sock

    def path(self) -> str:
        """Return a path for a unix socket."""
        return os.path.join("/tmp", f"meshd-test-{os.getpid()}-{self._testMethodName}")


class IPTests(ListenCase):
    """Over TCP."""

    def test_accepts(self) -> None:
        """It listens, does not block, and a port 0 becomes one that is free."""
        for where in (LOCAL, ("::1", 0)):
            sock = self.listen(where)
            self.assertRaises(BlockingIOError, sock.accept)
            self.assertNotEqual(sock.getsockname()[1], 0)
            with socket.create_connection(sock.getsockname()[:2]):
                accepted, _ = sock.accept()
                self.assertTrue(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
                accepted.close()

    def test_reuse_port(self) -> None:
        """With reuse_port two may listen on one port, without only one."""
        first = self.listen(LOCAL)
        self.listen(first.getsockname())
        single = self.listen(LOCAL, reuse_port=False)
        self.assertRaises(OSError, self.listen, single.getsockname(), reuse_port=False)

    def test_ipv4_compat(self) -> None:
        """IPv4 comes to an IPv6 socket if the config says so only."""
        for compatible in (True, False):
            sock = self.listen(("::", 0), ipv4_compat=compatible, reuse_port=False)
            with socket.socket() as client:
                error = client.connect_ex(("127.0.0.1", sock.getsockname()[1]))
            self.assertEqual(error == 0, compatible)

    def test_options(self) -> None:
        """Options are set in each state, as numbers or bytes."""
        options = (
            SocketOption(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
            SocketOption(socket.SOL_SOCKET, socket.SO_PRIORITY, (3).to_bytes(4, "little"), BOUND),
            SocketOption(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 1, LISTENING),
        )
        sock = self.listen(LOCAL, options=options)
        self.assertTrue(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        self.assertEqual(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY), 3)
        self.assertTrue(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT))

    def test_option_that_fails(self) -> None:
        """An option that the kernel will not have is an OSError, and leaves no socket."""
        wrong = (SocketOption(socket.SOL_SOCKET, 9999, 1),)
        self.assertRaises(OSError, listening_socket, LOCAL, ListenOptions(options=wrong))

    def test_freebind(self) -> None:
        """With freebind an address may be listened on that is not there yet."""
        for where in (("192.0.2.77", 0), ("2001:db8::77", 0)):
            self.assertRaises(OSError, self.listen, where)
            self.assertEqual(self.listen(where, freebind=True).getsockname()[0], where[0])

    def test_fast_open(self) -> None:
        """The queue of TCP Fast Open is as long as the config says."""
        sock = self.listen(LOCAL, fast_open=7)
        self.assertEqual(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN), 7)

    def test_bound_only(self) -> None:
        """listen=False makes a socket that is bound, and refuses connections."""
        sock = listening_socket(LOCAL, ListenOptions(), listen=False)
        self.addCleanup(sock.close)
        self.assertRaises(ConnectionRefusedError, socket.create_connection, sock.getsockname())


class UnixTests(ListenCase):
    """Over unix sockets."""

    def test_mode(self) -> None:
        """The path gets the permissions that the config says, and is removed at the end."""
        path = self.path()
        sock = listening_socket(path, ListenOptions(mode=0o620))
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o620)
        close_listening(sock)
        self.assertFalse(os.path.exists(path))

    def test_stale(self) -> None:
        """A path that a process left behind is taken over."""
        path = self.path()
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(path)
        self.listen(path)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)

    def test_other_file(self) -> None:
        """A file of another kind is not removed."""
        path = self.path()
        with open(path, "w") as file:
            file.write("precious")
        self.addCleanup(os.unlink, path)
        self.assertRaises(OSError, listening_socket, path, ListenOptions())
        with open(path) as file:
            self.assertEqual(file.read(), "precious")

    def test_abstract(self) -> None:
        """An abstract name leaves no file."""
        name = "\0" + self.path()
        sock = self.listen(name, mode=0o600)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(name)
            sock.accept()[0].close()
        self.assertFalse(os.path.exists(self.path()))

    def test_close_twice_removed(self) -> None:
        """Closing does not mind that somebody has removed the path."""
        path = self.path()
        sock = listening_socket(path, ListenOptions())
        os.unlink(path)
        close_listening(sock)
        self.assertEqual(sock.fileno(), -1)
