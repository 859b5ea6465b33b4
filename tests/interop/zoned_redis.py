"""A Redis Cluster of one shard whose nodes say, as Valkey's do, in which availability zone they are."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from meshd.codec.resp_reply import ReplySplitter, decode, encode
from tests.ports import free_port
from tests.redis_servers import RedisCluster, RedisServer, Talk

SERVER = b"# Server\r\n"


class Front:
    """
    A port that passes on what comes to a server, and adds the zone to what INFO answers.

    Redis has no zones, and Valkey is not among the programs of these tests.
    """

    def __init__(self, zone: str) -> None:
        self.zone = zone.encode()
        self.target = 0
        self._listener = socket.create_server(("127.0.0.1", free_port()))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self.target))
                except OSError:
                    client.close()
                    continue
                passage = Passage(self.zone)
                for way in ((client, server, passage.ask), (server, client, passage.answer)):
                    threading.Thread(target=_pump, args=way, daemon=True).start()

    def stop(self) -> None:
        """Take no more connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


class Passage:
    """What passes through one connection."""

    def __init__(self, zone: bytes) -> None:
        self._zone = zone
        self._splitter = ReplySplitter()
        #: Whether it is a replica that asks: what it is sent is not RESP.
        self._replicates = False

    def ask(self, data: bytes) -> bytes:
        """Return what goes to the server."""
        self._replicates |= b"REPLCONF" in data
        return data

    def answer(self, data: bytes) -> bytes:
        """Return what goes back."""
        if self._replicates:
            return data
        return b"".join(self._with_zone(reply) for reply in self._splitter.receive(data))

    def _with_zone(self, reply: bytes) -> bytes:
        if not self._zone or SERVER not in reply[:40]:
            return reply
        info: bytes = decode(reply)
        return encode(info.replace(SERVER, SERVER + b"availability_zone:%b\r\n" % self._zone))


def _pump(source: socket.socket, target: socket.socket, change: Callable[[bytes], bytes]) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(change(data))
    for sock in (source, target):
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


class ZonedRedis:
    """A primary and its replicas in these zones, the primary's first; an empty one is not told."""

    def __init__(self, *zones: str) -> None:
        self.fronts = [Front(zone) for zone in zones]
        self.servers: list[RedisServer] = []
        try:
            for front in self.fronts:
                front.target = free_port()
                self.servers.append(RedisServer(*_announced(front), port=front.target))
            self._join()
        except BaseException:
            self.stop()
            raise

    def _join(self) -> None:
        first, *others = self.servers
        self.ask(first, "CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        for epoch, server in enumerate(others, start=2):
            self.ask(server, "CLUSTER", "SET-CONFIG-EPOCH", str(epoch))
            self.ask(server, "CLUSTER", "MEET", "127.0.0.1", str(first.port), str(first.port + 10000))
        primary = self.ask(first, "CLUSTER", "MYID")
        for server in others:
            self._await(partial(self._follow, server, primary))
        self._await(lambda: all(self._is_ready(server) for server in self.servers))

    def _follow(self, server: RedisServer, primary: str) -> bool:
        # Refused until it knows the primary.
        return bool(self.ask(server, "CLUSTER", "REPLICATE", primary) == b"OK")

    def _await(self, true: Callable[[], bool]) -> None:
        RedisCluster.wait(true, "the nodes to agree")

    def _is_ready(self, server: RedisServer) -> bool:
        slots = self.ask(server, "CLUSTER", "SLOTS")
        return (
            b"cluster_state:ok" in self.ask(server, "CLUSTER", "INFO")
            and b"master_link_status:down" not in self.ask(server, "INFO", "replication")
            and len(slots) == 1
            and len(slots[0]) == 2 + len(self.servers)
        )

    def ask(self, server: RedisServer, *args: str) -> Any:
        """Ask a server itself."""
        talk = Talk(server.port)
        try:
            return talk.ask(*args)
        finally:
            talk.close()

    def reads(self) -> list[int]:
        """Return how many GETs each server has served since this was last asked."""
        found = []
        for server in self.servers:
            stats = self.ask(server, "INFO", "commandstats") if server.running else b""
            match = re.search(rb"cmdstat_get:calls=(\d+)", stats)
            found.append(int(match[1]) if match else 0)
            if server.running:
                self.ask(server, "CONFIG", "RESETSTAT")
        return found

    def stop(self) -> None:
        """End all."""
        for front in self.fronts:
            front.stop()
        for server in self.servers:
            server.stop()


def _announced(front: Front) -> tuple[str, ...]:
    bus = str(front.target + 10000)
    return (
        *("--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--repl-diskless-sync-delay", "0"),
        *("--cluster-announce-port", str(front.port), "--cluster-announce-bus-port", bus),
    )
