"""Real gRPC servers for tests: grpcio, in threads of this process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

# Tests start programs while the server's threads run; grpcio warns of each fork otherwise.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

import grpc
from envoy.service.redis_auth.v3.redis_external_auth_pb2 import (
    RedisProxyExternalAuthRequest,
    RedisProxyExternalAuthResponse,
)

Metadata = dict[str, str | bytes]


class GrpcServer:
    """
    A server at a free port of 127.0.0.1, whose service is t.T; messages are plain bytes.

    Echo answers with what it gets; Each with as many messages as the number in its request says,
    of as many bytes; Join with all it gets in one; Chat with each message as it comes; Fail with
    the status that its request begins with, and the rest as the text; Slow never.
    metadata has what came with each call.
    """

    def __init__(self, credentials: Any = None, options: Any = ()) -> None:
        self.metadata: list[Metadata] = []
        #: Seconds that each call had left when it came; None: no end.
        self.remaining: list[float | None] = []
        self.peers: list[str] = []
        self.server = grpc.server(futures.ThreadPoolExecutor(20), options=list(options))
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", self._methods()),))
        if credentials is None:
            self.port: int = self.server.add_insecure_port("127.0.0.1:0")
        else:
            self.port = self.server.add_secure_port("127.0.0.1:0", credentials)
        self.server.start()

    def _methods(self) -> dict[str, Any]:
        return {
            "Echo": grpc.unary_unary_rpc_method_handler(self._noting(lambda request, _: request)),
            "Each": grpc.unary_stream_rpc_method_handler(self._noting(_each)),
            "Join": grpc.stream_unary_rpc_method_handler(
                self._noting(lambda requests, _: b"".join(requests))
            ),
            "Chat": grpc.stream_stream_rpc_method_handler(self._noting(lambda requests, _: requests)),
            "Fail": grpc.unary_unary_rpc_method_handler(self._noting(_fail)),
            "Slow": grpc.unary_unary_rpc_method_handler(self._noting(_sleep)),
        }

    def _noting(self, method: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def noted(request: Any, context: Any) -> Any:
            self.metadata.append(dict(context.invocation_metadata()))
            self.remaining.append(context.time_remaining())
            self.peers.append(context.peer())
            return method(request, context)

        return noted

    def stop(self, grace: float | None = None) -> Any:
        """End it: at once, or (seconds) once the calls are over; return what to wait on."""
        return self.server.stop(grace)


def _each(request: bytes, context: Any) -> Iterator[bytes]:
    for number in range(int(request)):
        yield bytes(number)


def _fail(request: bytes, context: Any) -> None:
    name, _, text = request.decode().partition(" ")
    context.abort(grpc.StatusCode[name], text)


def _sleep(request: bytes, context: Any) -> bytes:
    while context.is_active():
        time.sleep(0.01)
    return b""


class AuthService:
    """
    An envoy.service.redis_auth.v3.RedisProxyExternalAuth, that does as the password says.

    "code:N" and "code:N:text" answer with that status and text, "until:N" with an expiration in N
    seconds, "wait:N" after N seconds, "abort" with the status INTERNAL; other passwords are right.
    asked has the users and passwords.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.metadata: list[Metadata] = []
        self.remaining: list[float | None] = []
        self.server = grpc.server(futures.ThreadPoolExecutor(20))
        method = grpc.unary_unary_rpc_method_handler(
            self._authenticate,
            RedisProxyExternalAuthRequest.FromString,
            RedisProxyExternalAuthResponse.SerializeToString,
        )
        service = "envoy.service.redis_auth.v3.RedisProxyExternalAuth"
        self.server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {"Authenticate": method}),)
        )
        self.port: int = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def _authenticate(self, request: Any, context: Any) -> Any:
        self.asked.append((request.username, request.password))
        self.metadata.append(dict(context.invocation_metadata()))
        self.remaining.append(context.time_remaining())
        answer = RedisProxyExternalAuthResponse()
        what, *rest = request.password.split(":")
        if what == "abort":
            context.abort(grpc.StatusCode.INTERNAL, "it is broken")
        elif what == "wait":
            time.sleep(float(rest[0]))
        elif what == "code":
            answer.status.code = int(rest[0])
            answer.message = "".join(rest[1:])
        elif what == "until":
            answer.expiration.seconds = int(time.time()) + int(rest[0])
        return answer

    def stop(self) -> None:
        """End it."""
        self.server.stop(None)
