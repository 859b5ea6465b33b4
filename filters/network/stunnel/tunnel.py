"""
One connection as stunnel's log knows it: its number, its service, what was said of it.
"""

from __future__ import annotations

import os
import re
import secrets
import threading
from collections.abc import Callable
from itertools import count
from typing import Any

from twisted.logger import Logger, LogLevel
from zope.interface import implementer

from meshd.filters.network.stunnel.persistence import Persistence
from meshd.interfaces import ConnectError, IStreamInfo
from meshd.observe.info import IWitness

ERR, WARNING, NOTICE, INFO, DEBUG = 3, 4, 5, 6, 7

_SEVERITY = {
    ERR: LogLevel.error,
    WARNING: LogLevel.warn,
    NOTICE: LogLevel.info,
    INFO: LogLevel.info,
    DEBUG: LogLevel.debug,
}
_log = Logger(namespace="stunnel")
_emit = _log.emit
_numbers = count()
_EOF = "unexpected eof while reading"
_AT_DEPTH = re.compile("at depth ([0-9]+): (.*)")

#: What identifies a connection in the log, by the names of logId.
IDENTIFIERS: dict[str, Callable[[], str]] = {
    "sequential": lambda: str(next(_numbers)),
    "unique": lambda: secrets.token_urlsafe(18),
    "thread": lambda: str(threading.get_native_id()),
    "process": lambda: str(os.getpid()),
}


def say(level: int, identifier: str, text: str) -> None:
    """Log a line as stunnel would; whether it is wanted was asked before."""
    _emit(_SEVERITY[level], "{text}", text=text, stunnel=(level, identifier))


def address_text(address: Any) -> str:
    """Return an address as stunnel writes it: host:port, IPv6 without brackets."""
    if isinstance(address, str):
        return address or "unnamed socket"
    return f"{address[0]}:{address[1]}"


@implementer(IWitness)
class Tunnel:
    """
    One connection.

    reset says whether it ended by an error; upstream is the attempt, or the
    connection, to where it goes.  client says that TLS is on that side.
    """

    #: Bytes of payload.
    to_tls = 0
    to_socket = 0
    failed_at_all = False
    #: The server refused in a way that the client was told of, or TIMEOUTclose is over: both connections end
    #: without a reset, and it does not matter how the peers do.
    orderly = False
    #: A fatal alert was sent or came: the TLS side must not be reset, or it would be lost.
    alerted = False
    upstream: Any = None
    stands = False
    finished: Callable[[Tunnel], object] | None = None
    timeout_busy = 300.0
    server_name = ""
    reset = True
    #: A responder must have said that the peer's certificate is good.
    ocsp = False
    #: The id of the session whose host is to be noted, and where.
    session = ""
    sessions: Persistence | None = None

    def __init__(self, service: str, client: bool, level: int, log_id: str) -> None:
        self.service = service
        self.client = client
        self.level = level
        self.id = IDENTIFIERS[log_id]()
        self.verifies = False

    def say(self, level: int, text: str) -> None:
        """Log a line, if the service wants lines of that level."""
        if level <= self.level:
            say(level, self.id, text)

    def fail(self, level: int, text: str) -> None:
        """Log why it ends by an error."""
        self.failed_at_all = True
        self.say(level, text)

    def tls_failed(self, error: Any) -> None:
        """Log a TLS error (meshd.tls's TLSError)."""
        detail = getattr(error, "detail", "")
        if error.operation == "OCSP":
            self._ocsp_failed(error)
            return
        for line in _verdict(error):
            self.say(WARNING, line)
        if error.code:
            text = f"error:{error.code & 0xFFFFFFFF:08X}:SSL routines::{error.reason}"
        else:
            text = error.reason or detail or "Peer suddenly disconnected"
            if text == _EOF:
                text = f"error:0A000126:SSL routines::{_EOF}"
        self.fail(ERR, f"{error.operation}: {text}")

    def _ocsp_failed(self, error: Any) -> None:
        """Log that a responder is against the peer's certificate, or could not be asked."""
        self.say(ERR, "OCSP: Rejected (revoked)" if "revoked" in error.detail else error.detail)
        self.say(WARNING, f"Rejected by OCSP at depth=0: {error.subject}")
        operation = "SSL_connect" if self.client else "SSL_accept"
        self.fail(ERR, f"{operation}: error:0A000086:SSL routines::certificate verify failed")

    # What happens to the upstream connection.

    def attempt(self, connecting: Any) -> None:
        """A connection to a host was begun."""
        self.upstream = connecting
        if not connecting.cluster.runs_programs:
            self.say(INFO, f"s_connect: connecting {address_text(connecting.host.address)}")

    def connected(self, connecting: Any) -> None:
        """The socket is connected: TLS, if it is on this side, has its own time-out."""
        connecting.allow(self.timeout_busy)
        self.stands = True
        programs, address = connecting.cluster.runs_programs, connecting.host.address
        if not programs and not isinstance(address, str):
            self.say(NOTICE, f"s_connect: connected {address_text(address)}")
        if self.session and self.sessions is not None:
            self.say(INFO, f"persistence: {address_text(address)} cached")
            self.sessions.keep(self.session, address)
        if self.level >= NOTICE and not programs:
            local = address_text(connecting.local)
            self.say(NOTICE, f"Service [{self.service}] connected remote server from {local}")
        if self.client:
            if self.server_name:
                self.say(INFO, f"SNI: sending servername: {self.server_name}")
            self.say(INFO, f"Peer certificate {'' if self.verifies else 'not '}required")

    def made(self, connecting: Any) -> None:
        """The upstream connection stands, TLS and all."""
        if self.client:
            tls = getattr(connecting.info.upstream, "tls", None)
            if tls is not None:
                self.secured("connected", tls)

    def failed(self, connecting: Any, error: ConnectError) -> None:
        """The attempt came to nothing."""
        where = address_text(connecting.host.address)
        tls_error = getattr(connecting, "tls_error", None)
        if tls_error is not None:
            self.alerted = _was_told(tls_error)
            self.tls_failed(tls_error)
        elif self.stands and connecting.failure_reason == "connection_timeout":
            self.fail(INFO, "ssl_start: s_poll_wait: TIMEOUTbusy exceeded: sending reset")
        elif error.timeout:
            self.say(ERR, f"s_connect: s_poll_wait {where}: TIMEOUTconnect exceeded")
        elif connecting.errno:
            reason = f"{os.strerror(connecting.errno)} ({connecting.errno})"
            self.say(ERR, f"s_connect: connect {where}: {reason}")
        elif self.stands and connecting.reset_client is False:
            self.orderly = True
            self.say(ERR, connecting.failure_reason)
        elif self.stands:
            self.fail(ERR, connecting.failure_reason or "SSL_connect: Peer suddenly disconnected")
        self.upstream = None

    def secured(self, how: str, tls: Any) -> None:
        """Log what a handshake came to; how is accepted or connected."""
        if self.level < WARNING:
            return
        if tls.psk_identity and how == "accepted":
            what = "PSK"
        else:
            what = "previous session reused" if tls.resumed else "new session negotiated"
        if (how == "accepted" or self.verifies) and not tls.resumed:
            if tls.peer is None:
                self.say(INFO, "No peer certificate received")
            elif self.verifies and tls.verify_error:
                for line in _rejected(tls.verify_error, tls.peer.subject):
                    self.say(WARNING, line)
            if tls.peer is not None and self.verifies:
                self.say(NOTICE, f"Certificate accepted at depth=0: {tls.peer.subject}")
        if self.ocsp and tls.peer is not None and len(tls.peer_chain) > 1 and not tls.resumed:
            self.say(NOTICE, "OCSP: Accepted (good)")
        self.say(INFO, f"TLS {how}: {what}")
        self.say(INFO, f"{tls.version} ciphersuite: {tls.cipher} ({_bits(tls.cipher)}-bit encryption)")

    # The end.

    def over(self, info: IStreamInfo) -> None:
        """The connection is over."""
        error = getattr(info, "tls_error", None)
        if error is not None and not self.failed_at_all:
            self.alerted = _was_told(error)
            self.tls_failed(error)
        elif "DPE" in info.flags and not self.failed_at_all:
            self.fail(ERR, info.local_close_reason)
        elif info.local_close_reason == "transport_socket_timeout" and not self.failed_at_all:
            self.fail(INFO, "ssl_start: s_poll_wait: TIMEOUTbusy exceeded: sending reset")
        elif info.detected_close_type == "RemoteReset" and not (self.failed_at_all or self.orderly):
            where = "readsocket" if self.client else "SSL_read"
            self.fail(ERR, f"{where}: Connection reset by peer (104)")
        elif not self.failed_at_all and not self.orderly and _never_connected(info):
            self.fail(ERR, "No more addresses to connect")
        how = self._end()
        sums = f"{self.to_tls} byte(s) sent to TLS, {self.to_socket} byte(s) sent to socket"
        self.say(NOTICE, f"Connection {how}: {sums}")
        if self.finished is not None:
            self.finished(self)

    def _end(self) -> str:
        """Return closed, reset, or how the two sides ended, remote/local, if that differs."""
        if not self.failed_at_all or not self.reset:
            return "closed"
        if not self.alerted:
            return "reset"
        return "closed/reset" if self.client else "reset/closed"


def _was_told(error: Any) -> bool:
    """Whether a fatal alert told the peer, or was told by it; nobody answers what is no TLS at all."""
    return error.reason not in ("wrong version number", "http request", "https proxy request", "")


def _verdict(error: Any) -> list[str]:
    """Return what is said of a certificate before the error that it caused."""
    if "certificate verify failed" not in error.reason:
        return []
    return _rejected(error.detail, error.subject)


def _rejected(detail: str, subject: str) -> list[str]:
    """Return the two lines for a certificate that was rejected."""
    match = _AT_DEPTH.search(detail)
    depth, what = 0, detail
    if match:
        depth, what = int(match[1]), f"Pre-verification error: {match[2]}"
    elif "subject checks failed" in detail:
        what = "Subject checks failed"
    elif "locally installed" in detail or "trusted" in detail:
        what = "Certificate not found in local repository"
    return [f"CERT: {what}", f"Rejected by CERT at depth={depth}: {subject}"]


def _bits(cipher: str) -> int:
    """Return the bits of a cipher's key, by its name."""
    if "128" in cipher:
        return 128
    return 112 if "DES-CBC3" in cipher else 256


def _never_connected(info: IStreamInfo) -> bool:
    """Whether an upstream was wanted, and none was had."""
    return info.upstream is not None and info.upstream.remote is None
