"""tcp_proxy against Envoy: each row of the table of what a client sees, what is logged, what counted."""

from tests.interop.case import Case
from tests.interop.peers import (
    FIN,
    RST,
    Deaf,
    Nobody,
    answer,
    banner,
    ends_first,
    late_answer,
    resets,
    sink,
    wait_until,
)
from tests.interop.yaml_parts import bootstrap, cluster, listener, relay, tcp_proxy


def test_normal(case: Case) -> None:
    """Bytes go both ways; the client's end ends the backend's side and is logged as a normal end."""
    case.start(relay(case.backend()))
    client = case.client()
    client.send(b"hello")
    assert client.read(5) == b"hello"
    client.half_close()
    assert client.read_to_end() == (b"", FIN)
    (line,) = case.log()
    assert line["RESPONSE_FLAGS"] == "-"
    assert line["ACCESS_LOG_TYPE"] == "TcpConnectionEnd"
    assert (line["BYTES_RECEIVED"], line["BYTES_SENT"]) == (5, 5)


def test_refused(case: Case) -> None:
    """A backend that refuses ends the client's connection, counts and shows as UF,URX."""
    case.start(relay(case.have(Nobody())))
    client = case.client()
    assert client.read_to_end()[0] == b""
    (line,) = case.log()
    assert line["RESPONSE_FLAGS"] == "UF,URX"
    assert case.proxy.stat("cluster.c.upstream_cx_connect_fail") == 1


def test_refused_after_bytes(case: Case) -> None:
    """Bytes that the client sent before the refusal change nothing but, perhaps, the kind of close."""
    case.start(relay(case.have(Nobody())))
    client = case.client()
    client.try_send(b"hello")
    client.read_to_end()
    assert case.log()[0]["RESPONSE_FLAGS"] == "UF,URX"
    client.ending = "either"  # whether the bytes were there when it closed is chance


def test_attempts(case: Case) -> None:
    """max_connect_attempts makes that many attempts, on the same or other hosts."""
    case.start(relay(case.have(Nobody()), max_connect_attempts=3))
    client = case.client()
    client.read_to_end()
    (line,) = case.log()
    assert line["UPSTREAM_REQUEST_ATTEMPT_COUNT"] == 3
    assert case.proxy.stat("cluster.c.upstream_cx_connect_fail") == 3


def test_second_attempt_succeeds(case: Case) -> None:
    """After refusing hosts the next is tried, and serves."""
    case.start(relay(case.have(Nobody()), case.have(Nobody()), case.backend(), max_connect_attempts=3))
    for _ in range(3):
        client = case.client()
        client.send(b"hello")
        assert client.read(5) == b"hello"
        client.half_close()
        client.read_to_end()
    reason = "round robin starts at a random host; only from the second connection on are there 3 attempts"
    lines = case.log(3)
    assert [line["UPSTREAM_REQUEST_ATTEMPT_COUNT"] for line in lines[1:]] == [3, 3]
    assert [line["RESPONSE_FLAGS"] for line in lines[1:]] == ["UF", "UF"]
    wire = ("UPSTREAM_WIRE_BYTES_RECEIVED", "UPSTREAM_WIRE_BYTES_SENT")
    case.note(wire=[[line.get(name) for name in wire] for line in lines[1:]])
    for name in wire:
        case.unlog(name, reason)
    case.unlog("RESPONSE_FLAGS", reason)
    case.unlog("RESPONSE_FLAGS_LONG", reason)
    case.unlog("UPSTREAM_REQUEST_ATTEMPT_COUNT", reason)
    case.unlog("UPSTREAM_HOSTS_ATTEMPTED", reason)
    case.unlog("UPSTREAM_TRANSPORT_FAILURE_REASON", reason)
    case.ignore("upstream_cx_(total|connect_fail|destroy(_remote)?)$|upstream_rq_pending", reason)


def test_connect_timeout(case: Case) -> None:
    """A backend that hangs in connect is given up after connect_timeout."""
    deaf = case.have(Deaf())
    case.start(
        bootstrap(listener(tcp_proxy()), clusters=[cluster(deaf, connect_timeout="0.2s")]),
    )
    client = case.client()
    assert client.read_to_end()[0] == b""
    (line,) = case.log()
    assert line["RESPONSE_FLAGS"] == "UF,URX"
    assert case.proxy.stat("cluster.c.upstream_cx_connect_timeout") == 1


def test_no_host(case: Case) -> None:
    """A cluster without hosts: UH."""
    case.start(relay())
    client = case.client()
    assert client.read_to_end()[0] == b""
    assert case.log()[0]["RESPONSE_FLAGS"] == "UH"


def test_max_connections(case: Case) -> None:
    """Over the circuit breaker's max_connections: UO, and the connection under it lives on."""
    breaker = {"thresholds": [{"max_connections": 1}]}
    backend = case.backend()
    case.start(bootstrap(listener(tcp_proxy()), clusters=[cluster(backend, circuit_breakers=breaker)]))
    first = case.client()
    first.send(b"1")
    assert first.read(1) == b"1"
    assert case.proxy.stat("cluster.c.circuit_breakers.default.cx_open") == 1
    second = case.client()
    assert second.read_to_end()[0] == b""
    assert case.log()[0]["RESPONSE_FLAGS"] == "UO"
    first.send(b"2")
    assert first.read(1) == b"2"
    first.close()
    case.log(2)


def test_idle(case: Case) -> None:
    """After idle_timeout without bytes both sides are ended by FIN."""
    case.start(relay(case.backend(), idle_timeout="1s"))
    client = case.client()
    client.send(b"hello")
    assert client.read(5) == b"hello"
    assert client.read_to_end() == (b"", FIN)
    (line,) = case.log()
    assert line["DOWNSTREAM_LOCAL_CLOSE_REASON"] == "tcp_session_idle_timeout"
    assert case.proxy.stat("tcp.t.idle_timeout") == 1


def test_idle_never(case: Case) -> None:
    """idle_timeout 0 is never."""
    case.start(relay(case.backend(), idle_timeout="0s"))
    client = case.client()
    client.send(b"hello")
    assert client.read(5) == b"hello"
    client.close()
    case.log()


def test_max_duration(case: Case) -> None:
    """After max_downstream_connection_duration the connection ends: DT."""
    case.start(relay(case.backend(), max_downstream_connection_duration="1s"))
    client = case.client()
    client.send(b"hello")
    assert client.read(5) == b"hello"
    assert client.read_to_end() == (b"", FIN)
    (line,) = case.log()
    assert line["RESPONSE_FLAGS"] == "DT"


def test_backend_resets(case: Case) -> None:
    """A backend's RST reaches the client as RST."""
    case.start(relay(case.backend(resets(1))))
    client = case.client()
    client.send(b"x")
    assert client.read_to_end() == (b"", RST)
    assert case.log()[0]["RESPONSE_FLAGS"] == "UR"


def test_backend_closes(case: Case) -> None:
    """A backend that answers and closes: the client reads it all, then FIN, and its own close ends it."""
    case.start(relay(case.backend(answer(b"bye", closing=True))))
    client = case.client()
    client.send(b"x")
    assert client.read_to_end() == (b"bye", FIN)
    client.close()
    case.log()


def test_client_resets(case: Case) -> None:
    """A client's RST reaches the backend as RST."""
    backend = case.backend(sink)
    case.start(relay(backend))
    client = case.client()
    client.send(b"hello")
    peer = backend.peer()
    wait_until(lambda: len(peer.received) == 5, "the bytes to arrive")
    client.reset()
    backend.finish()
    assert peer.ending == RST
    assert case.log()[0]["DOWNSTREAM_DETECTED_CLOSE_TYPE"] == "RemoteReset"


def test_client_half_closes(case: Case) -> None:
    """A client's FIN reaches the backend, whose late reply still reaches the client."""
    case.start(relay(case.backend(late_answer(b"late"))))
    client = case.client()
    client.send(b"hello")
    client.half_close()
    assert client.read_to_end() == (b"late", FIN)
    case.log()


def test_backend_half_closes(case: Case) -> None:
    """A backend's FIN reaches the client, which may go on sending."""
    backend = case.backend(ends_first(b"that's all"))
    case.start(relay(backend))
    client = case.client()
    assert client.read_to_end() == (b"that's all", FIN)
    client.send(b"but I")
    client.send(b" have more")
    client.half_close()
    backend.finish()
    assert backend.peer().received == b"but I have more"
    case.log()


def test_client_closes(case: Case) -> None:
    """A client that sends and closes: the backend sees all its bytes and then FIN."""
    backend = case.backend(sink)
    case.start(relay(backend))
    client = case.client()
    client.send(b"hello")
    client.close()
    backend.peer()
    backend.finish()
    assert (bytes(backend.peer().received), backend.peer().ending) == (b"hello", FIN)
    case.log()


def test_banner(case: Case) -> None:
    """A server that speaks first is heard before the client has said a word."""
    case.start(relay(case.backend(banner(b"220 hello"))))
    client = case.client()
    assert client.read(9) == b"220 hello"
    client.send(b"quit")
    assert client.read(4) == b"quit"
    client.half_close()
    client.read_to_end()
    case.log()
