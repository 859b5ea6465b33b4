"""Sessions that are resumed: by tickets and from the cache, in TLS 1.2 and 1.3, on both sides."""

import contextlib
import ssl
from typing import Any

import pytest

from tests.interop.case import Case
from tests.interop.tls_parts import (
    TLS12,
    TLS13,
    TLSBackend,
    client_context,
    client_tls,
    secure_front,
    secure_relay,
    server_context,
    server_tls,
    tls_client,
    trusting,
)
from tests.interop.yaml_parts import Part
from tests.tls.authority import Authority

ROOT = Authority()
LEAF = ROOT.issue("front", dns=["front.example"])
MINE = ROOT.issue("client", uri=["spiffe://td/client"])
VERSIONS = {"TLSv1.2": TLS12, "TLSv1.3": TLS13}


def visit(case: Case, context: ssl.SSLContext, session: Any = None) -> tuple[bool, Any]:
    """Say hello; return whether the session was resumed, and the one that may be next."""
    client = tls_client(case)
    assert not client.secure(context, session=session)
    client.send(b"hello")
    assert client.read(5) == b"hello"
    resumed, after = client.tls.session_reused, client.tls.session
    client.half_close()
    client.read_to_end()
    return resumed, after


SWITCHES: dict[str, Part] = {
    "both": {},
    "no tickets": {"disable_stateless_session_resumption": True},
    "no cache": {"disable_stateful_session_resumption": True},
    "neither": {"disable_stateless_session_resumption": True, "disable_stateful_session_resumption": True},
}


#: Without tickets meshd resumes sessions of TLS 1.3 from its cache: see docs/differences.rst.
PLAYED = [
    (each, version)
    for each in SWITCHES
    for version in VERSIONS
    if (each, version) != ("no tickets", "TLSv1.3")
]


@pytest.mark.parametrize("switches, version", PLAYED)
def test_server(case: Case, switches: str, version: str) -> None:
    """A server resumes what its switches allow; twice the same session in TLS 1.2."""
    case.start(secure_front(server_tls(LEAF, **SWITCHES[switches])))
    only = VERSIONS[version]
    for title, options in {"with tickets": 0, "without": ssl.OP_NO_TICKET}.items():
        context = client_context(minimum_version=only, maximum_version=only)
        context.options |= options
        first, session = visit(case, context)
        second, _ = visit(case, context, session)
        case.note(**{title: [first, second]})
    case.log(4)


def test_client_certificate(case: Case) -> None:
    """Who resumes is known by the certificate from before."""
    case.start(secure_front(server_tls(LEAF, common=trusting(ROOT), require_client_certificate=True)))
    for version, only in VERSIONS.items():
        context = client_context(shows=MINE, minimum_version=only, maximum_version=only)
        _, session = visit(case, context)
        case.note(**{version: visit(case, context, session)[0]})
    assert all(line["DOWNSTREAM_PEER_URI_SAN"] == "spiffe://td/client" for line in case.log(4))


def test_other_demands(case: Case) -> None:
    """A session of a chain that demands nothing is not resumed by one that demands a certificate."""
    ports = {"front": server_tls(LEAF), "strict": server_tls(LEAF, common=trusting(ROOT))}
    config = secure_front(ports["front"])
    strict = secure_front(ports["strict"], name="strict")["static_resources"]["listeners"]
    config["static_resources"]["listeners"] += strict
    case.start(config)
    context = client_context(maximum_version=TLS12)
    _, session = visit(case, context)
    client = tls_client(case, "strict")
    assert not client.secure(context, session=session)
    case.note(resumed=client.tls.session_reused)
    client.half_close()
    client.read_to_end()
    case.log(2)


KEYS: dict[str, Part] = {"default": {}, "none": {"max_session_keys": 0}, "four": {"max_session_keys": 4}}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("keys", KEYS)
def test_client(case: Case, keys: str, version: str) -> None:
    """A cluster resumes its sessions, as many as max_session_keys allows."""
    only = VERSIONS[version]
    backend = case.have(TLSBackend(server_context(LEAF, minimum_version=only, maximum_version=only)))
    params = {"tls_params": {"tls_maximum_protocol_version": "TLSv1_3"}}
    case.start(secure_relay(client_tls(common=params, **KEYS[keys]), backend))
    for _ in range(3):
        client = case.client()
        client.send(b"hello")
        assert client.read(5) == b"hello"
        client.half_close()
        client.read_to_end()
        case.proxy.await_stat("cluster.c.upstream_cx_active", 0)
    case.note(resumed=[peer.tls.session_reused for peer in backend.peers])  # type: ignore[attr-defined]
    case.log(3)


def test_two_hosts(case: Case) -> None:
    """A session is offered to the host that gave it."""
    contexts = [server_context(LEAF, maximum_version=TLS12) for _ in range(2)]
    backends = [case.have(TLSBackend(each)) for each in contexts]
    case.start(secure_relay(client_tls(), *backends))
    for _ in range(4):
        with contextlib.closing(case.client()) as client:
            client.send(b"hello")
            assert client.read(5) == b"hello"
            client.half_close()
            client.read_to_end()
        case.proxy.await_stat("cluster.c.upstream_cx_active", 0)
    if case.kind == "meshd":
        found = [peer.tls.session_reused for each in backends for peer in each.peers]  # type: ignore[attr-defined]
        assert found == [False, True, False, True]
    case.ignore("session_reused", "Envoy offers one host's sessions to the other: see docs/differences.rst")
    case.log(4)
