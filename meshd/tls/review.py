"""
Whether the peer's certificate has been revoked: asked after the handshake, before those inside know of it.

What a server has stapled is believed first; then responders are asked, as
meshd.tls.options says.  The reactor never waits: the link does.
"""

from __future__ import annotations

from typing import Any

from cryptography import x509
from twisted.internet.defer import Deferred, succeed

from meshd.tls.ocsp import GOOD, REVOKED, OcspError, Response
from meshd.tls.ocsp_client import OcspClient, Verdict
from meshd.tls.openssl import Ssl
from meshd.tls.options import Ocsp


class Review:
    """Asks as one context wants it."""

    def __init__(self, settings: Ocsp, client: OcspClient) -> None:
        self._settings = settings
        self._client = client

    def of(self, ssl: Ssl) -> Deferred[str] | None:
        """
        Return why the peer's certificate is not to be accepted, empty if it is.

        None, at once, if there is nothing to ask: no certificate, or a session that
        goes on, whose certificate was asked about when it began.
        """
        connection: Any = ssl.connection
        leaf = connection.get_peer_certificate(as_cryptography=True)
        if leaf is None or ssl.resumed:
            return None
        chain = connection.get_verified_chain(as_cryptography=True) or []
        issuer = chain[1] if len(chain) > 1 else None
        if issuer is None:
            # A certificate that is itself trusted has nobody above it who could revoke it.
            return None
        stapled = self._stapled(ssl.staple, leaf, issuer)
        if stapled is not None and stapled.status in (GOOD, REVOKED):
            return succeed(self._reason(stapled))
        settings = self._settings
        asking = self._client.check(
            leaf, issuer, settings.url or None, settings.aia, settings.nonce, settings.timeout, settings.flags
        )
        return asking.addCallback(self._reason)

    def _stapled(self, staple: bytes, leaf: x509.Certificate, issuer: x509.Certificate) -> Verdict | None:
        if not staple:
            return None
        try:
            response = Response(staple)
            response.check(leaf, issuer, flags=self._settings.flags)
        except OcspError as error:
            return Verdict("", str(error))
        return Verdict(response.status, response=response)

    def _reason(self, verdict: Verdict) -> str:
        if verdict.status == GOOD:
            return ""
        if verdict.status == REVOKED:
            return "OCSP: the certificate has been revoked"
        if not self._settings.require:
            return ""
        why = verdict.reason or "no responder knows the certificate"
        return f"OCSP: {why}"
