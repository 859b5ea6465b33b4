"""
AWS credentials that have to be asked for by HTTP: of the container, of the machine, of STS.

https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
"""

from __future__ import annotations

import json
import time
from calendar import timegm
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

from treq import collect
from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.web.client import Agent

from meshd.codec.sigv4 import Credentials, Request, Scope, encode_query, sign_headers
from meshd.upstream.aws_sources import Environ, NoCredentials, read_secret

#: Seconds for one question; the machine's own services answer at once, or never.
TIMEOUT = 5.0
#: Bytes of an answer.
ANSWER_LIMIT = 1 << 16
#: Seconds for which credentials hold that do not say how long.
HOLDS = 3600.0

CONTAINER = "http://169.254.170.2"
INSTANCE = "http://169.254.169.254"
#: Seconds that a token of the instance metadata service is asked for.
TOKEN_LIFETIME = "21600"

_ROLES = "/latest/meta-data/iam/security-credentials/"


class Web:
    """Asks by HTTP; http is a treq-like client, by default treq's own on reactor."""

    def __init__(self, reactor: Any, http: Any = None) -> None:
        self._reactor = reactor
        self._http = http

    async def ask(
        self, method: str, url: str, headers: dict[str, str] | None = None, data: bytes = b""
    ) -> str:
        """Return the text of the answer; raise NoCredentials unless it is 200 OK."""
        return await Deferred.fromCoroutine(self._ask(method, url, headers or {}, data)).addTimeout(
            TIMEOUT, self._reactor
        )

    async def _ask(self, method: str, url: str, headers: dict[str, str], data: bytes) -> str:
        if self._http is None:
            self._http = HTTPClient(Agent(self._reactor, connectTimeout=TIMEOUT))
        # Redirects would lead anywhere.
        answer = await self._http.request(
            method, url, headers=headers, data=data or None, allow_redirects=False
        )
        body = bytearray()
        # More than that is no credentials, and is not kept.
        await collect(answer, lambda data: body.extend(data[: ANSWER_LIMIT - len(body)]))
        if answer.code != 200:
            shown = body[:200].decode("utf-8", "replace")
            raise NoCredentials(f"{url.partition('?')[0]} answered {answer.code}: {shown}")
        return body.decode("utf-8", "replace")


class Container:
    """The role of the container: ECS's and EKS's agents tell."""

    holds: float | None = HOLDS

    def __init__(self, web: Web, environ: Environ) -> None:
        self._web = web
        self._environ = environ

    async def fetch(self) -> Credentials | None:
        """Ask the agent that the environment names."""
        environ = self._environ
        relative = environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
        url = CONTAINER + relative if relative else environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
        if not url:
            return None
        token = environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")
        path = environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
        if path:
            token = read_secret(path)
        headers = {"Authorization": token} if token else {}
        return read_json(await self._web.ask("GET", url, headers))


class Instance:
    """The role of the machine: EC2's metadata service tells (IMDSv2)."""

    holds: float | None = HOLDS

    def __init__(self, web: Web, environ: Environ) -> None:
        self._web = web
        self._environ = environ

    async def fetch(self) -> Credentials | None:
        """Ask for a token, for the name of the role, and for its credentials."""
        if self._environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
            return None
        where = (self._environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or INSTANCE).rstrip("/")
        lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": TOKEN_LIFETIME}
        token = await self._web.ask("PUT", f"{where}/latest/api/token", lifetime)
        headers = {"X-aws-ec2-metadata-token": token}
        roles = (await self._web.ask("GET", where + _ROLES, headers)).split()
        if not roles:
            raise NoCredentials("the machine has no role")
        return read_json(await self._web.ask("GET", where + _ROLES + roles[0], headers))


class WebIdentity:
    """
    A role that a token of somebody else's gives: STS's AssumeRoleWithWebIdentity.

    token returns it, as it is at the moment.
    """

    holds: float | None = HOLDS

    def __init__(self, web: Web, sts: str, role: str, session: str, token: Callable[[], str]) -> None:
        self._web = web
        self._sts = sts
        self._role = role
        self._session = session
        self._token = token

    async def fetch(self) -> Credentials | None:
        """Ask STS."""
        query = [
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", "2011-06-15"),
            ("RoleArn", self._role),
            ("RoleSessionName", self._session),
            ("WebIdentityToken", self._token()),
        ]
        return read_xml(await self._web.ask("POST", self._sts, FORM, encode_query(query).encode()))


class AssumedRole:
    """
    A role that other credentials may assume: STS's AssumeRole.

    found returns those others; details are further parameters of the action.
    """

    holds: float | None = HOLDS

    def __init__(
        self,
        web: Web,
        sts: str,
        region: str,
        details: list[tuple[str, str]],
        found: Callable[[], Deferred[Credentials | None]],
        wall_time: Callable[[], float] = time.time,
    ) -> None:
        self._web = web
        self._sts = sts
        self._region = region
        self._details = details
        self._found = found
        self._wall_time = wall_time

    async def fetch(self) -> Credentials | None:
        """Ask STS."""
        own = await self._found()
        if own is None:
            return None
        query = [("Action", "AssumeRole"), ("Version", "2011-06-15"), *self._details]
        data = encode_query(query).encode()
        parts = urlsplit(self._sts)
        request = Request("POST", parts.path, [], {"host": parts.netloc, **FORM}, data)
        added = sign_headers(request, own, Scope(self._region, "sts"), self._wall_time())
        return read_xml(await self._web.ask("POST", self._sts, {**FORM, **added}, data))


#: How STS is asked.
FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}


def sts_url(region: str, environ: Environ) -> str:
    """Return where STS is in a region."""
    named = environ.get("AWS_ENDPOINT_URL_STS")
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"{named.rstrip('/')}/" if named else f"https://sts.{region}.{domain}/"


def read_json(text: str) -> Credentials:
    """Read what the container's agent or the metadata service tells; raise NoCredentials."""
    try:
        found: Any = json.loads(text)
        return _made(
            found["AccessKeyId"], found["SecretAccessKey"], found.get("Token"), found.get("Expiration")
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NoCredentials(f"that are no credentials: {type(error).__name__} {error}") from None


def read_xml(text: str) -> Credentials:
    """Read what STS tells; raise NoCredentials."""
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise NoCredentials(f"that is not XML: {error}") from None
    values = {
        each.tag.rpartition("}")[2]: each.text or ""
        for parent in root.iter()
        if parent.tag.rpartition("}")[2] == "Credentials"
        for each in parent
    }
    try:
        return _made(
            values["AccessKeyId"],
            values["SecretAccessKey"],
            values.get("SessionToken"),
            values.get("Expiration"),
        )
    except (ValueError, KeyError) as error:
        raise NoCredentials(f"that are no credentials: {type(error).__name__} {error}") from None


def _made(key: Any, secret: Any, token: Any, expires: Any) -> Credentials:
    if not (key and secret and isinstance(key, str) and isinstance(secret, str)):
        raise ValueError("an access key is text")
    moment = None
    if expires:
        # 2026-01-02T03:04:05Z, with or without a fraction.
        moment = float(timegm(time.strptime(str(expires).partition(".")[0].rstrip("Z"), "%Y-%m-%dT%H:%M:%S")))
    return Credentials(key, secret, str(token or ""), moment)
