"""
A TLS link that begins in clear text: for protocols in which TLS is asked for (STARTTLS and the like).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from meshd.tls.link import TLSLink


class StartTLSLink(TLSLink):
    """
    A TLS link that begins in clear text.

    Who is inside calls connection.start_secure_transport(); what it writes until
    the handshake is done waits, and what comes from then on is plaintext of TLS.
    """

    _clear = True
    _secure = False  # the handshake is done, and the peer's certificate accepted
    _half_closed = False  # since TLS was asked for, and before there is a session
    _callbacks: list[Callable[[], object]] | None = None

    def connectionMade(self) -> None:
        connection: Any = self.connection
        connection.secure_transport = self
        self._told = True
        self.inner.connectionMade()

    def start(self, early: bytes = b"") -> bool:
        """Begin TLS; early is what has come of the handshake already.  Whether it could (False: it has)."""
        if not self._clear or self._dead:
            return False
        self._clear = False
        self._early: list[bytes] = []
        self._begin()
        if early:
            self.dataReceived(early)
        return True

    def when_secured(self, callback: Callable[[], object]) -> None:
        """Call back once, when the handshake is done."""
        self._callbacks = [*(self._callbacks or ()), callback]

    def _tell(self) -> None:
        self._secure = True
        early, self._early = self._early, []
        for data in early:
            self.write(data)
        if self._half_closed:
            super().loseWriteConnection()
        callbacks, self._callbacks = self._callbacks, None
        for callback in callbacks or ():
            callback()

    def dataReceived(self, data: bytes) -> None:
        if self._clear:
            self.inner.dataReceived(data)
        else:
            super().dataReceived(data)

    def readConnectionLost(self) -> None:
        if self._clear:
            self.inner.readConnectionLost()
        else:
            super().readConnectionLost()

    def write(self, data: bytes) -> None:
        if self._clear:
            self.transport.write(data)
        elif not self._secure:
            if not self._half_closed:
                self._early.append(bytes(data))
        else:
            super().write(data)

    def loseWriteConnection(self) -> None:
        if self._clear:
            self.transport.loseWriteConnection()
        elif not self._secure:
            self._half_closed = True
        else:
            super().loseWriteConnection()
