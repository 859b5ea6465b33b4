"""
Tests for meshd.tls.names.

What is expected was seen in Envoy's access log for such certificates.
"""

from cryptography import x509
from cryptography.x509.name import _ASN1Type
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from meshd.tls.names import name_text, other_name_text


def part(oid: str, value: str, kind: _ASN1Type | None = None) -> x509.NameAttribute[str]:
    """Return one attribute of a name."""
    return x509.NameAttribute(x509.ObjectIdentifier(oid), value, _type=kind)


def text(*parts: x509.NameAttribute[str]) -> str:
    """Return the text of the name that has these parts."""
    return name_text(x509.Name(parts).public_bytes())


class DistinguishedNameTests(SynchronousTestCase):
    """Names of owners and issuers."""

    def test_order(self) -> None:
        """The last part comes first."""
        self.assertEqual(
            text(part("2.5.4.6", "DE"), part("2.5.4.10", "O"), part("2.5.4.3", "me")), "CN=me,O=O,C=DE"
        )

    def test_several_in_one(self) -> None:
        """Parts of one step are joined by +."""
        step = x509.RelativeDistinguishedName([part("2.5.4.3", "one"), part("2.5.4.11", "two")])
        self.assertEqual(name_text(x509.Name([step]).public_bytes()), "OU=two+CN=one")

    def test_empty(self) -> None:
        """A name may have no parts."""
        self.assertEqual(text(), "")

    def test_escapes(self) -> None:
        """Special characters are escaped, control characters and all above ASCII are hexadecimal."""
        self.assertEqual(
            text(part("2.5.4.10", 'a,b+c"d\\e<f>g;h=i\x01')), 'O=a\\,b\\+c\\"d\\\\e\\<f\\>g\\;h=i\\01'
        )
        self.assertEqual(text(part("2.5.4.7", " #L ")), "L=\\ #L\\ ")
        self.assertEqual(text(part("2.5.4.7", "#L")), "L=\\#L")
        self.assertEqual(text(part("2.5.4.8", "Süd")), "ST=S\\C3\\BCd")
        self.assertEqual(text(part("2.5.4.3", "bmp€", _ASN1Type.BMPString)), "CN=bmp\\E2\\82\\AC")

    def test_names_of_parts(self) -> None:
        """Parts have the short names of BoringSSL."""
        names = {
            "2.5.4.4": "SN",
            "2.5.4.5": "serialNumber",
            "2.5.4.9": "street",
            "2.5.4.17": "postalCode",
            "2.5.4.42": "GN",
            "2.5.4.46": "dnQualifier",
            "2.5.4.54": "dmdName",
            "2.5.4.65": "pseudonym",
            "0.9.2342.19200300.100.1.1": "UID",
            "0.9.2342.19200300.100.1.25": "DC",
            "1.2.840.113549.1.9.1": "emailAddress",
        }
        for oid, name in names.items():
            self.assertEqual(text(part(oid, "x")), f"{name}=x")

    def test_unknown_part(self) -> None:
        """A part without a name is told by its number, and its DER."""
        self.assertEqual(text(part("1.2.3.4.5", "foo")), "1.2.3.4.5=#0C03666F6F")
        self.assertEqual(text(part("2.5.4.97", "orgid")), "2.5.4.97=#0C056F72676964")

    @given(st.binary(max_size=60))
    def test_rubbish(self, data: bytes) -> None:
        """What is no name raises ValueError, or is told somehow."""
        try:
            name_text(data)
        except ValueError:
            pass


class OtherNameTests(SynchronousTestCase):
    """Alternative names of other types."""

    def test_kinds(self) -> None:
        """Each type of value is told as Envoy tells it."""
        told = {
            b"\x0c\x05h\xc3\xa9y!": "héy!",
            b"\x01\x01\xff": "true",
            b"\x02\x02\x01\x00": "256",
            b"\x02\x01\xff": "-1",
            b"\x0a\x01\x07": "7",
            b"\x06\x03\x2a\x03\x04": "1.2.3.4",
            b"\x04\x02ab": "ab",
            b"\x16\x02ia": "ia",
            b"\x1e\x04\0b\0m": "bm",
            b"\x30\x04\x0c\x02xy": "0\x04\x0c\x02xy",
            b"\x05\x00": "",
            b"\x03\x02\x00A": "A",
            b"\x17\x0d260101000000Z": "260101000000Z",
            b"\x12\x011": "",
            b"\xa0\x03\x0c\x01c": "",
        }
        self.assertEqual({value: other_name_text(value) for value in told}, told)

    @given(st.binary(max_size=60))
    def test_rubbish(self, data: bytes) -> None:
        """Any bytes have a text, which is fit to be logged."""
        other_name_text(data).encode("utf-8")
