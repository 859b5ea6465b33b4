"""
Load balancing against Envoy: which host each connection reaches.

Backends say their number first.  The balancers that hash must agree for every
client; those that begin at a random place must agree but for the beginning.
"""

import socket
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from twisted.names import dns

from tests.interop.case import Case
from tests.interop.peers import FIN, banner, wait_until
from tests.interop.yaml_parts import Part, address, bootstrap, listener, tcp_proxy

BY_SOURCE: Part = {"hash_policy": [{"source_ip": {}}]}
WEIGHTS = (5, 1, 2, 9, 1)


def extension(kind: str, **config: Any) -> Part:
    """A load_balancing_policy of one extension, e.g. "maglev.v3.Maglev"."""
    typed = {"@type": f"type.googleapis.com/envoy.extensions.load_balancing_policies.{kind}", **config}
    return {"policies": [{"typed_extension_config": {"name": kind, "typed_config": typed}}]}


def endpoint(port: int, host: str = "127.0.0.1", **fields: Any) -> Part:
    """An LbEndpoint."""
    return {"endpoint": {"address": address(port, host)}, **fields}


def balanced(*levels: Sequence[Part], proxy: Part | None = None, **fields: Any) -> Part:
    """A bootstrap with a tcp_proxy to a cluster with these endpoints by priority."""
    endpoints = [{"priority": level, "lb_endpoints": list(found)} for level, found in enumerate(levels)]
    cluster = {"name": "c", "load_assignment": {"cluster_name": "c", "endpoints": endpoints}, **fields}
    return bootstrap(listener(tcp_proxy(**(proxy or {}))), clusters=[cluster])


def numbered(case: Case, ports: Sequence[int]) -> None:
    """Start a backend at each port that says its number, from 1 on."""
    for number, port in enumerate(ports, start=1):
        case.backend(banner(b"%d" % number), port=port)


def reach(case: Case, source: str = "127.0.0.1", keep: bool = False) -> str:
    """Connect, and return the number of the backend that answers; end the connection, or keep it."""
    client = case.client(source=(source, 0))
    number = client.read(1).decode()
    if not keep and number:
        client.half_close()
        assert client.read_to_end() == (b"", FIN)
    return number


def unordered(case: Case) -> None:
    """Compare the clients by whom they reached, since where Envoy begins is chance."""
    case.clients.sort(key=lambda client: bytes(client.received))


def turned(order: str) -> str:
    """Return the order of a cycle as if it began at the place that makes it the smallest."""
    return min(order[at:] + order[:at] for at in range(len(order)))


HASHING: dict[str, Part] = {
    "ring": {"lb_policy": "RING_HASH"},
    "ring, murmur": {"lb_policy": "RING_HASH", "ring_hash_lb_config": {"hash_function": "MURMUR_HASH_2"}},
    "ring, small": {
        "lb_policy": "RING_HASH",
        "ring_hash_lb_config": {"minimum_ring_size": 7, "maximum_ring_size": 13},
    },
    "ring, extension": {"load_balancing_policy": extension("ring_hash.v3.RingHash", minimum_ring_size=50)},
    "maglev": {"lb_policy": "MAGLEV"},
    "maglev, small": {"lb_policy": "MAGLEV", "maglev_lb_config": {"table_size": 101}},
    "maglev, extension": {"load_balancing_policy": extension("maglev.v3.Maglev", table_size=1009)},
}


@pytest.mark.parametrize("name", HASHING)
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["equal", "weighted"])
def test_hashing(case: Case, ports: list[int], name: str, weights: tuple[int, ...] | None) -> None:
    """Every client reaches the same host through meshd and through Envoy."""
    numbered(case, ports[:5])
    more: list[Part] = [{"load_balancing_weight": weight} for weight in weights] if weights else [{}] * 5
    hosts = [endpoint(port, **each) for port, each in zip(ports[:5], more, strict=True)]
    case.start(balanced(hosts, proxy=BY_SOURCE, **HASHING[name]))
    case.note(reached="".join(reach(case, f"127.0.0.{number}") for number in range(2, 26)))


@pytest.mark.parametrize("name", ["RING_HASH", "MAGLEV"])
def test_bounded_load(case: Case, ports: list[int], name: str) -> None:
    """With a hash_balance_factor, a client's connections go on to the same other hosts."""
    numbered(case, ports[:5])
    bounds = {"consistent_hashing_lb_config": {"hash_balance_factor": 120}}
    hosts = [endpoint(port) for port in ports[:5]]
    case.start(balanced(hosts, proxy=BY_SOURCE, lb_policy=name, common_lb_config=bounds))
    case.note(reached="".join(reach(case, "127.0.0.2", keep=True) for _ in range(12)))


SICK, WEAK, LEAVING = ({"health_status": status} for status in ("UNHEALTHY", "DEGRADED", "DRAINING"))

LEVELS: dict[str, list[list[Part]]] = {
    "healthy": [[{}, {}], [{}]],
    "spill": [[{}, SICK], [{}, {}]],
    "failover": [[SICK, SICK], [{}]],
    "panic": [[{}, SICK, SICK]],
    "total panic": [[SICK], [SICK, SICK]],
    "degraded": [[{}, WEAK, SICK]],
    "draining": [[{}, LEAVING, LEAVING]],
    "degraded only": [[WEAK, WEAK]],
}


@pytest.mark.parametrize("name", LEVELS)
def test_priorities(case: Case, ports: list[int], name: str) -> None:
    """Health and priorities decide the same for every client: the hash chooses the priority, too."""
    numbered(case, ports)
    left = iter(ports)
    levels = [[endpoint(next(left), **status) for status in level] for level in LEVELS[name]]
    case.start(balanced(*levels, proxy=BY_SOURCE, lb_policy="RING_HASH"))
    case.note(
        reached="".join(reach(case, f"127.0.0.{number}") or "0" for number in range(2, 22)),
        panics=case.proxy.stat("cluster.c.lb_healthy_panic"),
        none=case.proxy.stat("cluster.c.upstream_cx_none_healthy"),
    )


def test_no_panic(case: Case, ports: list[int]) -> None:
    """With a panic threshold of 0 there is no host, where none is healthy."""
    numbered(case, ports[:1])
    off = {"healthy_panic_threshold": {"value": 0}}
    case.start(balanced([endpoint(ports[0], **SICK)], common_lb_config=off))
    assert reach(case) == ""
    assert case.log()[0]["RESPONSE_FLAGS"] == "UH"


@pytest.mark.parametrize("name", ["ROUND_ROBIN", "extension"])
def test_round_robin(case: Case, ports: list[int], name: str) -> None:
    """Hosts are reached in turn."""
    numbered(case, ports[:3])
    policy: Part = {"load_balancing_policy": extension("round_robin.v3.RoundRobin")}
    case.start(balanced([endpoint(port) for port in ports[:3]], **(policy if name == "extension" else {})))
    order = "".join(reach(case) for _ in range(9))
    assert order[:3] == order[3:6] == order[6:]
    case.note(order=turned(order[:3]))
    unordered(case)


def test_weighted_round_robin(case: Case, ports: list[int]) -> None:
    """Heavier hosts have exactly their share of the turns, in the same order."""
    numbered(case, ports[:3])
    hosts = [
        endpoint(port, load_balancing_weight=weight)
        for port, weight in zip(ports[:3], (1, 2, 5), strict=True)
    ]
    case.start(balanced(hosts))
    order = "".join(reach(case) for _ in range(16))
    assert order[:8] == order[8:]
    case.note(order=turned(order[:8]))
    unordered(case)


def test_least_request(case: Case, ports: list[int]) -> None:
    """The less busy host has the next connection."""
    numbered(case, ports[:2])
    drawn = {"choice_count": 40}
    hosts = [endpoint(port) for port in ports[:2]]
    case.start(balanced(hosts, lb_policy="LEAST_REQUEST", least_request_lb_config=drawn))
    case.note(counts=sorted(Counter(reach(case, keep=True) for _ in range(8)).items()))
    unordered(case)


def test_random(kind: str, tmp_path: Path, ports: list[int]) -> None:
    """Every host is reached, now and then; which, is chance, and so not compared."""
    alone = Case(kind, tmp_path)
    try:
        numbered(alone, ports[:2])
        alone.start(balanced([endpoint(port) for port in ports[:2]], lb_policy="RANDOM"))
        assert {reach(alone) for _ in range(30)} == {"1", "2"}
    finally:
        alone.close()


@pytest.mark.parametrize("source", ["127.0.0.77", "extra"])
def test_source_address(case: Case, ports: list[int], source: str) -> None:
    """Connections come from the address that the cluster says."""
    numbered(case, ports[:1])
    bind: Part = {"source_address": {"address": "127.0.0.77", "port_value": 0}}
    if source == "extra":
        extra = [{"address": {"address": "127.0.0.78", "port_value": 0}}]
        bind = {"source_address": {"address": "::1", "port_value": 0}, "extra_source_addresses": extra}
    case.start(balanced([endpoint(ports[0])], upstream_bind_config=bind))
    reach(case, keep=True)
    backend: Any = case.things[0]
    case.note(source=backend.peer(0).sock.getpeername()[0])


# Names.


class Names:
    """A name server on 127.0.0.1; names has the IPv4 addresses of each, None where it is to fail."""

    def __init__(self) -> None:
        self.names: dict[str, list[str] | None] = {}
        self._sock = socket.socket(type=socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", 0))
        self.port = int(self._sock.getsockname()[1])
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            data, client = self._sock.recvfrom(4096)
            if not data:
                return
            self._sock.sendto(self._answer(data), client)

    def _answer(self, data: bytes) -> bytes:
        message = dns.Message()
        message.fromStr(data)
        query = message.queries[0]
        known = self.names.get(query.name.name.decode(), [])
        message.answer, message.recAv = 1, 1
        message.additional = []
        message.rCode = dns.ESERVER if known is None else dns.OK
        if query.type == dns.A:
            message.answers = [
                dns.RRHeader(query.name.name, dns.A, ttl=60, payload=dns.Record_A(each, 60))
                for each in known or []
            ]
        return message.toStr()

    def finish(self) -> None:
        """Nothing is to be waited for."""

    def close(self) -> None:
        """Stop."""
        self._sock.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join(5)
        self._sock.close()


def named(case: Case, names: Names, kind: str, port: int) -> Part:
    """A bootstrap with a cluster of the name a.test, looked up often."""
    case.ignore(r"cluster\.c\.update_", "how often it was looked up, until the test was over")
    case.ignore(r"total_match_count", "Envoy makes a host of each address anew with each lookup")
    cares = "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"
    options = {"no_default_search_domain": True}
    typed = {"@type": cares, "resolvers": [address(names.port)], "dns_resolver_options": options}
    return balanced(
        [endpoint(port, "a.test")],
        type=kind,
        dns_refresh_rate="0.1s",
        dns_lookup_family="V4_ONLY",
        typed_dns_resolver_config={"name": "envoy.network.dns_resolver.cares", "typed_config": typed},
    )


def learn(case: Case, names: Names, *addresses: str) -> None:
    """Let a.test have other addresses, and wait until the proxy has looked it up twice since."""
    names.names["a.test"] = list(addresses)
    _twice(case, "cluster.c.update_attempt")


def _twice(case: Case, name: str) -> None:
    before = case.proxy.stat(name)
    wait_until(lambda: case.proxy.stat(name) >= before + 2, "two lookups")


def hosts(case: Case) -> list[str]:
    """Return the addresses of the cluster's hosts, from the admin page, sorted."""
    found = {
        line.split("::")[1] for line in case.proxy.get("/clusters").text.splitlines() if "::weight::" in line
    }
    return sorted(each.rpartition(":")[0] for each in found)


def test_strict_dns(case: Case, ports: list[int]) -> None:
    """Every address is a host; a failure keeps them, an empty answer does not; connections stay."""
    numbered(case, ports[:1])
    names = case.have(Names())
    names.names["a.test"] = ["127.0.0.1"]
    case.start(named(case, names, "STRICT_DNS", ports[0]))
    seen = [hosts(case)]
    reach(case, keep=True)
    learn(case, names, "127.0.0.8", "127.0.0.9")
    seen.append(hosts(case))
    names.names["a.test"] = None
    _twice(case, "cluster.c.update_failure")
    seen.append(hosts(case))
    learn(case, names)
    seen.append(hosts(case))
    assert reach(case) == ""
    assert seen == [["127.0.0.1"], ["127.0.0.8", "127.0.0.9"], ["127.0.0.8", "127.0.0.9"], []]
    first = case.clients[0]
    first.send(b"still here")
    assert first.read(10) == b"still here"
    first.half_close()
    first.read_to_end()


def test_logical_dns(case: Case, ports: list[int]) -> None:
    """The first address is the host; neither a failure nor an empty answer changes it; connections stay."""
    numbered(case, ports[:1])
    names = case.have(Names())
    names.names["a.test"] = ["127.0.0.1"]
    case.start(named(case, names, "LOGICAL_DNS", ports[0]))
    seen = [hosts(case)]
    reach(case, keep=True)
    learn(case, names)
    seen.append(hosts(case))
    names.names["a.test"] = None
    _twice(case, "cluster.c.update_failure")
    seen.append(hosts(case))
    learn(case, names, "127.0.0.9")
    seen.append(hosts(case))
    assert seen == [["127.0.0.1"]] * 3 + [["127.0.0.9"]]
    first = case.clients[0]
    first.send(b"still here")
    assert first.read(10) == b"still here"
    first.half_close()
    first.read_to_end()


def test_literal_dns(case: Case, ports: list[int]) -> None:
    """A DNS cluster may have an address where a name could be."""
    numbered(case, ports[:1])
    case.ignore(r"cluster\.c\.update_", "how often it was looked up, until the test was over")
    case.ignore(r"total_match_count", "Envoy makes a host of each address anew with each lookup")
    case.start(balanced([endpoint(ports[0])], type="STRICT_DNS"))
    assert reach(case) == "1"
