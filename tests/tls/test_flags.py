"""Tests for meshd.tls.flags."""

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from meshd.tls import openssl
from meshd.tls.flags import OPTIONS


class OptionsTests(SynchronousTestCase):
    """The names of SSL_OP_*."""

    def test_numbers(self) -> None:
        """Each has the number that pyOpenSSL knows it by."""
        known = {name[3:]: value for name, value in vars(SSL).items() if name.startswith("OP_")}
        both = set(known) & set(OPTIONS)
        self.assertGreater(len(both), 15)
        for name in both - {"ALL"}:
            self.assertEqual(int(known[name]), OPTIONS[name], name)

    def test_set(self) -> None:
        """What is set can be read back."""
        context = SSL.Context(SSL.TLS_METHOD)
        self.assertFalse(openssl.get_options(context) & OPTIONS["NO_TICKET"])
        openssl.set_options(context, OPTIONS["NO_TICKET"])
        self.assertTrue(openssl.get_options(context) & OPTIONS["NO_TICKET"])
