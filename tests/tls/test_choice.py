"""Tests for meshd.tls.choice."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from meshd.tls.choice import Choice, can_check
from tests.tls.authority import Authority
from tests.tls.pair import credential

ROOT = Authority()
NEW, OLD = (0x0304, 0x0303), (0x0303,)
ECDSA_SUITE, RSA_SUITE = 0xC02B, 0xC02F
P256, RSA_PSS, ED25519 = 0x0403, 0x0804, 0x0807


def hello(name: str = "", **other: Any) -> Any:
    """Return a ClientHello of a client that can do what is usual today."""
    usual: dict[str, Any] = {
        "versions": NEW,
        "signature_algorithms": (P256, 0x0503, RSA_PSS),
        "groups": (29, 23, 24),
        "cipher_suites": (ECDSA_SUITE, RSA_SUITE),
    }
    return SimpleNamespace(server_name=name, **{**usual, **other})


class CanCheckTests(SynchronousTestCase):
    """What a client can check."""

    def test_rsa(self) -> None:
        """Signatures by RSA all can."""
        self.assertTrue(can_check(hello(signature_algorithms=()), "rsa"))

    def test_signature_scheme(self) -> None:
        """Those of another key only who says so."""
        for kind, scheme in (("ecdsa-p256", P256), ("ecdsa-p384", 0x0503), ("ed25519", ED25519)):
            self.assertTrue(can_check(hello(signature_algorithms=(RSA_PSS, scheme)), kind))
            self.assertFalse(can_check(hello(signature_algorithms=(RSA_PSS,)), kind))

    def test_before_1_3(self) -> None:
        """With TLS 1.2 a group and a suite are needed too."""
        self.assertTrue(can_check(hello(versions=OLD), "ecdsa-p256"))
        self.assertFalse(can_check(hello(versions=OLD, groups=(24,)), "ecdsa-p256"))
        self.assertFalse(can_check(hello(versions=OLD, cipher_suites=(RSA_SUITE,)), "ecdsa-p256"))
        self.assertTrue(can_check(hello(groups=(), cipher_suites=(0x1301,)), "ecdsa-p256"))


class ChoiceTests(SynchronousTestCase):
    """A certificate of each kind for one name, one for another, and one for a wildcard."""

    def choice(self, *certificates: tuple[str, str], full_scan: bool = False) -> Choice:
        """Return a choice among certificates of (kind, name)."""
        made = [ROOT.issue(name, dns=[name], kind=kind) for kind, name in certificates]
        candidates = [(credential(each), label) for each, label in zip(made, certificates, strict=True)]
        return Choice(candidates, full_scan)

    def setUp(self) -> None:
        self.certificates = (("rsa", "a.example"), ("ecdsa", "a.example"), ("rsa", "b.example"))

    def test_by_name(self) -> None:
        """The name that is asked for decides, in any case."""
        choice = self.choice(*self.certificates)
        self.assertEqual(choice.choose(hello("b.example")), ("rsa", "b.example"))
        self.assertEqual(choice.choose(hello("B.Example")), ("rsa", "b.example"))

    def test_ecdsa_first(self) -> None:
        """Of two for a name it is that with ECDSA, if the client can check it."""
        choice = self.choice(*self.certificates)
        self.assertEqual(choice.choose(hello("a.example")), ("ecdsa", "a.example"))
        self.assertEqual(
            choice.choose(hello("a.example", signature_algorithms=(RSA_PSS,))), ("rsa", "a.example")
        )

    def test_of_no_use(self) -> None:
        """A certificate that the client cannot check is none for its name: the first serves then."""
        choice = self.choice(("rsa", "a.example"), ("ecdsa", "b.example"))
        found = choice.choose(hello("b.example", signature_algorithms=(RSA_PSS,)))
        self.assertEqual(found, ("rsa", "a.example"))

    def test_wildcard(self) -> None:
        """A wildcard stands for one label; the name itself goes before it."""
        choice = self.choice(("rsa", "x.example"), ("rsa", "*.wild.example"), ("rsa", "own.wild.example"))
        self.assertEqual(choice.choose(hello("any.wild.example")), ("rsa", "*.wild.example"))
        self.assertEqual(choice.choose(hello("own.wild.example")), ("rsa", "own.wild.example"))
        for name in ("two.labels.wild.example", "wild.example"):
            self.assertEqual(choice.choose(hello(name)), ("rsa", "x.example"))

    def test_no_match(self) -> None:
        """Without a match it is the first; with full_scan the best that the client can check."""
        choice = self.choice(("rsa", "x.example"), ("ecdsa", "y.example"))
        self.assertEqual(choice.choose(hello("other.example")), ("rsa", "x.example"))
        choice = self.choice(("rsa", "x.example"), ("ecdsa", "y.example"), full_scan=True)
        self.assertEqual(choice.choose(hello("other.example")), ("ecdsa", "y.example"))
        old = hello("other.example", signature_algorithms=(RSA_PSS,))
        self.assertEqual(choice.choose(old), ("rsa", "x.example"))

    def test_no_name(self) -> None:
        """A client that asks for no name has the best that it can check, else the first."""
        choice = self.choice(("ed25519", "x.example"), ("ecdsa", "y.example"))
        self.assertEqual(choice.choose(hello()), ("ecdsa", "y.example"))
        self.assertEqual(choice.choose(hello(signature_algorithms=())), ("ed25519", "x.example"))
        self.assertEqual(choice.first, ("ed25519", "x.example"))
