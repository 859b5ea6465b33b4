"""
The TLS link of a chain: ciphertext outside, plaintext inside.

connectionMade goes inward when the handshake is done, so that every filter
knows server name, ALPN and the peer's certificate.  A close_notify is the end
of the peer's direction, as a FIN is without TLS; a FIN without it is taken for
one.  A failure sends the alert, says why in the info, and closes.
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from meshd.filter import NetworkFilter
from meshd.interfaces import ITimer
from meshd.tls.openssl import Ssl, TLSError
from meshd.tls.session import Session

#: The reason of a failure whose detail is what OCSP says.
REVOKED = "certificate verify failed"


#: Reasons of OpenSSL's for which it sends no alert: the peer does not speak TLS.
UNANSWERED = ("wrong version number", "http request", "https proxy request")


class NotReady(Exception):
    """There is no certificate to serve with yet: its secret has not been found."""


class Terms(Protocol):
    """What the connections of one side share: meshd.tls.server and meshd.tls.client have one each."""

    #: The client speaks first.
    is_client: bool
    #: Seconds for the handshake; 0 is for ever.
    timeout: float
    timers: Any
    handshakes: Any

    @property
    def resets(self) -> bool:
        """Whether a failure that no alert tells of ends with a RST."""

    def open(self, link: TLSLink, hello: bytes) -> Ssl | None:
        """Return an SSL object; None to be asked again with more.  Raise TLSError or NotReady."""

    def established(self, link: TLSLink, ssl: Ssl) -> None:
        """Count a handshake, and note what it came to."""

    def review(self, link: TLSLink, ssl: Ssl) -> Deferred[str] | None:
        """Ask whether the peer's certificate is revoked: why it is refused, or empty; None: nobody asks."""

    def received(self, link: TLSLink, ssl: Ssl) -> None:
        """Take note that the peer sent something after the handshake; called once."""

    def failed(self, link: TLSLink, error: TLSError) -> None:
        """Count what went wrong, and note it."""

    def timed_out(self, link: TLSLink) -> None:
        """Count a handshake that took too long, and note it."""

    def not_ready(self, link: TLSLink) -> None:
        """Count a connection that could not be served for want of a certificate."""


class TLSLink(NetworkFilter):
    """The TLS of one connection."""

    session: Session | None = None
    _told = False  # inside knows of the connection
    _reading = False
    _ended = False  # the peer's direction
    _finished = False  # ours
    _fin = False  # the peer's socket has ended
    _dead = False  # failed, or over
    _queued = False
    _fresh = True  # nothing has come since the handshake
    _review: Deferred[str] | None = None  # the certificate is being asked about
    _timer: ITimer | None = None
    _pending: list[bytes]

    def __init__(self, terms: Terms) -> None:
        self.terms = terms

    # The handshake.

    def connectionMade(self) -> None:
        self._begin()

    def _begin(self) -> None:
        terms = self.terms
        connection: Any = self.connection
        connection.encrypted = self
        self._pending = []
        if terms.timeout:
            self._timer = terms.timers.call_later(terms.timeout, self._too_slow)
        if terms.is_client:
            self._step_soon()

    def _step_soon(self) -> None:
        if not self._queued:
            self._queued = True
            self.terms.handshakes.take(self._step)

    def _step(self) -> None:
        """Go on with the handshake, with what has come."""
        self._queued = False
        if self._dead:
            return
        data = b"".join(self._pending)
        self._pending.clear()
        try:
            done = self._shake(data)
        except TLSError as error:
            self.failed(error)
        except NotReady:
            self._dead = True
            self.terms.not_ready(self)
            self.transport.loseConnection()
        except Exception:
            # A step may come long after what caused it: nobody else would close the connection.
            self._raised(Failure())
        else:
            if done:
                self._secured()
            elif self._fin and not self._dead:
                self._cut_short()

    def _shake(self, data: bytes) -> bool:
        if self.session is None:
            ssl = self.terms.open(self, data)
            if ssl is None:
                self._pending.insert(0, data)
                return False
            self.session = Session(ssl)
        try:
            return self.session.shake(data)
        finally:
            self._send()

    def _raised(self, failure: Failure) -> None:
        self._dead = True
        connection: Any = self.connection
        connection.protocol_failed(failure)
        connection.abort()

    def _secured(self) -> None:
        """The handshake is done: let those inside begin."""
        session, terms = self.session, self.terms
        assert session is not None
        self._cancel_timer()
        try:
            terms.established(self, session.ssl)
            session.flush()
            self._review = terms.review(self, session.ssl)
            if self._review is None:
                self._admit()
            else:
                self.connection.pause(self)
                self._review.addCallbacks(self._reviewed, self._review_failed)
        except TLSError as error:
            self.failed(error)
        except Exception:
            self._raised(Failure())

    def _admit(self) -> None:
        """Let those inside begin, with what has come meanwhile."""
        self._tell()
        if self._dead:
            return
        data = b"".join(self._pending)
        self._pending.clear()
        self.dataReceived(data)
        if self._fin and not self._ended:
            self.readConnectionLost()

    def _reviewed(self, reason: str) -> None:
        """It is known whether the peer's certificate is revoked."""
        self._review = None
        if self._dead:
            return
        self.connection.resume(self)
        if reason:
            self.failed(TLSError("OCSP", 0, REVOKED, reason))
            return
        try:
            self._admit()
        except TLSError as error:
            self.failed(error)
        except Exception:
            self._raised(Failure())

    def _review_failed(self, failure: Failure) -> None:
        self._review = None
        if not self._dead:
            self._raised(failure)

    def _tell(self) -> None:
        self._told = True
        self.inner.connectionMade()

    def _too_slow(self) -> None:
        self._timer = None
        self._dead = True
        self.terms.timed_out(self)
        connection: Any = self.connection
        if self.terms.resets:
            connection.abort()
        else:
            connection.close_now()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # From the peer.

    def dataReceived(self, data: bytes) -> None:
        session = self.session
        if self._dead:
            return
        if session is None or not session.handshaken:
            self._pending.append(data)
            self._step_soon()
            return
        if self._review is not None:
            self._pending.append(data)
            return
        self._reading = True
        try:
            plaintext = session.receive(data)
        except TLSError as error:
            self._reading = False
            self.failed(error)
            return
        if self._fresh and data:
            self._fresh = False
            self.terms.received(self, session.ssl)
        if plaintext:
            self.inner.dataReceived(plaintext)
        self._reading = False
        self._send()
        if session.ended and not self._ended and not self._dead:
            self._end_of_data()

    def relayed(self) -> None:
        """A relay has read for us (meshd.tls.relay): see to all that was not data."""
        session = self.session
        if session is None or self._dead:
            return
        if self._fresh:
            self._fresh = False
            self.terms.received(self, session.ssl)
        if session.waits:
            session.flush()
        self._send()
        if session.ended and not self._ended:
            self._end_of_data()

    def join(self, stream: Any, link: Any, upstream: Any, received: Any, sent: Any, watch: Any) -> Any:
        """
        Return the relays of a connection, for IConnection.join; None if there cannot be any yet.

        stream is the client's, with link inside it (None without TLS); upstream the IConnecting.
        """
        from meshd.tls.relay import relays  # which needs this module

        return relays(stream, link, upstream, received, sent, watch)

    @property
    def open(self) -> bool:
        """Whether the handshake is done, and both directions go on."""
        session = self.session
        over = self._dead or self._ended or self._finished
        return session is not None and session.handshaken and not over

    def _end_of_data(self) -> None:
        """The peer will send no more."""
        self._ended = True
        if self._finished:
            self._ended_by_peer()
        self.inner.readConnectionLost()
        if self._finished:
            self.transport.loseConnection()

    def _ended_by_peer(self) -> None:
        """What closes now closes on account of the peer, for those who count ends."""
        connection: Any = self.connection
        connection.ended_by_peer = True

    def readConnectionLost(self) -> None:
        self._fin = True
        session = self.session
        if self._dead:
            return
        if session is None or not session.handshaken:
            if not self._queued:
                self._cut_short()
        elif self._review is not None:
            pass  # those inside are told of it when they are told of the connection
        elif not self._ended:
            self._end_of_data()
        elif self._finished:
            self.transport.loseConnection()

    def _cut_short(self) -> None:
        operation = "SSL_connect" if self.terms.is_client else "SSL_accept"
        self.failed(TLSError(operation, 0, "unexpected eof while reading"))

    def failed(self, error: TLSError) -> None:
        """Send the alert, say why, and close."""
        if self._dead:
            return
        self._dead = True
        self._ended_by_peer()
        self._cancel_timer()
        self._send()
        self.terms.failed(self, error)
        if self.terms.resets and error.reason in UNANSWERED:
            self.transport.abortConnection()
        else:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure) -> None:
        self._dead = True
        self._cancel_timer()
        session = self.session
        if session is not None:
            session.ssl.free()
        if self._review is not None:
            self._review.cancel()
        if self._told:
            self.inner.connectionLost(reason)

    # To the peer.

    def write(self, data: bytes) -> None:
        session = self.session
        if session is None or self._dead or self._finished or not data:
            return
        try:
            session.send(data)
        except TLSError as error:
            self.failed(error)
            return
        if not self._reading:
            self._send()

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def _send(self) -> None:
        """Let the wire have what there is for it, in one piece."""
        if self.session is not None:
            wire = self.session.outgoing()
            if wire:
                # The head takes a view, and copies what it keeps; another link may keep it as it is.
                self.transport.write(wire if self.transport is self.connection else bytes(wire))

    def loseWriteConnection(self) -> None:
        if self._finished or self._dead:
            return
        self._close_notify()
        if self._ended:
            self.transport.loseConnection()

    def loseConnection(self) -> None:
        if not self._finished and not self._dead:
            self._close_notify()
        self.transport.loseConnection()

    def farewell(self) -> None:
        """Say at least in TLS that it is over: the connection ends at once."""
        session = self.session
        if session is not None and session.handshaken and not self._finished and not self._dead:
            self._close_notify()

    def _close_notify(self) -> None:
        self._finished = True
        if self.session is not None:
            self.session.close()
            self._send()

    # What Twisted's protocols ask of a transport.

    def getPeerCertificate(self) -> Any:
        """Return the peer's certificate as an OpenSSL.crypto.X509, None if there is none."""
        return None if self.session is None else self.session.ssl.connection.get_peer_certificate()

    @property
    def negotiatedProtocol(self) -> bytes | None:
        """The protocol that ALPN chose, None if there is none."""
        if self.session is None:
            return None
        return self.session.ssl.connection.get_alpn_proto_negotiated() or None
