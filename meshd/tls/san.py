"""
What the alternative names of a peer's certificate are held against.

matcher() reads Envoy's SubjectAltNameMatcher; host_matches() holds a certificate
against the name of a host by the rules of RFC 6125, which service-identity has.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from typing import Any

from service_identity.exceptions import CertificateError
from service_identity.hazmat import DNS_ID, DNSPattern

from meshd.config.plain import string_matcher
from meshd.plugin import ConfigError
from meshd.tls.facts import CertificateFacts

# SubjectAltNameMatcher.SanType.
EMAIL, DNS, URI, IP_ADDRESS, OTHER_NAME = 1, 2, 3, 4, 5

#: What each type of name is called by CertificateFacts.
_NAMES: dict[int, Callable[[CertificateFacts], Iterable[str]]] = {
    EMAIL: lambda facts: facts.email_sans,
    DNS: lambda facts: facts.dns_sans,
    URI: lambda facts: facts.uri_sans,
    IP_ADDRESS: lambda facts: facts.ip_sans,
}

_OID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+")


class SanMatcher:
    """Whether any of the names that a certificate has of one type is as wanted."""

    def __init__(
        self, names: Callable[[CertificateFacts], Iterable[str]], wanted: Callable[[str], bool]
    ) -> None:
        self._names = names
        self._wanted = wanted

    def matches(self, facts: CertificateFacts) -> bool:
        """Whether the certificate has such a name."""
        return any(map(self._wanted, self._names(facts)))


def matcher(message: Any) -> SanMatcher:
    """Read a SubjectAltNameMatcher.  Raise ConfigError."""
    try:
        return _typed(message.san_type, message.matcher, message.oid)
    except ConfigError as error:
        raise error.under("matcher") if error.path != ("oid",) else error from None


def untyped_matchers(message: Any) -> list[SanMatcher]:
    """Read a StringMatcher of match_subject_alt_names: names of four types may match.  Raise ConfigError."""
    return [_typed(kind, message, "") for kind in (DNS, URI, EMAIL, IP_ADDRESS)]


def _typed(kind: int, message: Any, oid: str) -> SanMatcher:
    if kind == OTHER_NAME:
        if not _OID.fullmatch(oid):
            raise ConfigError(f"Failed to create SAN matcher for OTHER_NAME with OID: {oid}", "oid")
        return SanMatcher(
            lambda facts: (text for each, text in facts.other_names if each == oid), string_matcher(message)
        )
    if kind == DNS and message.WhichOneof("match_pattern") == "exact":
        # As in Envoy it is the certificate that may have a wildcard, and case never counts.
        name = message.exact
        return SanMatcher(_NAMES[DNS], lambda pattern: dns_name_matches(name, pattern))
    return SanMatcher(_NAMES[kind], string_matcher(message))


def dns_name_matches(name: str, pattern: str) -> bool:
    """
    Whether a host's name is one that a certificate's DNS name, maybe with a wildcard, stands for.

    The wildcard may be part of the leftmost label (``f*.example``), but for an
    internationalized one, and stands for no dot (RFC 6125, 6.4.3), as Envoy has it.
    """
    name, pattern = name.lower(), pattern.lower()
    if name == pattern:
        return True
    label, dot, parent = pattern.partition(".")
    first, _, rest = name.partition(".")
    if not dot or label.count("*") != 1 or "*" in parent or rest != parent or label.startswith("xn--"):
        return False
    before, _, after = label.partition("*")
    return len(first) >= len(before) + len(after) and first.startswith(before) and first.endswith(after)


def host_matches(facts: CertificateFacts, host: str, by_cn: bool = False) -> bool:
    """
    Whether a certificate is one of host: a DNS name or an IP address.

    With by_cn the common name counts too if there are no DNS names, as OpenSSL has it.
    """
    address = ip_address(host)
    if address is not None:
        return str(address) in facts.ip_sans
    try:
        wanted = DNS_ID(host)
    except ValueError:  # of idna, too
        return False
    names: Iterable[str] = facts.dns_sans
    if by_cn and not facts.dns_sans:
        names = facts.subject_cns
    return any(wanted.verify(pattern) for pattern in map(_pattern, names) if pattern is not None)


def ip_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the IP address that text is, None if it is none."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _pattern(name: str) -> DNSPattern | None:
    """Return a certificate's name as service-identity has it, None if it is none that can be matched."""
    try:
        return DNSPattern.from_bytes(name.encode("utf-8"))
    except CertificateError:
        return None
