"""The innermost link of an upstream connection that has a transport socket."""

from __future__ import annotations

from twisted.python.failure import Failure

from meshd.filter import TerminalFilter
from meshd.interfaces import IUpstream


class Inside(TerminalFilter):
    """The face of the transport socket's links to an IUpstream."""

    def __init__(self, upstream: IUpstream) -> None:
        self.upstream = upstream

    def connectionMade(self) -> None:
        self.connection.made(self)  # type: ignore[attr-defined]

    def dataReceived(self, data: bytes) -> None:
        self.upstream.dataReceived(data)

    def readConnectionLost(self) -> None:
        self.upstream.readConnectionLost()

    def connectionLost(self, reason: Failure) -> None:
        pass  # the head tells the upstream: it knows whether it was ever told of a connection
