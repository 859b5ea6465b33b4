"""
Where the connections of a listener without sockets come from: a program, or descriptors that are open.

There is one connection at a time.  A program is the client of its connection,
and is started again after each if that is wanted; descriptors, such as inetd
hands over, are one connection, and with it all is over.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import attrs
from attrs import validators
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.stdio import StandardIO
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from meshd.interfaces import ITimer, ITimers
from meshd.net.end import plain_address
from meshd.net.program import Exec, Program, run

log = Logger(namespace="meshd.listener")


@attrs.frozen
class ExecSource(Exec):
    """The program of a listener: its metadata meshd.exec."""

    #: How long after the end of its connection it is started again; never, if it is not set.
    retry: timedelta | None = attrs.field(
        default=None, validator=validators.optional(validators.gt(timedelta(0)))
    )


@attrs.frozen
class Descriptors:
    """The descriptors of a listener's one connection: its metadata meshd.inetd."""

    input: int = attrs.field(default=0, validator=validators.ge(0))
    output: int = attrs.field(default=1, validator=validators.ge(0))


class ProgramSource:
    """Starts a program, whose connection the listener gets."""

    _listener: Any = None
    _timer: ITimer | None = None

    def __init__(self, config: ExecSource, reactor: Any, timers: ITimers) -> None:
        self._config = config
        self._reactor = reactor
        self._timers = timers
        self.running: set[Program] = set()

    def start(self, listener: Any) -> None:
        """Run the program, now and whenever its connection is over."""
        self._listener = listener
        self._run()

    def stop(self) -> None:
        """Start it no more, and end the one that runs."""
        self._listener = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for program in tuple(self.running):
            program.terminate()

    def ended(self) -> None:
        """Take note that the connection is over."""
        retry = self._config.retry
        if self._listener is not None and retry is not None:
            self._timer = self._timers.call_later(retry.total_seconds(), self._run)

    def _run(self) -> None:
        self._timer = None
        listener, config = self._listener, self._config
        try:
            sock, program = run(self._reactor, config, {}, self.running.discard)
        except OSError as error:
            log.error(
                "listener {name}: {program} cannot be run: {error}",
                name=listener.name,
                program=config.program,
                error=error.strerror or error,
            )
            self.ended()
            return
        if not program.over:
            self.running.add(program)
        listener.take(sock)


class DescriptorSource:
    """Gives a listener the descriptors as its one connection; when that is over, finished is called."""

    _wire: _Bridge | None = None

    def __init__(self, config: Descriptors, reactor: Any, finished: Callable[[], object]) -> None:
        self._config = config
        self._reactor = reactor
        self._finished = finished
        self._started = False

    def start(self, listener: Any) -> None:
        """Let the listener have the connection, once."""
        if self._started:
            return
        self._started = True
        ends = self._config
        if _is_same_socket(ends.input, ends.output):
            sock = socket.socket(fileno=os.dup(ends.input))
            listener.take(sock, _peer(sock))
        else:
            listener.take(self._bridge(ends))

    def stop(self) -> None:
        """Leave the connection to its end."""

    def ended(self) -> None:
        """Take note that the connection is over: once the last byte is out, all is."""
        if self._wire is None:
            self._finished()
        else:
            self._wire.when_flushed(self._finished)

    def _bridge(self, ends: Descriptors) -> socket.socket:
        """Return a socket from and to which is copied what comes and goes by the descriptors."""
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        wire = self._wire = _Bridge(ends.output)
        self._reactor.adoptStreamConnection(
            theirs.fileno(), socket.AF_UNIX, Factory.forProtocol(lambda: wire)
        )
        theirs.close()
        standard_io: Any = StandardIO  # mypy knows that of another system
        standard_io(_Standard(wire), stdin=ends.input, stdout=ends.output, reactor=self._reactor)
        return ours


def _is_same_socket(first: int, second: int) -> bool:
    one, other = os.fstat(first), os.fstat(second)
    return stat.S_ISSOCK(one.st_mode) and (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)


def _peer(sock: socket.socket) -> Any:
    try:
        return plain_address(sock.getpeername())
    except OSError:
        return ""


@implementer(IHalfCloseableProtocol)
class _Bridge(Protocol):
    """The end of the socketpair: what comes here goes out by the descriptor."""

    standard: _Standard
    ended = False
    flushed = False
    _when_flushed: Callable[[], object] | None = None

    def __init__(self, output: int) -> None:
        self._output = output

    def when_flushed(self, callback: Callable[[], object]) -> None:
        """Call back once all that came has gone out, and no more can come."""
        self._when_flushed = callback
        self._check()

    def dataReceived(self, data: bytes) -> None:
        out: Any = self.standard.transport
        out.write(data)

    def readConnectionLost(self) -> None:
        self.ended = True
        out: Any = self.standard.transport
        out.unregisterProducer()
        out.loseWriteConnection()

    def writeConnectionLost(self) -> None:
        pass

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.ended:
            self.readConnectionLost()

    def out_closed(self) -> None:
        """Take note that nothing more goes out: all has gone, or nobody reads it."""
        if self.flushed:
            return
        self.flushed = True
        # Twisted leaves it open: the peer would not see the end.  Its number is not to be another file's.
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, self._output)
        os.close(nothing)
        if not self.ended:
            self.ended = True
            wire: Any = self.transport
            wire.unregisterProducer()
            wire.loseConnection()
        self._check()

    def _check(self) -> None:
        callback = self._when_flushed
        if self.flushed and callback is not None:
            self._when_flushed = None
            callback()


@implementer(IHalfCloseableProtocol)
class _Standard(Protocol):
    """The descriptors: what comes by them goes into the socketpair."""

    def __init__(self, bridge: _Bridge) -> None:
        self.bridge = bridge
        bridge.standard = self

    def connectionMade(self) -> None:
        out: Any = self.transport
        wire: Any = self.bridge.transport
        out.registerProducer(wire, True)
        wire.registerProducer(out, True)

    def dataReceived(self, data: bytes) -> None:
        wire: Any = self.bridge.transport
        wire.write(data)

    def readConnectionLost(self) -> None:
        wire: Any = self.bridge.transport
        wire.unregisterProducer()
        if not self.bridge.flushed:
            wire.loseWriteConnection()

    def writeConnectionLost(self) -> None:
        self.bridge.out_closed()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.bridge.out_closed()
