"""Real Redis servers for tests, and a plain blocking client to ask them with."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tests.interop.oracle import die_with_parent
from tests.ports import free_port

PATIENCE = 30.0
"""Seconds that a server has to start, and an answer to come."""


class ErrorReply(Exception):
    """An error that a server answered; text has it all."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ErrorReply) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)


class Map(list[Any]):
    """The pairs of a map, in the order in which they came."""


class Set(list[Any]):
    """A set, in the order in which it came."""


class Talk:
    """
    A connection to a server: sends commands, and reads answers, in which errors are ErrorReply.

    After HELLO 3 they are of RESP3; maps and sets are read as Map and Set.
    """

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._file = self._socket.makefile("rb")

    def send(self, commands: Iterable[Sequence[bytes | str]]) -> None:
        """Send commands, without waiting for answers."""
        data = bytearray()
        for args in commands:
            data += b"*%d\r\n" % len(args)
            for arg in args:
                part = arg.encode() if isinstance(arg, str) else arg
                data += b"$%d\r\n%s\r\n" % (len(part), part)
        self._socket.sendall(data)

    def ask(self, *args: bytes | str) -> Any:
        """Send one command; return its answer."""
        self.send([args])
        return self.read()

    def ask_all(self, commands: Sequence[Sequence[bytes | str]]) -> list[Any]:
        """Send many commands, some at a time; return their answers."""
        answers = []
        for start in range(0, len(commands), 500):
            some = commands[start : start + 500]
            self.send(some)
            answers += [self.read() for _ in some]
        return answers

    def read(self) -> Any:
        """Read one answer."""
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError(f"the server closed the connection after {line!r}")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest
        if kind == b"-":
            return ErrorReply(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            size = int(rest)
            return None if size < 0 else self._file.read(size + 2)[:-2]
        if kind == b"*":
            size = int(rest)
            return None if size < 0 else [self.read() for _ in range(size)]
        return self._read_resp3(line, kind, rest)

    def _read_resp3(self, line: bytes, kind: bytes, rest: bytes) -> Any:
        if kind == b"_":
            return None
        if kind == b"#":
            return rest == b"t"
        if kind == b",":
            return float(rest)
        if kind == b"=":
            return self._file.read(int(rest) + 2)[4:-2]
        if kind == b"%":
            return Map([self.read(), self.read()] for _ in range(int(rest)))
        if kind == b"~":
            return Set(self.read() for _ in range(int(rest)))
        raise ValueError(f"{line!r} is no RESP")

    def close(self) -> None:
        """Close it."""
        self._file.close()
        self._socket.close()


class RedisServer:
    """A redis-server on a free port of 127.0.0.1, with its own directory, until it is stopped."""

    def __init__(self, *options: str, port: int | None = None) -> None:
        self.port = port or free_port()
        self._directory = tempfile.TemporaryDirectory()
        self._options = options
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = subprocess.Popen(
            ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--save", "",
             "--appendonly", "no", "--enable-debug-command", "yes", "--dir", self._directory.name,
             *self._options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=die_with_parent,
        )  # fmt: skip
        end = time.monotonic() + PATIENCE
        while True:
            try:
                Talk(self.port).close()
                return
            except OSError:
                if time.monotonic() > end or self._process.poll() is not None:
                    self.stop()
                    raise
                time.sleep(0.02)

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process, for signals."""
        return self._process.pid

    def talk(self) -> Talk:
        """Connect to it."""
        return Talk(self.port)

    def kill(self) -> None:
        """End its process; it can be started again."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End its process, and forget its directory."""
        self.kill()
        self._directory.cleanup()


@contextlib.contextmanager
def serving(*options: str) -> Iterator[RedisServer]:
    """Have a server for the time being."""
    server = RedisServer(*options)
    try:
        yield server
    finally:
        server.stop()


class RedisCluster:
    """A Redis Cluster of so many primaries, each with so many replicas, until it is stopped."""

    def __init__(self, *options: str, primaries: int = 3, replicas: int = 1, password: str = "") -> None:
        timing = ("--cluster-node-timeout", "1000", "--repl-diskless-sync-delay", "0")
        self.password = password
        auth = ("--requirepass", password, "--masterauth", password) if password else ()
        self.servers: list[RedisServer] = []
        try:
            for _ in range(primaries * (1 + replicas)):
                self.servers.append(RedisServer("--cluster-enabled", "yes", *timing, *auth, *options))
            self._create(replicas)
            self.await_ok(len(self.servers))
        except BaseException:
            self.stop()
            raise

    def _create(self, replicas: int) -> None:
        addresses = [f"127.0.0.1:{server.port}" for server in self.servers]
        auth = ["-a", self.password, "--no-auth-warning"] if self.password else []
        subprocess.run(
            ["redis-cli", *auth, "--cluster", "create", *addresses, "--cluster-replicas", str(replicas),
             "--cluster-yes"],
            check=True,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def ask(self, port: int, *args: bytes | str) -> Any:
        """Ask one node."""
        talk = Talk(port)
        try:
            if self.password:
                talk.ask("AUTH", self.password)
            return talk.ask(*args)
        finally:
            talk.close()

    def slots(self, port: int | None = None) -> list[tuple[int, int, list[int]]]:
        """Return the first and last slot, and the ports of the primary and its replicas, as a node says."""
        port = port or self.servers[0].port
        return [
            (first, last, [node[1] for node in nodes])
            for first, last, *nodes in self.ask(port, "CLUSTER", "SLOTS")
        ]

    def await_ok(self, count: int) -> None:
        """Wait until the nodes that answer agree that all is well, and that there are count nodes."""
        self.wait(lambda: self._is_ok(count), "the nodes to agree")

    def _is_ok(self, count: int) -> bool:
        views = []
        for server in self.servers:
            if not server.running:
                continue
            if b"cluster_state:ok" not in self.ask(server.port, "CLUSTER", "INFO"):
                return False
            if b"master_link_status:down" in self.ask(server.port, "INFO", "replication"):
                return False
            views.append(sorted(self.slots(server.port)))
        nodes = {port for _, _, ports in views[0] for port in ports}
        return len(nodes) == count and all(_unordered(view) == _unordered(views[0]) for view in views)

    @staticmethod
    def wait(true: Any, what: str, patience: float = 60.0) -> None:
        """Wait until true() holds."""
        end = time.monotonic() + patience
        while not true():
            if time.monotonic() > end:
                raise AssertionError(f"waited {patience} s in vain for {what}")
            time.sleep(0.05)

    def server_at(self, port: int) -> RedisServer:
        """Return the server at a port."""
        return next(server for server in self.servers if server.port == port)

    def move_slot(self, slot: int, to: int) -> None:
        """Move a slot, and its keys, from its primary to that at the port to."""
        source = self.open_slot(slot, to)
        for key in self.ask(source, "CLUSTER", "GETKEYSINSLOT", str(slot), "1000"):
            self.move_key(key, source, to)
        self.close_slot(slot, source, to)

    def open_slot(self, slot: int, to: int) -> int:
        """Begin to move a slot to the primary at the port to; return the port where it is."""
        source = next(ports[0] for first, last, ports in self.slots() if first <= slot <= last)
        ids = {port: self.ask(port, "CLUSTER", "MYID") for port in (source, to)}
        self.ask(to, "CLUSTER", "SETSLOT", str(slot), "IMPORTING", ids[source])
        self.ask(source, "CLUSTER", "SETSLOT", str(slot), "MIGRATING", ids[to])
        return source

    def move_key(self, key: bytes, source: int, to: int) -> None:
        """Move one key of a slot that is being moved."""
        auth = ("AUTH", self.password) if self.password else ()
        moved = self.ask(source, "MIGRATE", "127.0.0.1", str(to), "", "0", "5000", *auth, "KEYS", key)
        assert moved == b"OK", moved

    def close_slot(self, slot: int, source: int, to: int) -> None:
        """End the move: the slot is that of the primary at the port to."""
        owner = self.ask(to, "CLUSTER", "MYID")
        for port in (to, source):
            self.ask(port, "CLUSTER", "SETSLOT", str(slot), "NODE", owner)

    def stop(self) -> None:
        """End all."""
        for server in self.servers:
            server.stop()


def _unordered(view: list[tuple[int, int, list[int]]]) -> list[tuple[int, int, int, frozenset[int]]]:
    return [(first, last, ports[0], frozenset(ports)) for first, last, ports in view]
