"""
Where meshd's TLS differs from Envoy's on purpose: the rows of docs/differences.rst that name this file.

Every test says what both do, so that a row that is no longer true is found.
"""

from pathlib import Path
from typing import Any

import pytest

from tests.codec.hellos import openssl_hello
from tests.interop.case import Case
from tests.interop.oracle import try_config
from tests.interop.peers import FIN, sink, wait_until
from tests.interop.tls_parts import (
    TLS12,
    TLS13,
    TLSBackend,
    client_context,
    client_tls,
    inline,
    knock,
    s_client,
    secure_chain,
    secure_front,
    secure_relay,
    server_context,
    server_tls,
    tls_client,
    trusting,
)
from tests.interop.yaml_parts import bootstrap, cluster, listener, says, tcp_proxy
from tests.tls.authority import Authority

ROOT = Authority()
LEAF = ROOT.issue("front", dns=["a.example"])
RSA = ROOT.issue("rsa", dns=["b.example"], kind="rsa")
REASON = "DOWNSTREAM_TRANSPORT_FAILURE_REASON"


@pytest.fixture
def alone(kind: str, tmp_path: Path) -> Any:
    """A scenario whose outcome is not compared, since it is to differ."""
    made = Case(kind, tmp_path)
    try:
        yield made
    finally:
        made.close()


def test_filters_after_handshake(alone: Case) -> None:
    """Envoy's filters begin before the handshake, and may close without it; meshd's when it is done."""
    alone.start(secure_front(server_tls(LEAF), says("bye")))
    client = tls_client(alone)
    heard = b"" if client.secure(client_context()) else client.read_to_end()[0]
    assert heard == (b"bye" if alone.kind == "meshd" else b"")


def test_upstream_after_handshake(alone: Case) -> None:
    """Envoy's tcp_proxy connects to the host while the client shakes hands, meshd's afterwards."""
    backend = alone.backend(sink)
    front = listener(secure_chain(server_tls(LEAF), tcp_proxy()))
    alone.start(bootstrap(front, clusters=[cluster(backend)]))
    client = alone.client()
    client.send(openssl_hello("a.example")[:50])
    if alone.kind == "envoy":
        wait_until(lambda: backend.peers, "the connection to the host")
    else:
        alone.proxy.await_stat("listener.front.downstream_cx_active", 1)
        assert alone.proxy.stat("cluster.c.upstream_cx_total") == 0


def test_numbers(alone: Case) -> None:
    """The number in a reason is BoringSSL's, or OpenSSL's."""
    alone.start(secure_front(server_tls(RSA)))
    knock(alone, client_context(maximum_version=TLS12, set_ciphers="AES128-GCM-SHA256"))
    (line,) = alone.log()
    number = line[REASON].split("|")[1].split(":")[0]
    assert number == ("268435640" if alone.kind == "envoy" else str(20 << 23 | 193)), line[REASON]


def test_words(alone: Case) -> None:
    """Where OpenSSL sees another cause than BoringSSL the word is its own."""
    alone.start(secure_front(server_tls(LEAF)))
    s_client(alone, "-tls1_2", "-groups", "P-521")
    word = "WRONG_CURVE" if alone.kind == "envoy" else "NO_SHARED_CIPHER"
    assert f":{word}:" in alone.log()[0][REASON]


def test_cut_short(alone: Case) -> None:
    """A peer that leaves within the handshake: meshd's log says so, Envoy's nothing."""
    alone.start(secure_front(server_tls(LEAF)))
    client = alone.client()
    client.send(openssl_hello("a.example")[:50])
    client.half_close()
    client.read_to_end()
    reason = alone.log()[0][REASON]
    assert reason is None if alone.kind == "envoy" else "UNEXPECTED_EOF_WHILE_READING" in reason


def test_upstream_timeout(alone: Case) -> None:
    """A host that never answers a ClientHello: meshd's log says that it was the time-out."""
    alone.start(secure_relay(client_tls(), alone.backend(sink), connect_timeout="0.3s"))
    alone.client().read_to_end()
    reason = alone.log()[0]["UPSTREAM_TRANSPORT_FAILURE_REASON"]
    assert reason == (None if alone.kind == "envoy" else "connection_timeout")


def test_reset_reason(alone: Case) -> None:
    """A client's reset: Envoy's reason has the system's error, meshd tells it as the type of the end only."""
    alone.start(secure_front(server_tls(LEAF)))
    client = tls_client(alone)
    assert not client.secure(client_context())
    client.send(b"hello")
    assert client.read(5) == b"hello"
    client.reset()
    (line,) = alone.log()
    assert line["DOWNSTREAM_DETECTED_CLOSE_TYPE"] == "RemoteReset"
    assert (line[REASON] is None) == (alone.kind == "meshd")


def test_failed_version(alone: Case) -> None:
    """Of a handshake that failed before a version was agreed on Envoy's log names one, meshd's none."""
    alone.start(
        secure_front(server_tls(LEAF, common={"tls_params": {"tls_minimum_protocol_version": "TLSv1_3"}}))
    )
    knock(alone, client_context(maximum_version=TLS12))
    version = alone.log()[0]["DOWNSTREAM_TLS_VERSION"]
    assert version == ("TLSv1.2" if alone.kind == "envoy" else None)


def test_plain_bytes(alone: Case) -> None:
    """Who speaks no TLS gets an alert from BoringSSL, from OpenSSL nothing; both close and log it."""
    alone.start(secure_front(server_tls(LEAF)))
    client = alone.client()
    client.send(b"SSH-2.0-x\r\n")
    assert client.read_to_end() == (b"\x15\x03\x01\x00\x02\x02F" if alone.kind == "envoy" else b"", FIN)
    assert "WRONG_VERSION_NUMBER" in alone.log()[0][REASON]


def test_wire_bytes(alone: Case) -> None:
    """UPSTREAM_WIRE_BYTES_* and the others are plaintext in Envoy, in meshd what went over the wire."""
    backend = alone.have(TLSBackend(server_context(RSA)))
    alone.start(secure_relay(client_tls(), backend))
    alone.converse(b"hello")
    sent = alone.log()[0]["UPSTREAM_WIRE_BYTES_SENT"]
    assert sent == 5 if alone.kind == "envoy" else sent > 100


def test_equal_ciphers(alone: Case) -> None:
    """AES-128 and ChaCha20 are equal to BoringSSL; OpenSSL takes ChaCha20 if the client has it first."""
    alone.start(secure_front(server_tls(RSA)))
    both = ["ECDHE-RSA-CHACHA20-POLY1305", "ECDHE-RSA-AES128-GCM-SHA256"]
    for order in (both, ["ECDHE-RSA-AES256-GCM-SHA384", *both]):
        found = knock(alone, client_context(maximum_version=TLS12, set_ciphers=":".join(order)))
        first = len(order) == 2
        assert found["cipher"] == both[0 if alone.kind == "envoy" or first else 1]


def test_newer_order(alone: Case) -> None:
    """Of the suites of TLS 1.3 the client's order decides in Envoy, the server's in meshd: AES-256 first."""
    alone.start(secure_front(server_tls(RSA)))
    suites = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"]
    found = s_client(alone, "-ciphersuites", ":".join(suites))
    assert found["Ciphersuite"] == suites[0 if alone.kind == "envoy" else 1]


def test_sha1(alone: Case) -> None:
    """A client of TLS 1.2 that can check SHA-1 signatures only is served by Envoy, refused by OpenSSL."""
    alone.start(secure_front(server_tls(RSA)))
    found = s_client(alone, "-tls1_2", "-sigalgs", "RSA+SHA1", "-cipher", "ALL:@SECLEVEL=0")
    assert ("failure" in found) == (alone.kind == "meshd")


def test_name_in_capitals(alone: Case) -> None:
    """A client that asks for a name in capitals gets the first certificate from Envoy, not from meshd."""
    alone.start(secure_front(server_tls(RSA, LEAF)))
    client = tls_client(alone)
    assert not client.secure(client_context(), name="A.Example")
    shown = client.tls.getpeercert(True)
    assert shown == (RSA.der if alone.kind == "envoy" else LEAF.der)


def test_depth_of_servers(alone: Case) -> None:
    """max_verify_depth of a cluster is not heeded by Envoy."""
    backend = alone.have(TLSBackend(server_context(ROOT.intermediate().issue("below"))))
    alone.start(secure_relay(client_tls(common=trusting(ROOT, max_verify_depth=1)), backend))
    client = alone.client()
    client.try_send(b"hello")
    assert client.read(5) == (b"hello" if alone.kind == "envoy" else b"")


def test_versions_upside_down(kind: str, tmp_path: Path) -> None:
    """A minimum version above the maximum is refused: no handshake could be done."""
    versions = {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_2"}
    status, said = try_config(kind, secure_front(server_tls(LEAF, common={"tls_params": versions})), tmp_path)
    assert status == (0 if kind == "envoy" else 1), said


def test_pin_alert(alone: Case) -> None:
    """A certificate that is not pinned: bad_certificate_hash_value in Envoy, certificate_unknown here."""
    socket = server_tls(LEAF, common=trusting(ROOT, verify_certificate_hash=["00" * 32]))
    alone.start(secure_front(socket))
    client = alone.client()
    client.close()
    found = s_client(alone, "-tls1_2", *_shows(alone))
    word = "bad certificate hash value" if alone.kind == "envoy" else "certificate unknown"
    assert word in found["failure"]


def _shows(alone: Case) -> list[str]:
    chain, key = ROOT.issue("client").write(alone.directory, "client")
    return ["-cert", chain, "-key", key]


def test_stateful_1_3(alone: Case) -> None:
    """Without tickets (disable_stateless_...) Envoy resumes nothing in TLS 1.3, meshd from its cache."""
    alone.start(secure_front(server_tls(LEAF, disable_stateless_session_resumption=True)))
    context = client_context(minimum_version=TLS13)
    session = None
    for _ in range(2):
        client = tls_client(alone)
        assert not client.secure(context, session=session)
        client.send(b"hello")
        client.read(5)
        session, resumed = client.tls.session, client.tls.session_reused
        client.half_close()
        client.read_to_end()
    assert resumed == (alone.kind == "meshd")


def test_sessions_by_host(alone: Case) -> None:
    """A cluster's sessions: Envoy offers that of one host to the next, meshd to the host that gave it."""
    backends = [alone.have(TLSBackend(server_context(LEAF, maximum_version=TLS12))) for _ in range(2)]
    proxy = alone.start(secure_relay(client_tls(), *backends))
    for _ in range(6):
        client = alone.client()
        client.send(b"hello")
        assert client.read(5) == b"hello"
        client.half_close()
        client.read_to_end()
        proxy.await_stat("cluster.c.upstream_cx_active", 0)
    reused = proxy.stat("cluster.c.ssl.session_reused")
    assert reused == 4 if alone.kind == "meshd" else reused < 4


def test_signature_counter(alone: Case) -> None:
    """Envoy counts the signature algorithms of handshakes, meshd does not: the binding does not tell."""
    proxy = alone.start(secure_relay(client_tls(), alone.have(TLSBackend(server_context(LEAF)))))
    alone.converse()
    assert bool(proxy.stats("sigalgs")) == (alone.kind == "envoy")


def test_handshake_timeout(alone: Case) -> None:
    """Without transport_socket_connect_timeout a handshake has for ever in Envoy, in meshd 15 s."""
    alone.start(secure_front(server_tls(LEAF)))
    client = alone.client()
    client.send(openssl_hello("a.example")[:20])
    client.sock.settimeout(17)
    if alone.kind == "envoy":
        client.sock.settimeout(1)
        with pytest.raises(TimeoutError):
            client.some()
    else:
        assert client.read_to_end()[0] == b""
        assert alone.log()[0]["CONNECTION_TERMINATION_DETAILS"] == "transport socket timeout was reached"


def test_ticket_keys(kind: str, tmp_path: Path) -> None:
    """session_ticket_keys are refused: the binding cannot set them."""
    config = secure_front(server_tls(LEAF, session_ticket_keys={"keys": [inline("k" * 80)]}))
    status, said = try_config(kind, config, tmp_path)
    assert status == (0 if kind == "envoy" else 1), said
    if kind == "meshd":
        assert "session_ticket_keys" in said


def test_unvalidated(kind: str, tmp_path: Path) -> None:
    """A cluster that takes any certificate is warned of."""
    status, said = try_config(kind, secure_relay(client_tls()), tmp_path)
    assert status == 0, said
    assert ("takes any certificate" in said) == (kind == "meshd")
