"""
The raw calls of OpenSSL, through pyOpenSSL's binding; nobody else makes any.

pyOpenSSL's public calls raise an exception to say that there is nothing to
read, copy each record twice and hide the verdict on a certificate.  What is here
is as thin as it can be over the C functions.  Sizes are bytes.
"""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL

from meshd.tls.reasons import envoy_word

_lib: Any = SSL._lib  # type: ignore[attr-defined]
_ffi: Any = SSL._ffi  # type: ignore[attr-defined]

#: As much plaintext as is handed on at once.
CHUNK = 1 << 18
_buffer = _ffi.new("char[]", CHUNK)
_view = _ffi.buffer(_buffer)
_memory = memoryview(_view)

_read, _write, _bio_read, _bio_write = _lib.SSL_read, _lib.SSL_write, _lib.BIO_read, _lib.BIO_write
_get_error, _clear, _from_buffer = _lib.SSL_get_error, _lib.ERR_clear_error, _ffi.from_buffer
_WANT_READ, _ZERO_RETURN = _lib.SSL_ERROR_WANT_READ, _lib.SSL_ERROR_ZERO_RETURN

#: The number of the SSL library in an error's (err.h: ERR_LIB_OFFSET is 23).
_ERR_LIB_SSL = 20

#: SSL_MODE_* (ssl.h): the buffer of a write that is tried again may be another; record buffers are given back
#: while nothing is in them; SSL_write returns after each record (which pyOpenSSL sets).
_MOVING, _RELEASE, _PARTIAL = 0x2, 0x10, 0x1
#: The chain that is sent is what was given, and is not made up of what is trusted (SSL_MODE_NO_AUTO_CHAIN).
_NO_AUTO_CHAIN = 0x8


class TLSError(Exception):
    """
    What OpenSSL, or the verdict on a certificate, says against a connection.

    operation is the call that failed (SSL_accept, SSL_connect, SSL_read ...),
    code OpenSSL's packed number, reason its text (certificate verify failed),
    detail what else is known: the certificate's names, the verdict.
    """

    def __init__(self, operation: str, code: int, reason: str, detail: str = "") -> None:
        super().__init__(f"{operation}: {reason}{': ' if detail else ''}{detail}")
        #: Of a verdict on a certificate: how deep in the chain it was, and its subject.
        self.depth = 0
        self.subject = ""
        self.operation = operation
        self.code = code
        self.reason = reason
        self.detail = detail

    @property
    def envoy_text(self) -> str:
        """The error in Envoy's form, as access logs have it; the code is OpenSSL's, not BoringSSL's."""
        reason = envoy_word(self.code, self.reason)
        detail = f":{self.detail}" if self.detail else ""
        return f"TLS_error:|{self.code}:SSL routines:OPENSSL_internal:{reason}{detail}:TLS_error_end"


class Ssl:
    """
    One SSL object between two memory BIOs.

    app is whoever owns it, for callbacks.  After a TLSError it is of no more
    use but for drain(): the alert is there.
    """

    __slots__ = (
        *("_in", "_late", "_out", "_ssl", "app", "connection", "ended", "leaf", "operation"),
        *("psk_identity", "staple", "verify_error"),
    )

    def __init__(self, connection: SSL.Connection, operation: str, app: Any = None) -> None:
        """connection has memory BIOs (its socket is None); operation is SSL_accept or SSL_connect."""
        raw: Any = connection
        self.connection = connection
        self._ssl = raw._ssl
        self._in = raw._into_ssl
        self._out = raw._from_ssl
        self.operation = operation
        self.app = app
        self._late: TLSError | None = None
        #: Whether the peer's close_notify has been read.
        self.ended = False
        #: The peer's own certificate, DER, if it was not accepted: OpenSSL forgets it then.
        self.leaf = b""
        #: Of a pre-shared key that was used, or offered.
        self.psk_identity = b""
        #: The OCSP response that a server has stapled, DER (take_staples).
        self.staple = b""
        #: The last X509_V_ERR_* that was not overlooked; 0 if there was none.
        self.verify_error = 0
        _lib.SSL_set_mode(self._ssl, _MOVING | _RELEASE)
        _lib.SSL_clear_mode(self._ssl, _PARTIAL)
        connection.set_app_data(self)

    def keep_buffers(self) -> None:
        """Keep the buffers of records, some 34 KiB, from now on: much will be moved."""
        _lib.SSL_clear_mode(self._ssl, _RELEASE)

    def free(self) -> None:
        """Cut the cycle through pyOpenSSL's connection, which has ended; its session may still be resumed."""
        # OpenSSL would forget the session of a connection that ends without close_notify; since TLS 1.1
        # (RFC 4346, 7.2.1) none needs to be forgotten for that.
        self.connection.set_shutdown(SSL.SENT_SHUTDOWN | SSL.RECEIVED_SHUTDOWN)
        self.connection.set_app_data(None)
        self.app = None

    def feed(self, data: bytes) -> None:
        """Take ciphertext from the wire."""
        _bio_write(self._in, _from_buffer(data), len(data))

    def drain(self) -> bytes | memoryview:
        """
        Return the ciphertext that is for the wire, all of it.

        It may lie in a buffer that the next call of any Ssl uses: send it at once, or copy it.
        """
        size = _bio_read(self._out, _buffer, CHUNK)
        if size <= 0:
            return b""
        if size < CHUNK:
            return _memory[:size]
        parts = [_view[:size]]
        while (size := _bio_read(self._out, _buffer, CHUNK)) > 0:
            parts.append(_view[:size])
        return b"".join(parts)

    def handshake(self) -> bool:
        """Go on with the handshake; whether it is done.  Raise TLSError if it failed."""
        _clear()
        result = _lib.SSL_do_handshake(self._ssl)
        if result == 1:
            return True
        error = self._error(result, self.operation)
        if error is not None:
            raise error
        return False

    def read(self) -> bytes:
        """
        Return plaintext; empty if there is none for now, or none any more (see ended).

        If it is CHUNK long there may be more.  Raise TLSError, after what came before it.
        """
        if self._late is not None:
            raise self._late
        got = self._read_some()
        return _view[:got] if got else b""

    def _read_some(self) -> int:
        """Read into the buffer; return how much."""
        got = 0
        ssl = self._ssl
        _clear()
        while got < CHUNK:
            size = _read(ssl, _buffer + got, CHUNK - got)
            if size <= 0:
                error = self._error(size, "SSL_read")
                if error is not None:
                    if not got:
                        raise error
                    self._late = error
                break
            got += size
        return got

    def read_view(self) -> memoryview | bytes:
        """Do as read(), but return a view of the buffer that the next call of any Ssl uses."""
        if self._late is not None:
            raise self._late
        got = self._read_some()
        return _memory[:got] if got else b""

    def write(self, data: bytes) -> int:
        """Encrypt data; return how much of it was taken: all, or none while a renegotiation goes on."""
        _clear()
        taken: int = _write(self._ssl, _from_buffer(data), len(data))
        if taken > 0:
            return taken
        error = self._error(taken, "SSL_write")
        if error is not None:
            raise error
        return 0

    def seal(self, data: Any) -> memoryview | bytes | None:
        """
        Encrypt data and drain; None if it was not taken, since a renegotiation goes on.

        The view is that of drain().  Raise TLSError.
        """
        _clear()
        size = len(data)
        taken = _write(self._ssl, _from_buffer(data), size)
        if taken <= 0:
            error = self._error(taken, "SSL_write")
            if error is not None:
                raise error
            return None
        size = _bio_read(self._out, _buffer, CHUNK)
        return _memory[:size]

    def shutdown(self) -> None:
        """Make a close_notify, unless the handshake is not done or failed."""
        _clear()
        _lib.SSL_shutdown(self._ssl)
        _clear()

    def _error(self, result: int, operation: str) -> TLSError | None:
        """Return what went wrong; None if only more of the other side is wanted, or it has ended."""
        kind = _get_error(self._ssl, result)
        if kind == _WANT_READ:
            return None
        if kind == _ZERO_RETURN:
            self.ended = True
            return None
        code, reason = _first_error()
        return TLSError(operation, code, reason)

    # What the handshake came to.

    @property
    def resumed(self) -> bool:
        """Whether an earlier session goes on."""
        return bool(_lib.SSL_session_reused(self._ssl))

    @property
    def group(self) -> str:
        """The name of the key exchange's group; empty if there was none."""
        if _lib.SSL_get_session(self._ssl) == _ffi.NULL:
            return ""  # SSL_get0_group_name does not look
        name = _lib.SSL_get0_group_name(self._ssl)
        return _ffi.string(name).decode() if name != _ffi.NULL else ""

    @property
    def verify_result(self) -> int:
        """OpenSSL's X509_V_*, 0 if the peer's certificate is fine; it outlives a resumption."""
        return int(_lib.SSL_get_verify_result(self._ssl))


def _first_error() -> tuple[int, str]:
    """Return number and text of the oldest error of TLS in OpenSSL's queue, else of all; and empty it."""
    code = 0
    while error := int(_lib.ERR_get_error()):
        code = code or error
        if error >> 23 & 0xFF == _ERR_LIB_SSL:  # before it may be what a cipher or a key said
            code = error
            break
    _clear()
    if not code:
        return 0, "unexpected eof while reading"
    text = _lib.ERR_reason_error_string(code)
    return code, _ffi.string(text).decode("utf-8", "replace") if text != _ffi.NULL else f"error {code:#x}"


def verify_error_text(error: int) -> str:
    """Return OpenSSL's sentence for an X509_V_ERR_*."""
    return _ffi.string(_lib.X509_verify_cert_error_string(error)).decode()  # type: ignore[no-any-return]


# Contexts: what pyOpenSSL has no public call for.  What they call back is in meshd.tls.callbacks.


def set_signature_algorithms(context: SSL.Context, names: str) -> bool:
    """Allow these signature algorithms, colons between them; whether OpenSSL knows them all."""
    return _ok(_lib.SSL_CTX_set1_sigalgs_list(_raw(context), names.encode()))


def set_groups(context: SSL.Context, names: str, strictly: bool = False) -> bool:
    """
    Allow these groups for the key exchange, colons between them; whether OpenSSL knows them all.

    With strictly a server takes the first that the client knows; else, in TLS 1.3, the
    first of which the client has sent its part already (RFC 8446, 4.2.8).
    """
    # OpenSSL before 3.5 has no such lists, and an order of groups for TLS 1.2 only.
    if strictly and _ok(_lib.SSL_CTX_set1_curves_list(_raw(context), names.replace(":", "/").encode())):
        return True
    return _ok(_lib.SSL_CTX_set1_curves_list(_raw(context), names.encode()))


def set_ciphersuites(context: SSL.Context, names: str) -> bool:
    """Allow these suites of TLS 1.3, colons between them; whether OpenSSL knows any, others it ignores."""
    return _ok(_lib.SSL_CTX_set_ciphersuites(_raw(context), names.encode()))


def set_options(context: SSL.Context, bits: int) -> None:
    """Set some of the bits in OPTIONS; none can be cleared (the binding has no SSL_CTX_clear_options)."""
    _lib.SSL_CTX_set_options(_raw(context), bits)


def set_no_auto_chain(context: SSL.Context) -> None:
    """Send the chain as it was given: what is trusted of peers is not to be in it."""
    _lib.SSL_CTX_set_mode(_raw(context), _NO_AUTO_CHAIN)


def get_options(context: SSL.Context) -> int:
    """Return the bits in OPTIONS that are set."""
    return int(_lib.SSL_CTX_get_options(_raw(context)))


def _raw(context: SSL.Context) -> Any:
    some: Any = context
    return some._context


def _ok(result: int) -> bool:
    if result != 1:
        _clear()
    return bool(result == 1)


def session_id(connection: SSL.Connection) -> bytes:
    """Return the id of the connection's session; empty if it has none."""
    raw: Any = connection
    session = _lib.SSL_get_session(raw._ssl)
    if session == _ffi.NULL:
        return b""
    size = _lib.i2d_SSL_SESSION(session, _ffi.NULL)
    if size <= 0:
        return b""
    der = _ffi.new("unsigned char[]", size)
    _lib.i2d_SSL_SESSION(session, _ffi.new("unsigned char **", der))
    return _fourth(bytes(_ffi.buffer(der, size)))


def _fourth(der: bytes) -> bytes:
    """Return the fourth element of a DER sequence (ssl_asn1.c: version, TLS version, cipher, session id)."""
    place = _content(der, 0)[0]
    for _ in range(3):
        start, size = _content(der, place)
        place = start + size
    start, size = _content(der, place)
    return der[start : start + size]


def _content(der: bytes, place: int) -> tuple[int, int]:
    """Return where the content of the DER element at place begins, and its size."""
    size, place = der[place + 1], place + 2
    if size & 0x80:
        length = size & 0x7F
        size, place = int.from_bytes(der[place : place + length], "big"), place + length
    return place, size
