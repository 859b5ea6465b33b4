"""
Which of several certificates serves a client, by what its ClientHello says.

Envoy's rule (DownstreamTlsContext, tls_certificates): those whose names match
the SNI go first, exactly before by wildcard; among them one with an ECDSA key
if the client can check that, else the first with an RSA key.  If no name
matches, or the client can use none of those, it is the first certificate of
all, or with full_scan the first that the client can use.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from meshd.tls.certificates import Credential

TLS_1_3 = 0x0304
#: Signature scheme and group (RFC 8446, 4.2.3 and 4.2.7) that a client must know, by kind of key.
NEEDS = {
    "ecdsa-p256": (0x0403, 23),
    "ecdsa-p384": (0x0503, 24),
    "ecdsa-p521": (0x0603, 25),
    "ed25519": (0x0807, None),
    "ed448": (0x0808, None),
}
#: ECDHE_ECDSA suites of TLS 1.2 (RFC 5289, 7251, 7905, 8422).
ECDSA_SUITES = frozenset(
    (0xC02B, 0xC02C, 0xCCA9, 0xC009, 0xC00A, 0xC023, 0xC024, 0xC0AC, 0xC0AD, 0xC0AE, 0xC0AF)
)


def can_check(hello: Any, kind: str) -> bool:
    """Whether the client can check a signature of this kind of key (Credential.kind)."""
    if kind not in NEEDS:
        return True
    scheme, group = NEEDS[kind]
    if scheme not in hello.signature_algorithms:
        return False
    if TLS_1_3 in hello.versions:
        return True
    return (group is None or group in hello.groups) and not ECDSA_SUITES.isdisjoint(hello.cipher_suites)


def _any(credential: Credential) -> bool:
    return True


class Choice:
    """Chooses among things that have a credential: (credential, what is chosen)."""

    def __init__(self, candidates: Sequence[tuple[Credential, Any]], full_scan: bool) -> None:
        """There is at least one candidate."""
        self._all = candidates
        self._full_scan = full_scan
        self._names: dict[str, list[tuple[Credential, Any]]] = {}
        for each in candidates:
            for name in each[0].server_names:
                self._names.setdefault(name.lower(), []).append(each)

    @property
    def first(self) -> Any:
        """What serves a client of whom nothing is known."""
        return self._all[0][1]

    def choose(self, hello: Any, usable: Callable[[Credential], bool] = _any) -> Any:
        """Return what serves a client with this ClientHello; usable may speak against a certificate."""
        name = hello.server_name.lower()
        if name:
            for candidates in (self._names.get(name), self._names.get(_wildcard(name))):
                best = _best(candidates, hello, usable) if candidates else None
                if best is not None:
                    return best
            if not self._full_scan:
                return self.first
        return _best(self._all, hello, usable) or self.first


def _wildcard(name: str) -> str:
    """Return the wildcard that stands for a name (RFC 6125, 6.4.3: for its first label)."""
    return f"*.{name.partition('.')[2]}"


def _best(
    candidates: Sequence[tuple[Credential, Any]], hello: Any, usable: Callable[[Credential], bool]
) -> Any | None:
    fallback = None
    for credential, thing in candidates:
        if not can_check(hello, credential.kind) or not usable(credential):
            continue
        if credential.kind in NEEDS:
            return thing
        if fallback is None:
            fallback = thing
    return fallback
