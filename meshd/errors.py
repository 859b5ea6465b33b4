"""
The errors that plugins raise or are told of: nouns of the domain.

All that go wrong with a connection to an upstream are UpstreamErrors.
"""

from __future__ import annotations

from typing import Any


class Refused(Exception):
    """A listener filter will not have this connection; reset says that it ends with a RST."""

    def __init__(self, reason: str, reset: bool = True) -> None:
        super().__init__(reason)
        self.reset = reset


class UpstreamError(Exception):
    """There is no connection to an upstream."""


class NoHost(UpstreamError):
    """The cluster has no host that may be used (response flag UH)."""


class Overflow(UpstreamError):
    """A circuit breaker is open: there are too many connections (response flag UO)."""


class PendingOverflow(Overflow):
    """Too many wait for a connection to host (response flag URX, as in Envoy)."""

    def __init__(self, host: Any) -> None:
        super().__init__("too many wait for a connection")
        self.host = host


class ConnectError(UpstreamError):
    """
    The host could not be connected to (response flag UF).

    timeout says that it took too long; local that it is our own end's fault,
    such as a source address that we do not have (no UF then, as in Envoy).
    greeting is what the host had for the client before it failed; reset says
    that the client's connection is to end with a RST.
    """

    def __init__(
        self,
        reason: str,
        timeout: bool = False,
        local: bool = False,
        greeting: bytes = b"",
        reset: bool = False,
    ) -> None:
        super().__init__(reason)
        self.timeout = timeout
        self.local = local
        self.greeting = greeting
        self.reset = reset


class CallError(Exception):
    """A gRPC call that did not end well: code is its status, a meshd.codec.grpc.Status."""

    def __init__(self, code: int, text: str = "") -> None:
        super().__init__(f"gRPC status {code}: {text}" if text else f"gRPC status {code}")
        self.code = code
        self.text = text
