"""How connections begin and end through TLS: orderly, by halves, cut short, and with peers without TLS."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.codec.hellos import openssl_hello
from tests.interop.case import Case
from tests.interop.peers import FIN, Peer, late_answer, sink, wait_until
from tests.interop.tls_parts import (
    NOTIFIED,
    SOCKETS,
    TLS12,
    TLS13,
    TLSBackend,
    TLSPeer,
    client_context,
    client_tls,
    secure_chain,
    secure_front,
    secure_relay,
    server_context,
    server_tls,
    tls_client,
    tls_log,
)
from tests.interop.yaml_parts import Part, bootstrap, cluster, listener, tcp_proxy
from tests.tls.authority import Authority

ROOT = Authority()
LEAF = ROOT.issue("front", dns=["front.example"])
BACK = ROOT.issue("back", dns=["back.example"])
VERSIONS = ["TLSv1_2", "TLSv1_3"]


def terminating(*hosts: Any) -> Part:
    """TLS in front, clear text behind."""
    front = secure_chain(server_tls(LEAF), tcp_proxy(access_log=tls_log()))
    return bootstrap(listener(front), clusters=[cluster(*hosts)])


def both(*hosts: Any) -> Part:
    """TLS on either side."""
    return bootstrap(
        listener(secure_chain(server_tls(LEAF), tcp_proxy(access_log=tls_log()))),
        clusters=[cluster(*hosts, transport_socket=client_tls())],
    )


REASON = "DOWNSTREAM_TRANSPORT_FAILURE_REASON"


def no_handshake(case: Case) -> None:
    """Leave out what is told otherwise of a handshake that never was: see docs/differences.rst."""
    for side in ("DOWNSTREAM", "UPSTREAM"):
        for name in ("TLS_VERSION", "TLS_CIPHER", "LOCAL_SUBJECT", "TRANSPORT_FAILURE_REASON"):
            case.unlog(f"{side}_{name}", "of no handshake: see docs/differences.rst")
        for name in ("WIRE_BYTES_RECEIVED", "WIRE_BYTES_SENT"):
            case.unlog(f"{side}_{name}", "of no handshake: see docs/differences.rst")


def begin(case: Case) -> TLSPeer:
    """Return a client that has shaken hands."""
    client = tls_client(case)
    assert not client.secure(client_context())
    return client


def test_half_close(case: Case) -> None:
    """A client's close_notify is the backend's FIN, and the answer still comes; then both ends."""
    case.start(terminating(case.backend(late_answer(b"late"))))
    client = begin(case)
    client.send(b"hello")
    client.half_close()
    assert client.read_to_end() == (b"late", NOTIFIED)
    case.note(wire=client.wire_end())


def test_fin_alone(case: Case) -> None:
    """A FIN without close_notify ends the client's direction, too."""
    case.ignore("early_data_received", "the upstream connection begins after the handshake")
    case.start(terminating(case.backend(late_answer(b"late"))))
    client = begin(case)
    client.send(b"hello")
    client.fin()
    case.note(heard=client.read_to_end(), wire=client.wire_end())


def test_backend_first(case: Case) -> None:
    """A backend that ends first: the client gets a close_notify, and may go on sending."""

    def script(peer: Peer) -> None:
        peer.send(b"bye")
        peer.half_close()
        assert peer.read(5) == b"still"
        peer.read_to_end()

    case.start(terminating(case.backend(script)))
    client = begin(case)
    assert client.read_to_end() == (b"bye", NOTIFIED)
    case.note(wire=client.wire)
    client.send(b"still")
    client.half_close()
    case.note(wire_then=client.wire_end())


def test_close(case: Case) -> None:
    """A proxy that closes says so in TLS, then with a FIN."""
    idle = tcp_proxy(idle_timeout="0.3s", access_log=tls_log())
    front = listener(secure_chain(server_tls(LEAF), idle))
    case.start(bootstrap(front, clusters=[cluster(case.backend())]))
    client = begin(case)
    case.note(heard=client.read_to_end(), wire=client.wire_end())
    case.log(1)


def test_client_resets(case: Case) -> None:
    """A client's reset ends both sides."""
    backend = case.backend(sink)
    case.start(terminating(backend))
    client = begin(case)
    client.send(b"hello")
    peer = backend.peer()
    wait_until(lambda: peer.received == b"hello", "the data")
    client.reset()
    no_handshake(case)  # a reset is a reason in Envoy only
    case.log(1)


def test_backend_resets(case: Case) -> None:
    """A backend's reset is what the client sees."""

    def script(peer: Peer) -> None:
        peer.read(5)
        peer.reset()

    case.start(terminating(case.backend(script)))
    client = begin(case)
    client.send(b"hello")
    client.read_to_end()
    case.note(wire=client.wire_end())
    case.log(1)


# Upstream.


@pytest.mark.parametrize("version", VERSIONS)
def test_upstream_half_close(case: Case, version: str) -> None:
    """A client's FIN is the backend's close_notify, without a FIN as long as the answer comes."""

    def script(peer: Peer) -> None:
        assert isinstance(peer, TLSPeer)
        peer.read_to_end()
        peer.send(b"late")
        peer.half_close()
        peer.wire_end()

    backend = case.have(TLSBackend(server_context(BACK), script))
    params = {"tls_params": {"tls_maximum_protocol_version": version}}
    case.start(secure_relay(client_tls(common=params), backend))
    client = case.client()
    client.send(b"hello")
    client.half_close()
    assert client.read_to_end() == (b"late", FIN)
    assert backend.peer().ending == NOTIFIED


def test_upstream_ends_first(case: Case) -> None:
    """A backend's close_notify is the client's FIN, and the client may go on."""

    def script(peer: Peer) -> None:
        peer.read(5)
        peer.half_close()
        peer.read_to_end()

    backend = case.have(TLSBackend(server_context(BACK), script))
    case.start(secure_relay(client_tls(), backend))
    client = case.client()
    client.send(b"hello")
    assert client.read_to_end() == (b"", FIN)
    client.send(b"more")
    client.half_close()
    wait_until(lambda: backend.peer().received == b"hellomore", "the rest")


def test_upstream_fin_alone(case: Case) -> None:
    """A backend's FIN without close_notify is an end, too."""

    def script(peer: Peer) -> None:
        peer.read(5)
        peer.send(b"part")
        peer.sock.close()

    case.start(secure_relay(client_tls(), case.have(TLSBackend(server_context(BACK), script))))
    client = case.client()
    client.send(b"hello")
    assert client.read_to_end()[0] == b"part"
    client.close()
    case.log(1)


@pytest.mark.parametrize("size", [1, 16384, 3 << 20])
def test_both_sides(case: Case, size: int) -> None:
    """Through TLS on either side all bytes pass, and the ends after them."""

    def script(peer: Peer) -> None:
        data, _ = peer.read_to_end()
        peer.send(data[::-1])
        peer.half_close()
        assert isinstance(peer, TLSPeer)
        peer.wire_end()

    case.start(both(case.have(TLSBackend(server_context(BACK), script))))
    client = begin(case)
    data = bytes(range(251)) * (size // 251) + bytes(size % 251)
    client.send(data)
    client.half_close()
    assert client.read_to_end() == (data[::-1], NOTIFIED)
    case.note(wire=client.wire_end())


# Peers that do not play.


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.0\r\n\r\n",
        b"PUT / HTTP/1.1\r\n",
        b"CONNECT a HTTP/1.1\r\n",
    ],
)
def test_plain_client(case: Case, said: bytes) -> None:
    """Who speaks no TLS is answered with an alert, or nothing, and told of in the log."""
    no_handshake(case)
    case.start(secure_front(server_tls(LEAF)))
    client = case.client()
    client.send(said)
    case.note(heard=client.read_to_end())
    case.log(1)


def test_no_byte(case: Case) -> None:
    """A client that leaves without a byte is no error of TLS."""
    no_handshake(case)
    case.start(secure_front(server_tls(LEAF)))
    client = case.client()
    client.half_close()
    case.note(heard=client.read_to_end())
    case.log(1)


@pytest.mark.parametrize("part", [3, 100, -1])
def test_half_a_hello(case: Case, part: int) -> None:
    """Nor is one that leaves within a ClientHello, or after it."""
    no_handshake(case)
    case.start(secure_front(server_tls(LEAF)))
    client = case.client()
    hello = openssl_hello("front.example")
    client.send(hello[:part] if part > 0 else hello)
    client.half_close()
    client.read_to_end()
    client.received.clear()  # a server's part of a handshake, which is never the same
    case.note(ending=client.ending)
    case.log(1)


def test_slow_client(case: Case) -> None:
    """A handshake must be done within transport_socket_connect_timeout."""
    no_handshake(case)
    chain = secure_chain(server_tls(LEAF), transport_socket_connect_timeout="0.3s")
    case.start(bootstrap(listener(chain, access_log=tls_log())))
    client = case.client()
    client.send(openssl_hello("front.example")[:20])
    case.note(heard=client.read_to_end())
    case.log(1)


def test_in_time(case: Case) -> None:
    """Who is done with it in time may go on for longer."""
    chain = secure_chain(server_tls(LEAF), transport_socket_connect_timeout="1.5s")
    case.start(bootstrap(listener(chain, access_log=tls_log())))
    client = begin(case)
    client.sock.settimeout(2)
    with pytest.raises(TimeoutError):
        client.some()
    client.sock.settimeout(10)
    client.send(b"hello")
    assert client.read(5) == b"hello"


def plain(reply: bytes) -> Any:
    """Return the script of a backend that speaks no TLS."""

    def script(peer: Peer) -> None:
        peer.some()
        peer.received.clear()  # a ClientHello, which is never the same
        peer.send(reply)
        peer.read_to_end()
        peer.received.clear()  # perhaps an alert

    return script


@pytest.mark.parametrize("reply", [b"HTTP/1.0 400 Bad Request\r\n\r\n", b"\x15\x03\x03\x00\x02\x02\x28"])
def test_plain_upstream(case: Case, reply: bytes) -> None:
    """A backend that speaks no TLS fails, and the log says why."""
    case.start(secure_relay(client_tls(), case.backend(plain(reply))))
    client = case.client()
    client.try_send(b"hello")
    case.note(heard=client.read_to_end()[0])
    client.ending = "over"  # whether the hello was read before is chance, and so whether it is a RST
    case.log(1)


def test_deaf_upstream(case: Case) -> None:
    """A backend that accepts, and never answers a ClientHello, is connect_timeout's case."""

    def script(peer: Peer) -> None:
        peer.read_to_end()
        peer.received.clear()

    no_handshake(case)
    case.start(secure_relay(client_tls(), case.backend(script), connect_timeout="0.3s"))
    client = case.client()
    case.note(heard=client.read_to_end())
    case.log(1)


def test_leaving_upstream(case: Case) -> None:
    """A backend that closes instead of shaking hands."""

    def script(peer: Peer) -> None:
        peer.some()
        peer.received.clear()

    no_handshake(case)
    case.start(secure_relay(client_tls(), case.backend(script)))
    client = case.client()
    case.note(heard=client.read_to_end())
    case.log(1)


def test_starttls_in_clear(case: Case) -> None:
    """A starttls transport socket passes clear text as long as nobody asks for TLS."""
    tls = server_tls(LEAF)["typed_config"]
    tls.pop("@type")
    socket = {
        "name": "envoy.transport_sockets.starttls",
        "typed_config": {"@type": f"{SOCKETS}.starttls.v3.StartTlsConfig", "tls_socket_config": tls},
    }
    case.start(secure_front(socket))
    case.converse()
    case.log(1)


def _logged(path: Path, wanted: set[str]) -> bool:
    return wanted <= set(path.read_text().splitlines())


def test_key_log(case: Case, tmp_path: Path) -> None:
    """The secrets of each session are logged, with the labels of NSS."""
    path = case.directory / "keys.log"
    socket = server_tls(LEAF, common={"key_log": {"path": str(path)}})
    case.start(secure_front(socket))
    labels = []
    for version in (TLS12, TLS13):
        client = tls_client(case)
        context = client_context(maximum_version=version)
        mine = tmp_path / f"mine-{case.kind}"
        context.keylog_filename = str(mine)
        assert not client.secure(context)
        client.send(b"hello")
        assert client.read(5) == b"hello"
        client.half_close()
        client.read_to_end()
        wanted = {line for line in mine.read_text().splitlines() if not line.startswith("#")}
        wait_until(partial(_logged, path, wanted), "the same keys")
        labels.append(sorted(line.split()[0] for line in wanted))
    case.note(labels=labels)
    case.log(2)
