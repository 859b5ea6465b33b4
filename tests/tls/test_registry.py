"""Tests for meshd.tls.registry."""

from twisted.trial.unittest import SynchronousTestCase

from meshd.testing import FakeScope
from meshd.tls.certificates import Credential, read_credential
from meshd.tls.registry import NEVER, Registry
from meshd.tls.validation import Settings, Validation
from tests.tls.authority import DAY, Authority, Leaf, now

ROOT = Authority()


def credential(leaf: Leaf, secret: str = "") -> Credential:
    """Return a leaf as a credential."""
    made = read_credential(leaf.pem, leaf.key_pem, None, "/etc/leaf.pem")
    made.secret = secret
    return made


def gauge(name: str) -> str:
    """Return the name of a certificate's gauge."""
    return f"listener.l.ssl.certificate.{name}.expiration_unix_time_seconds"


class RegistryTests(SynchronousTestCase):
    """Contexts and what they use."""

    def setUp(self) -> None:
        self.scope = FakeScope()
        self.registry = Registry()
        self.entry = self.registry.enter(self.scope.scope("listener.l"))
        self.soon = ROOT.issue("soon", not_after=now() + 3 * DAY + DAY / 2)
        self.late = ROOT.issue("late", not_after=now() + 30 * DAY)

    def test_nothing(self) -> None:
        """Without certificates nothing ever expires."""
        self.assertEqual(self.registry.days_until_first_expires(), NEVER)
        self.assertEqual(([*self.registry], self.entry.certificates), ([self.entry], []))

    def test_shown(self) -> None:
        """What a context uses is there, with where it is from, and the staple as it is now."""
        used = credential(self.soon)
        self.entry.show([used], Validation(Settings(trusted_ca=ROOT.alone, source="ca.pem")))
        (shown,) = self.entry.certificates
        self.assertEqual((shown.path, shown.facts.subject, shown.staple), ("/etc/leaf.pem", "CN=soon", None))
        used.staple = b"staple"
        self.assertEqual(self.entry.certificates[0].staple, b"staple")
        (trusted,) = self.entry.trusted
        self.assertEqual((trusted.path, trusted.facts.subject), ("ca.pem", "CN=meshd test root"))

    def test_gauges(self) -> None:
        """Gauges tell when what has which name expires; of those without the first counts."""
        soon, late = credential(self.soon), credential(self.late)
        self.entry.show([late, soon, credential(self.late, "named")], Validation(Settings(ROOT.alone)), "val")
        expires = int(soon.facts.not_after.timestamp())
        self.assertEqual(self.scope[gauge("unnamed_cert_e3b0c442")], expires)
        self.assertEqual(self.scope[gauge("named")], int(late.facts.not_after.timestamp()))
        self.assertEqual(self.scope[gauge("val")], int(ROOT.certificate.not_valid_after_utc.timestamp()))

    def test_unnamed_authority(self) -> None:
        """One that is trusted has a name of its own if it has none."""
        self.entry.show([], Validation(Settings(trusted_ca=ROOT.alone)))
        self.assertGreater(self.scope[gauge("unnamed_ca_cert_e3b0c442")], 0)

    def test_exchanged(self) -> None:
        """The gauge follows when a certificate is exchanged."""
        self.entry.show([credential(self.soon)], None)
        self.entry.show([credential(self.late)], None)
        expires = int(self.late.certificate.not_valid_after_utc.timestamp())
        self.assertEqual(self.scope[gauge("unnamed_cert_e3b0c442")], expires)

    def test_first(self) -> None:
        """The first to expire of all is told in days; an expired one has none left."""
        self.entry.show([credential(self.late)], None)
        other = self.registry.enter(self.scope.scope("cluster.c"))
        other.show([credential(self.soon)], None)
        self.assertEqual(self.registry.days_until_first_expires(), 3)
        other.show([credential(ROOT.issue(expired=True))], None)
        self.assertEqual(self.registry.days_until_first_expires(), 0)

    def test_staple(self) -> None:
        """The first OCSP response to get old is told in seconds, 0 if there is none."""
        self.assertEqual(self.registry.seconds_until_first_staple_expires(), 0)
        begin = now()
        self.registry.clock = begin.timestamp
        one, other = credential(self.soon), credential(self.late)
        one.staple = ROOT.ocsp(self.soon, this_update=begin, next_update=begin + DAY)
        other.staple = ROOT.ocsp(self.late, this_update=begin, next_update=begin + DAY / 2)
        self.entry.show([one, other], None)
        self.assertEqual(self.registry.seconds_until_first_staple_expires(), 43200)
        other.staple = ROOT.ocsp(self.late, this_update=begin - DAY, next_update=begin - DAY / 2)
        self.assertEqual(self.registry.seconds_until_first_staple_expires(), 0)

    def test_left(self) -> None:
        """A context that is gone is not told of."""
        self.entry.show([credential(self.soon)], None)
        self.entry.leave()
        self.assertEqual(self.registry.days_until_first_expires(), NEVER)
        self.assertEqual([*self.registry], [])
