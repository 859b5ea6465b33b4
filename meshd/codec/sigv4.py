"""
AWS Signature Version 4: requests that are signed in their headers, or in their query string.

As https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
describes it.  Times are seconds since the epoch, and are signed to the second.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import quote

ALGORITHM = "AWS4-HMAC-SHA256"
#: Seconds in which a signature in a query string has to be used, at most.
LONGEST = 7 * 24 * 3600

_UNRESERVED = "-_.~"


class Credentials(NamedTuple):
    """An access key; temporary ones have a session token, and expire at a time since the epoch."""

    access_key_id: str
    secret_access_key: str
    session_token: str = ""
    expires: float | None = None

    def __repr__(self) -> str:
        return f"<Credentials {self.access_key_id}>"


class Scope(NamedTuple):
    """What a signature is good for."""

    region: str
    service: str


class Request(NamedTuple):
    """
    What is signed.

    path is as it is sent, percent-encoded; query has names and values that are not.
    Names of headers may be in any case; host has to be among them.
    """

    method: str
    path: str
    query: Sequence[tuple[str, str]]
    headers: Mapping[str, str]
    body: bytes = b""


def sign_headers(request: Request, credentials: Credentials, scope: Scope, now: float) -> dict[str, str]:
    """Return the headers to add: X-Amz-Date, X-Amz-Security-Token, Authorization."""
    stamp = _stamp(now)
    added = {"X-Amz-Date": stamp}
    if credentials.session_token:
        added["X-Amz-Security-Token"] = credentials.session_token
    signed = request._replace(headers={**request.headers, **added})
    names = ";".join(name for name, _ in _headers(signed))
    where = _where(stamp, scope)
    signature = _signature(signed, credentials, scope, stamp)
    added["Authorization"] = (
        f"{ALGORITHM} Credential={credentials.access_key_id}/{where},"
        f" SignedHeaders={names}, Signature={signature}"
    )
    return added


def presign(
    request: Request, credentials: Credentials, scope: Scope, now: float, lifetime: int
) -> list[tuple[str, str]]:
    """Return the query with a signature that is good for lifetime seconds; ValueError if that is too long."""
    if not 0 <= lifetime <= LONGEST:
        raise ValueError(f"a signature cannot be good for {lifetime} s")
    stamp = _stamp(now)
    query = [
        *request.query,
        ("X-Amz-Algorithm", ALGORITHM),
        ("X-Amz-Credential", f"{credentials.access_key_id}/{_where(stamp, scope)}"),
        ("X-Amz-Date", stamp),
        ("X-Amz-Expires", str(lifetime)),
        ("X-Amz-SignedHeaders", ";".join(name for name, _ in _headers(request))),
    ]
    if credentials.session_token:
        query.append(("X-Amz-Security-Token", credentials.session_token))
    signature = _signature(request._replace(query=query), credentials, scope, stamp)
    return [*query, ("X-Amz-Signature", signature)]


def encode_query(query: Sequence[tuple[str, str]]) -> str:
    """Return a query string as it is sent."""
    return "&".join(
        f"{quote(name, safe=_UNRESERVED)}={quote(value, safe=_UNRESERVED)}" for name, value in query
    )


def canonical(request: Request) -> str:
    """Return the canonical form of a request."""
    headers = _headers(request)
    pairs = sorted(
        (quote(name, safe=_UNRESERVED), quote(value, safe=_UNRESERVED)) for name, value in request.query
    )
    return "\n".join(
        (
            request.method,
            quote(request.path or "/", safe=_UNRESERVED + "/"),
            "&".join(f"{name}={value}" for name, value in pairs),
            *(f"{name}:{value}" for name, value in headers),
            "",
            ";".join(name for name, _ in headers),
            hashlib.sha256(request.body).hexdigest(),
        )
    )


def _headers(request: Request) -> list[tuple[str, str]]:
    return sorted(
        (name.lower(), re.sub(" +", " ", value.strip(" \t"))) for name, value in request.headers.items()
    )


def _signature(request: Request, credentials: Credentials, scope: Scope, stamp: str) -> str:
    digest = hashlib.sha256(canonical(request).encode()).hexdigest()
    text = "\n".join((ALGORITHM, stamp, _where(stamp, scope), digest))
    key = f"AWS4{credentials.secret_access_key}".encode()
    for part in (stamp[:8], scope.region, scope.service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _where(stamp: str, scope: Scope) -> str:
    return f"{stamp[:8]}/{scope.region}/{scope.service}/aws4_request"


def _stamp(now: float) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
