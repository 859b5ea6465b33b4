"""
What a cluster says of the protocols spoken with its hosts: typed_extension_protocol_options.

The filters that speak a protocol read their options here, in plain Python.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from envoy.extensions.filters.network.redis_proxy.v3.redis_proxy_pb2 import RedisProtocolOptions
from twisted.internet.interfaces import IReactorTime

from meshd.config.plain import data_source
from meshd.interfaces import SocketAddress
from meshd.plugin import ConfigError
from meshd.upstream.aws_iam import Tokens, read_iam
from meshd.upstream.endpoints import read_address
from meshd.upstream.http2_options import HTTP

REDIS = "envoy.filters.network.redis_proxy"

#: A user's name, which may be empty, and the password.
RedisAuth = tuple[bytes, bytes]

_FIELD = "typed_extension_protocol_options"


@dataclass(frozen=True)
class RedisLogins:
    """How to log on to the Redis servers of a cluster."""

    #: Where no other is given; None: not at all.
    default: RedisAuth | None = None
    by_address: Mapping[SocketAddress, RedisAuth] = field(default_factory=dict)
    #: Makes the passwords of all servers; it has to be started.
    iam: Tokens | None = None

    def of(self, address: SocketAddress) -> RedisAuth | None:
        """
        Return the user name and password for the server at address, None if it wants none.

        Raise UpstreamError if there is no password at the moment.
        """
        if self.iam is not None:
            return self.iam.user, self.iam.token()
        return self.by_address.get(address, self.default)


def read_redis_logins(cluster: Any, clock: IReactorTime, reactor: Any) -> RedisLogins:
    """
    Read the RedisProtocolOptions of a Cluster message.

    Raise ConfigError, also for options of protocols that nobody speaks.
    """
    options = cluster.typed_extension_protocol_options
    for name in options:
        if name not in (REDIS, HTTP):
            raise ConfigError(f"meshd has no protocol options {name}", _FIELD, name)
    if REDIS not in options:
        return RedisLogins()
    message = RedisProtocolOptions()
    try:
        if not options[REDIS].Unpack(message):
            raise ConfigError(f"{REDIS} wants RedisProtocolOptions")
        if message.HasField("aws_iam"):
            return RedisLogins(iam=_read_iam(message, clock, reactor))
        by_address: dict[SocketAddress, RedisAuth] = {}
        for index, each in enumerate(message.credentials):
            auth = _read_auth(each, "credentials", index)
            if auth is None:
                raise ConfigError("credentials without a password", "credentials", index)
            # As in Envoy the first entry of an address counts.
            by_address.setdefault(read_address(each.address, "credentials", index, "address"), auth)
        return RedisLogins(_read_auth(message), by_address)
    except ConfigError as error:
        raise error.under(_FIELD, REDIS) from None


def _read_iam(message: Any, clock: IReactorTime, reactor: Any) -> Tokens:
    for name in ("auth_password", "credentials"):
        if any(each.name == name for each, _ in message.ListFields()):
            raise ConfigError("aws_iam makes the passwords: there can be no others", name)
    try:
        user = data_source(message.auth_username)
    except ConfigError as error:
        raise error.under("auth_username") from None
    try:
        return read_iam(message.aws_iam, user, clock, reactor)
    except ConfigError as error:
        raise error.under("aws_iam") from None


def _read_auth(message: Any, *path: str | int) -> RedisAuth | None:
    parts = []
    for name in ("auth_username", "auth_password"):
        try:
            parts.append(data_source(getattr(message, name)))
        except ConfigError as error:
            raise error.under(*path, name) from None
    username, password = parts
    if username and not password:
        raise ConfigError("a user name without a password", *path, "auth_username")
    return (username, password) if password else None
