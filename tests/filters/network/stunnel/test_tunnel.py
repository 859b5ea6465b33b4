"""Tests for meshd.filters.network.stunnel.tunnel."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from twisted.logger import globalLogPublisher

from meshd.filters.network.stunnel.tunnel import IDENTIFIERS, Tunnel, address_text
from meshd.interfaces import ConnectError
from meshd.observe.info import ConnectionInfo
from tests.filters.network.stunnel.heard import Heard

INFO: Any = ConnectionInfo(("192.0.2.1", 4000), ("192.0.2.2", 443))


def connecting(**facts: Any) -> Any:
    """Return an attempt to connect, with what is known of it."""
    known: dict[str, Any] = {
        "host": SimpleNamespace(address=("192.0.2.9", 80)),
        "local": ("192.0.2.2", 5000),
        "tls_error": None,
        "failure_reason": "",
        "reset_client": None,
        "errno": 0,
        "cluster": SimpleNamespace(runs_programs=False),
        "allow": lambda time: None,
    }
    return SimpleNamespace(**{**known, **facts})


def error(reason: str, code: int = 0, **facts: Any) -> Any:
    """Return a TLS error."""
    return SimpleNamespace(
        **{
            "operation": "SSL_connect",
            "code": code,
            "reason": reason,
            "detail": "",
            "depth": 0,
            "subject": "",
            **facts,
        }
    )


class TestTunnel:
    """What is said of a connection."""

    def setup_method(self) -> None:
        """Make a tunnel, and listen."""
        self.heard = Heard()
        globalLogPublisher.addObserver(self.heard)
        self.tunnel = Tunnel("s", True, 7, "sequential")
        self.info = ConnectionInfo(("192.0.2.1", 4000), ("192.0.2.2", 443))

    def teardown_method(self) -> None:
        """Listen no more."""
        globalLogPublisher.removeObserver(self.heard)

    def test_level(self) -> None:
        """Lines beyond the service's level are not said."""
        self.tunnel.level = 4
        self.tunnel.say(4, "yes")
        self.tunnel.say(5, "no")
        assert self.heard.lines == [(4, "yes")]

    def test_attempts(self) -> None:
        """An attempt that is refused, one that takes too long, one that connects."""
        tunnel = self.tunnel
        tunnel.attempt(connecting())
        tunnel.failed(connecting(errno=111), ConnectError("x"))
        tunnel.failed(connecting(), ConnectError("", timeout=True))
        tunnel.connected(connecting())
        assert [line for _, line in self.heard.lines] == [
            "s_connect: connecting 192.0.2.9:80",
            "s_connect: connect 192.0.2.9:80: Connection refused (111)",
            "s_connect: s_poll_wait 192.0.2.9:80: TIMEOUTconnect exceeded",
            "s_connect: connected 192.0.2.9:80",
            "Service [s] connected remote server from 192.0.2.2:5000",
            "Peer certificate not required",
        ]
        assert not tunnel.failed_at_all

    def test_program(self) -> None:
        """Of a program there is nothing to say but that the client has come."""
        program = connecting(cluster=SimpleNamespace(runs_programs=True))
        self.tunnel.attempt(program)
        self.tunnel.connected(program)
        assert all("connect" not in line for _, line in self.heard.lines)
        assert self.tunnel.stands

    def test_refused_politely(self) -> None:
        """A server that refuses in a way that the client is told of ends both connections without a reset."""
        tunnel = self.tunnel
        tunnel.connected(connecting())
        why = "the IMAP server does not do TLS"
        tunnel.failed(connecting(failure_reason=why, reset_client=False), ConnectError(why))
        assert self.heard.lines[-1] == (3, why)
        assert tunnel.orderly and not tunnel.failed_at_all

    @pytest.mark.parametrize(
        ("detail", "line"),
        [
            ("x: verification error at depth 1: it expired", "CERT: Pre-verification error: it expired"),
            ("verify cert failed: subject checks failed", "CERT: Subject checks failed"),
            ("something else", "CERT: something else"),
        ],
    )
    def test_certificates(self, detail: str, line: str) -> None:
        """A certificate that is not good is told before the error."""
        self.tunnel.tls_failed(
            error("certificate verify failed", 0x0A000086, detail=detail, subject="CN=a", depth=1)
        )
        assert self.heard.lines[0] == (4, line)
        assert self.heard.lines[1][1].startswith("Rejected by CERT at depth=")
        assert self.heard.lines[2] == (
            3,
            "SSL_connect: error:0A000086:SSL routines::certificate verify failed",
        )

    @pytest.mark.parametrize(
        ("detail", "line"),
        [
            ("OCSP: the certificate has been revoked", "OCSP: Rejected (revoked)"),
            ("OCSP: no answer", "OCSP: no answer"),
        ],
    )
    def test_ocsp(self, detail: str, line: str) -> None:
        """What a responder says is told, and whom it is about."""
        self.tunnel.tls_failed(error("x", operation="OCSP", detail=detail, subject="CN=a"))
        assert self.heard.lines == [
            (3, line),
            (4, "Rejected by OCSP at depth=0: CN=a"),
            (3, "SSL_connect: error:0A000086:SSL routines::certificate verify failed"),
        ]

    @pytest.mark.parametrize(
        ("reason", "client", "how"),
        [
            ("wrong version number", True, "reset"),
            ("certificate verify failed", True, "closed/reset"),
            ("tlsv1 alert unknown ca", False, "reset/closed"),
        ],
    )
    def test_ends(self, reason: str, client: bool, how: str) -> None:
        """The side with TLS is not reset where an alert was sent or came."""
        self.tunnel.client = client
        self.info.tls_error = error(reason, 5)
        self.tunnel.over(self.info)
        sums = "0 byte(s) sent to TLS, 0 byte(s) sent to socket"
        assert self.heard.lines[-1] == (5, f"Connection {how}: {sums}")

    def test_no_reset(self) -> None:
        """With reset = no everything is closed."""
        self.tunnel.reset = False
        self.tunnel.fail(3, "x")
        self.tunnel.over(self.info)
        assert self.heard.lines[-1][1].startswith("Connection closed")

    def test_peer_reset(self) -> None:
        """A client that resets is told as stunnel tells errors."""
        self.info.detected_close_type = "RemoteReset"
        self.tunnel.over(self.info)
        assert self.heard.lines[0] == (3, "readsocket: Connection reset by peer (104)")

    def test_handshake_timeout(self) -> None:
        """A handshake that takes too long is told."""
        self.info.local_close_reason = "transport_socket_timeout"
        self.tunnel.over(self.info)
        assert "TIMEOUTbusy exceeded" in self.heard.lines[0][1]

    @pytest.mark.parametrize(
        ("facts", "what"),
        [
            ({}, "new session negotiated"),
            ({"resumed": True}, "previous session reused"),
            ({"psk_identity": "me", "resumed": True}, "PSK"),
        ],
    )
    def test_secured(self, facts: dict[str, Any], what: str) -> None:
        """A handshake is new, a session's, or a pre-shared key's."""
        tls = {"resumed": False, "psk_identity": "", "peer": None, "version": "TLSv1.3", "verify_error": ""}
        self.tunnel.secured(
            "accepted", SimpleNamespace(**{**tls, "cipher": "TLS_AES_128_GCM_SHA256", **facts})
        )
        assert (6, f"TLS accepted: {what}") in self.heard.lines
        assert self.heard.lines[-1][1] == "TLSv1.3 ciphersuite: TLS_AES_128_GCM_SHA256 (128-bit encryption)"

    def test_identifiers(self) -> None:
        """There are four kinds; numbers follow each other."""
        first, second = (int(IDENTIFIERS["sequential"]()) for _ in range(2))
        assert second == first + 1
        assert IDENTIFIERS["unique"]() != IDENTIFIERS["unique"]()
        assert IDENTIFIERS["process"]().isdigit() and IDENTIFIERS["thread"]().isdigit()

    def test_addresses(self) -> None:
        """IPv6 has no brackets."""
        assert address_text(("::1", 5)) == "::1:5"
        assert address_text("") == "unnamed socket"
