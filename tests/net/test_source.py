"""Tests for meshd.net.source: real programs and descriptors."""

from __future__ import annotations

import os
import socket
from datetime import timedelta
from typing import Any

from twisted.internet import reactor  # noqa: TID251 - the programs are real, and this one reaps them
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.logger import globalLogPublisher

from meshd.net.source import Descriptors, DescriptorSource, ExecSource, ProgramSource
from meshd.testing import FakeTimers
from tests.net.reaping import ReapingCase
from tests.net.test_program import read_all


class Taker:
    """Stands for a listener: keeps the sockets that it is given."""

    name = "l"

    def __init__(self) -> None:
        self.taken: list[socket.socket] = []
        self.remotes: list[Any] = []

    def take(self, sock: socket.socket, remote: Any = "") -> None:
        """Keep it."""
        sock.settimeout(10)
        self.taken.append(sock)
        self.remotes.append(remote)


class SourceCase(ReapingCase):
    """A listener, and what its connections come from."""

    def prepare(self) -> None:
        self.listener = Taker()
        self.addCleanup(self.close)

    def close(self) -> None:
        """Close what the listener was given."""
        for sock in self.listener.taken:
            sock.close()


class ProgramTests(SourceCase):
    """A program is the client."""

    def prepare(self) -> None:
        super().prepare()
        self.clock = Clock()

    def source(self, script: str, retry: float | None = None) -> ProgramSource:
        """Return a source that was started."""
        config = ExecSource(
            "/bin/sh", ("sh", "-c", script), retry=None if retry is None else timedelta(seconds=retry)
        )
        made = ProgramSource(config, reactor, FakeTimers(self.clock))
        made.start(self.listener)
        self.addCleanup(self.stop, made)
        return made

    async def stop(self, source: ProgramSource) -> None:
        """Let no program be left."""
        source.stop()
        await self.until(lambda: not source.running)

    async def test_once(self) -> None:
        """Its connection is the listener's; without retry it is the only one."""
        source = self.source("read line; echo got $line")
        (sock,) = self.listener.taken
        sock.sendall(b"word\n")
        self.assertEqual(await deferToThread(read_all, sock), b"got word\n")
        source.ended()
        self.clock.advance(1000)
        self.assertEqual(len(self.listener.taken), 1)

    async def test_retry(self) -> None:
        """With retry it is started again, that long after its connection was over."""
        source = self.source("echo $$", retry=0.5)
        first = await deferToThread(read_all, self.listener.taken[0])
        source.ended()
        self.clock.advance(0.4)
        self.assertEqual(len(self.listener.taken), 1)
        self.clock.advance(0.1)
        self.assertNotEqual(await deferToThread(read_all, self.listener.taken[1]), first)

    async def test_stopped(self) -> None:
        """When the listener stops the program is ended, and not started again."""
        source = self.source("exec sleep 60", retry=0.5)
        source.ended()
        source.stop()
        await self.until(lambda: not source.running)
        self.clock.advance(10)
        self.assertEqual(len(self.listener.taken), 1)

    async def test_missing(self) -> None:
        """A program that is not there is logged, and tried again if that is wanted."""
        events: list[Any] = []
        note: Any = events.append
        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)
        config = ExecSource("/nonexistent/program", retry=timedelta(seconds=1))
        source = ProgramSource(config, reactor, FakeTimers(self.clock))
        source.start(self.listener)
        self.clock.advance(1)
        source.stop()
        self.clock.advance(1)
        failed = [each for each in events if each.get("program") == "/nonexistent/program"]
        self.assertEqual(len(failed), 2)
        self.assertEqual(self.listener.taken, [])


class DescriptorTests(SourceCase):
    """Descriptors that are open already."""

    def prepare(self) -> None:
        super().prepare()
        self.finished: list[bool] = []

    def source(self, first: int, second: int) -> DescriptorSource:
        """Return a source of them that was started."""
        made = DescriptorSource(Descriptors(first, second), reactor, lambda: self.finished.append(True))
        made.start(self.listener)
        made.start(self.listener)
        return made

    def test_socket(self) -> None:
        """A socket is the connection itself; its end is the end of all."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            client = socket.create_connection(listening.getsockname())
            server, _ = listening.accept()
        with client, server:
            again = os.dup(server.fileno())
            source = self.source(server.fileno(), again)
            os.close(again)
            (sock,) = self.listener.taken
            self.assertEqual(self.listener.remotes, [client.getsockname()])
            sock.sendall(b"hello")
            self.assertEqual(client.recv(10), b"hello")
            self.assertEqual(self.finished, [])
            source.ended()
            self.assertEqual(self.finished, [True])

    async def test_pipes(self) -> None:
        """Pipes are copied from and to a socket; all is over when the last byte is out."""
        (their_in, our_out), (our_in, their_out) = os.pipe(), os.pipe()
        source = self.source(their_in, their_out)
        (sock,) = self.listener.taken
        os.write(our_out, b"hello")
        self.assertEqual(await deferToThread(sock.recv, 10), b"hello")
        os.close(our_out)
        self.assertEqual(await deferToThread(sock.recv, 10), b"")
        size = 1 << 20
        sending = deferToThread(sock.sendall, b"x" * size)
        with os.fdopen(our_in, "rb") as reading:
            self.assertEqual(len(await deferToThread(reading.read, 100)), 100)
            await deferToThread(reading.read, size - 200)
            await sending
            sock.close()
            source.ended()
            self.assertEqual(len(await deferToThread(reading.read)), 100)
        await self.until(lambda: self.finished)
        self.assertEqual(self.finished, [True])

    async def test_nobody_reads(self) -> None:
        """When nobody reads what goes out the connection ends, and then all."""
        (their_in, our_out), (our_in, their_out) = os.pipe(), os.pipe()
        source = self.source(their_in, their_out)
        (sock,) = self.listener.taken
        os.close(our_in)
        sock.sendall(b"hello")
        self.assertEqual(await deferToThread(read_all, sock), b"")
        source.ended()
        await self.until(lambda: self.finished)
        os.close(our_out)
