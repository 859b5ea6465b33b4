"""Tests for meshd.filters.network.stunnel.tlvs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from meshd.filters.network.stunnel.tlvs import tlvs_of


def tls(**facts: Any) -> Any:
    """Return what is known of a handshake."""
    known = {
        "alpn": "",
        "server_name": "",
        "version": "TLSv1.3",
        "cipher": "C",
        "peer": None,
        "resumed": False,
    }
    return SimpleNamespace(**{**known, "verified": False, **facts})


class TestTlvs:
    """What is told of TLS."""

    def test_plain(self) -> None:
        """A client without a certificate, and without names."""
        assert tlvs_of(tls()) == ((0x20, b"\x01\0\0\0\x01" + b"\x21\0\x07TLSv1.3" + b"\x23\0\x01C"),)

    def test_names(self) -> None:
        """ALPN and SNI have TLVs of their own."""
        assert tlvs_of(tls(alpn="h2", server_name="a.b"))[:2] == ((1, b"h2"), (2, b"a.b"))

    @pytest.mark.parametrize(
        ("facts", "begin"),
        [
            ({"verified": True}, b"\x07\0\0\0\0"),
            ({"verified": True, "resumed": True}, b"\x05\0\0\0\0"),
            ({"verified": False}, b"\x07\0\0\0\x01"),
        ],
    )
    def test_certificate(self, facts: dict[str, Any], begin: bytes) -> None:
        """A certificate is told with its name, and whether it is good."""
        ((_, value),) = tlvs_of(tls(peer=SimpleNamespace(subject=r"O=x,CN=a\, b,C=y"), **facts))
        assert value.startswith(begin) and value.endswith(b"\x22\0\x04a, b")
