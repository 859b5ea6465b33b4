"""Tests for meshd.tls.options."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from meshd.config.records import read_record
from meshd.plugin import ConfigError
from meshd.tls.flags import OPTIONS
from meshd.tls.options import ALWAYS, TlsOptions


def read(**values: Any) -> TlsOptions:
    """Read options as a config gives them."""
    options: TlsOptions = read_record(TlsOptions, values)
    return options


class OptionsTests(SynchronousTestCase):
    """What a config may say."""

    def test_nothing(self) -> None:
        """Nothing at all is nothing."""
        self.assertEqual(read(), TlsOptions())
        self.assertEqual(TlsOptions().bits, 0)

    def test_bits(self) -> None:
        """Options add up in their order; one with a minus takes an earlier one back."""
        options = read(openssl_options=["NO_TICKET", "NO_SSLv3", "-NO_TICKET"])
        self.assertEqual(options.bits, OPTIONS["NO_SSLv3"])
        self.assertEqual(read(openssl_options=["-NO_TICKET", "NO_TICKET"]).bits, OPTIONS["NO_TICKET"])

    def test_refused(self) -> None:
        """What OpenSSL does not know, or will not let go, is refused by name."""
        for field, value, text in (
            ("openssl_options", ["NO_SUCH"], "no option 'NO_SUCH'"),
            *(("openssl_options", [f"-{name}"], "cannot be cleared") for name in ALWAYS),
            ("security_level", 6, "security_level"),
            ("min_version", "TLSv1.4", "no version"),
            ("max_version", "tls1.2", "no version"),
            ("request_certificate", "maybe", "maybe"),
            ("no_such_field", 1, "no_such_field"),
        ):
            error = self.assertRaises(ConfigError, read, **{field: value})
            self.assertIn(text, error.message)
            self.assertEqual(error.path[0], field)

    def test_secrets_are_not_shown(self) -> None:
        """A pre-shared key is in no text of the options."""
        self.assertNotIn("0123456789abcdef", repr(read(psk={"me": "0123456789abcdef"})))

    def test_always(self) -> None:
        """What is said to be set always is, in a new context."""
        bits = SSL._lib.SSL_CTX_get_options(SSL.Context(SSL.TLS_METHOD)._context)  # type: ignore[attr-defined]
        for name in ALWAYS:
            self.assertTrue(bits & OPTIONS[name], name)
