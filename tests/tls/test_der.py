"""Tests for meshd.tls.der."""

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from meshd.tls import der
from tests.tls.authority import Authority, public_key_der


class ReadTests(SynchronousTestCase):
    """Elements of DER."""

    def test_short(self) -> None:
        """An element has a tag, its content and all of it."""
        self.assertEqual(der.read(b"\x0c\x02hi and more"), (der.UTF8, b"hi", b"\x0c\x02hi"))

    def test_long(self) -> None:
        """A length may take several bytes."""
        content = bytes(300)
        encoded = b"\x04\x82\x01\x2c" + content
        self.assertEqual(der.read(encoded), (der.OCTET_STRING, content, encoded))

    def test_several(self) -> None:
        """Elements follow each other."""
        self.assertEqual(
            [each.tag for each in der.elements(b"\x05\x00\x02\x01\x07")], [der.NULL, der.INTEGER]
        )

    def test_too_short(self) -> None:
        """What ends too early, or has a length without end, is not DER."""
        for data in (b"", b"\x04", b"\x04\x03ab", b"\x04\x82\x01", b"\x04\x80ab", b"\x04\x85\0\0\0\0\1a"):
            with self.assertRaises(ValueError):
                der.read(data)

    @given(st.binary(max_size=80))
    def test_rubbish(self, data: bytes) -> None:
        """Rubbish raises ValueError, or is taken apart and is all there."""
        try:
            found = list(der.elements(data))
        except ValueError:
            return
        self.assertEqual(b"".join(each.encoded for each in found), data)

    def test_object(self) -> None:
        """An object identifier is told in numbers, large ones too."""
        self.assertEqual(der.dotted(bytes.fromhex("550403")), "2.5.4.3")
        self.assertEqual(der.dotted(bytes.fromhex("2a864886f70d010901")), "1.2.840.113549.1.9.1")
        self.assertEqual(der.dotted(bytes.fromhex("883703")), "2.999.3")


class CertificateTests(SynchronousTestCase):
    """Parts of certificates."""

    def test_parts(self) -> None:
        """Serial number, names and key are found where they stand."""
        root = Authority("the root")
        leaf = root.issue("the leaf", serial=0x1234, kind="ed25519")
        parts = der.certificate_parts(leaf.der)
        self.assertEqual(parts.serial, 0x1234)
        self.assertEqual(parts.issuer, root.certificate.subject.public_bytes())
        self.assertEqual(parts.subject, leaf.certificate.subject.public_bytes())
        self.assertEqual(parts.public_key_info, public_key_der(leaf))
        key = leaf.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.assertEqual(parts.public_key_info, key)

    def test_none(self) -> None:
        """What is no certificate raises ValueError."""
        for data in (b"", b"\x30\x00", b"\x30\x02\x30\x00", b"nonsense"):
            with self.assertRaises(ValueError):
                der.certificate_parts(data)
