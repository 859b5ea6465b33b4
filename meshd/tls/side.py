"""
What the two sides have in common: counting a handshake and its failure, noting what came of it.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from meshd.interfaces import IScope, ITimers
from meshd.tls import openssl
from meshd.tls.contexts import Verdict
from meshd.tls.facts import CertificateFacts, TlsFacts
from meshd.tls.handshakes import Handshakes
from meshd.tls.openssl import Ssl, TLSError
from meshd.tls.review import Review
from meshd.tls.stats import TlsStats

_NO_CERTIFICATE = "peer did not return a certificate"
_VERIFY_FAILED = "certificate verify failed"
#: What Envoy adds to the first.
_DEMANDED = "peer did not provide required client certificate"
_ALERT = 1000  # reasons from here on are alerts that the peer sent (SSL_R_SSLV3_ALERT_... - the alert)


def _is_good(ssl: Ssl) -> bool:
    """Whether the peer's certificate was found good, now or when the session that goes on began."""
    verdict: Verdict = ssl.app
    return ssl.verify_result == 0 if ssl.resumed else verdict.judged and verdict.rejection is None


log = Logger(namespace="meshd.tls")


class Side:
    """The base of ServerTerms and ClientTerms."""

    is_client = False
    #: Seconds for the handshake.
    timeout = 0.0
    reviewer: Review | None = None
    settings: Any

    @property
    def resets(self) -> bool:
        """Whether a failure that no alert tells of ends with a RST."""
        return bool(self.settings.parameters.options.reset)

    def __init__(self, scope: IScope, timers: ITimers, handshakes: Handshakes) -> None:
        self.timers = timers
        self.handshakes = handshakes
        self.stats = TlsStats(scope, self.is_client)

    def review(self, link: Any, ssl: Ssl) -> Deferred[str] | None:
        """Ask whether the peer's certificate is revoked, if that is wanted (meshd.tls.review)."""
        return None if self.reviewer is None else self.reviewer.of(ssl)

    def facts(self, connection: Any, ssl: Ssl, logged: bool) -> TlsFacts:
        """Return what came of a handshake."""
        raw = ssl.connection
        verdict: Verdict = ssl.app
        peer = raw.get_peer_certificate(as_cryptography=True)
        rejection = verdict.rejection
        facts = TlsFacts(
            version=raw.get_protocol_version_name(),
            cipher=raw.get_cipher_name() or "",
            alpn=raw.get_alpn_proto_negotiated().decode("latin-1"),
            server_name=(raw.get_servername() or b"").decode("latin-1"),
            resumed=ssl.resumed,
            curve=ssl.group,
            psk_identity=ssl.psk_identity.decode("utf-8", "replace"),
            verified=peer is not None and _is_good(ssl),
            verify_error=rejection.detail if rejection is not None else "",
        )
        if peer is not None:
            facts.peer = CertificateFacts.of(peer)
            chain = raw.get_peer_cert_chain(as_cryptography=True) or ()
            facts.peer_chain = tuple(map(CertificateFacts.of, chain)) or (facts.peer,)
            if facts.peer_chain[0] != facts.peer:  # a server is shown the chain without its first
                facts.peer_chain = (facts.peer, *facts.peer_chain)
        if logged and facts.version != "TLSv1.3":  # which has none that both sides know
            facts.session_id = openssl.session_id(raw).hex()
        return facts

    def facts_of_failure(self, ssl: Ssl | None) -> TlsFacts | None:
        """Return what is known of a handshake that failed; None if it did not begin."""
        if ssl is None:
            return None
        verdict: Verdict = ssl.app
        facts = TlsFacts(cipher=ssl.connection.get_cipher_name() or "")
        if facts.cipher:  # before that the version is not agreed on, either
            facts.version = ssl.connection.get_protocol_version_name()
        facts.verify_error = verdict.rejection.detail if verdict.rejection is not None else ""
        if ssl.leaf:
            facts.peer = CertificateFacts(ssl.leaf)
            facts.peer_chain = (facts.peer,)
        facts.local = verdict.credential.facts if verdict.credential is not None else None
        return facts

    def count(self, facts: TlsFacts, ssl: Ssl) -> None:
        """Count a handshake."""
        stats = self.stats
        rejection = ssl.app.rejection
        if rejection is not None:  # which was let through
            getattr(stats, rejection.counter).inc()
        stats.established(facts.version, facts.cipher, facts.curve)
        if facts.resumed:
            stats.session_reused.inc()
        if facts.peer is None:
            stats.no_certificate.inc()

    def tell(self, what: str, where: str, error: TLSError) -> None:
        """Say in the log that TLS with somebody failed, and why."""
        of = f" (certificate of {error.subject})" if error.subject else ""
        log.info("{what}: TLS with {where} failed: {error}{of}", what=what, where=where, error=error, of=of)

    def explain(self, ssl: Ssl | None, error: TLSError) -> TLSError:
        """Count a failure, and return the error with all that is known of why."""
        verdict: Verdict | None = ssl.app if ssl is not None else None
        rejection = verdict.rejection if verdict is not None else None
        stats = self.stats
        if error.operation == "OCSP":
            stats.fail_verify_error.inc()
            peer = ssl.connection.get_peer_certificate(as_cryptography=True) if ssl is not None else None
            if peer is not None:
                error.subject = CertificateFacts.of(peer).subject
        elif error.reason == _NO_CERTIFICATE:
            stats.fail_verify_no_cert.inc()
            return TLSError(error.operation, error.code, error.reason, _DEMANDED)
        elif error.reason == _VERIFY_FAILED and rejection is not None:
            getattr(stats, rejection.counter).inc()
            explained = TLSError(error.operation, error.code, error.reason, rejection.detail)
            if verdict is not None and verdict.der:
                explained.depth, explained.subject = verdict.depth, CertificateFacts(verdict.der).subject
            return explained
        elif error.code:
            stats.connection_error.inc()
            if verdict is not None and verdict.refusal:
                return TLSError(error.operation, error.code, error.reason, verdict.refusal)
        return error
