"""
Runs a program that speaks through a socket: its standard input and output are one end of a socketpair.

A program that wants a terminal gets one; what goes through it is copied from
and to the socketpair by Twisted's reactor.  Programs are reaped by the reactor.
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
from collections.abc import Callable, Mapping
from typing import Any

import attrs
from attrs import validators
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IReactorProcess
from twisted.internet.protocol import Factory, ProcessProtocol, Protocol, connectionDone
from twisted.python.failure import Failure


@attrs.frozen
class Exec:
    """A program, and how it is run."""

    #: The path of its file, or a name to be looked for in PATH.
    program: str = attrs.field(validator=validators.min_len(1))
    #: Its argv, beginning with what it is called ($0); the program's path if there are none.
    arguments: tuple[str, ...] = ()
    #: What is added to the environment that meshd itself has.
    environment: Mapping[str, str] = attrs.Factory(dict)
    #: Whether it gets a terminal.
    pty: bool = False
    #: Whether its standard error goes to the socket too; else it is meshd's own.
    stderr: bool = False


class Program(ProcessProtocol):
    """A program that runs; ended is called once, when it has ended."""

    over = False

    def __init__(self, ended: Callable[[Program], object]) -> None:
        self._ended = ended

    def processEnded(self, reason: Failure) -> None:
        self.over = True
        self._ended(self)

    def terminate(self) -> None:
        """Send it a SIGTERM, if it still runs."""
        transport: Any = self.transport
        try:
            transport.signalProcess("TERM")
        except ProcessExitedAlready:
            pass


def run(
    reactor: Any, config: Exec, environment: Mapping[str, str], ended: Callable[[Program], object]
) -> tuple[socket.socket, Program]:
    """
    Start the program; return our end of its socket, which does not block, and the program.

    environment is added to that of the config.  Raise OSError if there is no
    such program, or if it cannot be started.
    """
    path = shutil.which(config.program)
    if path is None:
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    argv = list(config.arguments) or [config.program]
    environ = {**os.environ, **config.environment, **environment}
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    try:
        if config.pty:
            return ours, _on_terminal(reactor, path, argv, environ, theirs, ended)
        program = Program(ended)
        end = theirs.fileno()
        descriptors = {0: end, 1: end, 2: end if config.stderr else 2}
        IReactorProcess(reactor).spawnProcess(program, path, argv, env=environ, childFDs=descriptors)
        return ours, program
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()


def _on_terminal(
    reactor: Any,
    path: str,
    argv: list[str],
    environ: Mapping[str, str],
    theirs: socket.socket,
    ended: Callable[[Program], object],
) -> Program:
    """Start it on a terminal, and copy between that and theirs."""
    program = _OnTerminal(ended)
    theirs.setblocking(False)
    # The reactor takes a copy of the descriptor.
    reactor.adoptStreamConnection(theirs.fileno(), socket.AF_UNIX, Factory.forProtocol(lambda: program.wire))
    reactor.spawnProcess(program, path, argv, env=environ, usePTY=True)
    return program


class _OnTerminal(Program):
    """A program on a terminal: what it writes goes to the wire."""

    def __init__(self, ended: Callable[[Program], object]) -> None:
        super().__init__(ended)
        self.wire = _Wire(self)

    def connectionMade(self) -> None:
        terminal: Any = self.transport
        wire: Any = self.wire.transport
        wire.registerProducer(terminal, True)
        terminal.registerProducer(wire, True)

    def outReceived(self, data: bytes) -> None:
        wire: Any = self.wire.transport
        wire.write(data)

    def processEnded(self, reason: Failure) -> None:
        wire: Any = self.wire.transport
        wire.unregisterProducer()
        wire.loseConnection()
        super().processEnded(reason)


class _Wire(Protocol):
    """The end of the socketpair that stands for the terminal."""

    def __init__(self, program: _OnTerminal) -> None:
        self.program = program

    def dataReceived(self, data: bytes) -> None:
        terminal: Any = self.program.transport
        terminal.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        # Nobody is there any more: the program is sent a SIGHUP, as by any terminal that is hung up.
        if not self.program.over:
            terminal: Any = self.program.transport
            terminal.unregisterProducer()
            terminal.loseConnection()
