"""
Asks a client's machine whose the connection is: the Identification Protocol (RFC 1413).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError, inlineCallbacks
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from meshd.filters.network.stunnel.tunnel import DEBUG, ERR, INFO, NOTICE, address_text
from meshd.interfaces import SocketAddress

PORT = 113
#: Bytes of an answer (RFC 1413, section 6).
LIMIT = 1000

Say = Callable[[int, str], None]


class Unknown(Exception):
    """Nobody says whose the connection is: the level (syslog's) and the text of the line that tells why."""

    def __init__(self, level: int, text: str) -> None:
        super().__init__(text)
        self.level = level
        self.text = text


def user_of(line: str) -> str:
    """Return the user of an answer, ``6193, 23 : USERID : UNIX : stjohns``; raise Unknown if it has none."""
    _, colon, rest = line.partition(":")
    kind, second, rest = rest.partition(":")
    if not colon or not second:
        raise Unknown(ERR, "Malformed IDENT response")
    if kind.strip() != "USERID":
        raise Unknown(ERR, "Incorrect IDENT response type")
    _, third, user = rest.partition(":")
    if not third:
        raise Unknown(ERR, "Malformed IDENT response")
    return user.lstrip(" \t")


class Question(Protocol):
    """Sends a line; answer fires with the one that comes back, without its end."""

    def __init__(self, line: str) -> None:
        self.line = line
        self.answer: Deferred[str] = Deferred(lambda _: self._end())
        self._data = b""

    def connectionMade(self) -> None:
        self._write(f"{self.line}\r\n".encode())

    def _write(self, data: bytes) -> None:
        transport: Any = self.transport
        transport.write(data)

    def _end(self) -> None:
        transport: Any = self.transport
        transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        self._data += data
        line, end, _ = self._data.partition(b"\n")
        if end or len(self._data) > LIMIT:
            self._end()
            self._fire(line.removesuffix(b"\r")[:LIMIT].decode("latin-1"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.answer.called:
            self.answer.errback(Unknown(ERR, "s_read: Unexpected socket close"))

    def _fire(self, line: str) -> None:
        if not self.answer.called:
            self.answer.callback(line)


class Identification:
    """
    Asks; connect_time and answer_time are in seconds, a negative answer_time is for ever.

    user() does so for a connection, and tells of it by say, in stunnel's words.
    """

    def __init__(self, reactor: Any, connect_time: float, answer_time: float) -> None:
        self._reactor = reactor
        self._connect_time = connect_time
        self._answer_time = answer_time

    @inlineCallbacks
    def user(self, remote: SocketAddress, local: SocketAddress, say: Say) -> Any:
        """Return (a Deferred of) the user whose connection from remote to local it is, else Unknown."""
        if isinstance(remote, str) or isinstance(local, str):
            raise Unknown(ERR, "IDENT not supported on Unix sockets")
        question = yield self._connect(remote[0], local[0], f"{remote[1]} , {local[1]}", say)
        say(DEBUG, "IDENT server connected")
        say(DEBUG, f" -> {question.line}")
        if self._answer_time >= 0:
            question.answer.addTimeout(self._answer_time, self._reactor)
        try:
            line = yield question.answer
        except TimeoutError:
            raise Unknown(INFO, "s_read_eof: s_poll_wait: TIMEOUTbusy exceeded: sending reset") from None
        say(DEBUG, f" <- {line}")
        return user_of(line)

    @inlineCallbacks
    def _connect(self, host: str, local: str, line: str, say: Say) -> Any:
        """Connect, from the address that the client knows, as the RFC wants it."""
        kind = TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint
        where = address_text((host, PORT))
        endpoint = kind(self._reactor, host, PORT, self._connect_time, (local, 0))
        say(INFO, f"s_connect: connecting {where}")
        try:
            question = yield endpoint.connect(Factory.forProtocol(lambda: Question(line)))
        except ConnectTimeout:
            raise Unknown(ERR, f"s_connect: s_poll_wait {where}: TIMEOUTconnect exceeded") from None
        except ConnectError as error:
            number = error.osError if isinstance(error.osError, int) else 0
            reason = f"{os.strerror(number)} ({number})" if number else str(error)
            raise Unknown(ERR, f"s_connect: connect {where}: {reason}") from None
        say(NOTICE, f"s_connect: connected {where}")
        return question
