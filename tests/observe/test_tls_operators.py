"""
Tests for meshd.observe.tls_operators.

The forms were seen in Envoy's access log for the same certificates.
"""

from datetime import UTC, datetime
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from meshd.observe.format import compile_text
from meshd.tls.facts import CertificateFacts, TlsFacts
from tests.observe.connections import relayed
from tests.tls.authority import Authority

ROOT = Authority("root, of all")
BETWEEN = ROOT.intermediate("between")
PEER = BETWEEN.issue(
    "pêer",
    dns=["a.example", "*.b.example"],
    uri=["spiffe://td/a"],
    ip=["10.0.0.1", "::1"],
    email=["a@b"],
    other=[("1.2.3", b"\x0c\x02hi"), ("1.2.4", b"\x05\x00")],
    serial=0xAB,
    not_before=datetime(2018, 12, 18, 1, 50, 34, tzinfo=UTC),
    not_after=datetime(2118, 1, 2, 3, 4, 5, tzinfo=UTC),
)
LOCAL = ROOT.issue("local", dns=["local.example"], uri=["spiffe://td/local"], ip=["10.0.0.2"], email=["l@b"])
NAMES = {"URI": "spiffe://td/a", "DNS": "a.example,*.b.example", "IP": "10.0.0.1,::1"}


class OperatorCase(SynchronousTestCase):
    """A connection with TLS on both sides."""

    def setUp(self) -> None:
        self.info: Any = relayed()
        peer, between, local = map(CertificateFacts, (PEER.der, BETWEEN.der, LOCAL.der))
        self.info.tls = TlsFacts(
            version="TLSv1.3",
            cipher="TLS_AES_256_GCM_SHA384",
            session_id="ab01",
            peer=peer,
            peer_chain=(peer, between),
            local=local,
        )
        self.info.upstream.tls = TlsFacts(
            version="TLSv1.2",
            cipher="ECDHE-ECDSA-AES256-GCM-SHA384",
            session_id="cd02",
            server_name="sni.example",
            peer=peer,
        )

    def assert_told(self, **operators: str) -> None:
        """Each operator tells that."""
        told = {name: compile_text(f"%{name}%")(self.info) for name in operators}
        self.assertEqual(told, operators)


class DownstreamTests(OperatorCase):
    """The client's side."""

    def test_handshake(self) -> None:
        """What was agreed on is told."""
        self.assert_told(
            DOWNSTREAM_TLS_VERSION="TLSv1.3",
            DOWNSTREAM_TLS_CIPHER="TLS_AES_256_GCM_SHA384",
            DOWNSTREAM_TLS_SESSION_ID="ab01",
        )

    def test_peer(self) -> None:
        """Who the client is is told."""
        facts = self.info.tls.peer
        self.assert_told(
            DOWNSTREAM_PEER_SUBJECT="CN=p\\C3\\AAer",
            DOWNSTREAM_PEER_ISSUER="CN=between",
            DOWNSTREAM_PEER_SERIAL="ab",
            **{f"DOWNSTREAM_PEER_{kind}_SAN": names for kind, names in NAMES.items()},
            DOWNSTREAM_PEER_EMAIL_SAN="a@b",
            DOWNSTREAM_PEER_OTHERNAME_SAN="hi,",
            DOWNSTREAM_PEER_CERT=facts.url_encoded_pem,
            DOWNSTREAM_PEER_FINGERPRINT_256=facts.sha256,
            DOWNSTREAM_PEER_FINGERPRINT_1=facts.sha1,
        )

    def test_chain(self) -> None:
        """All that the client sent is told, its own certificate first."""
        peer, between = self.info.tls.peer_chain
        self.assert_told(
            DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256=f"{peer.sha256},{between.sha256}",
            DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1=f"{peer.sha1},{between.sha1}",
            DOWNSTREAM_PEER_CHAIN_SERIALS=f"ab,{between.serial}",
        )

    def test_dates(self) -> None:
        """From when to when its certificate is valid is told, in any format."""
        self.assert_told(
            **{
                "DOWNSTREAM_PEER_CERT_V_START": "2018-12-18T01:50:34.000Z",
                "DOWNSTREAM_PEER_CERT_V_START(%Y)": "2018",
                "DOWNSTREAM_PEER_CERT_V_END": "2118-01-02T03:04:05.000Z",
                "DOWNSTREAM_PEER_CERT_V_END(%b_%d_%H:%M:%S_%Y_%Z)": "Jan_02_03:04:05_2118_UTC",
                "DOWNSTREAM_PEER_CERT_V_END(%s)": "4670535845",
            }
        )

    def test_local(self) -> None:
        """Who we were is told."""
        self.assert_told(
            DOWNSTREAM_LOCAL_SUBJECT="CN=local",
            DOWNSTREAM_LOCAL_URI_SAN="spiffe://td/local",
            DOWNSTREAM_LOCAL_DNS_SAN="local.example",
            DOWNSTREAM_LOCAL_IP_SAN="10.0.0.2",
            DOWNSTREAM_LOCAL_EMAIL_SAN="l@b",
            DOWNSTREAM_LOCAL_OTHERNAME_SAN="-",
        )

    def test_nobody(self) -> None:
        """A client without a certificate is nobody."""
        self.info.tls = TlsFacts(version="TLSv1.3")
        self.assert_told(
            DOWNSTREAM_TLS_VERSION="TLSv1.3",
            DOWNSTREAM_TLS_CIPHER="-",
            DOWNSTREAM_PEER_SUBJECT="-",
            DOWNSTREAM_PEER_CERT_V_END="-",
            DOWNSTREAM_PEER_CHAIN_SERIALS="-",
            DOWNSTREAM_LOCAL_SUBJECT="-",
        )

    def test_damaged(self) -> None:
        """What cannot be read of a certificate is not told; the log goes on."""
        damaged = CertificateFacts(b"rubbish")
        self.info.tls = TlsFacts(peer=damaged, peer_chain=(damaged,))
        self.assert_told(
            DOWNSTREAM_PEER_SUBJECT="-",
            DOWNSTREAM_PEER_DNS_SAN="-",
            DOWNSTREAM_PEER_CERT_V_START="-",
            DOWNSTREAM_PEER_CHAIN_SERIALS="-",
            DOWNSTREAM_PEER_FINGERPRINT_1=damaged.sha1,
        )

    def test_fingerprints(self) -> None:
        """The fingerprints of the ClientHello are those that tls_inspector noted."""
        self.info.ja3, self.info.ja4 = "6ac28f63", "t12i020000"
        self.assert_told(TLS_JA3_FINGERPRINT="6ac28f63", TLS_JA4_FINGERPRINT="t12i020000")


class UpstreamTests(OperatorCase):
    """The host's side."""

    def test_told(self) -> None:
        """What was agreed on, and with whom, is told."""
        self.assert_told(
            UPSTREAM_TLS_VERSION="TLSv1.2",
            UPSTREAM_TLS_CIPHER="ECDHE-ECDSA-AES256-GCM-SHA384",
            UPSTREAM_TLS_SESSION_ID="cd02",
            UPSTREAM_SERVER_NAME="sni.example",
            UPSTREAM_PEER_SUBJECT="CN=p\\C3\\AAer",
            UPSTREAM_PEER_ISSUER="CN=between",
            UPSTREAM_PEER_CERT=self.info.tls.peer.url_encoded_pem,
            **{f"UPSTREAM_PEER_{kind}_SAN": names for kind, names in NAMES.items()},
        )

    def test_none(self) -> None:
        """Without an upstream, or without TLS there, nothing is."""
        for upstream in (None, relayed().upstream):
            self.info.upstream = upstream
            self.assert_told(UPSTREAM_TLS_VERSION="-", UPSTREAM_PEER_SUBJECT="-", UPSTREAM_SERVER_NAME="-")
