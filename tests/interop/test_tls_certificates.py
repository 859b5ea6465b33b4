"""Certificates of both sides: what is told of them and asked of them, and how they are exchanged."""

import base64
from typing import Any

import pytest
from cryptography import x509

from meshd.tls.facts import CertificateFacts
from tests.interop.case import Case
from tests.interop.tls_parts import (
    TLS12,
    TLS_OPERATORS,
    TLSBackend,
    client_context,
    client_tls,
    inline,
    knock,
    s_client,
    secure_front,
    secure_relay,
    server_context,
    server_tls,
    tls_log,
    trusting,
)
from tests.interop.yaml_parts import Part
from tests.tls.authority import DAY, Authority, Leaf, now

ROOT = Authority()
BETWEEN = ROOT.intermediate()
OTHER = Authority("other root")
FRONT = BETWEEN.issue("front", dns=["front.example"], uri=["spiffe://td/front"])
SECOND = BETWEEN.issue("second", dns=["front.example"])
GOOD = BETWEEN.issue(
    "good",
    dns=["good.example", "*.wild.example"],
    uri=["spiffe://td/ns/a"],
    ip=["10.0.0.1", "::1"],
    email=["a@b.example"],
    other=[("1.2.3", b"\x0c\x02hi")],
)

PEER = "DOWNSTREAM_PEER_"
MORE = (
    *(f"{PEER}{name}" for name in ("ISSUER", "SERIAL", "CERT", "FINGERPRINT_1", "CHAIN_SERIALS")),
    *(f"{PEER}CHAIN_FINGERPRINTS_{digest}" for digest in ("256", "1")),
    *(f"{PEER}{name}_SAN" for name in ("IP", "EMAIL", "OTHERNAME")),
    *(f"{PEER}CERT_V_{end}{form}" for end in ("START", "END") for form in ("", "(%s)", "(%b_%d_%Y_%Z)")),
    *(f"DOWNSTREAM_LOCAL_{name}_SAN" for name in ("URI", "DNS", "IP", "EMAIL", "OTHERNAME")),
    *("DOWNSTREAM_TLS_SESSION_ID", "UPSTREAM_PEER_ISSUER", "UPSTREAM_PEER_CERT", "UPSTREAM_SERVER_NAME"),
    *(f"UPSTREAM_PEER_{name}_SAN" for name in ("URI", "DNS", "IP")),
)
"""The operators of certificates that TLS_OPERATORS has not."""

CHAINS = (f"{PEER}CHAIN_FINGERPRINTS_256", f"{PEER}CHAIN_FINGERPRINTS_1", f"{PEER}CHAIN_SERIALS")


def full_log() -> list[Part]:
    """The access log with all operators of TLS."""
    log = tls_log()
    names = (*TLS_OPERATORS, *MORE)
    log[0]["typed_config"]["log_format"] = {"json_format": {name: f"%{name}%" for name in names}}
    return log


def front(validation: Part | None = None, **fields: Any) -> Part:
    """A config whose listener holds its clients against validation."""
    common = None if validation is None else {"validation_context": validation}
    return secure_front(server_tls(FRONT, common=common, **fields), access_log=full_log())


def held(case: Case, client: Leaf | None, validation: Part, version: Any = None, **fields: Any) -> None:
    """Note whether a client is served by a listener that holds it against validation."""
    case.ignore(r"[.]ssl[.]connection_error", "of a client that closed first")
    for name in CHAINS:
        case.unlog(name, "of a client that is refused OpenSSL keeps the leaf only")
    case.start(front(validation, **fields))
    context = client_context(shows=client, **({"maximum_version": version} if version else {}))
    case.note(served="failure" not in knock(case, context, "front.example"))
    case.log(1)


def mask_alert(case: Case) -> None:
    """Leave out which alert a client is refused with: see docs/differences.rst."""
    for client in case.clients:
        client.ending = (
            "an alert" if "CERTIFICATE" in client.ending or "UNKNOWN" in client.ending else client.ending
        )


def trusted(authority: Authority = ROOT, **fields: Any) -> Part:
    """A validation context that trusts an authority."""
    return {"trusted_ca": inline(authority.alone), **fields}


def san(kind: str, oid: str = "", **matcher: Any) -> Part:
    """A typed matcher of alternative names."""
    return {"san_type": kind, "matcher": matcher, **({"oid": oid} if oid else {})}


# What is told.


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_operators(case: Case, version: str) -> None:
    """Access logs tell all of both certificates, in the same form."""
    case.start(front(trusted(), require_client_certificate=True))
    limit: Part = {"maximum_version": TLS12} if version == "TLSv1.2" else {}
    knock(case, client_context(shows=GOOD, **limit), "front.example")
    case.log(1)


PARTS = [
    *(("2.5.4.6", "DE"), ("2.5.4.8", "Süd"), ("2.5.4.7", " #L "), ("2.5.4.10", 'a,b+c"d\\e<f>g;h=i\x01')),
    *(("2.5.4.17", "12345"), ("0.9.2342.19200300.100.1.25", "dc"), ("1.3.6.1.4.1.311.60.2.1.3", "DE")),
    *(("1.2.3.4.5", "x"), ("2.5.4.97", "o"), ("1.2.840.113549.1.9.1", "e@x"), ("2.5.4.3", "last")),
]
SUBJECT = x509.Name([x509.NameAttribute(x509.ObjectIdentifier(oid), text) for oid, text in PARTS])
VALUES = [("1.2.3", b"\x02\x02\x01\x00"), ("1.2.4", b"\x1e\x04\0b\0m"), ("1.2.5", b"\x06\x02\x2a\x03")]
SPECIAL = ROOT.issue(subject=SUBJECT, serial=0xAB, other=VALUES)


def test_names(case: Case) -> None:
    """Names with special characters, other letters and unknown parts are told in the same form."""
    case.start(front(trusted(), require_client_certificate=True))
    knock(case, client_context(shows=SPECIAL), "front.example")
    case.log(1)


def test_upstream(case: Case) -> None:
    """Access logs tell of a host's certificate."""
    backend = case.have(TLSBackend(server_context(GOOD)))
    config = secure_relay(client_tls(sni="good.example", common=trusting(ROOT)), backend)
    filters = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"]
    filters[0]["typed_config"]["access_log"] = full_log()
    case.start(config)
    case.converse()
    case.log(1)


# What they are held against.

EXPIRED = BETWEEN.issue("expired", expired=True)
FUTURE = BETWEEN.issue("future", not_before=now() + DAY)
FOR_SERVERS = BETWEEN.issue("for servers", uses=["server"])
STRANGER = OTHER.issue("stranger")

CHAIN_CASES: dict[str, tuple[Leaf | None, Part]] = {
    "good": (GOOD, trusted()),
    "no certificate": (None, trusted()),
    "unknown authority": (STRANGER, trusted()),
    "expired": (EXPIRED, trusted()),
    "expired, allowed": (EXPIRED, trusted(allow_expired_certificate=True)),
    "not yet valid": (FUTURE, trusted()),
    "for servers": (FOR_SERVERS, trusted()),
    "trusted intermediate": (GOOD, trusted(BETWEEN)),
    "untrusted accepted": (STRANGER, trusted(trust_chain_verification="ACCEPT_UNTRUSTED")),
    "depth 0, none between": (GOOD, trusted(BETWEEN, max_verify_depth=0)),
    "depth 1": (GOOD, trusted(max_verify_depth=1)),
    "depth 2": (GOOD, trusted(max_verify_depth=2)),
    "revoked": (GOOD, trusted(crl=inline(BETWEEN.crl(GOOD) + ROOT.crl()))),
    "not revoked": (GOOD, trusted(crl=inline(BETWEEN.crl() + ROOT.crl()))),
    "no list of the root": (GOOD, trusted(crl=inline(BETWEEN.crl()))),
    "no list of the root, leaf only": (
        GOOD,
        trusted(crl=inline(BETWEEN.crl()), only_verify_leaf_cert_crl=True),
    ),
    "intermediate revoked": (GOOD, trusted(crl=inline(BETWEEN.crl() + ROOT.crl(BETWEEN)))),
    "old list": (GOOD, trusted(crl=inline(BETWEEN.crl(expired=True) + ROOT.crl()))),
}


@pytest.mark.parametrize("name", CHAIN_CASES)
def test_chains(case: Case, name: str) -> None:
    """Chains, dates, purposes, depths and revocation count alike, with the same reasons and counters."""
    client, validation = CHAIN_CASES[name]
    held(case, client, validation, require_client_certificate=True)
    if name == "not yet valid":
        mask_alert(case)


NAME_CASES: dict[str, tuple[Part, ...]] = {
    "exact": (san("DNS", exact="good.example"),),
    "capitals": (san("DNS", exact="GOOD.example"),),
    "other": (san("DNS", exact="bad.example"),),
    "wildcard": (san("DNS", exact="a.wild.example"),),
    "wildcard, two labels": (san("DNS", exact="a.b.wild.example"),),
    "suffix": (san("DNS", suffix=".example"),),
    "prefix in capitals": (san("DNS", prefix="GOOD"),),
    "expression": (san("DNS", safe_regex={"regex": "go+d[.]example"}),),
    "expression for a part": (san("DNS", safe_regex={"regex": "good"}),),
    "uri": (san("URI", prefix="spiffe://td/"),),
    "address": (san("IP_ADDRESS", exact="::1"),),
    "mail": (san("EMAIL", contains="@b"),),
    "other name": (san("OTHER_NAME", "1.2.3", exact="hi"),),
    "other name of another type": (san("OTHER_NAME", "1.2.4", exact="hi"),),
    "one of two": (san("DNS", exact="bad.example"), san("URI", contains="/ns/")),
}


@pytest.mark.parametrize("name", NAME_CASES)
def test_matchers(case: Case, name: str) -> None:
    """The same alternative names match."""
    held(case, GOOD, trusted(match_typed_subject_alt_names=list(NAME_CASES[name])))


@pytest.mark.parametrize("client", [GOOD, None], ids=["good", "none"])
@pytest.mark.parametrize("pins", ["right", "wrong", "either", "untrusted"])
def test_pins(case: Case, client: Leaf | None, pins: str) -> None:
    """Pins of certificates and keys count, with nobody trusted, and demand a certificate."""
    facts = CertificateFacts(GOOD.der)
    cases: dict[str, Part] = {
        "right": {"verify_certificate_hash": [facts.sha256.upper()]},
        "wrong": {"verify_certificate_hash": ["00" * 32], "verify_certificate_spki": ["A" * 43 + "="]},
        "either": {"verify_certificate_hash": ["00" * 32], "verify_certificate_spki": [facts.spki_sha256]},
        "untrusted": {
            "verify_certificate_hash": ["00" * 32],
            "trust_chain_verification": "ACCEPT_UNTRUSTED",
        },
    }
    held(case, client, cases[pins])


@pytest.mark.parametrize("name", ["good.example", "bad.example", "a.wild.example"])
def test_auto_validation(case: Case, name: str) -> None:
    """With auto_sni_san_validation a host's certificate must be one of the name that it is asked for."""
    backend = case.have(TLSBackend(server_context(GOOD)))
    bad = {"match_typed_subject_alt_names": [san("DNS", exact="bad.example")]}
    socket_ = client_tls(sni=name, auto_sni_san_validation=True, common=trusting(ROOT, **bad))
    case.start(secure_relay(socket_, backend))
    client = case.client()
    client.send(b"hello")
    case.note(served=client.some() == b"hello")
    client.close()
    case.log(1)


# Staples.


STAPLING = [
    *((policy, staple) for policy in ("LENIENT_STAPLING", "STRICT_STAPLING") for staple in ("old", "none")),
    *((policy, "good") for policy in ("LENIENT_STAPLING", "STRICT_STAPLING", "MUST_STAPLE")),
    *(("LENIENT_STAPLING", "revoked"), ("MUST_STAPLE", "old")),
]


@pytest.mark.parametrize(("policy", "staple"), STAPLING)
def test_stapling(case: Case, policy: str, staple: str) -> None:
    """What is stapled goes by the same policies, and is counted alike."""
    case.unlog("DOWNSTREAM_TRANSPORT_FAILURE_REASON", "the words for a handshake that is refused")
    case.unlog("DOWNSTREAM_TLS_VERSION", "Envoy has TLS 1.2 before anything is agreed upon")
    responses = {
        "good": BETWEEN.ocsp(FRONT),
        "revoked": BETWEEN.ocsp(FRONT, "revoked"),
        "old": BETWEEN.ocsp(FRONT, this_update=now() - 9 * DAY),
    }
    shown = FRONT.inline()
    if staple in responses:
        shown["ocsp_staple"] = {"inline_bytes": base64.b64encode(responses[staple]).decode()}
    common = {"tls_certificates": [shown]}
    case.start(secure_front(server_tls(common=common, ocsp_staple_policy=policy)))
    case.note(asked="failure" not in s_client(case, "-status"), not_asked="failure" not in s_client(case))
    case.lines = 2
    case.log(2)
