"""Too little of something: descriptors, and backends that answer."""

from tests.interop.case import Case
from tests.interop.oracle import command
from tests.interop.peers import FIN, Client, Deaf, Nobody, wait_until
from tests.interop.yaml_parts import bootstrap, cluster, listener, network, relay, tcp_proxy


def test_descriptors_run_out(case: Case) -> None:
    """Without descriptors accepting pauses, is counted, and goes on by itself; old connections work on."""
    shell = ("sh", "-c", 'ulimit -n 64; exec "$0" "$@"', *command("meshd"))
    proxy = case.start(bootstrap(listener(network("echo", "Echo"))), start=shell)
    old = case.client()
    old.send(b"a")
    assert old.read(1) == b"a"
    address = proxy.address()
    many = [Client(address) for _ in range(80)]
    for client in many:
        client.send(b"x")
    wait_until(lambda: served(many) > 10, "some to be served")
    wait_until(lambda: "accepting pauses" in proxy.said(), "the pause to be logged")
    old.send(b"b")
    assert old.read(1) == b"b"
    assert served(many) < 80
    for client in many[:40]:
        client.close()
    for client in many[40:]:
        assert client.read(1) == b"x"
        client.close()
    assert proxy.stat("listener.front.downstream_accept_paused") >= 1
    old.send(b"c")
    assert old.read(1) == b"c"


def served(clients: list[Client]) -> int:
    """Return how many clients have an answer waiting."""
    count = 0
    for client in clients:
        client.sock.setblocking(False)
        try:
            count += bool(client.sock.recv(1, 2))  # MSG_PEEK
        except BlockingIOError:
            pass
        client.sock.settimeout(10)
    return count


def test_backend_hangs_in_connect(case: Case) -> None:
    """A backend that hangs in connect is tried as often as allowed, each time for connect_timeout."""
    deaf = case.have(Deaf())
    hanging = cluster(deaf, connect_timeout="0.2s")
    proxy = case.start(bootstrap(listener(tcp_proxy(max_connect_attempts=3)), clusters=[hanging]))
    client = case.client()
    assert client.read_to_end()[0] == b""
    (line,) = case.log()
    assert line["RESPONSE_FLAGS"] == "UF,URX"
    assert line["UPSTREAM_REQUEST_ATTEMPT_COUNT"] == 3
    assert proxy.stat("cluster.c.upstream_cx_connect_timeout") == 3
    assert proxy.stat("cluster.c.upstream_cx_active") == 0


def test_client_leaves_during_connect(case: Case) -> None:
    """A client that resets while the backend hangs in connect ends the attempt as well."""
    deaf = case.have(Deaf())
    proxy = case.start(bootstrap(listener(tcp_proxy()), clusters=[cluster(deaf, connect_timeout="60s")]))
    client = case.client()
    proxy.await_stat("cluster.c.upstream_rq_pending_active", 1)
    client.reset()
    proxy.await_stat("cluster.c.upstream_rq_pending_active", 0)
    proxy.await_stat("listener.front.downstream_cx_active", 0)


def test_one_of_two_refuses(case: Case) -> None:
    """With two attempts a refusing host costs no client its connection."""
    backend = case.backend()
    proxy = case.start(relay(case.have(Nobody()), backend, max_connect_attempts=2, access_log=[]))
    for _ in range(20):
        client = case.client()
        client.send(b"hello")
        assert client.read(5) == b"hello"
        client.half_close()
        assert client.read_to_end() == (b"", FIN)
    assert len(backend.peers) == 20
    assert proxy.stat("cluster.c.upstream_cx_connect_fail") >= 9
