"""The listener filters against Envoy: PROXY headers, HTTP sniffing, time-outs, clients that leave early."""

import socket
import struct
from typing import Any

import pytest

from tests.interop.case import Case
from tests.interop.peers import FIN, RST, wait_until
from tests.interop.yaml_parts import (
    Part,
    access_log,
    bootstrap,
    chain,
    cluster,
    listener,
    listener_filter,
    network,
    says,
    tcp_proxy,
)

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def version_two(command: int, family: int, body: bytes) -> bytes:
    """Encode a PROXY v2 header."""
    return SIGNATURE + struct.pack("!BBH", 0x20 | command, family, len(body)) + body


def inet(source: str, destination: str, source_port: int, destination_port: int) -> bytes:
    """Encode the addresses of a v2 header for IPv4 or IPv6."""
    kind = socket.AF_INET6 if ":" in source else socket.AF_INET
    packed = socket.inet_pton(kind, source) + socket.inet_pton(kind, destination)
    return packed + struct.pack("!HH", source_port, destination_port)


SOCKETS = "type.googleapis.com/envoy.extensions.transport_sockets"
V4 = inet("10.1.2.3", "10.9.9.9", 1111, 2222)
V6 = inet("2001:db8::1", "2001:db8::2", 1111, 2222)
TLV = b"\xe0\x00\x03abc"

GOOD = {
    "v1 TCP4": b"PROXY TCP4 10.1.2.3 10.9.9.9 1111 2222\r\n",
    "v1 TCP6": b"PROXY TCP6 2001:db8::1 2001:db8::2 1111 2222\r\n",
    "v1 UNKNOWN": b"PROXY UNKNOWN\r\n",
    "v1 UNKNOWN with addresses": b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n",
    "v2 TCP4": version_two(1, 0x11, V4),
    "v2 TCP6": version_two(1, 0x21, V6),
    "v2 with TLV": version_two(1, 0x11, V4 + TLV),
    "v2 LOCAL": version_two(0, 0x00, b""),
    "v2 LOCAL with addresses": version_two(0, 0x11, V4),
}

BAD = {
    "plain": b"GET / HTTP/1.1\r\n\r\n",
    "v1 lower case": b"proxy TCP4 10.1.2.3 10.9.9.9 1111 2222\r\n",
    "v1 bad address": b"PROXY TCP4 10.1.2.300 10.9.9.9 1111 2222\r\n",
    "v1 bad port": b"PROXY TCP4 10.1.2.3 10.9.9.9 1111 99999\r\n",
    "v1 family mismatch": b"PROXY TCP4 2001:db8::1 2001:db8::2 1111 2222\r\n",
    "v1 three words": b"PROXY TCP4 10.1.2.3\r\n",
    "v1 unknown protocol": b"PROXY UDP4 10.1.2.3 10.9.9.9 1111 2222\r\n",
    "v1 too long": b"PROXY TCP4 " + b"1" * 120 + b"\r\n",
    "v1 without CR": b"PROXY TCP4 10.1.2.3 10.9.9.9 1111 2222\n" + b"x" * 100,
    "v2 bad version": SIGNATURE + b"\x31\x11\x00\x0c" + V4,
    "v2 bad command": SIGNATURE + b"\x22\x11\x00\x0c" + V4,
    "v2 bad family": version_two(1, 0x51, V4),
    "v2 short addresses": version_two(1, 0x11, V4[:8]),
    "v2 datagram": version_two(1, 0x12, V4),
}


def behind(*filters: Part, **fields: Any) -> Part:
    """A listener with those listener filters and an echo behind."""
    log = access_log("LOG")
    echo = network("echo", "Echo")
    return bootstrap(listener(echo, listener_filters=list(filters), access_log=log, **fields))


def proxy_protocol(**fields: object) -> Part:
    """The proxy_protocol filter."""
    return listener_filter("proxy_protocol", "ProxyProtocol", **fields)


def numbers(case: Case) -> dict[str, int]:
    """Return what is counted, once all is quiet."""
    wait_until(case.idle, "quiet")
    return case.numbers()


def test_header(case: Case) -> None:
    """A PROXY header is taken off and its addresses become the connection's."""
    case.start(behind(proxy_protocol()))
    for number, (name, header) in enumerate(GOOD.items(), 1):
        client = case.client()
        client.send(header + b"hello")
        assert client.read(5) == b"hello"
        client.half_close()
        client.read_to_end()
        line = case.log(number)[-1]
        told = line["DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT"]
        kept = "LOCAL" in name or "UNKNOWN" in name
        six = name in ("v1 TCP6", "v2 TCP6")
        assert told == ("127.0.0.1" if kept else "2001:db8::1" if six else "10.1.2.3"), name
        case.note(**{name: (told, line["DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT"], numbers(case))})


def test_header_in_pieces(case: Case) -> None:
    """A header that comes byte by byte is a header all the same."""
    case.start(behind(proxy_protocol()))
    for number, name in enumerate(("v1 TCP4", "v2 with TLV"), 1):
        client = case.client()
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for place in range(len(GOOD[name])):
            client.send(GOOD[name][place : place + 1])
        client.send(b"hello")
        assert client.read(5) == b"hello"
        client.half_close()
        client.read_to_end()
        assert case.log(number)[-1]["DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT"] == "10.1.2.3"


@pytest.mark.parametrize("allowed", [False, True], ids=["required", "allowed"])
def test_no_header(case: Case, allowed: bool) -> None:
    """A malformed header ends the connection; a missing one too, unless it is allowed to be missing."""
    # No half-close before the answer: Envoy calls a FIN together with the bytes a remote close.
    required = proxy_protocol(allow_requests_without_proxy_protocol=allowed)
    case.start(behind(required, listener_filters_timeout="5s"))
    for name, sent in BAD.items():
        client = case.client()
        client.send(sent + b"hello")
        if client.some():
            client.half_close()
        client.read_to_end()
        case.note(**{name: (bytes(client.received), client.ending, numbers(case))})


def test_disallowed_version(case: Case) -> None:
    """A header of a disallowed version ends the connection; the other version passes."""
    log, echo = access_log("LOG"), network("echo", "Echo")
    fronts = [
        listener(
            echo,
            name=version,
            access_log=log,
            listener_filters=[proxy_protocol(disallowed_versions=[version], stat_prefix=version)],
        )
        for version in ("V1", "V2")
    ]
    case.start(bootstrap(*fronts))
    for version in ("V1", "V2"):
        for name in ("v1 TCP4", "v2 TCP4", "v2 LOCAL"):
            client = case.client(version)
            client.send(GOOD[name] + b"hello")
            said = client.some()
            assert said == (b"" if name.startswith(version.lower()) else b"hello")
            if said:
                client.half_close()
                client.read_to_end()
    case.log(6)


def test_stat_prefix(case: Case) -> None:
    """stat_prefix goes into the names of the counters."""
    case.start(behind(proxy_protocol(stat_prefix="mine")))
    client = case.client()
    client.send(GOOD["v1 TCP4"] + b"hello")
    assert client.read(5) == b"hello"
    client.half_close()
    client.read_to_end()
    assert case.proxy.stat("proxy_proto.mine.versions.v1.found") == 1


def test_header_chooses_chain(case: Case) -> None:
    """The address from the header is what source_prefix_ranges looks at; direct_source is the socket's."""
    ten = [{"address_prefix": "10.0.0.0", "prefix_len": 8}]
    loop = [{"address_prefix": "127.0.0.0", "prefix_len": 8}]
    chains = [
        chain(says("told"), match={"source_prefix_ranges": ten}),
        chain(says("both"), match={"source_prefix_ranges": ten, "direct_source_prefix_ranges": loop}),
        chain(says("any"), match={}),
    ]
    case.start(bootstrap(listener(*chains, listener_filters=[proxy_protocol()])))
    client = case.client()
    client.send(GOOD["v1 TCP4"])
    assert client.read_to_end() == (b"both", FIN)
    client = case.client()
    client.send(GOOD["v1 UNKNOWN"])
    assert client.read_to_end()[1] in (FIN, RST)
    client.ending = "either"
    case.lines = 0


@pytest.mark.parametrize("version", ["V1", "V2"])
def test_upstream_header(case: Case, version: str) -> None:
    """The upstream PROXY transport socket tells the backend what the downstream header told."""
    raw = {"@type": f"{SOCKETS}.raw_buffer.v3.RawBuffer"}
    upstream: Part = {
        "@type": f"{SOCKETS}.proxy_protocol.v3.ProxyProtocolUpstreamTransport",
        "config": {"version": version},
        "transport_socket": {"name": "raw", "typed_config": raw},
    }
    backend = case.backend()
    socketed = cluster(backend, transport_socket={"name": "pp", "typed_config": upstream})
    case.start(bootstrap(listener(tcp_proxy(), listener_filters=[proxy_protocol()]), clusters=[socketed]))
    client = case.client()
    client.send(GOOD["v1 TCP4"] + b"hello")
    wanted = (GOOD["v1 TCP4"] if version == "V1" else GOOD["v2 TCP4"]) + b"hello"
    assert client.read(len(wanted)) == wanted
    client.half_close()
    client.read_to_end()
    case.log()


def test_timeout(case: Case) -> None:
    """A client too slow for a listener filter is closed, or goes on with what is known."""
    inspector = listener_filter("http_inspector", "HttpInspector")
    fronts = [
        listener(
            network("echo", "Echo"),
            name=name,
            access_log=access_log("LOG"),
            listener_filters=[inspector],
            listener_filters_timeout="0.2s",
            continue_on_listener_filters_timeout=name == "goes_on",
        )
        for name in ("closes", "goes_on")
    ]
    proxy = case.start(bootstrap(*fronts))
    for number, sent in enumerate((b"", b"PRO", b"GET / HT"), 1):
        client = case.client("closes")
        client.send(sent)
        assert client.read_to_end()[0] == b""
        client = case.client("goes_on")
        client.send(sent)
        proxy.await_stat("listener.goes_on.downstream_cx_total", number)
        client.send(b"more")
        assert client.read(len(sent) + 4) == sent + b"more"
        client.half_close()
        client.read_to_end()
    assert proxy.stat("listener.closes.downstream_pre_cx_timeout") == 3
    case.log(6)


def test_remote_close(case: Case) -> None:
    """A client that leaves before the listener filters are done is counted, and never meets a chain."""
    case.start(behind(proxy_protocol()))
    client = case.client()
    client.send(b"PRO")
    client.half_close()
    client.read_to_end()
    case.proxy.await_stat("listener.front.downstream_listener_filter_remote_close", 1)
    case.lines = 1


SNIFFED = (
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"POST /x HTTP/1.1\r\nhost: y\r\n\r\nbody",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"FOO / HTTP/1.1\r\n\r\n",
    b"GET /\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"\x16\x03\x01\x02\x00",
    b"get / http/1.1\r\n\r\n",
)


def test_http_inspector(case: Case) -> None:
    """http_inspector counts what it found, and takes no byte away."""
    case.start(behind(listener_filter("http_inspector", "HttpInspector")))
    for sent in SNIFFED:
        client = case.client()
        client.send(sent)
        assert client.read(len(sent)) == sent
        client.half_close()
        client.read_to_end()
        case.note(**{repr(sent): numbers(case)})
    case.log(len(SNIFFED))


def test_two_filters(case: Case) -> None:
    """proxy_protocol before http_inspector: the header is off before the second looks."""
    inspector = listener_filter("http_inspector", "HttpInspector")
    case.start(behind(proxy_protocol(), inspector))
    client = case.client()
    client.send(GOOD["v2 TCP4"] + b"GET / HTTP/1.1\r\n\r\n")
    assert client.read(18) == b"GET / HTTP/1.1\r\n\r\n"
    client.half_close()
    client.read_to_end()
    assert case.proxy.stat("http_inspector.http11_found") == 1


@pytest.mark.parametrize("downstream", [False, True], ids=["ours", "client's"])
def test_added_tlvs(case: Case, downstream: bool) -> None:
    """The TLVs of tcp_proxy go into the upstream header, unless the client's own header is there already."""
    raw = {"@type": f"{SOCKETS}.raw_buffer.v3.RawBuffer"}
    upstream: Part = {
        "@type": f"{SOCKETS}.proxy_protocol.v3.ProxyProtocolUpstreamTransport",
        "config": {"version": "V2", "pass_through_tlvs": {"match_type": "INCLUDE_ALL"}},
        "transport_socket": {"name": "raw", "typed_config": raw},
    }
    backend = case.backend()
    socketed = cluster(backend, transport_socket={"name": "pp", "typed_config": upstream})
    terminal = tcp_proxy(proxy_protocol_tlvs=[{"type": 0xF1, "value": "aGk="}])
    filters = [proxy_protocol()] if downstream else []
    case.start(bootstrap(listener(terminal, listener_filters=filters), clusters=[socketed]))
    client = case.client()
    client.send((GOOD["v1 TCP4"] if downstream else b"") + b"hello")
    tlv = b"" if downstream else b"\xf1\x00\x02hi"
    size = 28 + len(tlv) + 5
    received = client.read(size)
    assert received[16 + 12 :] == tlv + b"hello"
    client.half_close()
    client.read_to_end()
    for peer in (client, *backend.peers):
        peer.received = bytearray(peer.received[28:])  # the addresses before are chance
