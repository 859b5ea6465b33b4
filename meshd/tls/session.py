"""
One TLS connection without I/O: bytes in, bytes out.

It is a codec like the others.  What comes from the wire goes to receive(), what
is for the wire comes from outgoing(); what is written before the handshake is
done waits for it.
"""

from __future__ import annotations

from meshd.tls.openssl import CHUNK, Ssl, TLSError

__all__ = ["Session", "TLSError"]


class Session:
    """A session of either side; ssl says which."""

    __slots__ = ("_closing", "_waiting", "handshaken", "ssl")

    def __init__(self, ssl: Ssl) -> None:
        self.ssl = ssl
        self.handshaken = False
        self._waiting: list[bytes] = []
        self._closing = False

    def start(self) -> None:
        """Begin; what a client says first is outgoing then.  Raise TLSError."""
        self.handshaken = self.ssl.handshake()

    def shake(self, data: bytes) -> bool:
        """
        Take bytes from the wire for the handshake; whether that is done now.

        Plaintext that came with its last bytes is what receive(b"") returns.  Raise TLSError.
        """
        self.ssl.feed(data)
        if not self.handshaken and self.ssl.handshake():
            self.handshaken = True
        return self.handshaken

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the wire once the handshake is done; return plaintext.  Raise TLSError."""
        ssl = self.ssl
        if data:
            ssl.feed(data)
        plaintext = ssl.read()
        if len(plaintext) == CHUNK:
            parts = [plaintext]
            while plaintext := ssl.read():
                parts.append(plaintext)
            plaintext = b"".join(parts)
        if self._waiting:
            self.flush()
        return plaintext

    def send(self, data: bytes) -> None:
        """Take plaintext for the peer.  Raise TLSError."""
        if not data:  # which SSL_write takes for an error
            return
        if self._waiting or not self.handshaken:
            self._waiting.append(bytes(data))
            return
        taken = self.ssl.write(data)
        if taken < len(data):
            self._waiting.append(bytes(data[taken:]))

    def flush(self) -> None:
        """Encrypt what waited, and end if that was asked for meanwhile.  Raise TLSError."""
        waiting, self._waiting = self._waiting, []
        for place, data in enumerate(waiting):
            taken = self.ssl.write(data)
            if taken < len(data):
                self._waiting = [data[taken:], *waiting[place + 1 :]]
                return
        if self._closing:
            self.ssl.shutdown()

    def outgoing(self) -> bytes | memoryview:
        """Return what is for the wire: send it, or copy it, before anything else is called."""
        return self.ssl.drain()

    def close(self) -> None:
        """End our direction: a close_notify, after what was sent."""
        if self._closing:
            return
        self._closing = True
        if self.handshaken and not self._waiting:
            self.ssl.shutdown()

    @property
    def waits(self) -> bool:
        """Whether something that was to be sent waits, for a renegotiation to end."""
        return bool(self._waiting)

    @property
    def ended(self) -> bool:
        """Whether the peer has ended its direction by a close_notify."""
        return self.ssl.ended
