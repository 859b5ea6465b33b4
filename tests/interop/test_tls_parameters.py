"""Versions, ciphers, groups, signature algorithms and ALPN of both sides, as Envoy has them."""

import ssl
from typing import Any

import pytest

from tests.interop.case import Case
from tests.interop.peers import wait_until
from tests.interop.tls_parts import (
    ORDER,
    TLS12,
    TLS13,
    TLSBackend,
    client_context,
    client_tls,
    knock,
    s_client,
    secure_front,
    secure_relay,
    server_context,
    server_tls,
)
from tests.interop.yaml_parts import Part
from tests.tls.authority import Authority

ROOT = Authority()
LEAF = ROOT.issue("front", dns=["front.example"])
RSA = ROOT.issue("rsa", dns=["front.example"], kind="rsa")


REASON = "DOWNSTREAM_TRANSPORT_FAILURE_REASON"
OTHER_WORDS = "OpenSSL sees another cause: see docs/differences.rst"


def params(**fields: Any) -> Part:
    """A common_tls_context with these tls_params."""
    return {"tls_params": fields}


def old(version: Any) -> ssl.SSLContext:
    """Return the context of a client that has one version only, however old."""
    return client_context(
        minimum_version=version, maximum_version=version, set_ciphers=f"{ORDER}:@SECLEVEL=0"
    )


def with_alpn(context: ssl.SSLContext, protocols: list[str]) -> ssl.SSLContext:
    """Let a context offer, or choose from, these protocols."""
    if protocols:
        context.set_alpn_protocols(protocols)
    return context


VERSIONS = ("TLSv1", "TLSv1_1", "TLSv1_2", "TLSv1_3")


def test_default_versions(case: Case) -> None:
    """A server has TLS 1.2 and 1.3."""
    case.start(secure_front(server_tls(RSA)))
    case.note(came=[knock(case, old(ssl.TLSVersion[each])) for each in VERSIONS])
    case.log(len(VERSIONS))


@pytest.mark.parametrize(
    "low, high", [("TLSv1_0", "TLSv1_1"), ("TLSv1_3", "TLSv1_3"), ("TLS_AUTO", "TLSv1_2")]
)
def test_versions(case: Case, low: str, high: str) -> None:
    """The versions are those of tls_params."""
    limits = params(
        tls_minimum_protocol_version=low,
        tls_maximum_protocol_version=high,
        **({"cipher_suites": ["ECDHE-RSA-AES128-SHA"]} if low == "TLSv1_0" else {}),
    )
    if low == "TLSv1_0":
        case.unlog(REASON, OTHER_WORDS)
    case.start(secure_front(server_tls(RSA, common=limits)))
    case.note(came=[knock(case, old(ssl.TLSVersion[each])) for each in VERSIONS])
    case.log(len(VERSIONS))


CIPHERS = [
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES128-SHA",
    "AES128-GCM-SHA256",
    "DHE-RSA-AES128-GCM-SHA256",
]


def test_default_ciphers(case: Case) -> None:
    """A server has ciphers with forward secrecy and authenticated encryption."""
    case.start(secure_front(server_tls(RSA)))
    contexts = [client_context(maximum_version=TLS12, set_ciphers=each) for each in CIPHERS]
    case.note(came=[knock(case, each) for each in contexts])
    case.log(len(CIPHERS))


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_preference(case: Case, version: Any) -> None:
    """The server's order decides."""
    case.start(secure_front(server_tls(RSA)))
    backwards = ":".join([CIPHERS[2], *CIPHERS[:2]])
    context = client_context(maximum_version=version, minimum_version=version, set_ciphers=backwards)
    case.note(came=knock(case, context))
    case.log(1)


def test_client_preference(case: Case) -> None:
    """With prefer_client_ciphers the client's order decides."""
    case.start(secure_front(server_tls(RSA, prefer_client_ciphers=True)))
    case.note(came=knock(case, client_context(maximum_version=TLS12, set_ciphers=":".join(CIPHERS[2::-1]))))
    case.log(1)


@pytest.mark.parametrize(
    "suites", ["CHACHA20_POLY1305_SHA256:AES_128_GCM_SHA256", "AES_256_GCM_SHA384:AES_128_GCM_SHA256"]
)
def test_newer_preference(case: Case, suites: str) -> None:
    """Of the suites of TLS 1.3 the server's order decides, too."""
    case.start(secure_front(server_tls(RSA)))
    case.note(came=s_client(case, "-ciphersuites", ":".join(f"TLS_{each}" for each in suites.split(":"))))
    case.log(1)


@pytest.mark.parametrize(
    "suites",
    [
        ["ECDHE-RSA-AES256-GCM-SHA384"],
        ["AES128-SHA", "AES256-SHA"],
        CIPHERS[:2],
        [f"[{CIPHERS[0]}|{CIPHERS[1]}]"],
    ],
)
@pytest.mark.parametrize("cipher", [ORDER, "ECDHE-RSA-AES128-GCM-SHA256"])
def test_cipher_suites(case: Case, suites: list[str], cipher: str) -> None:
    """The ciphers of TLS 1.2 are those of tls_params."""
    case.start(secure_front(server_tls(RSA, common=params(cipher_suites=suites))))
    case.note(came=knock(case, client_context(maximum_version=TLS12, set_ciphers=cipher)))
    case.note(newer=knock(case, client_context(minimum_version=TLS13)))
    case.log(2)


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_default_groups(case: Case, version: str) -> None:
    """The groups that a server has."""
    case.unlog(REASON, OTHER_WORDS)
    case.start(secure_front(server_tls(LEAF)))
    groups = ("X25519", "P-256", "P-384", "P-521")
    case.note(came=[s_client(case, "-groups", each, version) for each in groups])
    case.log(len(groups))


def test_groups(case: Case) -> None:
    """The groups are those of ecdh_curves."""
    case.start(secure_front(server_tls(LEAF, common=params(ecdh_curves=["P-384", "P-521", "X25519"]))))
    offers = ("X25519:P-384", "P-256", "P-384:P-256")
    case.note(came=[s_client(case, "-groups", each) for each in offers])
    case.log(len(offers))


@pytest.mark.parametrize("ours", [[], ["rsa_pss_rsae_sha384", "rsa_pkcs1_sha512"]])
def test_signatures(case: Case, ours: list[str]) -> None:
    """The signature algorithms are those of tls_params, or the default ones."""
    case.start(secure_front(server_tls(RSA, common=params(signature_algorithms=ours))))
    case.unlog(REASON, OTHER_WORDS)
    algorithms = ("RSA-PSS+SHA256", "RSA-PSS+SHA384", "RSA+SHA256", "RSA+SHA512")
    case.note(came=[s_client(case, "-tls1_2", "-sigalgs", each) for each in algorithms])
    case.log(len(algorithms))


@pytest.mark.parametrize("ours", [[], ["h2", "http/1.1"], ["h2,http/1.1"]])
def test_alpn(case: Case, ours: list[str]) -> None:
    """ALPN chooses our first that the client has; if there is none there is no ALPN."""
    case.start(secure_front(server_tls(LEAF, common={"alpn_protocols": ours})))
    offers: tuple[list[str], ...] = ([], ["h2"], ["http/1.1", "h2"], ["spdy/3"], ["spdy/3", "http/1.1"])
    contexts = [with_alpn(client_context(), each) for each in offers]
    case.note(came=[knock(case, each) for each in contexts])
    case.log(len(offers))


# Upstream.


def relay_to(case: Case, context: ssl.SSLContext, socket: Part, **fields: Any) -> TLSBackend:
    """Start a proxy with TLS to a backend with that context; say hello through it, and note all."""
    backend = case.have(TLSBackend(context))
    case.start(secure_relay(socket, backend, **fields))
    client = case.client()
    client.try_send(b"hello")
    heard = client.read(5)
    case.note(heard=heard)
    if heard:
        tls = backend.peer().tls  # type: ignore[attr-defined]
        case.note(version=tls.version(), cipher=tls.cipher()[0], alpn=tls.selected_alpn_protocol())
        case.note(offered=[each[0] for each in tls.shared_ciphers() or ()])
        client.half_close()
    client.read_to_end()
    if not heard:
        client.ending = "over"  # whether the hello was read before is chance, and so whether it is a RST
    wait_until(lambda: all(each.closed for each in backend.peers), "the backend to be done")
    case.note(names=backend.names, failures=[getattr(each, "failure", "") for each in backend.peers])
    case.log(1)
    return backend


@pytest.mark.parametrize("version", ["TLSv1_1", "TLSv1_2", "TLSv1_3"])
def test_client_versions(case: Case, version: str) -> None:
    """A client has TLS 1.2 only."""
    only = ssl.TLSVersion[version]
    context = server_context(RSA, set_ciphers="ALL:@SECLEVEL=0", minimum_version=only, maximum_version=only)
    relay_to(case, context, client_tls())


def test_client_newer(case: Case) -> None:
    """A client that may has TLS 1.3."""
    newer = params(tls_maximum_protocol_version="TLSv1_3")
    relay_to(case, server_context(RSA), client_tls(common=newer))


@pytest.mark.parametrize("cipher", ["ALL:@SECLEVEL=0", "AES128-SHA", "ECDHE-RSA-AES128-SHA"])
@pytest.mark.parametrize("suites", [[], ["ECDHE-RSA-AES128-SHA", "AES128-SHA"]])
def test_client_ciphers(case: Case, cipher: str, suites: list[str]) -> None:
    """The ciphers that a client offers."""
    relay_to(case, server_context(RSA, set_ciphers=cipher), client_tls(common=params(cipher_suites=suites)))


@pytest.mark.parametrize("curve", ["prime256v1", "secp384r1", "secp521r1"])
@pytest.mark.parametrize("curves", [[], ["P-384"]])
def test_client_groups(case: Case, curve: str, curves: list[str]) -> None:
    """The groups that a client offers."""
    context = server_context(RSA, set_ecdh_curve=curve)
    relay_to(case, context, client_tls(common=params(ecdh_curves=curves)))


@pytest.mark.parametrize("theirs", [[], ["h2"], ["http/1.1", "h2"], ["spdy/3"]])
def test_client_alpn(case: Case, theirs: list[str]) -> None:
    """A client offers its protocols in their order; a server that has none of them is no failure."""
    context = with_alpn(server_context(RSA), theirs)
    relay_to(case, context, client_tls(common={"alpn_protocols": ["h2", "http/1.1"]}))


@pytest.mark.parametrize("sni", ["", "a.example", "*.b.example", "127.0.0.1"])
def test_sni(case: Case, sni: str) -> None:
    """A client tells the server's name if it is told it."""
    relay_to(case, server_context(RSA), client_tls(sni=sni))
