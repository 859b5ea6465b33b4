"""
Raw-socket peers: what stands on either side of a proxy under test.

A Peer is one connection with an exact tongue: it sends, half-closes, resets
and tells how the other side ended it, by FIN or by RST.  A Client is a Peer
that connected; a Backend listens and runs a script, a plain function over a
Peer, in a thread for each connection.  Both keep what they received, so that
a scenario can be compared between two proxies afterwards.
"""

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Callable

PATIENCE = 30.0
"""Seconds any single wait may take before the test fails: on a busy machine a program takes ten to start."""

OPEN = "open"
FIN = "FIN"
RST = "RST"


def wait_until(true: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Poll until true() holds; raise AssertionError naming what after patience seconds."""
    end = time.monotonic() + patience
    while not true():
        if time.monotonic() > end:
            raise AssertionError(f"waited {patience} s in vain for: {what}")
        time.sleep(0.005)


class Peer:
    """One end of a connection, blocking, that remembers what it got and how it ended."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.settimeout(PATIENCE)
        self.received = bytearray()
        self.ending = OPEN
        self.released = False

    @property
    def port(self) -> int:
        """The local port of this end."""
        return int(self.sock.getsockname()[1])

    def send(self, data: bytes) -> None:
        """Send all of data."""
        self.sock.sendall(data)

    def try_send(self, data: bytes) -> bool:
        """Send all of data, or return False if the other side no longer takes any."""
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def some(self, size: int = 65536) -> bytes:
        """Receive once; b"" at the end, which is then noted in ending."""
        try:
            data = self.sock.recv(size)
        except ConnectionResetError:
            self.ending = RST
            return b""
        if not data:
            self.ending = FIN
        self.received += data
        return data

    def read(self, size: int) -> bytes:
        """Receive exactly size bytes, or fewer if the other side ends first."""
        got = b""
        while len(got) < size:
            data = self.some(size - len(got))
            if not data:
                break
            got += data
        return got

    def read_to_end(self) -> tuple[bytes, str]:
        """Receive until the other side ends; return what came now, and FIN or RST."""
        got = bytearray()
        while self.ending == OPEN:
            got += self.some()
        return bytes(got), self.ending

    def await_reset(self) -> None:
        """After a FIN: wait until a RST has followed it."""
        poll = select.poll()
        poll.register(self.sock, 0)
        if not any(event & select.POLLERR for _, event in poll.poll(PATIENCE * 1000)):
            raise AssertionError("no RST came")
        self.ending = RST

    def half_close(self) -> None:
        """Send FIN; go on receiving."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Send RST instead of FIN and forget the connection."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        """Close both ways."""
        self.sock.close()

    @property
    def closed(self) -> bool:
        """Whether this end has closed its socket."""
        return self.sock.fileno() < 0


class Client(Peer):
    """A connection to a proxy, from an address and with a receive buffer of choice."""

    def __init__(
        self, address: tuple[str, int] | str, source: tuple[str, int] | None = None, rcvbuf: int = 0
    ) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        if not isinstance(address, str) and ":" in address[0]:
            family = socket.AF_INET6
        sock = socket.socket(family, socket.SOCK_STREAM)
        super().__init__(sock)
        if rcvbuf:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        if source:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(source)
        sock.connect(address)


Script = Callable[[Peer], None]


def echo(peer: Peer) -> None:
    """Send back what comes; close when the other side has ended."""
    while data := peer.some():
        peer.send(data)


def sink(peer: Peer) -> None:
    """Read until the other side ends."""
    peer.read_to_end()


def hangs(peer: Peer) -> None:
    """Read until the other side ends, but do not close before the end of the test."""
    peer.read_to_end()
    wait_until(lambda: peer.released or peer.ending == RST, "the test to be over")


def answer(reply: bytes, closing: bool = False) -> Script:
    """Make a script that replies to a byte, half-closes if wanted, then reads until the end."""

    def script(peer: Peer) -> None:
        if peer.read(1):
            peer.send(reply)
            if closing:
                peer.half_close()
            peer.read_to_end()

    return script


def late_answer(reply: bytes) -> Script:
    """Make a script that replies only when the other side has half-closed."""

    def script(peer: Peer) -> None:
        peer.read_to_end()
        peer.try_send(reply)

    return script


def banner(greeting: bytes) -> Script:
    """Make a script that speaks first, then echoes."""

    def script(peer: Peer) -> None:
        peer.send(greeting)
        echo(peer)

    return script


def resets(after: int) -> Script:
    """Make a script that resets the connection once it got `after` bytes."""

    def script(peer: Peer) -> None:
        if peer.read(after):
            peer.reset()

    return script


def ends_first(farewell: bytes) -> Script:
    """Make a script that sends, half-closes at once, and still reads all that comes."""

    def script(peer: Peer) -> None:
        peer.send(farewell)
        peer.half_close()
        peer.read_to_end()

    return script


class Backend:
    """A listening socket, on 127.0.0.1 or at a path, that runs its script on each connection."""

    def __init__(self, script: Script = echo, rcvbuf: int = 0, port: int = 0, path: str = "") -> None:
        self.script = script
        self.peers: list[Peer] = []
        self.failures: list[BaseException] = []
        self._listener = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if rcvbuf:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self._listener.bind(path or ("127.0.0.1", port))
        self._listener.listen(512)
        self.port = 0 if path else int(self._listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @staticmethod
    def make(sock: socket.socket) -> Peer:
        """Return the peer of a connection."""
        return Peer(sock)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            peer = self.make(sock)
            self.peers.append(peer)
            thread = threading.Thread(target=self._run, args=(peer,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self, peer: Peer) -> None:
        try:
            self.script(peer)
        except (BrokenPipeError, ConnectionResetError):
            peer.ending = RST
        except OSError as error:
            if not peer.closed:
                self.failures.append(error)
        finally:
            with contextlib.suppress(OSError):
                peer.close()

    def peer(self, number: int = 0) -> Peer:
        """Wait for connection `number` and return this side of it."""
        wait_until(lambda: len(self.peers) > number, f"connection {number} at the backend")
        return self.peers[number]

    def finish(self) -> None:
        """Wait until every script is over."""
        for peer in self.peers:
            peer.released = True
        for thread in self._threads[1:]:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a backend connection was never ended"

    def close(self) -> None:
        """Stop listening and drop what is left."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for peer in self.peers:
            peer.released = True
            with contextlib.suppress(OSError):
                peer.sock.shutdown(socket.SHUT_RDWR)


class Nobody:
    """A port of 127.0.0.1 that refuses: bound, so that no one else gets it, but not listening."""

    def __init__(self) -> None:
        self._sock = socket.socket()
        self._sock.bind(("127.0.0.1", 0))
        self.port = int(self._sock.getsockname()[1])

    def finish(self) -> None:
        """Nothing ever ran."""

    def close(self) -> None:
        """Give the port back."""
        self._sock.close()


class Deaf:
    """A port of 127.0.0.1 at which connects hang: its backlog is full and nobody accepts."""

    def __init__(self) -> None:
        self._socks = [socket.socket()]
        self._socks[0].bind(("127.0.0.1", 0))
        self._socks[0].listen(0)
        self.port = int(self._socks[0].getsockname()[1])
        for _ in range(4):
            self._socks.append(socket.socket())
            self._socks[-1].setblocking(False)
            with contextlib.suppress(BlockingIOError):
                self._socks[-1].connect(("127.0.0.1", self.port))

    def finish(self) -> None:
        """Nothing ever ran."""

    def close(self) -> None:
        """Give the port back."""
        for sock in self._socks:
            sock.close()
