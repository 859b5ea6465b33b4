"""What is demanded of a peer's certificate, on both sides, and what is told of those that are refused."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.interop.case import Case
from tests.interop.oracle import try_config
from tests.interop.tls_parts import (
    TLS12,
    TLS13,
    TLSBackend,
    client_context,
    client_tls,
    inline,
    knock,
    secure_front,
    secure_relay,
    server_context,
    server_tls,
    tls_log,
    trusting,
)
from tests.interop.yaml_parts import Part, bootstrap, cluster, listener, network
from tests.tls.authority import Authority, Leaf

ROOT = Authority()
OTHER = Authority("another root")
BETWEEN = ROOT.intermediate()
FRONT = ROOT.issue("front", dns=["front.example"])
GOOD = ROOT.issue(
    "good",
    dns=["good.example", "*.wild.example"],
    uri=["spiffe://td/ns/a/sa/b"],
    ip=["10.1.2.3", "::1"],
    email=["it@good.example"],
)
CLIENTS: dict[str, Leaf | None] = {
    "none": None,
    "good": GOOD,
    "stranger": OTHER.issue("stranger", dns=["good.example"]),
    "expired": ROOT.issue("expired", expired=True),
    "below": BETWEEN.issue("below", dns=["good.example"]),
    "for servers": ROOT.issue("server", uses=("server",)),
    "without names": ROOT.issue("nameless"),
}


def key_hash(leaf: Leaf) -> str:
    """Return a pin of a public key."""
    der = leaf.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


PIN = hashlib.sha256(GOOD.der).hexdigest()
DEMANDS: dict[str, Part] = {
    "a CA": {},
    "an untrusted one may pass": {"trust_chain_verification": "ACCEPT_UNTRUSTED"},
    "an expired one may pass": {"allow_expired_certificate": True},
    "a pin": {"verify_certificate_hash": [PIN]},
    "a pin with colons": {
        "verify_certificate_hash": [":".join(PIN[i : i + 2] for i in range(0, 64, 2)).upper()]
    },
    "a key's pin": {"verify_certificate_spki": [key_hash(GOOD)]},
    "not revoked": {"crl": inline(ROOT.crl(GOOD))},
    "someone else revoked": {"crl": inline(ROOT.crl(FRONT))},
    "a short chain": {"max_verify_depth": 1},
    "a longer chain": {"max_verify_depth": 2},
    "a name, and an untrusted one may pass": {
        "trust_chain_verification": "ACCEPT_UNTRUSTED",
        "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": "good.example"}}],
    },
}


def server(case: Case, demand: Part, required: bool = True) -> None:
    """Start a server that demands it of its clients."""
    case.start(
        secure_front(server_tls(FRONT, common=trusting(ROOT, **demand), require_client_certificate=required))
    )


@pytest.mark.parametrize("what", DEMANDS)
def test_clients(case: Case, what: str) -> None:
    """A client passes or is refused as in Envoy, with the same alert, counters and words."""
    server(case, DEMANDS[what])
    for who, shows in CLIENTS.items():
        for version in (TLS12, TLS13):
            context = client_context(shows=shows, maximum_version=version, minimum_version=version)
            case.note(**{f"{who}, {version.name}": knock(case, context)})
    case.log(2 * len(CLIENTS))


def test_not_required(case: Case) -> None:
    """Who need not show a certificate, and shows a bad one, is refused all the same."""
    server(case, {}, required=False)
    for who, shows in CLIENTS.items():
        case.note(**{who: knock(case, client_context(shows=shows, maximum_version=TLS12))})
    case.log(len(CLIENTS))


MATCHERS = {
    "exact": ("DNS", {"exact": "good.example"}),
    "another": ("DNS", {"exact": "bad.example"}),
    "by wildcard": ("DNS", {"exact": "a.wild.example"}),
    "by two labels": ("DNS", {"exact": "a.b.wild.example"}),
    "in capitals": ("DNS", {"exact": "GOOD.example"}),
    "ignoring case": ("DNS", {"exact": "GOOD.example", "ignore_case": True}),
    "prefix": ("URI", {"prefix": "spiffe://td/"}),
    "suffix": ("URI", {"suffix": "/sa/c"}),
    "contains": ("URI", {"contains": "/ns/a/"}),
    "regex": ("URI", {"safe_regex": {"regex": "spiffe://td/ns/[a-z]/sa/[a-z]"}}),
    "part of regex": ("URI", {"safe_regex": {"regex": "spiffe://td/ns"}}),
    "email": ("EMAIL", {"exact": "it@good.example"}),
    "IPv4": ("IP_ADDRESS", {"exact": "10.1.2.3"}),
    "IPv6": ("IP_ADDRESS", {"exact": "::1"}),
    "another kind": ("URI", {"exact": "good.example"}),
}


@pytest.mark.parametrize("how", MATCHERS)
def test_names(case: Case, how: str) -> None:
    """Alternative names are matched as in Envoy, of every type."""
    kind, matcher = MATCHERS[how]
    server(case, {"match_typed_subject_alt_names": [{"san_type": kind, "matcher": matcher}]})
    for title in ("good", "without names"):
        case.note(**{title: knock(case, client_context(shows=CLIENTS[title], maximum_version=TLS12))})
    case.log(2)


# A cluster's servers.


def relayed(case: Case, shows: Leaf, socket: Part, **fields: Any) -> bytes:
    """Say hello through a proxy to a backend that shows a certificate; return what came back."""
    backend = case.have(TLSBackend(server_context(shows)))
    case.start(secure_relay(socket, backend, **fields))
    client = case.client()
    client.try_send(b"hello")
    heard = client.read(5)
    if heard:
        client.half_close()
    client.read_to_end()
    if not heard:
        client.ending = "over"  # whether the hello was read before is chance, and so whether it is a RST
    case.log(1)
    return heard


#: Envoy does not heed max_verify_depth for servers: see docs/differences.rst.
OF_SERVERS = ["nothing", *(each for each in DEMANDS if "chain" not in each)]


@pytest.mark.parametrize("what", OF_SERVERS)
def test_servers(case: Case, what: str) -> None:
    """A server passes or is refused as in Envoy."""
    common = {} if what == "nothing" else trusting(ROOT, **DEMANDS[what])
    shown = {who: leaf for who, leaf in CLIENTS.items() if leaf is not None}
    fronts, clusters = [], []
    for number, leaf in enumerate(shown.values()):
        name = f"c{number}"
        backend = case.have(TLSBackend(server_context(leaf)))
        clusters.append(cluster(backend, name=name, transport_socket=client_tls(common=common)))
        proxied = network("tcp_proxy", "TcpProxy", stat_prefix=name, cluster=name, access_log=tls_log())
        fronts.append(listener(proxied, name=f"front{number}"))
    case.start(bootstrap(*fronts, clusters=clusters))
    for number, who in enumerate(shown):
        client = case.client(f"front{number}")
        client.try_send(b"hello")
        heard = client.read(5)
        case.note(**{who: heard})
        if heard:
            client.half_close()
        client.read_to_end()
        if not heard:
            client.ending = "over"  # whether the hello was read before is chance, and so whether it is a RST
    case.log(len(shown))


@pytest.mark.parametrize("name", ["good.example", "a.wild.example", "bad.example", ""])
def test_auto_san(case: Case, name: str) -> None:
    """With auto_sni_san_validation the certificate must be for the name that was asked for."""
    socket = client_tls(common=trusting(ROOT), sni=name, auto_sni_san_validation=True)
    case.note(heard=relayed(case, GOOD, socket))


@pytest.mark.parametrize("who", ["good", "stranger", "none"])
@pytest.mark.parametrize("newest", ["TLSv1_2", "TLSv1_3"])
def test_own_certificate(case: Case, who: str, newest: str) -> None:
    """What a server says of our certificate is told: in TLS 1.3 after the handshake."""
    backend = case.have(TLSBackend(server_context(FRONT, trusted=ROOT)))
    leaf = CLIENTS[who]
    common = {"tls_params": {"tls_maximum_protocol_version": newest}}
    case.start(secure_relay(client_tls(*([leaf] if leaf else []), common=common), backend))
    client = case.client()
    if who == "good":  # of the others it is chance whether the server's refusal or the data comes first
        client.send(b"hello")
        assert client.read(5) == b"hello"
        client.half_close()
    case.note(heard=client.read_to_end())
    case.log(1)


REFUSED: dict[str, Part] = {
    "no certificate": server_tls(),
    "a key of another": server_tls(
        common={"tls_certificates": [{**FRONT.inline(), "private_key": GOOD.inline()["private_key"]}]}
    ),
    "rubbish": server_tls(
        common={"tls_certificates": [{**FRONT.inline(), "certificate_chain": inline("rubbish")}]}
    ),
    "a CA of rubbish": server_tls(FRONT, common={"validation_context": {"trusted_ca": inline("rubbish")}}),
    "names without a CA": server_tls(
        FRONT,
        common={
            "validation_context": {
                "match_typed_subject_alt_names": DEMANDS["a name, and an untrusted one may pass"][
                    "match_typed_subject_alt_names"
                ]
            }
        },
    ),
    "a short pin": server_tls(FRONT, common=trusting(ROOT, verify_certificate_hash=["abcd"])),
    "an unknown cipher": server_tls(FRONT, common={"tls_params": {"cipher_suites": ["NONE-SUCH"]}}),
    "an unknown group": server_tls(FRONT, common={"tls_params": {"ecdh_curves": ["P-1"]}}),
    "an unknown algorithm": server_tls(FRONT, common={"tls_params": {"signature_algorithms": ["rsa_md2"]}}),
    "a small key": server_tls(ROOT.issue("small", kind="rsa1024")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(kind: str, tmp_path: Path, name: str) -> None:
    """Contexts that neither of the two starts with."""
    assert try_config(kind, secure_front(REFUSED[name]), tmp_path)[0] == 1
