"""
Where meshd differs from Envoy on purpose: the rows of docs/differences.rst.

Every test says what both do, so that a row that is no longer true is found.
"""

import contextlib
import hashlib
import os
import re
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.codec.hellos import GREASE, GROUPS, hello, listed, openssl_hello
from tests.interop.case import Case
from tests.interop.oracle import CHECKOUT, Proxy, command, try_config
from tests.interop.peers import FIN, OPEN, RST, hangs, wait_until
from tests.interop.test_balancing import Names, named
from tests.interop.test_listener_filters import V4, version_two
from tests.interop.yaml_parts import (
    Part,
    access_log,
    bootstrap,
    chain,
    cluster,
    listener,
    listener_filter,
    network,
    relay,
    says,
    tcp_proxy,
)


@pytest.fixture
def alone(kind: str, tmp_path: Path) -> Any:
    """A scenario whose outcome is not compared, since it is to differ."""
    made = Case(kind, tmp_path)
    try:
        yield made
    finally:
        made.close()


def fingerprint(alone: Case, sent: bytes) -> dict[str, Any]:
    """Show a tls_inspector the first bytes of a connection; return the line of the log."""
    inspector = listener_filter("tls_inspector", "TlsInspector", enable_ja3_fingerprinting=True)
    chains = [chain(network("echo", "Echo"), match={}, name="any")]
    alone.start(bootstrap(listener(*chains, access_log=access_log("LOG"), listener_filters=[inspector])))
    client = alone.client()
    client.send(sent)
    assert client.read(len(sent)) == sent
    client.half_close()
    client.read_to_end()
    (line,) = alone.log()
    return dict(line)


UNKNOWN = {"clusters": [{"name": "c", "weight": 1}, {"name": "nowhere", "weight": 1}]}

REFUSED: dict[str, tuple[Part, str]] = {
    "a cluster that does not exist": (relay(cluster="nowhere"), "nowhere"),
    "a weighted cluster that does not exist": (
        bootstrap(listener(tcp_proxy(None, weighted_clusters=UNKNOWN)), clusters=[cluster()]),
        "nowhere",
    ),
    "two listeners of one name": (
        bootstrap(listener(network("echo", "Echo")), listener(network("echo", "Echo"))),
        "front",
    ),
    "metadata_match": (
        relay(metadata_match={"filter_metadata": {"envoy.lb": {"v": "1"}}}),
        "metadata_match",
    ),
    "a mask of an address that is no number": (
        relay(access_log=access_log("LOG", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(x)%\n")),
        "Invalid mask",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_at_load(kind: str, tmp_path: Path, name: str) -> None:
    """What Envoy accepts in silence and meshd refuses, with the place in the file."""
    config, word = REFUSED[name]
    status, said = try_config(kind, config, tmp_path)
    assert status == (0 if kind == "envoy" else 1), said
    if kind == "meshd":
        assert word in said
        assert "config.yaml:" in said


def test_not_utf8(kind: str, tmp_path: Path) -> None:
    """A file that is not UTF-8: Envoy takes its bytes as they are, meshd refuses it."""
    path = tmp_path / "config.yaml"
    path.write_bytes(b'node: {id: "caf\xe9"}\n')
    validate = [*command(kind), "--mode", "validate", "-c", str(path)]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(
        validate, cwd=tmp_path, env=environment, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == (0 if kind == "envoy" else 1), done.stderr
    if kind == "meshd":
        assert b"config.yaml:1:" in done.stderr


def test_long_duration(kind: str, tmp_path: Path) -> None:
    """Envoy refuses durations of more than 292 years; meshd takes all that protobuf has."""
    status, said = try_config(kind, relay(idle_timeout="10000000000s"), tmp_path)
    assert status == (1 if kind == "envoy" else 0), said


def test_unknown_cluster(alone: Case) -> None:
    """Envoy finds at run time that a cluster does not exist (NC); meshd does not start with such a config."""
    if alone.kind == "meshd":
        assert try_config("meshd", relay(cluster="nowhere"), alone.directory)[0] == 1
        return
    proxy = alone.start(relay(cluster="nowhere"))
    assert alone.client().read_to_end()[0] == b""
    assert alone.log()[0]["RESPONSE_FLAGS"] == "NC"
    assert proxy.stat("tcp.t.downstream_cx_no_route") == 1


def test_all_errors(kind: str, tmp_path: Path) -> None:
    """Envoy tells the first error only and not where; meshd all of them, each with line and column."""
    config = bootstrap(listener(tcp_proxy("one", no_such_field=1)), listener(tcp_proxy("two"), name="other"))
    status, said = try_config(kind, config, tmp_path)
    assert status == 1
    if kind == "meshd":
        assert all(word in said for word in ("no_such_field", "two")), said
        assert said.count("config.yaml:") >= 2


def test_reset_after_half_close(alone: Case) -> None:
    """A client that half-closed and then resets: meshd tells the backend, Envoy waits until it idles."""
    backend = alone.backend(hangs)
    alone.start(relay(backend, idle_timeout="1s"))
    client = alone.client()
    client.send(b"hello")
    client.half_close()
    peer = backend.peer()
    wait_until(lambda: peer.ending == FIN, "the FIN to arrive")
    client.reset()
    if alone.kind == "meshd":
        peer.await_reset()
    (line,) = alone.log()
    idled = line["DOWNSTREAM_LOCAL_CLOSE_REASON"] == "tcp_session_idle_timeout"
    assert idled == (alone.kind == "envoy")
    if alone.kind == "meshd":
        assert line["DOWNSTREAM_DETECTED_CLOSE_TYPE"] == "RemoteReset"


def test_reset_before_chain(alone: Case) -> None:
    """A client that resets before its listener filters are done: meshd notices, Envoy times out."""
    proxy_protocol = listener_filter("proxy_protocol", "ProxyProtocol")
    alone.start(
        bootstrap(
            listener(
                network("echo", "Echo"), listener_filters=[proxy_protocol], listener_filters_timeout="1s"
            )
        )
    )
    client = alone.client()
    client.send(b"PRO")
    alone.proxy.await_stat("listener.front.downstream_pre_cx_active", 1)
    client.reset()
    alone.proxy.await_stat("listener.front.downstream_pre_cx_active", 0)
    timeouts = alone.proxy.stat("listener.front.downstream_pre_cx_timeout")
    assert timeouts == (1 if alone.kind == "envoy" else 0)


PROXIED = {
    "a wrong CRC32C": version_two(1, 0x11, V4 + b"\x03\x00\x04abcd"),
    "a port with a sign": b"PROXY TCP4 10.1.2.3 10.9.9.9 +1 2\r\n",
    "an IPv6 address with a scope": b"PROXY TCP6 fe80::1%lo fe80::2 1 2\r\n",
}


def behind_proxy() -> Part:
    """An echo behind the proxy_protocol filter."""
    sniffing = listener_filter("proxy_protocol", "ProxyProtocol")
    return bootstrap(listener(network("echo", "Echo"), listener_filters=[sniffing]))


@pytest.mark.parametrize("name", PROXIED)
def test_proxy_header(alone: Case, name: str) -> None:
    """PROXY headers that the document forbids: Envoy takes them, meshd resets the connection."""
    alone.start(behind_proxy())
    client = alone.client()
    client.send(PROXIED[name] + b"hello")
    told = (client.read(5), client.ending)
    assert told == ((b"hello", OPEN) if alone.kind == "envoy" else (b"", RST))


def test_no_proxy_header(alone: Case) -> None:
    """Two bytes that cannot become a PROXY header: Envoy waits for more, meshd resets at once."""
    alone.start(behind_proxy())
    client = alone.client()
    client.send(b"GE")
    client.sock.settimeout(1)
    if alone.kind == "envoy":
        with pytest.raises(TimeoutError):
            client.some()
    else:
        assert client.read_to_end() == (b"", RST)


def test_per_host_limit(alone: Case) -> None:
    """Over a host's max_connections: Envoy lets a connection wait for another's end, meshd refuses it."""
    limits = {"per_host_thresholds": [{"max_connections": 1}]}
    limited = cluster(alone.backend(), circuit_breakers=limits)
    alone.start(bootstrap(listener(tcp_proxy()), clusters=[limited]))
    first = alone.client()
    first.send(b"a")
    first.read(1)
    second = alone.client()
    second.send(b"b")
    alone.proxy.await_stat("cluster.c.upstream_cx_overflow", 1)
    first.close()
    assert second.read(1) == (b"b" if alone.kind == "envoy" else b"")
    if alone.kind == "meshd":
        assert "UO" in [line["RESPONSE_FLAGS"] for line in alone.log(2)]


def test_logical_dns(alone: Case) -> None:
    """LOGICAL_DNS: Envoy tries the next address if the first refuses, meshd uses the first only."""
    backend = alone.backend()
    names = alone.have(Names())
    names.names["a.test"] = ["127.0.0.9", "127.0.0.1"]
    alone.start(named(alone, names, "LOGICAL_DNS", backend.port))
    client = alone.client()
    client.try_send(b"x")
    assert client.read(1) == (b"x" if alone.kind == "envoy" else b"")


def test_match_count(alone: Case) -> None:
    """default.total_match_count of a DNS cluster: Envoy counts with each lookup, meshd new hosts only."""
    names = alone.have(Names())
    names.names["a.test"] = ["127.0.0.1"]
    proxy = alone.start(named(alone, names, "STRICT_DNS", alone.backend().port))
    wait_until(lambda: proxy.stat("cluster.c.update_success") >= 4, "four lookups")
    assert (proxy.stat("cluster.c.default.total_match_count") == 1) == (alone.kind == "meshd")


def test_limit_switched_off(alone: Case) -> None:
    """connection_limit switched off by runtime: Envoy's gauge wraps below 0, meshd's stays at 0."""
    off = {"default_value": False, "runtime_key": "x"}
    limit = network(
        "connection_limit", "ConnectionLimit", stat_prefix="l", max_connections=1, runtime_enabled=off
    )
    alone.start(bootstrap(listener(chain(limit, network("echo", "Echo")), access_log=access_log("LOG"))))
    alone.converse()
    alone.log()
    active = alone.proxy.stat("connection_limit.l.active_connections")
    assert active == (2**64 - 1 if alone.kind == "envoy" else 0)


def test_refused_before_tcp_proxy(alone: Case) -> None:
    """A connection that a filter refuses: in Envoy tcp_proxy behind it counts and logs it, in meshd not."""
    bucket = {"max_tokens": 1, "tokens_per_fill": 1, "fill_interval": "3600s"}
    limited = network("local_ratelimit", "LocalRateLimit", stat_prefix="r", token_bucket=bucket)
    backend = alone.backend()
    alone.start(bootstrap(listener(chain(limited, tcp_proxy())), clusters=[cluster(backend)]))
    alone.converse()
    assert alone.client().read_to_end()[0] == b""
    counted = 2 if alone.kind == "envoy" else 1
    alone.log(counted)
    assert alone.proxy.stat("tcp.t.downstream_cx_total") == counted


def test_wire_bytes(alone: Case) -> None:
    """DOWNSTREAM_WIRE_BYTES_* are counted by tcp_proxy only in Envoy, in meshd for every chain."""
    front = listener(network("echo", "Echo"), access_log=access_log("LOG"))
    alone.start(bootstrap(front))
    alone.converse(b"hello")
    assert alone.log()[0]["DOWNSTREAM_WIRE_BYTES_SENT"] == (0 if alone.kind == "envoy" else 5)


def test_own_numbers(alone: Case) -> None:
    """meshd counts what Envoy has no name for: pauses of accepting, and filters that raised."""
    proxy = alone.start(relay(alone.backend()))
    own = proxy.stats("^listener[.]front[.]downstream_(accept_paused|filter_exception)$")
    assert len(own) == (0 if alone.kind == "envoy" else 2)


def test_echo_is_bounded(alone: Case) -> None:
    """An echo whose client does not read: Envoy buffers without bound, meshd stops reading."""
    limit = 16384
    front = listener(network("echo", "Echo"), per_connection_buffer_limit_bytes=limit)
    alone.start(bootstrap(front))
    client = alone.client(rcvbuf=4096)
    client.sock.settimeout(0.5)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < 32 << 20:
            sent += client.sock.send(bytes(65536))
    assert (sent >= 32 << 20) == (alone.kind == "envoy")


def test_echo_to_the_end(alone: Case) -> None:
    """Data that comes together with the FIN: Envoy's echo forgets it, meshd's sends it back."""
    alone.start(bootstrap(listener(network("echo", "Echo"))))
    client = alone.client()
    client.sock.send(b"hello", socket.MSG_MORE)
    client.half_close()
    assert client.read_to_end() == (b"" if alone.kind == "envoy" else b"hello", FIN)


def test_sigterm(alone: Case) -> None:
    """SIGTERM: Envoy ends at once, meshd drains: it closes its listeners and lets connections finish."""
    proxy = alone.start(relay(alone.backend()), options=("--drain-time-s", "30"))
    client = alone.client()
    client.send(b"a")
    assert client.read(1) == b"a"
    address = proxy.address()
    proxy.signal(signal.SIGTERM)
    if alone.kind == "envoy":
        assert client.read_to_end()[1] in (FIN, RST)
        assert proxy.wait() == 0
        return
    proxy.await_refused(address)
    client.send(b"b")
    assert client.read(1) == b"b"
    client.close()
    assert proxy.wait() == 0


def test_help_lines(alone: Case) -> None:
    """Prometheus: meshd adds # HELP lines, which promtool wants and Envoy has not."""
    proxy = alone.start(relay(alone.backend()))
    text = proxy.get("/stats/prometheus").text
    assert ("# HELP" in text) == (alone.kind == "meshd")
    assert "# TYPE" in text


def test_two_types(alone: Case) -> None:
    """Prometheus: of what is a counter and a gauge by one name meshd calls the second otherwise."""
    tag = {"tag_name": "z", "regex": "^listener[.].*downstream_cx((_active|_total))$"}
    proxy = alone.start(bootstrap(listener(network("echo", "Echo")), stats_config={"stats_tags": [tag]}))
    text = proxy.get("/stats/prometheus?filter=^listener.front.downstream_cx_(active|total)").text
    names = re.findall("^# TYPE envoy_listener_(.*)$", text, re.MULTILINE)
    second = "downstream_cx gauge" if alone.kind == "envoy" else "downstream_cx_gauge gauge"
    assert names == ["downstream_cx counter", second]


def test_unserved(kind: str, tmp_path: Path) -> None:
    """A field that meshd does not serve is an error naming it, not ignored."""
    checks = [{"timeout": "1s", "interval": "1s", "unhealthy_threshold": 1, "healthy_threshold": 1}]
    checks[0]["tcp_health_check"] = {}
    config = bootstrap(listener(tcp_proxy()), clusters=[cluster(health_checks=checks)])
    status, said = try_config(kind, config, tmp_path)
    assert status == (0 if kind == "envoy" else 1), said
    if kind == "meshd":
        assert "health_checks" in said


def test_version(alone: Case) -> None:
    """/server_info tells meshd's own version."""
    proxy: Proxy = alone.start(relay(alone.backend()))
    version = proxy.get("/server_info").json["version"]
    assert ("meshd" in version) == (alone.kind == "meshd")


def test_runtime(alone: Case) -> None:
    """/runtime: fractions are JSON, keys are sorted; the load at the start is counted once."""
    fraction = {"numerator": 5, "denominator": "HUNDRED"}
    layer = {"name": "s", "static_layer": {"z": 1, "f": fraction, "b": 2, "a": 3}}
    proxy = alone.start(bootstrap(listener(network("echo", "Echo")), layered_runtime={"layers": [layer]}))
    answer = proxy.get("/runtime")
    value = answer.json["entries"]["f"]["final_value"]
    assert (value == '{"denominator":"HUNDRED","numerator":5}') == (alone.kind == "meshd")
    if alone.kind == "meshd":
        assert list(answer.json["entries"]) == ["a", "b", "f", "z"]
    assert proxy.stat("runtime.load_success") == (2 if alone.kind == "envoy" else 1)


def test_microseconds(alone: Case) -> None:
    """Times in the access log are exact to the ns in Envoy, to the us in meshd."""
    operators = "%START_TIME(%9f)% %COMMON_DURATION(DS_CX_BEG:DS_CX_END:ns)%"
    proxy = alone.start(relay(alone.backend(), access_log=access_log("LOG", f"{operators}\n")))
    alone.converse()
    wait_until(proxy.lines, "a line in the access log")
    fraction, duration = proxy.lines()[0].split()
    if alone.kind == "meshd":
        assert fraction.endswith("000")
        assert duration.endswith("000")
    assert re.fullmatch("[0-9]{9}", fraction)


def test_flushed_by_timer(alone: Case) -> None:
    """filesystem.flushed_by_timer: Envoy counts when there is nothing to write too, meshd does not."""
    proxy = alone.start(relay(alone.backend()))
    if alone.kind == "envoy":
        wait_until(lambda: proxy.stat("filesystem.flushed_by_timer") > 1, "the timer, more than once")
    else:
        assert proxy.stat("filesystem.flushed_by_timer") == 0


def test_ja3_grease(kind: str, alone: Case) -> None:
    """Envoy's JA3 has the GREASE among the groups, which clients choose by chance; meshd's has none of it."""
    text = "771,4865-49199,10,2570-29," if kind == "envoy" else "771,4865-49199,10,29,"
    line = fingerprint(alone, hello([listed(GROUPS, GREASE, 29)]))
    assert line["TLS_JA3_FINGERPRINT"] == hashlib.md5(text.encode()).hexdigest()


def test_sslv2_hello(kind: str, alone: Case) -> None:
    """A ClientHello in the form of SSL 2 is TLS to Envoy; no server that is in use would answer it."""
    sent = b"\x80\x1f\x01\x03\x01\x00\x06\x00\x00\x00\x10" + b"\0\0\x35\0\0\x2f" + bytes(16)
    failed = fingerprint(alone, sent)["DOWNSTREAM_TRANSPORT_FAILURE_REASON"]
    assert alone.proxy.stat("tls_inspector.tls_found") == (1 if kind == "envoy" else 0)
    assert failed is None if kind == "envoy" else "WRONG_VERSION_NUMBER" in failed


@pytest.mark.parametrize("criterion", [{"server_names": ["a.example"]}, {"transport_protocol": "tls"}])
def test_no_inspector(kind: str, alone: Case, criterion: Part) -> None:
    """Chains that need tls_inspector where there is none are never chosen; meshd warns of them."""
    chains = [chain(says("never"), match=criterion), chain(network("echo", "Echo"), match={})]
    alone.start(bootstrap(listener(*chains, access_log=access_log("LOG"))))
    sent = openssl_hello("a.example")
    client = alone.client()
    client.send(sent)
    assert client.read(len(sent)) == sent
    assert ("tls_inspector, which finds it out, is missing" in alone.proxy.said()) == (kind == "meshd")
