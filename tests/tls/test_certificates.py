"""Tests for meshd.tls.certificates."""

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from meshd.tls.certificates import Credential, CredentialError, read_credential, read_key, read_pkcs12
from tests.tls.authority import Authority, Leaf, key_pem

ROOT = Authority()
BETWEEN = ROOT.intermediate()


def read(leaf: Leaf) -> Credential:
    """Read a leaf's own files."""
    return read_credential(leaf.pem, leaf.key_pem, None, "<inline>")


class Case(SynchronousTestCase):
    """Reads what is wrong."""

    def assert_fails(self, text: str, function: Callable[..., object], *args: object) -> None:
        """Reading it raises CredentialError with exactly that text."""
        error = self.assertRaises(CredentialError, function, *args)
        self.assertEqual(str(error), text)


class PemTests(Case):
    """Certificate and key as PEM."""

    def test_chain(self) -> None:
        """The first certificate is the leaf, the others its intermediates."""
        leaf = BETWEEN.issue("good", dns=["good.example"])
        credential = read(leaf)
        self.assertEqual(credential.certificate, leaf.certificate)
        self.assertEqual(credential.chain, (BETWEEN.certificate,))
        self.assertEqual(credential.facts.dns_sans, ("good.example",))
        self.assertEqual((credential.name, credential.staple), ("<inline>", None))
        self.assertEqual(credential.key.private_numbers(), leaf.key.private_numbers())

    def test_kinds(self) -> None:
        """The kind says what a key signs with."""
        kinds = {
            "rsa": "rsa",
            "p256": "ecdsa-p256",
            "p384": "ecdsa-p384",
            "p521": "ecdsa-p521",
            "ed25519": "ed25519",
            "ed448": "ed448",
        }
        self.assertEqual({kind: read(ROOT.issue(kind=kind)).kind for kind in kinds}, kinds)

    def test_one_file(self) -> None:
        """Key and certificates may lie in one file, in any order, with other text between."""
        leaf = BETWEEN.issue()
        both = b"a key:\n" + leaf.key_pem + b"certificates:\n" + leaf.pem
        self.assertEqual(read_credential(both, both, None, "it").chain, (BETWEEN.certificate,))

    def test_parameters_before_the_key(self) -> None:
        """What `openssl ecparam -genkey` writes before a key is passed over."""
        parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
        leaf = ROOT.issue()
        self.assertIsNotNone(read_credential(leaf.pem, parameters + leaf.key_pem, None, "it").key)

    def test_password(self) -> None:
        """An encrypted key is read with its password; one that is not encrypted needs none."""
        leaf = ROOT.issue()
        self.assertIsNotNone(read_credential(leaf.pem, leaf.locked_key("secret"), b"secret", "it").key)
        self.assertIsNotNone(read_credential(leaf.pem, leaf.key_pem, b"secret", "it").key)

    def test_no_password(self) -> None:
        """An encrypted key without a password is refused."""
        locked = ROOT.issue().locked_key("secret")
        text = "Failed to load private key from k, Cause: it is encrypted, and there is no password"
        self.assert_fails(text, read_key, locked, None, "k")
        self.assert_fails(text, read_key, locked, b"", "k")

    def test_wrong_password(self) -> None:
        """An encrypted key with the password of another is refused."""
        text = "Failed to load private key from k, Cause: the password is wrong, or the key is damaged"
        self.assert_fails(text, read_key, ROOT.issue().locked_key("secret"), b"other", "k")

    def test_mismatch(self) -> None:
        """A key that is not the certificate's is refused, with the certificate's name."""
        text = (
            "Failed to load private key from it, Cause: KEY_VALUES_MISMATCH: it is not the key of "
            "the certificate CN=mine"
        )
        other = ROOT.issue().key_pem
        self.assert_fails(text, read_credential, ROOT.issue("mine").pem, other, None, "it")

    def test_other_kind_of_key(self) -> None:
        """A key of another algorithm than the certificate's does not belong to it either."""
        with self.assertRaisesRegex(CredentialError, "KEY_VALUES_MISMATCH"):
            read_credential(ROOT.issue().pem, ROOT.issue(kind="ed25519").key_pem, None, "it")

    def test_no_key(self) -> None:
        """Bytes without a key are refused."""
        text = "Failed to load private key from /etc/key, Cause: there is no private key in it"
        self.assert_fails(text, read_key, b"nonsense", None, "/etc/key")

    def test_damaged_key(self) -> None:
        """A key that cannot be parsed is refused."""
        damaged = ROOT.issue().key_pem.replace(b"M", b"Q", 1)
        with self.assertRaisesRegex(CredentialError, "^Failed to load private key from it, Cause: [a-z]"):
            read_key(damaged, None, "it")

    def test_no_certificate(self) -> None:
        """Bytes without a certificate are refused, and so is a chain that is damaged further on."""
        leaf = ROOT.issue()
        damaged = leaf.pem + b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
        for chain in (b"", b"nonsense", damaged):
            with self.assertRaisesRegex(CredentialError, "^Failed to load certificate chain from it: [a-z]"):
                read_credential(chain, leaf.key_pem, None, "it")

    def test_short_rsa(self) -> None:
        """An RSA key that is shorter than Envoy takes is refused, unless a shorter one is allowed."""
        leaf = ROOT.issue(kind="rsa1024")
        text = (
            "Failed to load certificate chain from it, only RSA certificates with 2048-bit or larger "
            "keys are supported"
        )
        self.assert_fails(text, read_credential, leaf.pem, leaf.key_pem, None, "it")
        self.assertEqual(read_credential(leaf.pem, leaf.key_pem, None, "it", 1024).kind, "rsa")

    def test_traditional_forms(self) -> None:
        """Keys in the forms of old (PKCS#1, SEC 1) are read, encrypted ones too."""
        from cryptography.hazmat.primitives.serialization import PrivateFormat

        for kind in ("rsa", "p256"):
            leaf = ROOT.issue(kind=kind)
            old = key_pem(leaf.key, "secret", PrivateFormat.TraditionalOpenSSL)
            self.assertIn(b"Proc-Type: 4,ENCRYPTED", old)
            self.assertEqual(
                read_key(old, b"secret", "it").private_numbers(), leaf.key.private_numbers(), kind
            )


class Pkcs12Tests(Case):
    """All in one PKCS#12 file."""

    def test_read(self) -> None:
        """Certificate, key and intermediates are found."""
        leaf = BETWEEN.issue()
        credential = read_pkcs12(leaf.pkcs12("secret"), b"secret", "it.p12")
        self.assertEqual(credential.certificate, leaf.certificate)
        self.assertEqual(credential.chain, (BETWEEN.certificate,))
        self.assertEqual(credential.key.private_numbers(), leaf.key.private_numbers())

    def test_no_password(self) -> None:
        """It may have no password."""
        leaf = ROOT.issue()
        self.assertEqual(read_pkcs12(leaf.pkcs12(), None, "it").certificate, leaf.certificate)

    def test_wrong(self) -> None:
        """A wrong password, or what is no PKCS#12, is refused."""
        with self.assertRaisesRegex(CredentialError, "^Failed to load pkcs12 from it: invalid password"):
            read_pkcs12(ROOT.issue().pkcs12("secret"), b"other", "it")
        with self.assertRaisesRegex(CredentialError, "^Failed to load pkcs12 from it: could not"):
            read_pkcs12(b"rubbish", b"other", "it")


class NameTests(SynchronousTestCase):
    """What a certificate says of its use."""

    def test_server_names(self) -> None:
        """A certificate serves its DNS names; its common name only if it has no alternative names."""
        self.assertEqual(
            read(ROOT.issue("cn", dns=["a.example", "*.b.example"])).server_names,
            ("a.example", "*.b.example"),
        )
        self.assertEqual(read(ROOT.issue("cn.example")).server_names, ("cn.example",))
        self.assertEqual(read(ROOT.issue("cn.example", ip=["10.0.0.1"])).server_names, ())

    def test_must_staple(self) -> None:
        """A certificate may demand that a server staples."""
        self.assertTrue(read(ROOT.issue(must_staple=True)).must_staple)
        self.assertFalse(read(ROOT.issue()).must_staple)
