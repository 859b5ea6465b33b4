"""Which of several certificates serves which client, as in Envoy."""

from typing import Any

import pytest

from tests.interop.case import Case
from tests.interop.tls_parts import (
    TLS12,
    TLS13,
    client_context,
    knock,
    s_client,
    secure_front,
    server_tls,
    tls_client,
)
from tests.tls.authority import Authority, Leaf

ROOT = Authority()
ONES = {
    "rsa a": ROOT.issue("rsa a", dns=["a.example"], kind="rsa"),
    "ecdsa a": ROOT.issue("ecdsa a", dns=["a.example"]),
    "rsa b": ROOT.issue("rsa b", dns=["b.example", "*.b.example"], kind="rsa"),
    "ecdsa c": ROOT.issue("ecdsa c", dns=["c.example"]),
    "ecdsa wild": ROOT.issue("ecdsa wild", dns=["*.example"]),
    "rsa named": ROOT.issue("named.example", kind="rsa"),
    "p384 d": ROOT.issue("p384 d", dns=["d.example"], kind="p384"),
}


def shown(case: Case, name: str | None, **settings: Any) -> str:
    """Return the common name of the certificate that a client is shown."""
    client = tls_client(case)
    # Whom a client trusts is not the question: it has to look, for Python's ssl to tell.
    if client.secure(client_context(**settings), name=name):
        return client.failure
    der = client.tls.getpeercert(True)
    client.half_close()
    client.read_to_end()
    return next(title for title, each in ONES.items() if each.der == der)


def some(*titles: str) -> list[Leaf]:
    """Return certificates by title."""
    return [ONES[each] for each in titles]


SETS = {
    "two kinds": ("rsa a", "ecdsa a"),
    "names": ("rsa b", "ecdsa a", "rsa a", "ecdsa c"),
    "wildcards": ("ecdsa c", "ecdsa wild", "rsa b"),
    "the first fits": ("rsa b", "ecdsa c"),
    "common name": ("ecdsa a", "rsa named"),
}
NAMES = [
    None,
    "a.example",
    "c.example",
    "b.example",
    "x.b.example",
    "x.y.b.example",
    "other.example",
    "named.example",
    "none",
]


@pytest.mark.parametrize("full_scan", [False, True])
@pytest.mark.parametrize("titles", SETS)
def test_by_name(case: Case, titles: str, full_scan: bool) -> None:
    """A client is shown the certificate of the name that it asks for."""
    case.start(secure_front(server_tls(*some(*SETS[titles]), full_scan_certs_on_sni_mismatch=full_scan)))
    case.note(shown=[(each, shown(case, each)) for each in NAMES])
    case.log(len(NAMES))


@pytest.mark.parametrize("full_scan", [False, True])
@pytest.mark.parametrize("titles", SETS)
def test_old_clients(case: Case, titles: str, full_scan: bool) -> None:
    """A client of TLS 1.2 without ECDSA is shown one with an RSA key, if there is one that fits."""
    case.unlog("DOWNSTREAM_TRANSPORT_FAILURE_REASON", "OpenSSL sees another cause: see docs/differences.rst")
    case.start(secure_front(server_tls(*some(*SETS[titles]), full_scan_certs_on_sni_mismatch=full_scan)))
    options = {"maximum_version": TLS12, "set_ciphers": "ECDHE+aRSA+AESGCM"}
    case.note(shown=[(each, shown(case, each, **options)) for each in NAMES])
    case.log(len(NAMES))


@pytest.mark.parametrize(
    "titles", [("rsa a", "ecdsa a"), ("ecdsa a", "p384 d", "rsa b"), ("p384 d", "rsa a")]
)
def test_by_algorithm(case: Case, titles: tuple[str, ...]) -> None:
    """A client of TLS 1.3 is shown one that it can check."""
    case.unlog("DOWNSTREAM_TRANSPORT_FAILURE_REASON", "OpenSSL sees another cause: see docs/differences.rst")
    case.start(secure_front(server_tls(*some(*titles))))
    offers = ("ecdsa_secp256r1_sha256", "rsa_pss_rsae_sha256", "ECDSA+SHA384:RSA-PSS+SHA256")
    for each in offers:
        found = s_client(case, "-tls1_3", "-sigalgs", each, "-groups", "X25519:P-256:P-384")
        case.note(**{each: found.get("Peer certificate", found.get("failure"))})
    case.log(len(offers))


def test_chain(case: Case) -> None:
    """The intermediate certificates are sent, too, to clients of both versions."""
    leaf = ROOT.intermediate().issue("below", dns=["a.example"])
    case.start(secure_front(server_tls(leaf)))
    for version in (TLS12, TLS13):
        context = client_context(ROOT, maximum_version=version)
        case.note(**{str(version): knock(case, context, name="a.example")})
    case.log(2)
