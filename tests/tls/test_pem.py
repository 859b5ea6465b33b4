"""Tests for meshd.tls.pem."""

import base64

from twisted.trial.unittest import SynchronousTestCase

from meshd.tls import pem
from tests.tls.authority import Authority

ROOT = Authority()


class BlockTests(SynchronousTestCase):
    """Blocks among other text."""

    def test_blocks(self) -> None:
        """Blocks are found by their labels, in order."""
        data = b"text\n" + ROOT.alone + b"more\n" + ROOT.key_pem + ROOT.crl()
        found = list(pem.blocks(data))
        self.assertEqual([each.label for each in found], ["CERTIFICATE", "PRIVATE KEY", pem.CRL])
        self.assertEqual(found[0].der, ROOT.der)
        self.assertEqual(found[1].encoded, ROOT.key_pem)

    def test_windows(self) -> None:
        """Lines may end as in Windows."""
        self.assertEqual(next(pem.blocks(ROOT.alone.replace(b"\n", b"\r\n"))).der, ROOT.der)

    def test_trusted(self) -> None:
        """What OpenSSL adds to a trusted certificate is not part of it."""
        content = base64.encodebytes(ROOT.der + b"\x30\x00")
        data = b"-----BEGIN TRUSTED CERTIFICATE-----\n" + content + b"-----END TRUSTED CERTIFICATE-----\n"
        self.assertEqual(next(pem.blocks(data)).der, ROOT.der)

    def test_none(self) -> None:
        """There may be none; one without its end is none."""
        self.assertEqual(list(pem.blocks(b"-----BEGIN CERTIFICATE-----\nMIIB\n")), [])

    def test_damaged(self) -> None:
        """A block that is not base64, or not DER, raises ValueError."""
        for content in (b"MII", b"\xff", b"MIIA"):
            data = b"-----BEGIN X509 CRL-----\n" + content + b"\n-----END X509 CRL-----"
            block = next(pem.blocks(data))
            with self.assertRaises(ValueError):
                _ = block.der
