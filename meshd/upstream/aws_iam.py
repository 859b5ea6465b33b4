"""
Logging on to ElastiCache and MemoryDB with AWS's IAM: the password is a signed request.

https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html: a presigned URL without
its scheme, GET <cache>/?Action=connect&User=<user>.  It is made anew for each connection.

Serves envoy.extensions.filters.network.redis_proxy.v3.AwsIam.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.interfaces import IReactorTime

from meshd.codec.sigv4 import Request, Scope, encode_query, presign
from meshd.config.plain import optional_seconds
from meshd.plugin import ConfigError
from meshd.upstream.aws_chain import Chain
from meshd.upstream.aws_config import AwsReader
from meshd.upstream.aws_metadata import Web
from meshd.upstream.aws_sources import find_region

SERVICE = "elasticache"
#: Seconds that a token is good for, if the config does not say (Envoy).
LIFETIME = 60.0


class Tokens:
    """Makes the passwords of one user for one cache; lifetime is in seconds."""

    def __init__(
        self,
        chain: Chain,
        scope: Scope,
        cache: str,
        user: str,
        lifetime: int,
        wall_time: Callable[[], float] = time.time,
    ) -> None:
        self.chain = chain
        self.user = user.encode()
        self._scope = scope
        self._cache = cache
        self._lifetime = lifetime
        self._wall_time = wall_time
        query = [("Action", "connect"), ("User", user)]
        self._request = Request("GET", "/", query, {"host": cache})

    def token(self) -> bytes:
        """Return a password that is good now; raise UpstreamError if there are no credentials."""
        credentials = self.chain.credentials()
        query = presign(self._request, credentials, self._scope, self._wall_time(), self._lifetime)
        # In Envoy's order.
        return f"{self._cache}/?{encode_query(sorted(query))}".encode()


def read_iam(
    message: Any, user: bytes, clock: IReactorTime, reactor: Any, environ: Mapping[str, str] = os.environ
) -> Tokens:
    """Read an AwsIam message; raise ConfigError, its path seen from there."""
    if not user:
        raise ConfigError("aws_iam is for an auth_username")
    profile = message.credential_provider.credentials_file_provider.profile
    region = message.region or find_region(environ, profile)
    if not region:
        raise ConfigError(
            "AWS region is not set in the config, nor in AWS_REGION, nor in a shared file", "region"
        )
    reader = AwsReader(region, clock, Web(reactor), environ)
    provider = message.credential_provider if message.HasField("credential_provider") else None
    try:
        chain = reader.chain(provider)
    except ConfigError as error:
        raise error.under("credential_provider") from None
    lifetime = optional_seconds(message, "expiration_time", LIFETIME) or 0.0
    scope = Scope(region, message.service_name or SERVICE)
    return Tokens(chain, scope, message.cache_name, user.decode("utf-8", "replace"), int(lifetime))
