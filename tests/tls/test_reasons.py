"""Tests of the words for what failed."""

from twisted.trial.unittest import SynchronousTestCase

from meshd.tls.openssl import TLSError
from meshd.tls.reasons import envoy_word

SSL = 20 << 23


class WordTests(SynchronousTestCase):
    """envoy_word."""

    def test_alert(self) -> None:
        """An alert has its number's word, whatever OpenSSL calls it."""
        self.assertEqual(envoy_word(SSL | 1048, "tls alert unknown ca"), "TLSV1_ALERT_UNKNOWN_CA")
        self.assertEqual(envoy_word(SSL | 1040, "x"), "SSLV3_ALERT_HANDSHAKE_FAILURE")

    def test_same(self) -> None:
        """What OpenSSL has another word for has Envoy's."""
        self.assertEqual(envoy_word(SSL | 101, "no suitable key share"), "NO_SHARED_GROUP")

    def test_other(self) -> None:
        """All else is OpenSSL's sentence as one word."""
        self.assertEqual(envoy_word(SSL | 134, "certificate verify failed"), "CERTIFICATE_VERIFY_FAILED")

    def test_unknown_alert(self) -> None:
        """An alert that nobody knows is OpenSSL's sentence."""
        self.assertEqual(envoy_word(SSL | 1099, "odd alert"), "ODD_ALERT")

    def test_in_text(self) -> None:
        """The text of an error has the word, its reason stays OpenSSL's."""
        error = TLSError("SSL_read", SSL | 1048, "tls alert unknown ca")
        self.assertIn(":TLSV1_ALERT_UNKNOWN_CA:", error.envoy_text)
        self.assertEqual(error.reason, "tls alert unknown ca")
