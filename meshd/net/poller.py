"""
Watches the sockets of the data plane.

One epoll of our own, edge-triggered: a socket is registered once, for reading
and writing, and never modified.  The epoll's descriptor is pollable, so it is
one IReadDescriptor of whichever Twisted reactor runs.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

IN = select.EPOLLIN
OUT = select.EPOLLOUT
#: The peer closed its side, wholly or by a FIN, or the connection broke.
HANGUP = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
#: It broke.
ERROR = select.EPOLLERR
_EDGE = select.EPOLLET

#: Turns of the inner loop before the reactor's other users get theirs.
ROUNDS = 32
#: Seconds after which they get it all the same.
SLICE = 0.005
BATCH = 256

React = Callable[[int], None]
log = Logger(namespace="meshd.net")


class _Soon:
    """The calls and closes that wait for the end of the batch of events."""

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self._seconds = reactor.seconds
        #: The reactor's seconds when this batch began.
        self.now: float = reactor.seconds()
        self.in_batch = False
        self._scheduled: Any = None
        self._soon: list[Callable[[], object]] = []
        self._closing: list[Any] = []

    def soon(self, call: Callable[[], object]) -> None:
        """Call after this batch of events: not from within the caller, but before the next wait."""
        self._soon.append(call)
        if not self.in_batch and self._scheduled is None:
            self._scheduled = self.reactor.callLater(0, self._turn)

    def time(self) -> float:
        """Return the reactor's seconds, those of this batch if one is handled."""
        return self.now if self.in_batch else self._seconds()

    def _turn(self) -> None:
        self._scheduled = None
        self.now = self._seconds()
        self.in_batch = True
        self._end_batch()

    def _end_batch(self) -> None:
        """Do what waits; what that adds has to wait for the next batch."""
        calls, self._soon = self._soon, []
        for call in calls:
            try:
                call()
            except Exception:
                log.failure("in a call put off")
        closing, self._closing = self._closing, []
        for sock in closing:
            sock.close()
        self.in_batch = False
        if self._soon and self._scheduled is None:
            self._scheduled = self.reactor.callLater(0, self._turn)


@implementer(IReadDescriptor)
class Poller(_Soon):
    """One nested epoll; a callable is called with the events of its descriptor."""

    def __init__(self, reactor: Any) -> None:
        super().__init__(reactor)
        self._epoll = select.epoll()
        self._reactions: dict[int, React] = {}

    def start(self) -> None:
        """Take part in the reactor."""
        self.reactor.addReader(self)

    def stop(self) -> None:
        """Leave the reactor; the sockets are their owners' to close."""
        self.reactor.removeReader(self)
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None
        self._epoll.close()

    def add(self, fd: int, react: React) -> None:
        """Call react on each edge: new data, new room, hang-up."""
        self._reactions[fd] = react
        self._epoll.register(fd, IN | OUT | HANGUP | _EDGE)

    def add_listening(self, fd: int, react: React) -> None:
        """Call react for as long as there are connections to accept."""
        self._reactions[fd] = react
        self._epoll.register(fd, IN)

    def switch(self, fd: int, react: React) -> None:
        """Let another have the events of a descriptor that was added."""
        self._reactions[fd] = react

    def remove(self, fd: int) -> None:
        """Watch the descriptor no more; its events of this batch are dropped."""
        if self._reactions.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def discard(self, fd: int, sock: Any) -> None:
        """
        Watch the socket no more, and close it when the batch is over.

        Closing takes it out of the epoll.  It has to wait: the descriptor's
        number would be given to the next socket, which would then get the
        events of this one that are still in the batch.
        """
        self._reactions.pop(fd, None)
        if self.in_batch:
            self._closing.append(sock)
        else:
            sock.close()

    def doRead(self) -> None:
        """Handle what happened, and what happens meanwhile, for some rounds."""
        poll = self._epoll.poll
        find = self._reactions.get
        first = None
        for _ in range(ROUNDS):
            events = poll(0, BATCH)
            if not events:
                return
            self.now = self._seconds()
            first = first or self.now
            self.in_batch = True
            for fd, event in events:
                react = find(fd)
                if react is not None:
                    try:
                        react(event)
                    except Exception:
                        log.failure("while handling an event")
            if self._soon or self._closing:
                self._end_batch()
            else:
                self.in_batch = False
            if self.now - first > SLICE:
                return

    def fileno(self) -> int:
        """Return the epoll's own descriptor."""
        return self._epoll.fileno()

    def logPrefix(self) -> str:
        """Name it in Twisted's log."""
        return "meshd"

    def connectionLost(self, reason: Failure) -> None:
        """Do nothing: the reactor is stopping."""
