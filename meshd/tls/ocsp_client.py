"""
Asks OCSP responders (RFC 6960, appendix A: over HTTP) about certificates.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from cryptography import x509
from treq.client import HTTPClient
from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import Agent, ResponseDone

from meshd.tls.ocsp import GOOD, REVOKED, OcspError, Response, request, responders

#: Bytes of an answer; a response with a certificate in it has some 2,000.
ANSWER_LIMIT = 1 << 16
#: Bytes of a nonce; more than 32 responders need not take (RFC 8954).
NONCE = 32

_TYPE = "application/ocsp-request"


class Verdict(NamedTuple):
    """
    What responders say of a certificate.

    status is good, revoked or unknown, or empty if nobody could be asked, and
    reason says why.  url is who said it; response what was said.
    """

    status: str
    reason: str = ""
    url: str = ""
    response: Response | None = None


class OcspClient:
    """Asks about certificates; http is a treq-like client, by default treq's own on reactor."""

    def __init__(self, reactor: Any, http: Any = None) -> None:
        self._reactor = reactor
        self._http = http or HTTPClient(Agent(reactor))

    def check(
        self,
        certificate: x509.Certificate,
        issuer: x509.Certificate,
        url: str | None = None,
        aia: bool = True,
        nonce: bool = False,
        timeout: float = 5.0,
        flags: Collection[str] = (),
    ) -> Deferred[Verdict]:
        """
        Ask the responder at url, then with aia those that the certificate names, until one knows.

        timeout is for each, in seconds; flags are those of Response.check.  The
        Deferred does not fail; it can be cancelled.
        """
        urls = ([url] if url else []) + (list(responders(certificate)) if aia else [])
        if not urls:
            return succeed(Verdict("", "the certificate names no responder"))
        return self._ask_all(urls, certificate, issuer, nonce, timeout, flags)

    @inlineCallbacks
    def _ask_all(
        self,
        urls: Sequence[str],
        certificate: x509.Certificate,
        issuer: x509.Certificate,
        nonce: bool,
        timeout: float,
        flags: Collection[str],
    ) -> Any:
        verdict = Verdict("")
        for url in urls:
            found = yield self._ask(url, certificate, issuer, nonce, timeout, flags)
            # Somebody's "unknown" says more than that somebody cannot be reached.
            if found.status or not verdict.status:
                verdict = found
            if verdict.status in (GOOD, REVOKED):
                break
        return verdict

    @inlineCallbacks
    def _ask(
        self,
        url: str,
        certificate: x509.Certificate,
        issuer: x509.Certificate,
        nonce: bool,
        timeout: float,
        flags: Collection[str],
    ) -> Any:
        sent = secrets.token_bytes(NONCE) if nonce else b""
        asking = self._post(url, request(certificate, issuer, sent))
        try:
            data = yield asking.addTimeout(timeout, self._reactor)
            response = Response(data)
            response.check(certificate, issuer, sent, flags=flags)
        except OcspError as error:
            return Verdict("", str(error), url)
        except Exception as error:  # whatever an HTTP client may raise
            return Verdict("", f"{url} cannot be asked: {_text(error)}", url)
        return Verdict(response.status, "", url, response)

    @inlineCallbacks
    def _post(self, url: str, data: bytes) -> Any:
        headers: dict[bytes | str, bytes | str] = {
            "content-type": _TYPE,
            "accept": "application/ocsp-response",
        }
        # Redirects would lead anywhere.
        answer = yield self._http.post(
            url, data=data, headers=headers, allow_redirects=False, unbuffered=True
        )
        if answer.code != 200:
            answer.deliverBody(_Body(None, 0))
            raise OcspError(f"{url} answered {answer.code}")
        body: Deferred[bytes] = Deferred(lambda _: protocol.end())
        protocol = _Body(body, ANSWER_LIMIT)
        answer.deliverBody(protocol)
        content = yield body
        return content


def _text(error: Exception) -> str:
    reasons = getattr(error, "reasons", None)  # of Twisted's ResponseNeverReceived
    if reasons:
        return _text(reasons[0].value)
    return str(error) or type(error).__name__


class _Body(Protocol):
    """Gathers an answer of bounded size; or, with nobody to be done for, drops it."""

    def __init__(self, done: Deferred[bytes] | None, limit: int) -> None:
        self._done = done
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0

    def connectionMade(self) -> None:
        if not self._limit:
            self.end()

    def dataReceived(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._limit:
            self._fail(OcspError("the answer is too long"))
            self.end()
        else:
            self._parts.append(data)

    def end(self) -> None:
        """Read no more."""
        self._parts.clear()
        transport: Any = self.transport
        stop = getattr(transport, "abortConnection", None) or getattr(transport, "loseConnection", None)
        if stop is not None:
            stop()

    def connectionLost(self, reason: Failure = Failure(ResponseDone())) -> None:  # noqa: B008
        if self._done is None:
            return
        if reason.check(ResponseDone):
            done, self._done = self._done, None
            done.callback(b"".join(self._parts))
        else:
            self._fail(reason.value or OcspError("the answer broke off"))

    def _fail(self, error: BaseException) -> None:
        done, self._done = self._done, None
        if done is not None and not done.called:
            done.errback(error)
