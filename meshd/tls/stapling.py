"""
OCSP stapling: which response goes with a certificate, and what happens without a good one.

The policies are Envoy's (DownstreamTlsContext.ocsp_staple_policy); a certificate
that must be stapled (RFC 7633) is served as by MUST_STAPLE.  A response is from
the config, or fetched from the certificate's responder and kept fresh.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from enum import Enum

from OpenSSL import SSL

from meshd.tls import callbacks
from meshd.tls.certificates import Credential, CredentialError
from meshd.tls.ocsp import OcspError, Response, now
from meshd.tls.openssl import Ssl
from meshd.tls.staple_fetcher import StapleFetcher
from meshd.tls.stats import TlsStats

#: DownstreamTlsContext.OcspStaplePolicy.
LENIENT, STRICT, MUST = 0, 1, 2


class Action(Enum):
    """What a client that asks for a response gets."""

    STAPLE = "staple"
    OMIT = "omit"
    FAIL = "fail"


class Stapling:
    """The policy of one server context; without fetcher responses are those of the config."""

    def __init__(
        self,
        policy: int,
        stats: TlsStats,
        fetcher: StapleFetcher | None = None,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._policy = policy
        self._stats = stats
        self._fetcher = fetcher
        self._clock = clock

    def check(self, credential: Credential) -> None:
        """Raise CredentialError for a response that is none, or another's, or is missing and must not be."""
        staple = credential.staple
        if staple is not None:
            try:
                response = Response(staple)
            except OcspError as error:
                raise CredentialError(str(error)) from None
            if not response.is_of(credential.certificate):
                raise CredentialError("OCSP response does not match its TLS certificate")
        elif self._fetcher is None:
            if credential.must_staple:
                raise CredentialError("OCSP response is required for must-staple certificate")
            if self._policy == MUST:
                raise CredentialError("Required OCSP response is missing from TLS context")

    def install(self, context: SSL.Context, credential: Credential) -> None:
        """Let context staple what goes with the certificate that it shows.  Raise CredentialError."""
        self.check(credential)
        callbacks.on_status_request(context, lambda ssl: self._asked(credential, ssl))

    def keep(self, credentials: Sequence[Credential]) -> None:
        """Note which certificates are in use: the responses of these are kept fresh, of no others."""
        if self._fetcher is not None:
            self._fetcher.keep(credentials)

    def decide(self, credential: Credential) -> Action:
        """Return what a client gets that asks now."""
        response = _response(credential)
        if response is not None and not response.is_expired(self._clock()):
            return Action.STAPLE
        if credential.must_staple or self._policy == MUST:
            return Action.FAIL
        return Action.FAIL if self._policy == STRICT and response is not None else Action.OMIT

    def allows(self, credential: Credential) -> bool:
        """Whether a client that asks can be served with a certificate."""
        return self.decide(credential) is not Action.FAIL

    def _asked(self, credential: Credential, ssl: Ssl) -> bytes | None:
        stats = self._stats
        stats.ocsp_staple_requests.inc()
        action = self.decide(credential)
        if action is Action.STAPLE:
            stats.ocsp_staple_responses.inc()
            return credential.staple
        if action is Action.OMIT:
            stats.ocsp_staple_omitted.inc()
            return b""
        stats.ocsp_staple_failed.inc()
        ssl.app.refusal = (
            "the OCSP response has expired" if credential.staple else "there is no OCSP response"
        )
        return None


def _response(credential: Credential) -> Response | None:
    """Return the response, parsed once for as long as it is the same."""
    staple = credential.staple
    if staple is None:
        return None
    cached: Response | None = credential.parsed_staple
    if cached is None or cached.data is not staple:
        cached = credential.parsed_staple = Response(staple)
    return cached
