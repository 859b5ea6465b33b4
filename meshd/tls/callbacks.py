"""
What OpenSSL calls back while a handshake goes on: the verdict on a certificate, pre-shared keys, staples.

These are raw calls too, since pyOpenSSL's own wrappers lose something: that of
set_verify resets the verdict, which must survive a resumption.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from OpenSSL import SSL, crypto

from meshd.tls.openssl import Ssl

_lib: Any = SSL._lib  # type: ignore[attr-defined]
_ffi: Any = SSL._ffi  # type: ignore[attr-defined]

#: A verdict that is our own: X509_V_ERR_PERMITTED_VIOLATION (x509_vfy.h), which OpenSSL answers with
#: certificate_unknown as Envoy does.  To X509_V_ERR_APPLICATION_VERIFICATION it would be handshake_failure.
OWN_VERDICT = 47

#: What is asked of the peer (SSL_VERIFY_*): nothing, a certificate, or the connection fails.
ASK_NOTHING, ASK, DEMAND = 0, 1, 3

#: Verdicts: the connection fails; all is well; it is not, but the connection goes on.
REFUSED, FINE, OVERLOOKED = 0, 1, 2
#: Takes OpenSSL's verdict on one certificate of the peer's chain, and returns its own; see on_verify.
Judge = Callable[["Ssl", bool, int, int, bytes], int]


def on_verify(context: SSL.Context, ask: int, judge: Judge) -> None:
    """
    Ask the peer for a certificate as ask says, and have judge give the verdict.

    judge(ssl, ok, error, depth, der) is called for each certificate of the
    chain, the peer's own (depth 0) last, or first for an error.  If it returns
    OVERLOOKED there is an X509_V_ERR_* that stays, and with the session it survives
    a resumption (Ssl.verify_result); pyOpenSSL's own set_verify would reset it.  FINE
    takes OpenSSL's error back.
    """

    @_ffi.callback("int(int, X509_STORE_CTX *)")  # type: ignore[untyped-decorator]
    def verify(ok: int, store: Any) -> int:
        index = _lib.SSL_get_ex_data_X509_STORE_CTX_idx()
        raw = _lib.X509_STORE_CTX_get_ex_data(store, index)
        reverse: Any = SSL.Connection._reverse_mapping
        ssl = reverse[raw].get_app_data()
        error = _lib.X509_STORE_CTX_get_error(store)
        depth = _lib.X509_STORE_CTX_get_error_depth(store)
        der = _der(_lib.X509_STORE_CTX_get_current_cert(store))
        verdict = judge(ssl, bool(ok), error, depth, der)
        if verdict == FINE:
            if not ok:
                _lib.X509_STORE_CTX_set_error(store, 0)
            return 1
        if ok:  # error may be one that was overlooked before
            error = OWN_VERDICT
            _lib.X509_STORE_CTX_set_error(store, error)
        if verdict == OVERLOOKED:
            return 1
        ssl.verify_error = error
        ssl.leaf = _der(_lib.X509_STORE_CTX_get0_cert(store))
        return 0

    raw_context: Any = context
    raw_context.meshd_verify = verify  # OpenSSL does not keep it alive
    _lib.SSL_CTX_set_verify(raw_context._context, ask, verify)


def _der(x509: Any) -> bytes:
    """Return a certificate that OpenSSL lends us, as DER."""
    if x509 == _ffi.NULL:
        return b""
    _lib.X509_up_ref(x509)
    certificate: Any = crypto.X509._from_raw_x509_ptr(x509)
    return crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)


#: Returns the secret of an identity, None if it is not known.
FindSecret = Callable[[Ssl, bytes], bytes | None]


def serve_psk(context: SSL.Context, find: FindSecret) -> None:
    """Accept pre-shared keys: find gives the secret of an identity.  TLS 1.2 and 1.3 (SHA-256 suites)."""

    @_ffi.callback("unsigned int(SSL *, const char *, unsigned char *, unsigned int)")  # type: ignore[untyped-decorator]
    def server(raw: Any, identity: Any, key: Any, limit: int) -> int:
        reverse: Any = SSL.Connection._reverse_mapping
        ssl = reverse[raw].get_app_data()
        name = _ffi.string(identity)
        secret = find(ssl, name)
        if secret is None or len(secret) > limit:
            return 0
        ssl.psk_identity = name
        _ffi.memmove(key, secret, len(secret))
        return len(secret)

    raw_context: Any = context
    raw_context.meshd_psk = server
    _lib.SSL_CTX_set_psk_server_callback(raw_context._context, server)


def offer_psk(context: SSL.Context, identity: bytes, secret: bytes) -> None:
    """Offer one pre-shared key."""

    @_ffi.callback(  # type: ignore[untyped-decorator]
        "unsigned int(SSL *, const char *, char *, unsigned int, unsigned char *, unsigned int)"
    )
    def client(raw: Any, hint: Any, name: Any, name_limit: int, key: Any, limit: int) -> int:
        if len(identity) + 1 > name_limit or len(secret) > limit:
            return 0
        reverse: Any = SSL.Connection._reverse_mapping
        reverse[raw].get_app_data().psk_identity = identity
        _ffi.memmove(name, identity + b"\0", len(identity) + 1)
        _ffi.memmove(key, secret, len(secret))
        return len(secret)

    raw_context: Any = context
    raw_context.meshd_psk = client
    _lib.SSL_CTX_set_psk_client_callback(raw_context._context, client)


#: Returns the OCSP response (DER) to staple, b"" for none; None ends the handshake.
FindStaple = Callable[[Ssl], bytes | None]
# SSL_TLSEXT_ERR_*.
_STAPLED, _FATAL, _NO_STAPLE = 0, 2, 3


def on_status_request(context: SSL.Context, find: FindStaple) -> None:
    """Have find say what is stapled for a client that asks for it."""

    @_ffi.callback("int(SSL *, void *)")  # type: ignore[untyped-decorator]
    def status(raw: Any, _: Any) -> int:
        reverse: Any = SSL.Connection._reverse_mapping
        staple = find(reverse[raw].get_app_data())
        if not staple:
            return _FATAL if staple is None else _NO_STAPLE
        data = _lib.OPENSSL_malloc(len(staple))  # OpenSSL frees it
        _ffi.memmove(data, staple, len(staple))
        _lib.SSL_set_tlsext_status_ocsp_resp(raw, data, len(staple))
        return _STAPLED

    raw_context: Any = context
    raw_context.meshd_status = status
    _lib.SSL_CTX_set_tlsext_status_cb(raw_context._context, status)


def take_staples(context: SSL.Context) -> None:
    """Let a client keep what servers staple in Ssl.staple; each connection asks with request_ocsp()."""

    def take(connection: Any, staple: bytes, data: Any) -> bool:
        connection.get_app_data().staple = staple
        return True

    context.set_ocsp_client_callback(take)
