"""The small network filters against Envoy: what they do to a connection, log and count."""

import time

import pytest

from tests.interop.case import Case
from tests.interop.peers import FIN, RST
from tests.interop.yaml_parts import (
    Part,
    access_log,
    bootstrap,
    chain,
    cluster,
    listener,
    network,
    says,
    tcp_proxy,
)

UNTOLD = "in meshd tcp_proxy is not told of a refused connection: see docs/differences.rst"


def limit(**fields: object) -> Part:
    """A connection_limit filter under the prefix l."""
    return network("connection_limit", "ConnectionLimit", stat_prefix="l", **fields)


def local_ratelimit(tokens: int, **fields: object) -> Part:
    """A local_ratelimit filter under the prefix r, whose bucket is not filled again during a test."""
    bucket = {"max_tokens": tokens, "tokens_per_fill": tokens, "fill_interval": "3600s"}
    return network("local_ratelimit", "LocalRateLimit", stat_prefix="r", token_bucket=bucket, **fields)


def logged(*filters: Part) -> Part:
    """A listener that logs, with those filters."""
    return listener(chain(*filters), access_log=access_log("LOG"))


def test_echo(case: Case) -> None:
    """echo sends back what comes and ends when the client has."""
    case.start(bootstrap(logged(network("echo", "Echo"))))
    case.converse()
    case.log()


def test_echo_reset(case: Case) -> None:
    """A client's RST ends an echo and is logged as such."""
    case.start(bootstrap(logged(network("echo", "Echo"))))
    client = case.client()
    client.send(b"hello")
    assert client.read(5) == b"hello"
    client.reset()
    case.log()


def test_direct_response(case: Case) -> None:
    """direct_response says its text at once and closes."""
    case.start(bootstrap(logged(says("good day\n"))))
    assert case.client().read_to_end() == (b"good day\n", FIN)
    case.log()


def test_direct_response_empty(case: Case) -> None:
    """direct_response without a text closes at once."""
    case.start(bootstrap(logged(network("direct_response", "Config"))))
    assert case.client().read_to_end() == (b"", FIN)
    case.log()


def test_direct_response_large(case: Case) -> None:
    """A response larger than all socket buffers arrives whole."""
    text = "0123456789abcdef" * 65536
    case.start(bootstrap(logged(says(text))))
    assert case.client().read_to_end() == (text.encode(), FIN)
    case.log()


def test_connection_limit(case: Case) -> None:
    """Over max_connections a connection is closed; one that ends makes room."""
    case.start(bootstrap(logged(limit(max_connections=1), network("echo", "Echo"))))
    first = case.client()
    first.send(b"1")
    assert first.read(1) == b"1"
    assert case.proxy.stat("connection_limit.l.active_connections") == 1
    assert case.client().read_to_end()[0] == b""
    first.half_close()
    first.read_to_end()
    case.proxy.await_stat("connection_limit.l.active_connections", 0)
    case.converse()
    assert case.proxy.stat("connection_limit.l.limited_connections") == 1
    case.log(3)


def test_connection_limit_delay(case: Case) -> None:
    """With a delay the connection over the limit is held, then closed; nothing reaches the inside."""
    backend = case.backend()
    chained = logged(limit(max_connections=1, delay="0.2s"), tcp_proxy(access_log=[]))
    case.start(bootstrap(chained, clusters=[cluster(backend)]))
    first = case.client()
    first.send(b"1")
    assert first.read(1) == b"1"
    assert case.client().read_to_end()[0] == b""
    first.half_close()
    first.read_to_end()
    case.log(2)
    assert len(backend.peers) == 1
    case.ignore("^tcp.t.downstream_cx_total$", UNTOLD)
    case.unlog("UPSTREAM_DETECTED_CLOSE_TYPE", UNTOLD)


def test_connection_limit_off(case: Case) -> None:
    """runtime_enabled false: no limit."""
    off = {"default_value": False, "runtime_key": "x"}
    case.start(bootstrap(logged(limit(max_connections=1, runtime_enabled=off), network("echo", "Echo"))))
    case.ignore("active_connections$", "Envoy's gauge wraps below 0: see docs/differences.rst")
    first = case.client()
    first.send(b"1")
    assert first.read(1) == b"1"
    case.converse()
    first.half_close()
    first.read_to_end()
    case.log(2)


def test_local_ratelimit(case: Case) -> None:
    """Without a token a connection is closed, counted, and logged as URX."""
    chained = logged(local_ratelimit(2), tcp_proxy(access_log=[]))
    backend = case.backend()
    case.start(bootstrap(chained, clusters=[cluster(backend)]))
    case.converse()
    case.converse()
    assert case.client().read_to_end()[0] == b""
    assert case.proxy.stat("local_rate_limit.r.rate_limited") == 1
    assert sum(line["RESPONSE_FLAGS"] == "URX" for line in case.log(3)) == 1
    assert len(backend.peers) == 2
    case.ignore("^tcp.t.downstream_cx_total$", UNTOLD)
    case.unlog("UPSTREAM_DETECTED_CLOSE_TYPE", UNTOLD)


def test_local_ratelimit_refill(case: Case) -> None:
    """The bucket fills again at fill_interval."""
    bucket = {"max_tokens": 1, "tokens_per_fill": 1, "fill_interval": "0.5s"}
    limited = network("local_ratelimit", "LocalRateLimit", stat_prefix="r", token_bucket=bucket)
    case.start(bootstrap(listener(chain(limited, says("in")))))
    assert case.proxy.client().read_to_end() == (b"in", FIN)
    for _ in range(1000):
        if case.proxy.client().read_to_end() == (b"in", FIN):
            break
        time.sleep(0.01)  # connecting takes no time, filling the bucket does
    else:
        raise AssertionError("no token ever came")
    case.lines = 0
    case.ignore("local_rate_limit|listener.front|^tcp", "how often it asked in vain")


def test_local_ratelimit_shared(case: Case) -> None:
    """share_key: chains with the same key and bucket share their tokens."""
    chains = [
        chain(local_ratelimit(1, share_key="k"), says("one"), match={"source_ports": []}),
    ]
    first = listener(*chains, name="front")
    second = listener(chain(local_ratelimit(1, share_key="k"), says("two")), name="other")
    case.start(bootstrap(first, second))
    assert case.client().read_to_end() == (b"one", FIN)
    assert case.client("other").read_to_end()[0] == b""
    case.lines = 0


@pytest.mark.parametrize("sent", [b"", b"hello"])
def test_closed_by_filter(case: Case, sent: bytes) -> None:
    """A connection that a filter refuses ends by FIN, or by RST if the client's bytes lie unread."""
    case.start(bootstrap(logged(local_ratelimit(1), network("echo", "Echo"))))
    case.converse()
    client = case.client()
    if sent:
        client.try_send(sent)
    client.read_to_end()
    if sent:
        assert client.ending in (FIN, RST)
        client.ending = "either"  # whether the bytes were there already is chance
    case.log(2)
    case.unlog("BYTES_RECEIVED", "chance as well")
    case.unlog("DOWNSTREAM_WIRE_BYTES_RECEIVED", "chance as well")
