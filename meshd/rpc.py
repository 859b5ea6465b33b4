"""
How plugins ask other services, by gRPC: a channel, its calls, and who is told what comes of them.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import Interface


class IGrpcReceiver(Interface):
    """Who made a gRPC call, and is told what comes of it."""

    def message(data: bytes) -> None:
        """Take a message of the server's, serialized."""

    def closed(code: int, text: str) -> None:
        """
        Take note that the call is over; called once, and never before start() has returned.

        code is a meshd.codec.grpc.Status, text what the server, or we, say of it.
        """


class IGrpcCall(Interface):
    """One gRPC call, from the moment that it is wanted until its receiver is told that it is over."""

    def send(message: bytes | None, last: bool = False) -> None:
        """Send a serialized message, or none; last says that no other follows.  Nothing if it is over."""

    def cancel() -> None:
        """Give it up: its receiver is told nothing more."""


class IGrpcChannel(Interface):
    """Makes calls to one gRPC service, as a GrpcService message says."""

    def start(method: str, receiver: IGrpcReceiver) -> IGrpcCall:
        """Begin a call of a method, such as "package.Service/Method", of any kind: unary or with streams."""

    def unary(method: str, request: Any, response: Any) -> Deferred[Any]:
        """
        Call a method that takes the message request and returns one of the class response.

        Fails with CallError; does not fire before it is returned.  Cancel it to give the call up.
        """
