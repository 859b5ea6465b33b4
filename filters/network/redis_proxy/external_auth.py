"""
Who is let in, as an external service says: RedisProxy.external_auth_provider.

AUTH, and HELLO with AUTH, are sent to the service
envoy.service.redis_auth.v3.RedisProxyExternalAuth; what the client sends meanwhile is done
once the answer is here.  With enable_auth_expiration the client is locked out when the
time is over that the service gave it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from envoy.service.redis_auth.v3.redis_external_auth_pb2 import (
    RedisProxyExternalAuthRequest,
    RedisProxyExternalAuthResponse,
)
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from meshd.codec.grpc import Status
from meshd.filters.network.redis_proxy.access import lock, unlock
from meshd.interfaces import CallError, IFactoryContext
from meshd.plugin import ConfigError

if TYPE_CHECKING:
    from meshd.filters.network.redis_proxy.client import Client

METHOD = "envoy.service.redis_auth.v3.RedisProxyExternalAuth/Authenticate"
#: Seconds that the service has if the config does not say, as in Envoy.
TIMEOUT = 0.2
#: Seconds after which the wall clock is looked at again, for it may have been set.
LOOK = 3600.0

FAILED = b"-ERR external authentication failed\r\n"
#: The code of the error, and its text if the service has none, for AUTH and for HELLO.
UNAUTHORIZED = (b"ERR", b"unauthorized")
WRONG_PASS = (b"WRONGPASS", b"invalid username-password pair")

#: The codes by which the service says no; others say that it cannot tell.
_NO = (Status.PERMISSION_DENIED, Status.UNAUTHENTICATED)
#: What may not be in an error of Redis: it would end the line.
_CONTROLS = bytes(range(32))

log = Logger(namespace="meshd.redis")


class ExternalAuth:
    """The service that the clients of one redis_proxy are let in by."""

    def __init__(self, config: Any, context: IFactoryContext) -> None:
        """Read a RedisExternalAuthProvider message; raise ConfigError."""
        self.clock = context.clock
        self.expires: bool = config.enable_auth_expiration
        try:
            self.channel = context.grpc_channel(config.grpc_service, TIMEOUT)
        except ConfigError as error:
            raise error.under("external_auth_provider", "grpc_service") from None

    def ask(
        self,
        client: Client,
        words: list[bytes],
        refusal: tuple[bytes, bytes],
        then: Callable[[bytes], object],
    ) -> None:
        """
        Ask about a password, or a user and a password; call then with the error, b"" if it is right.

        Until then the client is held.  It is not called if the client goes.
        """
        if client.standing is None:
            client.standing = Standing(self, client)
        client.standing.ask(words, refusal, then)


class Standing:
    """What the service has said of one client, and is being asked."""

    _asked: Deferred[Any] | None = None
    _expiry: IDelayedCall | None = None
    _over = False

    def __init__(self, auth: ExternalAuth, client: Client) -> None:
        self._auth = auth
        self._client = client
        client.connection.on_close(self._end)

    def ask(self, words: list[bytes], refusal: tuple[bytes, bytes], then: Callable[[bytes], object]) -> None:
        """Ask; see ExternalAuth.ask."""
        client = self._client
        username = words[0] if len(words) > 1 else b""
        try:
            request = RedisProxyExternalAuthRequest(username=username.decode(), password=words[-1].decode())
        except UnicodeDecodeError:
            then(FAILED)  # the message has texts: no service could read it
            return

        def answered(result: Any) -> None:
            self._asked = None
            if not (self._over or client.gone):
                client.now = client.seconds()
                then(self._judge(result, username, refusal))
                client.release()

        client.hold()
        self._asked = self._auth.channel.unary(METHOD, request, RedisProxyExternalAuthResponse)
        self._asked.addBoth(answered)
        self._asked.addErrback(self._raised)

    def _judge(self, result: Any, username: bytes, refusal: tuple[bytes, bytes]) -> bytes:
        """Let the client in, or not, or leave things as they are; return the error."""
        if isinstance(result, Failure):
            result.trap(CallError)
            log.error("the authentication service failed: {why}", why=result.getErrorMessage())
            return FAILED
        code = result.status.code
        if code == Status.OK:
            unlock(self._client, username)
            self._let_expire(result.expiration)
            return b""
        if code in _NO:
            lock(self._client)
            text = result.message.encode() or refusal[1]
            return b"-%b %b\r\n" % (refusal[0], text.translate(_PRINTABLE))
        log.error("the authentication service cannot tell: {why}", why=result.message)
        return FAILED

    def _raised(self, failure: Failure) -> None:
        log.failure("while a client was let in", failure)
        self._client.cut()

    def _let_expire(self, expiration: Any) -> None:
        self._stop()
        if self._auth.expires:
            self._wait(expiration.seconds + expiration.nanos / 1e9)

    def _wait(self, end: float) -> None:
        """Lock the client out at that time, in seconds since the epoch."""
        self._expiry = None
        left = end - time.time()
        if left > 0:
            self._expiry = self._auth.clock.callLater(min(left, LOOK), self._wait, end)
            return
        client = self._client
        if client.subscriber is not None or client.monitor is not None or client.private is not None:
            client.cut()  # it would be told things all the same
        else:
            lock(client)

    def _stop(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None

    def _end(self) -> None:
        """The client is gone."""
        self._over = True
        self._stop()
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.cancel()


#: A table that makes spaces of control characters.
_PRINTABLE = bytes(32 if byte in _CONTROLS else byte for byte in range(256))
