"""
Tests for meshd.tls.san.

What matches was seen with Envoy for the same certificates.
"""

from typing import Any

from envoy.extensions.transport_sockets.tls.v3.common_pb2 import SubjectAltNameMatcher
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from google.protobuf.json_format import ParseDict
from twisted.trial.unittest import SynchronousTestCase

from meshd.plugin import ConfigError
from meshd.tls.facts import CertificateFacts
from meshd.tls.san import host_matches, matcher, untyped_matchers
from tests.tls.authority import Authority

ROOT = Authority()


def facts(common_name: str = "cn.example", **names: Any) -> CertificateFacts:
    """Return the facts of a certificate with these names."""
    return CertificateFacts(ROOT.issue(common_name, **names).der)


GOOD = facts(
    dns=["good.example"],
    uri=["spiffe://td/ns/a"],
    ip=["10.0.0.1", "::1"],
    email=["a@b"],
    other=[("1.2.3", b"\x0c\x02hi")],
)


def matches(certificate: CertificateFacts, kind: str, oid: str = "", **pattern: Any) -> bool:
    """Whether a matcher of that kind likes a certificate."""
    message = {"san_type": kind, "matcher": pattern, **({"oid": oid} if oid else {})}
    return matcher(ParseDict(message, SubjectAltNameMatcher())).matches(certificate)


class MatcherTests(SynchronousTestCase):
    """Typed matchers."""

    def test_types(self) -> None:
        """A name is found among those of its type, and no other."""
        patterns = {
            "DNS": "good.example",
            "URI": "spiffe://td/ns/a",
            "IP_ADDRESS": "10.0.0.1",
            "EMAIL": "a@b",
            "OTHER_NAME": "hi",
        }
        for kind, pattern in patterns.items():
            self.assertTrue(matches(GOOD, kind, "1.2.3", exact=pattern), kind)
            for other in set(patterns) - {kind}:
                self.assertFalse(matches(GOOD, other, "1.2.3", exact=pattern), (kind, other))

    def test_patterns(self) -> None:
        """All kinds of patterns of a StringMatcher are there; a regular expression matches the whole."""
        self.assertTrue(matches(GOOD, "URI", prefix="spiffe://td/"))
        self.assertTrue(matches(GOOD, "DNS", suffix=".example"))
        self.assertTrue(matches(GOOD, "URI", contains="/ns/"))
        self.assertTrue(matches(GOOD, "DNS", safe_regex={"regex": "go+d.*"}))
        self.assertFalse(matches(GOOD, "DNS", safe_regex={"regex": "good"}))
        self.assertTrue(matches(GOOD, "URI", prefix="SPIFFE", ignore_case=True))
        self.assertFalse(matches(GOOD, "DNS", prefix="GOOD"))

    def test_other_name(self) -> None:
        """A name of another type is found by its OID."""
        self.assertFalse(matches(GOOD, "OTHER_NAME", "1.2.4", exact="hi"))

    def test_bad_oid(self) -> None:
        """An OID that is none, or not there, is refused in Envoy's words."""
        for oid in ("", "abc", "1", "1.2.", "3.1"):
            error = self.assertRaises(ConfigError, matches, GOOD, "OTHER_NAME", oid, exact="hi")
            self.assertEqual(error.message, f"Failed to create SAN matcher for OTHER_NAME with OID: {oid}")
            self.assertEqual(error.path, ("oid",))

    def test_bad_expression(self) -> None:
        """A regular expression that is none is refused."""
        error = self.assertRaises(ConfigError, matches, GOOD, "DNS", safe_regex={"regex": "("})
        self.assertEqual(error.path, ("matcher", "safe_regex", "regex"))

    def test_untyped(self) -> None:
        """The matcher of old looks at names of four types."""
        for pattern in ("GOOD.example", "spiffe://td/ns/a", "::1", "a@b"):
            found = untyped_matchers(StringMatcher(exact=pattern))
            self.assertTrue(any(each.matches(GOOD) for each in found), pattern)
        self.assertFalse(any(each.matches(GOOD) for each in untyped_matchers(StringMatcher(exact="hi"))))


class WildcardTests(SynchronousTestCase):
    """An exact DNS name, against certificates with wildcards."""

    def found(self, name: str, *dns: str) -> bool:
        """Whether a certificate for these DNS names is one for that name, as matchers have it."""
        return matches(facts(dns=dns), "DNS", exact=name)

    def test_one_label(self) -> None:
        """A wildcard stands for one label, or a part of one."""
        self.assertTrue(self.found("a.wild.example", "*.wild.example"))
        self.assertTrue(self.found("A.WILD.example", "*.wild.example"))
        self.assertTrue(self.found("*.wild.example", "*.wild.example"))
        self.assertTrue(self.found("foo.wild.example", "f*.wild.example"))
        self.assertTrue(self.found("foo.wild.example", "f*o.wild.example"))
        self.assertTrue(self.found("a.example", "*.example"))

    def test_no_more(self) -> None:
        """It stands for no dot, for nothing twice, and not for a whole name."""
        self.assertFalse(self.found("a.b.wild.example", "*.wild.example"))
        self.assertFalse(self.found("wild.example", "*.wild.example"))
        self.assertFalse(self.found("fo.wild.example", "fo*o.wild.example"))
        self.assertFalse(self.found("foo.wild.example", "f*o*.wild.example"))
        self.assertFalse(self.found("a.b.example", "a.*.example"))
        self.assertFalse(self.found("a", "*"))

    def test_internationalized(self) -> None:
        """It is no part of an internationalized label."""
        self.assertFalse(self.found("xn--a.example", "xn--*.example"))

    def test_common_name(self) -> None:
        """The common name is no DNS name."""
        self.assertFalse(matches(facts("cn.example"), "DNS", exact="cn.example"))


class HostTests(SynchronousTestCase):
    """The host that a certificate is for."""

    def test_names(self) -> None:
        """A DNS name counts, with a wildcard for its first label."""
        certificate = facts(dns=["good.example", "*.wild.example"])
        self.assertTrue(host_matches(certificate, "GOOD.example"))
        self.assertTrue(host_matches(certificate, "a.wild.example"))
        self.assertFalse(host_matches(certificate, "a.b.wild.example"))
        self.assertFalse(host_matches(certificate, "other.example"))

    def test_internationalized(self) -> None:
        """A name in other letters is that of its ASCII form."""
        self.assertTrue(host_matches(facts(dns=["xn--bcher-kva.example"]), "bücher.example"))

    def test_strict(self) -> None:
        """Wildcards that are a part of a label, or for all of a top-level domain, count for nothing."""
        certificate = facts(dns=["go*.some.example", "*.example", "more.example"])
        self.assertFalse(host_matches(certificate, "good.some.example"))
        self.assertFalse(host_matches(certificate, "good.example"))
        self.assertTrue(host_matches(certificate, "more.example"))

    def test_addresses(self) -> None:
        """An IP address counts as such only."""
        self.assertTrue(host_matches(GOOD, "10.0.0.1"))
        self.assertTrue(host_matches(GOOD, "0:0::1"))
        self.assertFalse(host_matches(GOOD, "10.0.0.2"))
        self.assertFalse(host_matches(facts(dns=["10.0.0.1"]), "10.0.0.1"))

    def test_common_name(self) -> None:
        """The common name counts where it is asked for, and there are no DNS names."""
        self.assertFalse(host_matches(facts("cn.example"), "cn.example"))
        self.assertTrue(host_matches(facts("cn.example"), "cn.example", by_cn=True))
        self.assertFalse(host_matches(facts("cn.example", dns=["b.example"]), "cn.example", by_cn=True))

    def test_rubbish(self) -> None:
        """A host that is no name is nobody's."""
        for host in ("", " ", "a_b c", "ü" * 80, "."):
            self.assertFalse(host_matches(GOOD, host), host)
