"""Tests for meshd.net.program: real programs."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from twisted.internet import reactor  # noqa: TID251 - the programs are real, and this one reaps them
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from meshd.config.records import read_record
from meshd.net.program import Exec, Program, run
from tests.net.reaping import ReapingCase


def read_all(sock: socket.socket) -> bytes:
    """Read to the end, in a thread."""
    sock.settimeout(10)
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data


def children_of_ours() -> set[str]:
    """Return our child processes, those too that are dead and not reaped; other tests may have left some."""
    return {pid for file in Path("/proc/self/task").glob("*/children") for pid in file.read_text().split()}


class ProgramTests(ReapingCase):
    """A program on a socketpair."""

    def prepare(self) -> None:
        self.descriptors = set(os.listdir("/proc/self/fd"))
        self.ended: Deferred[Program] = Deferred()

    def start(self, script: str, more: dict[str, str] | None = None, **config: Any) -> socket.socket:
        """Run a shell script, with more in its environment; return our end."""
        record = read_record(Exec, {"program": "/bin/sh", "arguments": ["zero", "-c", script], **config})
        sock, self.program = run(reactor, record, more or {}, self.ended.callback)
        self.assertFalse(sock.getblocking())
        self.addCleanup(sock.close)
        return sock

    async def output(self, script: str, **config: Any) -> bytes:
        """Return what a script that ends by itself says."""
        sock = self.start(script, **config)
        data = await deferToThread(read_all, sock)
        await self.ended
        sock.close()
        return data

    async def test_conversation(self) -> None:
        """What we send is its input, what it says is its output; the end of ours is that of its input."""
        sock = self.start("cat; echo over")
        sock.sendall(b"hello\n")
        sock.shutdown(socket.SHUT_WR)
        self.assertEqual(await deferToThread(read_all, sock), b"hello\nover\n")
        self.assertIs(await self.ended, self.program)
        self.assertTrue(self.program.over)

    async def test_environment(self) -> None:
        """It has our environment, the config's, and what is said for this one."""
        said = await self.output('echo "$ONE $TWO $0"; test -n "$PATH"', environment={"TWO": "2"})
        self.assertEqual(said, b" 2 zero\n")

    async def test_configured_environment(self) -> None:
        """The config adds to the environment."""
        sock = self.start('echo "$ONE $TWO"', {"TWO": "2"}, environment={"ONE": "1"})
        self.assertEqual(await deferToThread(read_all, sock), b"1 2\n")
        await self.ended

    async def test_one_socket(self) -> None:
        """Input and output are one socket; it has no other descriptors of ours."""
        said = await self.output("readlink /proc/self/fd/0; readlink /proc/$$/fd/1; ls /proc/$$/fd")
        first, second, *rest = said.split()
        self.assertTrue(first.startswith(b"socket:["))
        self.assertEqual(first, second)
        self.assertEqual(set(rest) - {b"0", b"1", b"2", b"10", b"255"}, set())

    async def test_stderr(self) -> None:
        """Its errors go to the socket too if that is wanted."""
        self.assertEqual(await self.output("echo wrong >&2", stderr=True), b"wrong\n")

    async def test_terminal(self) -> None:
        """A program that wants a terminal has one, which is hung up when we are gone."""
        sock = self.start("tty; read line; echo got $line; exec sleep 60", pty=True)
        sock.settimeout(10)
        said = b""
        while b"\n" not in said:
            said += await deferToThread(sock.recv, 1000)
        self.assertTrue(said.startswith(b"/dev/"), said)
        sock.sendall(b"word\n")
        while b"got word" not in said:
            said += await deferToThread(sock.recv, 1000)
        sock.close()
        await self.ended

    async def test_terminal_ends(self) -> None:
        """When a program on a terminal ends, all that it said has come, then the end."""
        said = await self.output("head -c 300000 /dev/zero | tr '\\0' x", pty=True)
        self.assertEqual(len(said), 300000)

    async def test_terminate(self) -> None:
        """A program can be ended; one that has ended is left alone."""
        self.start("sleep 60")
        self.program.terminate()
        await self.ended
        self.program.terminate()

    async def test_nothing_left(self) -> None:
        """No descriptor is left behind, nor a dead process."""
        await self.output("true")  # the first has the reactor make descriptors of its own
        before, children = len(os.listdir("/proc/self/fd")), children_of_ours()
        for pty in (False, True):
            self.ended = Deferred()
            await self.output("true", pty=pty)
            await deferLater(reactor, 0, lambda: None)
            self.assertEqual(len(os.listdir("/proc/self/fd")), before)
        self.assertEqual(children_of_ours(), children)

    def test_missing(self) -> None:
        """A program that is not there is an error at once, and leaves no descriptor."""
        with self.assertRaises(OSError):
            run(reactor, Exec("/nonexistent/program"), {}, lambda _: None)
        self.assertEqual(set(os.listdir("/proc/self/fd")) - self.descriptors, set())
