"""Limits against Envoy: of a listener by runtime, of a cluster by its circuit breakers."""

from tests.interop.case import Case
from tests.interop.peers import FIN, Deaf
from tests.interop.yaml_parts import Part, bootstrap, cluster, listener, network, tcp_proxy

ADMIN_LAYER: Part = {"name": "admin", "admin_layer": {}}


def runtime(**values: object) -> Part:
    """A layered runtime with a static layer and an admin layer."""
    static = {"name": "static", "static_layer": {name.replace("__", "."): v for name, v in values.items()}}
    return {"layers": [static, ADMIN_LAYER]}


def test_listener_limit(case: Case) -> None:
    """Over the listener's connection limit of the runtime a connection is closed and counted."""
    limited = runtime(envoy__resource_limits__listener__front__connection_limit=1)
    case.start(bootstrap(listener(network("echo", "Echo")), layered_runtime=limited))
    first = case.client()
    first.send(b"1")
    assert first.read(1) == b"1"
    assert case.client().read_to_end()[0] == b""
    case.proxy.await_stat("listener.front.downstream_cx_overflow", 1)
    first.half_close()
    assert first.read_to_end() == (b"", FIN)
    case.proxy.await_stat("listener.front.downstream_cx_active", 0)
    case.converse()
    case.lines = 0


def test_listener_limit_changed(case: Case) -> None:
    """The limit can be changed while running, on the admin page."""
    case.start(bootstrap(listener(network("echo", "Echo")), layered_runtime=runtime()))
    case.converse()
    key = "envoy.resource_limits.listener.front.connection_limit"
    assert case.proxy.post(f"/runtime_modify?{key}=0").status == 200
    assert case.client().read_to_end()[0] == b""
    assert case.proxy.post(f"/runtime_modify?{key}=").status == 200
    case.converse()
    case.lines = 0


def test_pending(case: Case) -> None:
    """max_pending_requests: a connection over it is refused while the first is still connecting."""
    deaf = case.have(Deaf())
    breakers = {"thresholds": [{"max_pending_requests": 1, "track_remaining": True}]}
    limited = cluster(deaf, circuit_breakers=breakers, connect_timeout="1s")
    case.start(bootstrap(listener(tcp_proxy()), clusters=[limited]))
    first = case.client()
    case.proxy.await_stat("cluster.c.upstream_rq_pending_active", 1)
    case.note(
        open=case.proxy.stat("cluster.c.circuit_breakers.default.rq_pending_open"),
        remaining=case.proxy.stat("cluster.c.circuit_breakers.default.remaining_pending"),
    )
    assert case.client().read_to_end()[0] == b""
    case.note(overflow=case.proxy.stat("cluster.c.upstream_rq_pending_overflow"))
    first.read_to_end()
    case.log(2)


def test_open_gauges(case: Case) -> None:
    """track_remaining shows how many connections are left; cx_open tells that none is."""
    breakers = {"thresholds": [{"max_connections": 2, "track_remaining": True}]}
    limited = cluster(case.backend(), circuit_breakers=breakers)
    case.start(bootstrap(listener(tcp_proxy()), clusters=[limited]))
    seen = []
    for _ in range(2):
        client = case.client()
        client.send(b"x")
        client.read(1)
        gauges = case.proxy.stats("circuit_breakers.default.(cx_open|remaining_cx)$")
        seen.append(sorted(gauges.items()))
    case.note(seen=seen)
    for client in case.clients:
        client.half_close()
        client.read_to_end()
    case.log(2)


def test_high_priority_untouched(case: Case) -> None:
    """Thresholds of HIGH priority do not concern TCP, which is DEFAULT."""
    breakers = {"thresholds": [{"priority": "HIGH", "max_connections": 0}]}
    case.start(
        bootstrap(listener(tcp_proxy()), clusters=[cluster(case.backend(), circuit_breakers=breakers)])
    )
    case.converse()
    case.log()


def test_zero_connections(case: Case) -> None:
    """max_connections 0 refuses all."""
    breakers = {"thresholds": [{"max_connections": 0}]}
    case.start(
        bootstrap(listener(tcp_proxy()), clusters=[cluster(case.backend(), circuit_breakers=breakers)])
    )
    client = case.client()
    client.read_to_end()
    case.log()
