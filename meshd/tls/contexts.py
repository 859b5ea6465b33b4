"""
OpenSSL's contexts, made of plain settings, credentials and what is demanded of the peer.

There is one context for each certificate: which of them serves a client is
decided before OpenSSL sees its first byte (meshd.tls.choice).
"""

from __future__ import annotations

import hashlib
from typing import Any

from OpenSSL import SSL

from meshd.tls import callbacks, openssl
from meshd.tls.callbacks import ASK, ASK_NOTHING, DEMAND, FINE, OVERLOOKED, REFUSED
from meshd.tls.certificates import Credential, CredentialError
from meshd.tls.facts import CertificateFacts
from meshd.tls.openssl import Ssl
from meshd.tls.options import TlsOptions
from meshd.tls.parameters import Parameters, apply
from meshd.tls.validation import Rejection, Validation


class Verdict:
    """What is known of the peer's certificate while a handshake goes on; Ssl.app of each connection."""

    __slots__ = (
        *("credential", "depth", "der", "ends", "judged", "refusal", "rejection", "server_name"),
        "session_key",
    )

    def __init__(self, server_name: str = "", credential: Credential | None = None) -> None:
        #: What we show.
        self.credential = credential
        #: Of a client: under what it keeps the session.
        self.session_key: Any = None
        #: The addresses (IP, port) of our end and the peer's, for whoever logs keys.
        self.ends: Any = None
        #: Whether the peer's own certificate was looked at.
        self.judged = False
        self.rejection: Rejection | None = None
        #: The certificate that was rejected, and how deep in the chain it was.
        self.der = b""
        self.depth = 0
        #: Why we ended the handshake, where OpenSSL does not know.
        self.refusal = ""
        #: What a client asked for, if the certificate must be for that name.
        self.server_name = server_name


def make(
    server: bool, settings: Parameters, credential: Credential | None, validation: Validation | None
) -> SSL.Context:
    """Return a context without what only one of the sides has.  Raise BadParameter or CredentialError."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD if server else SSL.TLS_CLIENT_METHOD)
    apply(context, settings, server)
    if credential is not None:
        use(context, credential)
    if validation is not None:
        validation.install(context)
    return context


def use(context: SSL.Context, credential: Credential) -> None:
    """
    Have the context show a certificate, with the chain that was given and no more.

    Raise CredentialError, as for a key that is too short for it.
    """
    openssl.set_no_auto_chain(context)
    try:
        context.use_certificate(credential.certificate)
        for each in credential.chain:
            context.add_extra_chain_cert(each)
        if credential.key is not None:
            context.use_privatekey(credential.key)
    except SSL.Error as error:
        reasons = ", ".join(reason for _, _, reason in error.args[0]) if error.args else ""
        raise CredentialError(f"Failed to load certificate chain from {credential.name}: {reasons}") from None


def demand(context: SSL.Context, ask: int, validation: Validation | None, options: TlsOptions) -> None:
    """
    Ask the peer for a certificate, and judge it as validation says.

    With late_verdict that does not end the handshake, but is told afterwards.
    """
    if ask == ASK_NOTHING:
        return
    late = options.late_verdict
    chain = options.verify_chain or not options.verify_peer

    def judge(ssl: Ssl, ok: bool, error: int, depth: int, der: bytes) -> int:
        verdict: Verdict = ssl.app
        rejection = None
        if validation is None:
            return OVERLOOKED
        if not ok:
            if chain:
                text = openssl.verify_error_text(error)
                rejection = validation.chain_rejection(error, depth, text)
        elif depth == 0 and not verdict.judged:
            verdict.judged = True
            rejection = validation.judge(CertificateFacts(der), verdict.server_name)
        if rejection is None:
            return FINE
        if verdict.rejection is None:
            verdict.rejection, verdict.depth, verdict.der = rejection, depth, der
        return OVERLOOKED if late or not rejection.fatal else REFUSED

    callbacks.on_verify(context, ask, judge)


def session_context(name: str, settings: Parameters, *parts: Any) -> bytes:
    """Return what tells the sessions of one configuration from those of another: 32 bytes."""
    digest = hashlib.sha256(repr((name, settings, parts)).encode())
    return digest.digest()


__all__ = ["ASK", "ASK_NOTHING", "DEMAND", "Verdict", "demand", "make", "session_context", "use"]
