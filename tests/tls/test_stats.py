"""Tests for meshd.tls.stats."""

from twisted.trial.unittest import SynchronousTestCase

from meshd.testing.context import FakeScope
from meshd.tls.stats import TlsStats


class StatsTests(SynchronousTestCase):
    """Envoy's names."""

    def test_there_from_the_start(self) -> None:
        """Every counter with a name of its own is there before anything happens."""
        scope = FakeScope()
        TlsStats(scope, False)
        of_ssl = (
            "connection_error handshake session_reused no_certificate fail_verify_no_cert fail_verify_error"
            " fail_verify_san fail_verify_cert_hash ocsp_staple_failed ocsp_staple_omitted"
            " ocsp_staple_responses ocsp_staple_requests"
        )
        self.assertLessEqual({f"ssl.{name}" for name in of_ssl.split()}, set(scope.numbers))
        self.assertIn("server_ssl_socket_factory.ssl_context_update_by_sds", scope.numbers)
        self.assertIn("server_ssl_socket_factory.downstream_context_secrets_not_ready", scope.numbers)

    def test_of_a_client(self) -> None:
        """A client's are named after its side."""
        scope = FakeScope()
        stats = TlsStats(scope, True)
        stats.not_ready.inc()
        self.assertEqual(scope["client_ssl_socket_factory.upstream_context_secrets_not_ready"], 1)

    def test_by_name(self) -> None:
        """Handshakes are counted by version, cipher and group, the group by Envoy's name."""
        scope = FakeScope()
        stats = TlsStats(scope, False)
        for group in ("x25519", "secp256r1", "secp256r1", "", "X25519MLKEM768"):
            stats.established("TLSv1.3", "TLS_AES_256_GCM_SHA384", group)
        self.assertEqual(scope["ssl.handshake"], 5)
        self.assertEqual(scope["ssl.versions.TLSv1.3"], 5)
        self.assertEqual(scope["ssl.ciphers.TLS_AES_256_GCM_SHA384"], 5)
        self.assertEqual((scope["ssl.curves.X25519"], scope["ssl.curves.P-256"]), (1, 2))
        self.assertEqual(scope["ssl.curves.X25519MLKEM768"], 1)
        self.assertNotIn("ssl.curves.", scope.numbers)
